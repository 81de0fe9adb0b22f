//! One run by several generators: each has its share of the connections and of the schedule, and the results become one.
//!
//! All of them have the whole plan. A share names its connections; an arrival belongs to the generator that has its connection,
//! so the union of all shares is the schedule itself, arrival by arrival, and its hash stands. Bodies carry the number of the
//! message in the whole run and its intended instant on a clock that all share ([`clock`]), so that whoever receives a message can
//! tell how long it was under way, whoever sent it.
//!
//! | module | for |
//! | --- | --- |
//! | [`clock`] | one origin for the clocks of several processes and machines |
//! | [`conductor`] | when all begin and when all may end, decided from what they tell |
//! | [`mod@merge`] | the parts become one result: histograms added, ledgers closed together |
//! | [`local`] | generators as processes of this machine |
//! | [`remote`] | generators of other machines, joined through Redis |
//! | [`meeting`] | the lists in Redis where they meet |
//!
//! What is not told: the first, median and last subscriber of a message (they are in several processes), and service time of
//! deliveries (only the sender knows when it was sent).

pub mod clock;
pub mod conductor;
pub mod local;
pub mod meeting;
pub mod merge;
pub mod remote;

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    ledger::Ledger,
    plan::{Plan, PlanError},
    result::RunResult,
};

pub use self::merge::{Generator, merge};

/// The most generators of one run.
pub const MAX_GENERATORS: usize = 64;

/// Which part of a plan one generator carries out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Which one, from 0.
    pub index: usize,
    /// Of how many.
    pub of: usize,
    /// The run's number, the same for all: it stands in every body.
    pub run: u32,
    /// The run's origin on this machine's wall clock, in nanoseconds since 1970.
    pub origin_unix_ns: u64,
}

impl Share {
    /// Whether connection `conn` of `conns` is in this share. Shares are blocks, because connections go round the rooms: each
    /// room then has members in every share.
    pub fn has(&self, conn: usize, conns: usize) -> bool {
        conn * self.of / conns.max(1) == self.index
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// [`PlanError`] says what is wrong.
    pub fn check(&self, conns: usize) -> Result<(), PlanError> {
        let fits = (1..=MAX_GENERATORS).contains(&self.of) && self.index < self.of && self.of <= conns;
        let why = || {
            format!(
                "share {} of {}: 1 to {MAX_GENERATORS}, and no more than connections",
                self.index, self.of
            )
        };
        if fits { Ok(()) } else { Err(PlanError(why())) }
    }
}

/// A plan cut into shares of one origin.
///
/// # Errors
/// [`PlanError`] for more generators than connections or than [`MAX_GENERATORS`].
pub fn shares(plan: &Plan, of: usize, run: u32, origin_unix_ns: u64) -> Result<Vec<Plan>, PlanError> {
    let one = |index| {
        let share = Share { index, of, run, origin_unix_ns };
        share.check(plan.tokens.len())?;
        Ok(Plan {
            share: Some(share),
            // No generator sees all of the latency that would have to settle: the warm-up has its longest length.
            warm_up_ms: plan.warm_up_ms + plan.settle_ms,
            settle_ms: 0,
            record: None,
            // One looks at the servers for all.
            server_pids: if index == 0 { plan.server_pids.clone() } else { Vec::new() },
            redis_pids: if index == 0 { plan.redis_pids.clone() } else { Vec::new() },
            redis_nodes: if index == 0 { plan.redis_nodes.clone() } else { Vec::new() },
            // A cap on the whole is a cap on each part of it.
            in_flight_cap: (plan.in_flight_cap / of as u64).max(1),
            ..plan.clone()
        })
    };
    if of == 0 {
        return Err(PlanError("at least one generator is needed".into()));
    }
    (0..of).map(one).collect()
}

/// What a generator of several is told while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The warm-up begins at that instant, in nanoseconds after the run's origin.
    Begin(u64),
    /// Everything expected has come everywhere: end.
    End,
}

/// What one generator of several measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    /// Its own result; the ledger in it knows its own connections only.
    pub result: RunResult,
    /// Its ledger, not closed.
    pub ledger: Ledger,
    /// Deliveries by the third of the window in which their message was due: HDR V2, base64.
    pub thirds: [String; 3],
}

/// The orders of a generator that runs by itself: it is told nothing and waits for nothing.
pub(crate) type Orders<'a> = Option<&'a Receiver<Order>>;

/// Waits a little for an order; an end of orders is an end.
pub(crate) fn next_order(orders: &Receiver<Order>, wait: Duration) -> Option<Order> {
    match orders.recv_timeout(wait) {
        Ok(order) => Some(order),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => Some(Order::End),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Schedule, ScheduleKind};

    #[test]
    fn the_shares_of_a_schedule_are_the_schedule_arrival_by_arrival() {
        for (of, conns) in [(1, 7), (2, 10), (3, 10), (4, 4), (7, 100)] {
            let schedule =
                Schedule::new(ScheduleKind::Poisson, 500.0, 4_000_000_000, conns as u32, 9).unwrap();
            let whole: Vec<_> = schedule.arrivals().collect();
            let mut union = Vec::new();
            for index in 0..of {
                let share = Share { index, of, run: 1, origin_unix_ns: 0 };
                share.check(conns).unwrap();
                let mine = schedule.arrivals().enumerate();
                let mine: Vec<_> = mine.filter(|(_, a)| share.has(a.client as usize, conns)).collect();
                assert!(!mine.is_empty(), "{index} of {of}");
                union.extend(mine);
            }
            union.sort_by_key(|(number, _)| *number);
            assert_eq!(union.len(), whole.len());
            assert!(union.iter().enumerate().all(|(i, (number, a))| i == *number && whole[i] == *a));
        }
    }

    #[test]
    fn every_connection_has_one_generator_and_blocks_differ_by_one_at_most() {
        for (of, conns) in [(2, 5), (3, 100), (64, 64), (5, 10_000)] {
            let share = |index| Share { index, of, run: 1, origin_unix_ns: 0 };
            let counts: Vec<usize> =
                (0..of).map(|i| (0..conns).filter(|conn| share(i).has(*conn, conns)).count()).collect();
            assert_eq!(counts.iter().sum::<usize>(), conns);
            assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
        }
        assert!(Share { index: 0, of: 3, run: 1, origin_unix_ns: 0 }.check(2).is_err());
        assert!(Share { index: 2, of: 2, run: 1, origin_unix_ns: 0 }.check(9).is_err());
    }
}
