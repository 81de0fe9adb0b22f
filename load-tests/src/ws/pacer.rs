//! Keeps time: a thread of its own that hands each arrival to its connection when it is due.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
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
/// None for a connection of another generator.
pub(super) type Queues = Arc<Vec<Option<UnboundedSender<Due>>>>;

/// What the pacer could not do as planned.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PacerReport {
    /// Arrivals that waited for the in-flight cap.
    pub cap_hits: u64,
    /// Arrivals that were never sent, since the connection was gone or the cap never gave way.
    pub unsent: u64,
}

/// How often a pacer that waits in the warm-up looks whether the window has been fixed. Well below [`super::HEAD_START_NS`],
/// by which the window's first arrival is ahead of the decision.
const WINDOW_POLL: Duration = Duration::from_millis(2);

/// Hands out the warm-up's arrivals from `warm_start_ns` on, and the window's as soon as it begins.
pub(super) fn pace(shared: &Shared, queues: &Queues, warm_up: &Schedule, warm_start_ns: u64) -> PacerReport {
    let schedule = &shared.plan.schedule;
    let drain_ns = shared.plan.drain_ms * 1_000_000;
    let mut report = PacerReport::default();
    let latest_end_ns = warm_start_ns + warm_up.duration_ns + schedule.duration_ns + drain_ns;
    for (number, Arrival { at_ns, client }) in warm_up.arrivals().enumerate() {
        // Numbers are those of the whole run, whoever sends.
        if !shared.plan.is_mine(client as usize) {
            continue;
        }
        let intended_ns = warm_start_ns + at_ns;
        if !wait_in_warm_up(shared.origin, intended_ns, &shared.window_start_ns) {
            break;
        }
        let due = Due { number: number as u32, intended_ns };
        hand_out(shared, queues, (due, client), latest_end_ns, &mut report);
    }
    let window_start_ns = window_start(&shared.window_start_ns);
    for (nth, Arrival { at_ns, client }) in schedule.arrivals().enumerate() {
        if !shared.plan.is_mine(client as usize) {
            continue;
        }
        let intended_ns = window_start_ns + at_ns;
        wait_until(shared.origin + Duration::from_nanos(intended_ns));
        let due = Due { number: shared.first_measured + nth as u32, intended_ns };
        let give_up_ns = window_start_ns + schedule.duration_ns + drain_ns;
        hand_out(shared, queues, (due, client), give_up_ns, &mut report);
    }
    report
}

/// Gives an arrival to its connection, when the in-flight cap lets it.
fn hand_out(
    shared: &Shared,
    queues: &Queues,
    (due, client): (Due, u32),
    give_up_ns: u64,
    report: &mut PacerReport,
) {
    let in_flight = &shared.counters.in_flight;
    if get(in_flight) >= shared.plan.in_flight_cap {
        report.cap_hits += 1;
        while get(in_flight) >= shared.plan.in_flight_cap && shared.now_ns() < give_up_ns {
            std::thread::sleep(CAP_POLL);
        }
    }
    if shared.now_ns() >= give_up_ns {
        report.unsent += 1;
        return;
    }
    add(in_flight, 1);
    let sent =
        queues.get(client as usize).and_then(Option::as_ref).is_some_and(|queue| queue.send(due).is_ok());
    if !sent {
        take(in_flight, 1);
        report.unsent += 1;
    }
}

/// Waits for an arrival of the warm-up; false when the window begins before it.
pub(crate) fn wait_in_warm_up(origin: Instant, intended_ns: u64, window_start_ns: &AtomicU64) -> bool {
    let due = origin + Duration::from_nanos(intended_ns);
    loop {
        let start_ns = window_start_ns.load(Relaxed);
        if start_ns != 0 && intended_ns >= start_ns {
            return false;
        }
        let left = due.saturating_duration_since(Instant::now());
        if left <= WINDOW_POLL {
            wait_until(due);
            let start_ns = window_start_ns.load(Relaxed);
            return start_ns == 0 || intended_ns < start_ns;
        }
        std::thread::sleep(WINDOW_POLL);
    }
}

/// When the window begins, as soon as that is fixed.
pub(crate) fn window_start(window_start_ns: &AtomicU64) -> u64 {
    loop {
        match window_start_ns.load(Relaxed) {
            0 => std::thread::sleep(WINDOW_POLL),
            start_ns => return start_ns,
        }
    }
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
