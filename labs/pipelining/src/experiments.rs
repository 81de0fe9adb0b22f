//! Predict, run, explain.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chatlab_kit::{
    LabError, LabResult,
    budget::round_trips as trips_of,
    ids::{RoomId, UserId},
    keys::RoomKeys,
    lab::{Axis, Chart, Env, Experiment, Findings, Point, Series},
    proxy::Proxy,
    redis::{Redis, RedisConfig},
    slots::slot,
};

use crate::{
    Draft, Script, SendPath, build,
    memory::{Masters, queued_bytes},
    races::cid,
};

/// The lab's experiments.
pub(crate) const EXPERIMENTS: &[Experiment] = &[
    Experiment {
        name: "round-trips",
        question: "The network between the server and Redis takes 0, 1 or 5 ms a round trip. How long does a send take, by \
                   variant?",
        explanation: "A send takes its round trips times the network's, and little else: the commands themselves cost \
                      microseconds. On one machine five round trips look harmless; 5 ms away they are 25 ms. What saves time \
                      is not fewer commands but fewer waits.",
    },
    Experiment {
        name: "batch",
        question: "A thousand messages are sent in batches of 1, 3, 10 … 1,000, over a network of 1 ms. How long does a \
                   message take, how long does the first one of a batch wait, and what does the server hold for the client?",
        explanation: "The round trip is shared by the batch: at first ten times the batch is nearly a tenth of the time. Then \
                      the work itself remains, and a larger batch buys nothing: but its first message waits for its \
                      last, and the server holds what it has read and not answered. Hence a bound.",
    },
];

/// The networks of [`round_trips`], in milliseconds a round trip.
const NETWORKS_MS: [u64; 3] = [0, 1, 5];
/// The variants of [`round_trips`].
const COMPARED: [&str; 6] = ["script", "function", "watch", "sequential", "pipeline", "multi_blind"];
/// Sends measured, by variant and network.
const SENDS: usize = 25;

fn make(variant: &str, redis: Redis) -> LabResult<Arc<dyn SendPath>> {
    build(variant, redis).ok_or_else(|| LabError::Other(format!("no variant {variant}")))
}

/// A handle through a proxy, whose latency can be set.
async fn far_away(env: &Env) -> LabResult<(Proxy, Redis)> {
    let config = env.redis.config();
    let proxy = Proxy::start(config.topology, &config.nodes).await?;
    let redis = Redis::connect(&RedisConfig { nodes: proxy.addrs(), ..config.clone() }).await?;
    Ok((proxy, redis))
}

