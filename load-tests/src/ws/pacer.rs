//! Keeps time: a thread of its own that hands each arrival to its connection when it is due.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::UnboundedSender;

use super::shared::{Due, Shared, add, get, take};
use crate::schedule::{Arrival, Schedule};

/// A sleeping thread wakes up this late, roughly; the rest of the wait is spent yielding.
const WAKE_UP: Duration = Duration::from_micros(120);
/// How often a pacer that is held by the in-flight cap looks again.
pub(crate) const CAP_POLL: Duration = Duration::from_micros(200);

/// The connections' queues. They are not bounded themselves: the in-flight cap bounds their sum.
pub(super) type Queues = Arc<Vec<UnboundedSender<Due>>>;

/// What the pacer could not do as planned.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PacerReport {
    /// Arrivals that waited for the in-flight cap.
    pub cap_hits: u64,
    /// Arrivals that were never sent, since the connection was gone or the cap never gave way.
    pub unsent: u64,
}

/// Hands out the warm-up's arrivals from `warm_start_ns` on and the window's after them.
pub(super) fn pace(shared: &Shared, queues: &Queues, warm_up: &Schedule, warm_start_ns: u64) -> PacerReport {
    let window_start_ns = get(&shared.window_start_ns);
    let schedule = &shared.plan.schedule;
    let give_up_ns = window_start_ns + schedule.duration_ns + shared.plan.drain_ms * 1_000_000;
    let at = |start_ns: u64| move |a: Arrival| (start_ns + a.at_ns, a.client);
    let due = warm_up.arrivals().map(at(warm_start_ns)).chain(schedule.arrivals().map(at(window_start_ns)));
    let mut report = PacerReport::default();
    for (number, (intended_ns, client)) in due.enumerate() {
        wait_until(shared.origin + Duration::from_nanos(intended_ns));
        let in_flight = &shared.counters.in_flight;
        if get(in_flight) >= shared.plan.in_flight_cap {
            report.cap_hits += 1;
            while get(in_flight) >= shared.plan.in_flight_cap && shared.now_ns() < give_up_ns {
                std::thread::sleep(CAP_POLL);
            }
        }
        if shared.now_ns() >= give_up_ns {
            report.unsent += 1;
            continue;
        }
        add(in_flight, 1);
        let due = Due { number: number as u32, intended_ns };
        let sent = queues.get(client as usize).is_some_and(|queue| queue.send(due).is_ok());
        if !sent {
            take(in_flight, 1);
            report.unsent += 1;
        }
    }
    report
}

/// Returns at that instant, as exactly as the system lets a thread.
pub(crate) fn wait_until(due: Instant) {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        if left > WAKE_UP {
            std::thread::sleep(left - WAKE_UP);
        } else {
            std::thread::yield_now();
        }
    }
}
