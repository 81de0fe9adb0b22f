//! What all threads of the lean client see.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use super::{
    commands::{Mix, Op},
    keys::{Dice, Keys},
    nodes::SlotMap,
    plan::RespPlan,
};
use crate::schedule::{Load, Schedule};

/// From the warm-up on, over all threads.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub sent: AtomicU64,
    pub answered: AtomicU64,
    pub completed: AtomicU64,
    pub delivered: AtomicU64,
    /// Deliveries that acknowledged publishes will make.
    pub expected: AtomicU64,
    pub in_flight: AtomicU64,
}

/// When what begins, in nanoseconds after [`Shared::origin`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub warm_start_ns: u64,
    pub window_start_ns: u64,
    pub window_end_ns: u64,
    /// What is due later than that is given up.
    pub give_up_ns: u64,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub plan: RespPlan,
    pub mix: Mix,
    pub keys: Keys,
    /// As it was at the start; each thread keeps its own from then on.
    pub map: SlotMap,
    /// Tells this run's payloads from another's.
    pub run: u32,
    pub origin: Instant,
    pub times: OnceLock<Times>,
    pub counters: Counters,
    /// The run is over.
    pub stop: AtomicBool,
}

/// One command that is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub intended_ns: u64,
    pub measured: bool,
    pub conn: usize,
    pub op: Op,
    pub key: u64,
    pub dice: Dice,
}

impl Shared {
    /// Nanoseconds since the run's start, on the monotonic clock.
    pub fn now_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    pub fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// The schedule of an open load, and what comes before it.
    pub fn schedules(&self) -> Option<(Schedule, Schedule)> {
        match &self.plan.load {
            Load::Open(schedule) => Some((schedule.warm_up(self.plan.warm_up_ms), schedule.clone())),
            Load::Closed { .. } => None,
        }
    }

    /// Fixes when what begins.
    pub fn begin(&self, warm_start_ns: u64) -> Times {
        *self.times.get_or_init(|| {
            let window_start_ns = warm_start_ns + self.plan.warm_up_ms * 1_000_000;
            let window_end_ns = window_start_ns + self.plan.load.duration_ns();
            let give_up_ns = window_end_ns + self.plan.drain_ms * 1_000_000;
            Times { warm_start_ns, window_start_ns, window_end_ns, give_up_ns }
        })
    }

    /// The `number`-th command of the run, of the client whose turn it is.
    pub fn command(&self, number: u64, client: usize, intended_ns: u64, measured: bool) -> Due {
        let mut dice = Dice::of(self.plan.seed, number);
        let op = self.mix.draw(&mut dice);
        let (key, conn) = if op.publishes() {
            // A channel has one connection that publishes to it: its messages have an order.
            let channel = dice.below(self.plan.commands.channels.max(1) as u64);
            (channel, channel as usize % self.plan.conns)
        } else {
            (self.keys.draw(&mut dice), client)
        };
        Due { intended_ns, measured, conn, op, key, dice }
    }

    /// Which third of the window something was due in.
    pub fn third(&self, intended_ns: u64) -> usize {
        let start = self.times.get().map_or(0, |times| times.window_start_ns);
        let into = intended_ns.saturating_sub(start);
        let third = u128::from(into) * 3 / u128::from(self.plan.load.duration_ns().max(1));
        third.min(2) as usize
    }

    /// How many listen to a channel.
    pub fn listeners_of(&self, channel: u64) -> u64 {
        let (listeners, channels) =
            (self.plan.commands.listeners as u64, self.plan.commands.channels.max(1) as u64);
        listeners / channels + u64::from(channel < listeners % channels)
    }
}