fn drafts(room: RoomId, from: UserId, first: usize, count: usize) -> LabResult<Vec<Draft>> {
    let draft = |n: usize| {
        let body = format!("message {n}: the tide is in and everybody is on board");
        Ok(Draft { room, from, cid: cid(&format!("c{n}"))?, body })
    };
    (first..first + count).map(draft).collect()
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Commands and round trips of a send, and its median time over three networks.
pub(crate) async fn round_trips(env: &Env) -> LabResult<Findings> {
    let (proxy, redis) = far_away(env).await?;
    let mut findings = Findings::new(
        "a send",
        ["commands".to_owned(), "round trips".to_owned()]
            .into_iter()
            .chain(NETWORKS_MS.map(|ms| format!("ms at {ms} ms"))),
    );
    let mut subjects = Vec::new();
    for name in COMPARED {
        let (traced, trace) = redis.traced();
        let path = make(name, traced)?;
        let all = drafts(RoomId::new(), UserId::new(), 0, SENDS * NETWORKS_MS.len() + 2)?;
        // The first may load code and open connections.
        for draft in &all[..2] {
            trace.clear();
            path.send(&draft.room, &draft.from, &draft.cid, &draft.body).await?;
        }
        let entries = trace.entries();
        let commands = entries.iter().filter(|entry| !entry.push).count();
        subjects.push((name, path, all.into_iter().skip(2), commands as f64, trips_of(&entries) as f64));
    }
    let mut times = vec![Vec::new(); COMPARED.len()];
    for network_ms in NETWORKS_MS {
        proxy.set_latency(Duration::from_millis(network_ms));
        let mut taken = vec![Vec::with_capacity(SENDS); COMPARED.len()];
        for _ in 0..SENDS {
            for ((_, path, left, ..), taken) in subjects.iter_mut().zip(&mut taken) {
                let Some(draft) = left.next() else { continue };
                let began = Instant::now();
                path.send(&draft.room, &draft.from, &draft.cid, &draft.body).await?;
                taken.push(began.elapsed().as_secs_f64() * 1000.0);
            }
        }
        for (times, taken) in times.iter_mut().zip(taken) {
            times.push(median(taken));
        }
    }
    let mut series = Vec::new();
    for ((name, _, _, commands, trips), times) in subjects.iter().zip(&times) {
        findings.row(*name, [&[*commands, *trips], times.as_slice()].concat());
        let points = NETWORKS_MS.iter().zip(times).map(|(ms, y)| Point::at(*ms as f64, *y)).collect();
        series.push(Series { name: (*name).to_owned(), points });
    }
    findings.charts.push(Chart {
        title: "A send by the network's round trip".into(),
        x: Axis::linear("ms a round trip of the network"),
        y: Axis::linear("ms a send, median"),
        series,
    });
    // Between the last two: a timer that rounds up does so at both.
    let slope = |times: &[f64]| (times[2] - times[1]) / (NETWORKS_MS[2] - NETWORKS_MS[1]) as f64;
    for ((name, _, _, _, trips), times) in subjects.iter().zip(&times) {
        findings.conclude(format!(
            "{name}: {trips} round trip{}; each further ms of network made a send {:.1} ms longer.",
            if *trips > 1.0 { "s" } else { "" },
            slope(times)
        ));
    }
    findings.note(
        "Medians of sends that took turns. The proxy adds a little to every round trip, also at 0 ms; its timer rounds up to whole \
         ms, and so adds about one more at 1 and at 5 ms.",
    );
    findings.note("sequential, pipeline and multi_blind do not keep the port's promises; they are here for their round trips.");
    Ok(findings)
}

/// The sizes of [`batch`].
const SIZES: [usize; 7] = [1, 3, 10, 30, 100, 300, 1_000];
/// The network of [`batch`], in milliseconds a round trip.
const BATCH_NETWORK_MS: u64 = 1;
/// The messages of one run at a size: at least one batch, and at most so many.
const BATCHES_MAX: usize = 40;
/// Runs of all sizes, in turn.
const RUNS: usize = 3;

/// What [`batch`] found for one size.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    count: f64,
    each_us: f64,
    whole_us: f64,
    seen_bytes: f64,
    queued_bytes: f64,
}

/// Time a message, time a batch, messages a second and the server's memory for clients, by the size of a batch.
pub(crate) async fn batch(env: &Env) -> LabResult<Findings> {
    let (proxy, redis) = far_away(env).await?;
    proxy.set_latency(Duration::from_millis(BATCH_NETWORK_MS));
    let path = make("script", redis)?;
    let (room, from) = (RoomId::new(), UserId::new());
    // The first may load the script.
    path.send_many(&drafts(room, from, 0, 1)?).await?;
    let mut next = 1;
    let mut more = |count: usize| {
        next += count;
        drafts(room, from, next - count, count)
    };
    let mut masters = Masters::of(&env.redis).await?;
    let mut times = vec![Vec::new(); SIZES.len()];
    let mut peaks = [0_u64; SIZES.len()];
    for _ in 0..RUNS {
        for (i, size) in SIZES.into_iter().enumerate() {
            for _ in 0..(SIZES[SIZES.len() - 1] / size).min(BATCHES_MAX) {
                let of = more(size)?;
                let began = Instant::now();
                path.send_many(&of).await?;
                times[i].push(began.elapsed().as_secs_f64() * 1e6);
            }
            // Not in the timed runs: asking for the memory takes the server's time.
            let of = more(size)?;
            let (_, peak) = masters.peak_during(path.send_many(&of)).await?;
            peaks[i] = peaks[i].max(peak);
        }
    }
    let owners = env.redis.slot_owners().await?;
    let owner = owners.owner_of(slot(RoomKeys::new(&room).meta().as_bytes())).unwrap_or_default();
    let mut rows = Vec::new();
    for ((size, times), peak) in SIZES.into_iter().zip(times).zip(peaks) {
        let of = more(size)?;
        let calls = of.iter().map(|draft| Script::call("script", draft).by_sha());
        let queued = queued_bytes(&env.redis, owner, calls).await?;
        let whole_us = median(times);
        rows.push(Size {
            count: size as f64,
            each_us: whole_us / size as f64,
            whole_us,
            seen_bytes: peak as f64,
            queued_bytes: queued as f64,
        });
    }
    Ok(batch_findings(&rows))
}

