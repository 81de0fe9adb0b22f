//! Predict, run, explain.

use std::sync::Arc;
use std::time::Duration;

use chatlab_kit::{
    LabError, LabResult,
    check::server_ms,
    ids::UserId,
    keys,
    lab::{Axis, Chart, Env, Experiment, Findings, Point, Series, VariantKind},
};
use futures_util::future::{join_all, try_join_all};

use crate::{
    Limit, RateLimiter, build, judge::worst_window, sliding_counter, sliding_log, token_bucket,
    variants::VARIANTS, world::Seen,
};

/// The lab's experiments.
pub(crate) const EXPERIMENTS: &[Experiment] = &[
    Experiment {
        name: "edge-burst",
        question: "20 a second are allowed. A client takes one, waits 0.9 s, and then asks all the time. How many does it \
                   get within one second, by variant?",
        explanation: "A counter that begins anew gives its permits before the edge and again after it. A counter that fades \
                      forgets the burst before it has left the window. A burst as large as the limit leaves no room for the \
                      refill. Only what counts, or reserves, for every window at once keeps the promise; what it gives up for \
                      that is seen in the last column.",
    },
    Experiment {
        name: "cost",
        question: "The limit grows from 10 to 10,000 takes a minute. What happens to the server's time a take, and to the \
                   bytes kept of a subject that has used all of them?",
        explanation: "One number or a few counters are as small for 10,000 permits as for 10. The log keeps a member a take: \
                      its memory grows in proportion, its time with the logarithm, and a step comes where the listpack becomes \
                      a skip list and a hash table (over 128 members).",
    },
];

/// What [`edge_burst`] limits to: enough to see, and few enough that one client on a busy machine can ask for twice as much.
const EDGE_LIMIT: Limit = Limit::new(20, 1_000);
/// How long it asks, in windows.
const EDGE_WINDOWS: u64 = 3;
/// Between two asks.
const EDGE_GAP: Duration = Duration::from_millis(4);
/// The points of its chart, in milliseconds.
const EDGE_STEP_MS: u64 = 50;

/// Variants that always decide by what is in Redis alone, all against the same demand at the same time.
pub(crate) async fn edge_burst(env: &Env) -> LabResult<Findings> {
    let names: Vec<&str> =
        VARIANTS.iter().filter(|v| v.kind != VariantKind::Exercise).map(|v| v.name).collect();
    let begin_ms = {
        let now_ms = server_ms(&mut env.redis.clone(), "edge").await?;
        // At the beginning of a window of those variants whose windows are fixed to the clock: the same for every run.
        (now_ms / EDGE_LIMIT.window_ms + 1) * EDGE_LIMIT.window_ms
    };
    let runs = try_join_all(names.iter().map(|name| demand(env, name, begin_ms))).await?;
    let mut findings = Findings::new("takes", ["worst second", "times the limit", "got in 3 s"]);
    let mut series = Vec::new();
    let (mut over, mut kept) = (Vec::new(), Vec::new());
    for (name, seen) in names.iter().zip(&runs) {
        let allowed: Vec<&Seen> = seen.iter().filter(|seen| seen.decision.allowed).collect();
        let (worst, _) = worst_window(&allowed, EDGE_LIMIT.window_ms);
        let times = worst as f64 / f64::from(EDGE_LIMIT.permits);
        findings.row(*name, [worst as f64, times, allowed.len() as f64]);
        let list = if times > 1.0 { &mut over } else { &mut kept };
        list.push(format!("{name} ({worst})"));
        series.push(Series { name: (*name).to_owned(), points: curve(&allowed, begin_ms) });
        let slowest_ms = seen.iter().map(|seen| seen.to_ms - seen.from_ms).max().unwrap_or(0);
        if slowest_ms > EDGE_LIMIT.window_ms / 10 {
            findings.note(format!(
                "{name}: one take was only known to within {slowest_ms} ms; it may have given more"
            ));
        }
    }
    findings.charts.push(Chart {
        title: "Takes allowed within the second before".into(),
        x: Axis::linear("ms since the first take"),
        y: Axis::linear("takes a second"),
        series,
    });
    let permits = EDGE_LIMIT.permits;
    findings.conclude(format!(
        "Of {permits} a second, these gave more in their worst second: {}.",
        list_of(&over)
    ));
    findings.conclude(format!("Never more than {permits}: {}.", list_of(&kept)));
    Ok(findings)
}

