//! The phases of a run, one after the other: connect, begin, measure, hear of the faults, drain.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    HEAD_START_NS, LoadError, THREAD_PREFIX, TICK,
    pacer::{self, PacerReport, Queues},
    shared::{Shared, get},
};
use crate::{
    crew::{Order, Orders, next_order},
    eye::Watch,
    faults::{self, REPORT_BOUND, Told},
    gather::Sample,
    plan::Progress,
    reconcile::SocketMemory,
    recording::Recording,
    schedule::Schedule,
    steady::{Pulse, WarmUp},
};

/// After everything expected has come: what comes on top of it within this time is a duplicate.
const GRACE: Duration = Duration::from_millis(100);

pub(super) fn connect(shared: &Shared, progress: &mut dyn FnMut(Progress)) {
    let of = shared.plan.own_conns();
    // Each connection has its own time limit; this one covers threads that are gone.
    let rounds = (of / shared.plan.connect_concurrency + 2) as u64;
    let give_up = Instant::now() + Duration::from_millis(shared.plan.connect_ms * rounds);
    let of = of as u64;
    while get(&shared.counters.ready) + get(&shared.counters.failed) < of && Instant::now() < give_up {
        progress(Progress::Connecting { done: get(&shared.counters.ready), of });
        thread::sleep(TICK);
    }
    progress(Progress::Connecting { done: get(&shared.counters.ready), of });
}

/// When the warm-up begins: soon, or when the orders say, after all generators have opened their connections.
pub(super) fn begin(
    shared: &Shared,
    progress: &mut dyn FnMut(Progress),
    orders: Orders<'_>,
) -> Result<u64, LoadError> {
    let Some(orders) = orders else { return Ok(shared.now_ns() + HEAD_START_NS) };
    let give_up = Instant::now() + Duration::from_millis(shared.plan.longest_ms());
    while Instant::now() < give_up {
        progress(Progress::Opened);
        match next_order(orders, TICK) {
            Some(Order::Begin(at_ns)) => return Ok(at_ns),
            Some(Order::End) => break,
            None => {}
        }
    }
    Err(LoadError::Thread("the order to begin did not come".into()))
}

/// What the pacer could not do, the warm-up, the processes before and after the window, the kernel's memory for sockets.
pub(super) type Measured = (PacerReport, WarmUp, (Sample, Sample), Option<SocketMemory>);

pub(super) fn measure(
    shared: &Arc<Shared>,
    queues: &Queues,
    (warm_start_ns, warm_up): (u64, &Schedule),
    recording: Option<&Recording>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Measured, LoadError> {
    let mut watch = Watch::new(&shared.eye, shared.plan.own_due_by_second(), THREAD_PREFIX);
    let pacer = {
        let (shared, queues, warm_up) = (Arc::clone(shared), Arc::clone(queues), warm_up.clone());
        thread::Builder::new()
            .name(format!("{THREAD_PREFIX}pacer"))
            .spawn(move || pacer::pace(&shared, &queues, &warm_up, warm_start_ns))
            .map_err(LoadError::Runtime)?
    };
    progress(Progress::WarmUp);
    let warm_up = end_warm_up(
        (shared.origin, warm_start_ns),
        (shared.plan.warm_up_ms, shared.plan.settle_ms),
        &shared.pulse,
        &shared.window_start_ns,
    );
    let window_start_ns = get(&shared.window_start_ns);
    if shared.audit.is_some() {
        progress(Progress::Begins { monotonic_ns: shared.origin_ns + window_start_ns });
    }
    if let Some(recording) = recording {
        recording.begin(shared.origin, window_start_ns);
    }
    thread::sleep(Duration::from_nanos(window_start_ns.saturating_sub(shared.now_ns())));
    let mut sockets = SocketMemory::now();
    let before = sample(shared);
    let window = Duration::from_nanos(shared.plan.schedule.duration_ns);
    loop {
        let elapsed = Duration::from_nanos(shared.now_ns().saturating_sub(window_start_ns));
        if elapsed >= window {
            break;
        }
        progress(Progress::Measuring {
            elapsed_ms: elapsed.as_millis() as u64,
            of_ms: window.as_millis() as u64,
            sent: get(&shared.counters.sent),
            delivered: get(&shared.counters.delivered),
            now: watch.look(elapsed, get(&shared.counters.in_flight)),
        });
        thread::sleep((window - elapsed).min(TICK * 10));
        sockets = SocketMemory::higher(sockets, SocketMemory::now());
    }
    let after = sample(shared).with_sockets(&shared.plan.server_pids, &shared.plan.redis_pids);
    let report = pacer.join().map_err(|_| LoadError::Thread("the pacer panicked".into()))?;
    Ok((report, warm_up, (before, after), sockets))
}

/// Fixes when the window begins: after a warm-up of that length, or when latency has settled. Blocks in the latter case.
pub(crate) fn end_warm_up(
    (origin, warm_start_ns): (Instant, u64),
    (warm_up_ms, settle_ms): (u64, u64),
    pulse: &Pulse,
    window_start_ns: &AtomicU64,
) -> WarmUp {
    let least = Duration::from_millis(warm_up_ms);
    let (warm_up, start_ns) = if settle_ms == 0 {
        (WarmUp::fixed(warm_up_ms), warm_start_ns + least.as_nanos() as u64)
    } else {
        let begun = origin + Duration::from_nanos(warm_start_ns);
        let warm_up = pulse.settle(begun, least, Duration::from_millis(settle_ms));
        (warm_up, origin.elapsed().as_nanos() as u64 + HEAD_START_NS)
    };
    window_start_ns.store(start_ns, Relaxed);
    warm_up
}

fn sample(shared: &Shared) -> Sample {
    let counters = &shared.counters;
    Sample::take(
        [get(&counters.sent), get(&counters.acked), get(&counters.delivered)],
        &shared.plan.server_pids,
        &shared.plan.redis_pids,
        THREAD_PREFIX,
    )
}

/// Waits until all faults were told of, repairs included, or the bound passes. Connections live on meanwhile.
pub(super) fn await_faults(
    shared: &Shared,
    told: &Told,
    progress: &mut dyn FnMut(Progress),
) -> Vec<faults::Injected> {
    let planned = shared.plan.faults.len();
    told.wait(planned, REPORT_BOUND, || {
        let (counters, unanswered) = (&shared.counters, get(&shared.counters.in_flight));
        let (delivered, expected) = (get(&counters.delivered), get(&counters.expected));
        progress(Progress::Draining { unanswered, delivered, expected });
    })
}

/// Waits until every send is answered, every acknowledged message is with all its subscribers, and who fell behind has caught up,
/// or the plan's bound passes. Of several generators none knows by itself what is still to come: they are told.
pub(super) fn drain(shared: &Shared, progress: &mut dyn FnMut(Progress), orders: Orders<'_>) {
    let give_up = Instant::now() + Duration::from_millis(shared.plan.drain_ms);
    let counters = &shared.counters;
    loop {
        let unanswered = get(&counters.in_flight);
        let (delivered, expected) = (get(&counters.delivered), get(&counters.expected));
        progress(Progress::Draining { unanswered, delivered, expected });
        let over = match orders {
            None => unanswered == 0 && delivered >= expected && get(&counters.behind) == 0,
            Some(orders) => next_order(orders, TICK) == Some(Order::End),
        };
        if over || Instant::now() >= give_up {
            break;
        }
        if orders.is_none() {
            thread::sleep(TICK);
        }
    }
    thread::sleep(GRACE);
}