fn batch_findings(rows: &[Size]) -> Findings {
    let columns = ["µs a message", "µs a batch", "messages a s", "bytes seen", "MULTI bytes"];
    let mut findings = Findings::new("batch of", columns);
    for row in rows {
        let numbers = [row.each_us, row.whole_us, 1e6 / row.each_us, row.seen_bytes, row.queued_bytes];
        findings.row(row.count.to_string(), numbers);
    }
    charts(&mut findings, rows);
    let one = rows.first().copied().unwrap_or_default();
    let many = rows.last().copied().unwrap_or_default();
    findings.conclude(format!(
        "One by one a message took {:.0} µs; in batches of {} it took {:.0} µs: {:.0} times less.",
        one.each_us,
        many.count,
        many.each_us,
        one.each_us / many.each_us
    ));
    let best = rows.iter().map(|row| row.each_us).fold(f64::INFINITY, f64::min);
    if let Some(enough) = rows.iter().find(|row| row.each_us <= best * 2.0) {
        findings.conclude(format!(
            "Batches of {} already come within twice the best, and the first message waits {:.1} ms for its answer; in \
             batches of {} it waits {:.1} ms.",
            enough.count,
            enough.whole_us / 1000.0,
            many.count,
            many.whole_us / 1000.0
        ));
    }
    findings.conclude(format!(
        "Queued in a MULTI, {} sends are {:.0} bytes in the server until EXEC; as a pipeline the server works through them as \
         they come: at most {:.0} bytes above the rest were seen.",
        many.count, many.queued_bytes, many.seen_bytes
    ));
    findings.note(
        "Bytes: tot-mem of CLIENT LIST. Seen: the most over all clients while a pipeline was under way, asked again and again, so a \
         peak between two looks is missed. MULTI bytes: exact, looked at before DISCARD.",
    );
    findings.note(
        "A client that sends on and does not read its answers is another matter: these wait in the server up to \
         client-output-buffer-limit. The next batch only after the answer to the last one (`send_all`) avoids it.",
    );
    findings
}

fn charts(findings: &mut Findings, rows: &[Size]) {
    type Of = fn(&Size) -> f64;
    let points = |of: Of| rows.iter().map(|row| Point::at(row.count, of(row))).collect::<Vec<_>>();
    let line = |name: &str, of: Of| Series { name: name.to_owned(), points: points(of) };
    findings.charts.push(Chart {
        title: "Time by the size of a batch".into(),
        x: Axis::log("messages a batch"),
        y: Axis::log("µs, median"),
        series: vec![line("a message", |row| row.each_us), line("the first one's wait", |row| row.whole_us)],
    });
    findings.charts.push(Chart {
        title: "Memory of the server for its clients".into(),
        x: Axis::log("messages a batch"),
        y: Axis::log("bytes"),
        series: vec![
            line("pipeline, seen at most", |row| row.seen_bytes),
            line("queued in MULTI", |row| row.queued_bytes),
        ],
    });
}
