//! Of a whole run: memory and panics all the while, and at its end whether the server has let go of everything.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::time::Instant;

use super::{
    Field, MAX_GROWTH_BYTES, MAX_PEAK_BYTES, lock,
    report::{Failure, Report},
    watch::{Log, Look, Memory, look, ready, rss_bytes},
};
use crate::http::HttpClient;

/// How often memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// How often the server is asked whether something panicked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Within this after the last input all connections are gone from the server.
const RELEASE_BOUND: Duration = Duration::from_secs(30);
/// Descriptors that may come on top: connections to Redis and to the database that are opened when needed.
const SPARE_DESCRIPTORS: usize = 16;

/// Until the time is over or something is wrong; memory all the while.
pub(super) async fn watch_over(
    field: &Field,
    http: &HttpClient,
    before: Look,
    tell: &mut (dyn FnMut(u64, u64) + Send),
) -> Vec<u64> {
    let mut samples = Vec::from_iter(before.rss_bytes);
    let until = Instant::now() + field.options.time;
    let mut looked = Instant::now();
    while Instant::now() < until && !field.stopped() {
        tokio::time::sleep(SAMPLE_EVERY).await;
        samples.extend(rss_bytes(field.target.pid));
        if looked.elapsed() < LOOK_EVERY {
            continue;
        }
        looked = Instant::now();
        tell(field.next.load(Relaxed), field.inputs.load(Relaxed));
        match look(http, field.target.pid).await {
            Ok(seen) if seen.panics > before.panics => field.stop.store(true, Relaxed),
            Ok(_) => {}
            Err(why) => field.fail(Failure::of_run(format!("the server does not answer: {why}"))),
        }
    }
    samples
}

/// Waits until the server has let go of everything; what it holds then, and how long that took.
pub(super) async fn released(
    field: &Field,
    http: &HttpClient,
    before: Look,
) -> (Result<Look, String>, Duration) {
    let began = Instant::now();
    loop {
        let seen = look(http, field.target.pid).await;
        let free = seen.as_ref().is_ok_and(|seen| is_free(*seen, before));
        if free || began.elapsed() > RELEASE_BOUND {
            return (seen, began.elapsed());
        }
        tokio::time::sleep(SAMPLE_EVERY).await;
    }
}

fn is_free(seen: Look, before: Look) -> bool {
    let descriptors = match (seen.descriptors, before.descriptors) {
        (Some(seen), Some(before)) => seen <= before + SPARE_DESCRIPTORS,
        _ => true,
    };
    let gauges =
        [(seen.connections, before.connections), (seen.sockets, before.sockets), (seen.rooms, before.rooms)];
    gauges.iter().all(|(seen, before)| seen <= before) && descriptors
}

pub(super) async fn conclude(
    field: &Field,
    http: &HttpClient,
    (before, (after, release)): (Look, (Result<Look, String>, Duration)),
    samples: &[u64],
    took: Duration,
) -> Report {
    let mut failures = std::mem::take(&mut *lock(&field.failures));
    let mut wrong = |what: String| failures.push(Failure::of_run(what));
    match &after {
        Ok(after) if !is_free(*after, before) => {
            wrong(format!("not let go within {RELEASE_BOUND:?}: {after:?}, before the run {before:?}"));
        }
        Ok(_) => {}
        Err(why) => wrong(format!("the server does not answer: {why}")),
    }
    let memory = Memory::of(samples);
    if let Some(memory) = memory {
        if memory.growth() > MAX_GROWTH_BYTES {
            wrong(format!("memory grew by {} bytes over the second half", memory.growth()));
        }
        if memory.highest > memory.before + MAX_PEAK_BYTES {
            wrong(format!("memory went from {} to {} bytes", memory.before, memory.highest));
        }
    }
    if let Err(why) = ready(http).await {
        wrong(why);
    }
    let after = after.unwrap_or_default();
    let log = Log::read(&field.target.log);
    if after.panics > before.panics || !log.panics.is_empty() {
        let found = field.find_panic(http, after.panics).await;
        let unknown = || Failure::of_run(format!("the server panicked: {:?}", log.panics));
        failures.insert(0, found.unwrap_or_else(unknown));
    }
    let tally = std::mem::take(&mut *lock(&field.tally));
    Report::new(&field.options, tally, failures, (before, after, release), memory, log, took)
}