fn list_of(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// One take at `begin_ms`, then nothing for 0.9 of a window, then as many as possible.
async fn demand(env: &Env, variant: &str, begin_ms: u64) -> LabResult<Vec<Seen>> {
    let limiter = make(env, variant, EDGE_LIMIT)?;
    let subject = format!("edge:{}", UserId::new());
    let key = keys::rate(&subject);
    let mut redis = env.redis.clone();
    let again_ms = begin_ms + EDGE_LIMIT.window_ms * 9 / 10;
    let end_ms = begin_ms + EDGE_WINDOWS * EDGE_LIMIT.window_ms;
    let mut seen = Vec::new();
    loop {
        let from_ms = server_ms(&mut redis, &key).await?;
        if from_ms >= end_ms {
            return Ok(seen);
        }
        if from_ms >= begin_ms && (seen.is_empty() || from_ms >= again_ms) {
            let decision = limiter.take(&subject).await?;
            let to_ms = server_ms(&mut redis, &key).await?;
            seen.push(Seen { subject: 0, from_ms, to_ms, decision });
        }
        // The pace of the demand, until `end_ms`.
        tokio::time::sleep(EDGE_GAP).await;
    }
}

/// At each moment, the takes allowed within the window that ends there.
fn curve(allowed: &[&Seen], begin_ms: u64) -> Vec<Point> {
    let window_ms = EDGE_LIMIT.window_ms;
    let moments = (0..=EDGE_WINDOWS * window_ms / EDGE_STEP_MS).map(|i| i * EDGE_STEP_MS);
    let count = |at_ms: u64| {
        let end_ms = begin_ms + at_ms;
        allowed.iter().filter(|seen| seen.to_ms <= end_ms && seen.to_ms + window_ms > end_ms).count()
    };
    moments.map(|at_ms| Point::at(at_ms as f64, count(at_ms) as f64)).collect()
}

fn make(env: &Env, variant: &str, limit: Limit) -> LabResult<Arc<dyn RateLimiter>> {
    build(variant, env.redis.clone(), limit).ok_or_else(|| LabError::Other(format!("no variant {variant}")))
}

/// The limits measured by [`cost`].
const PERMITS: [u32; 4] = [10, 100, 1_000, 10_000];
/// Takes measured for each, at least.
const TAKES: u32 = 2_000;
/// Takes in flight.
const IN_FLIGHT: usize = 50;
/// So long that nothing comes back while it is measured.
const COST_WINDOW_MS: u64 = 60 * 60 * 1000;

/// Where a variant keeps a subject.
type KeyOf = fn(&str) -> String;

const COSTED: [(&str, KeyOf); 4] = [
    ("gcra", keys::rate),
    ("sliding_log", sliding_log::key),
    ("sliding_counter", sliding_counter::key),
    ("token_bucket", token_bucket::key),
];

/// The server's own time a take (`INFO commandstats`) and bytes (`MEMORY USAGE key SAMPLES 0`), by limit.
pub(crate) async fn cost(env: &Env) -> LabResult<Findings> {
    let mut findings = Findings::new("by permits", PERMITS.map(|permits| format!("{permits}")));
    let (mut times, mut sizes) = (Vec::new(), Vec::new());
    for (variant, key) in COSTED {
        let (mut micros, mut bytes) = (Vec::new(), Vec::new());
        for permits in PERMITS {
            let (us, size) = cost_of(env, variant, key, permits).await?;
            micros.push(us);
            bytes.push(size);
        }
        times.push((variant, micros));
        sizes.push((variant, bytes));
    }
    for (unit, table) in [("µs a take", &times), ("bytes", &sizes)] {
        for (variant, numbers) in table {
            findings.row(format!("{variant}, {unit}"), numbers.clone());
        }
        findings.charts.push(chart(unit, table));
    }
    let last = PERMITS.len() - 1;
    for (variant, bytes) in &sizes {
        let (from, to) = (bytes[0], bytes[last]);
        let grows =
            format!("{variant}: {from:.0} bytes for {} permits, {to:.0} for {}", PERMITS[0], PERMITS[last]);
        let us = times.iter().find(|(name, _)| name == variant).map(|(_, us)| (us[0], us[last]));
        let (first_us, last_us) = us.unwrap_or_default();
        findings.conclude(format!("{grows}; a take costs the server {first_us:.1} and {last_us:.1} µs."));
    }
    findings.note("Only the server's own time is counted: a round trip costs a client many times more.");
    Ok(findings)
}

fn chart(unit: &str, table: &[(&str, Vec<f64>)]) -> Chart {
    let points = |numbers: &[f64]| {
        PERMITS.iter().zip(numbers).map(|(permits, y)| Point::at(f64::from(*permits), *y)).collect()
    };
    let series = table.iter().map(|(name, n)| Series { name: (*name).to_owned(), points: points(n) });
    Chart {
        title: format!("{unit} by permits"),
        x: Axis::log("permits a window"),
        y: if unit == "bytes" {
            Axis::log("bytes a subject")
        } else {
            Axis::linear("µs of the server a take")
        },
        series: series.collect(),
    }
}

/// Server microseconds a take, and bytes of a subject that has asked for all permits.
async fn cost_of(env: &Env, variant: &str, key: KeyOf, permits: u32) -> LabResult<(f64, f64)> {
    let limiter = make(env, variant, Limit::new(permits, COST_WINDOW_MS))?;
    let run = UserId::new();
    let subjects: Vec<String> = (0..(TAKES / permits).max(1)).map(|n| format!("cost:{run}:{n}")).collect();
    // Loads the script, so that only EVALSHA runs below.
    limiter.take(&format!("cost:{run}:warm")).await?;
    let (calls, us) = evalsha(env).await?;
    for subject in &subjects {
        let mut left = permits as usize;
        while left > 0 {
            let now = left.min(IN_FLIGHT);
            let answers = join_all((0..now).map(|_| limiter.take(subject))).await;
            answers.into_iter().collect::<LabResult<Vec<_>>>()?;
            left -= now;
        }
    }
    let (calls_after, us_after) = evalsha(env).await?;
    let mut bytes = 0_u64;
    for subject in &subjects {
        let mut usage = redis::cmd("MEMORY");
        usage.arg("USAGE").arg(key(subject)).arg("SAMPLES").arg(0);
        bytes += usage.query_async::<Option<u64>>(&mut env.redis.clone()).await?.unwrap_or(0);
        let () = redis::cmd("UNLINK").arg(key(subject)).query_async(&mut env.redis.clone()).await?;
    }
    // Far below 2^52: exact.
    let per_take = (us_after - us) as f64 / (calls_after - calls).max(1) as f64;
    Ok((per_take, bytes as f64 / subjects.len() as f64))
}

/// How many EVALSHA the masters ran, and for how many microseconds.
async fn evalsha(env: &Env) -> LabResult<(u64, u64)> {
    let masters = env.redis.primaries().await?;
    let (mut calls, mut us) = (0, 0);
    for (address, mut node) in env.redis.each_node().await? {
        if !masters.contains(&address) {
            continue;
        }
        let info: String = redis::cmd("INFO").arg("commandstats").query_async(&mut node).await?;
        let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:"));
        for field in line.unwrap_or_default().split(',') {
            match field.split_once('=') {
                Some(("calls", n)) => calls += n.parse::<u64>().unwrap_or(0),
                Some(("usec", n)) => us += n.parse::<u64>().unwrap_or(0),
                _ => {}
            }
        }
    }
    Ok((calls, us))
}
