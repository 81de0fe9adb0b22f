//! Predict, run, explain.

use std::time::Instant;

use chatlab_kit::{
    LabResult,
    ids::UserId,
    keys,
    lab::{Axis, Chart, Env, Experiment, Findings, Point, Series},
    redis::Redis,
};

/// The lab's experiments.
pub(crate) const EXPERIMENTS: &[Experiment] = &[
    Experiment {
        name: "memory",
        question: "10,000 events of about 100 bytes. What does one cost in a stream, a list, a sorted set, a hash?",
        explanation: "A stream packs about a hundred entries into a listpack and does not repeat the names of equal fields; a \
                      list packs as tightly, and has no ids. A sorted set pays for a skip list node and a hash table entry a \
                      member, a hash for an entry and two strings a field.",
    },
    Experiment {
        name: "trim",
        question: "5,000 events come, a slow group reads a part of them, MAXLEN keeps 1,000. How many did the group never see?",
        explanation: "MAXLEN counts entries and looks at no group. A trim by MINID below the slowest group's position keeps \
                      what is not read: then memory grows instead, and the group's lag must be watched.",
    },
    Experiment {
        name: "throughput",
        question: "A consumer reads, works and acknowledges. How many events a second by batches of 1, 10 and 100?",
        explanation: "With 1 an event costs two round trips, with 100 a fiftieth of that. What a crash leaves behind for \
                      others grows with the batch.",
    },
];

/// Commands of one pipeline.
const PIPE: usize = 500;

fn key(run: &UserId, name: &str) -> String {
    keys::lab(&run.to_string(), "experiment", name)
}

/// The text of the `n`-th event.
fn text(n: usize) -> String {
    format!("room {n:0>8} from 192.0.2.{} with a client of some kind", n % 250)
}

/// Sends the commands that `add` makes for `0..count`.
async fn fill(redis: &Redis, count: usize, add: impl Fn(&mut redis::Pipeline, usize)) -> LabResult<()> {
    for first in (0..count).step_by(PIPE) {
        let mut pipe = redis::pipe();
        (first..count.min(first + PIPE)).for_each(|n| add(&mut pipe, n));
        let () = pipe.query_async(&mut redis.clone()).await?;
    }
    Ok(())
}

fn xadd(pipe: &mut redis::Pipeline, key: &str, n: usize) {
    let fields =
        ["actor", &format!("u{}", n % 100), "action", "room.joined", "text", &text(n)].map(str::to_owned);
    pipe.cmd("XADD").arg(key).arg("*").arg(&fields).ignore();
}

fn json(n: usize) -> String {
    serde_json::json!({ "actor": format!("u{}", n % 100), "action": "room.joined", "text": text(n) })
        .to_string()
}

const SIZES: [usize; 3] = [100, 1_000, 10_000];

/// Bytes an event (`MEMORY USAGE key SAMPLES 0`), by structure and length.
pub(crate) async fn memory(env: &Env) -> LabResult<Findings> {
    let mut findings = Findings::new("bytes an event", SIZES.map(|size| format!("{size} events")));
    let mut series = Vec::new();
    let mut last = Vec::new();
    for name in ["stream", "list", "zset", "hash"] {
        let mut bytes = Vec::new();
        for size in SIZES {
            let key = key(&UserId::new(), name);
            fill(&env.redis, size, |pipe, n| match name {
                "stream" => xadd(pipe, &key, n),
                "list" => _ = pipe.cmd("RPUSH").arg(&key).arg(json(n)).ignore(),
                "zset" => _ = pipe.cmd("ZADD").arg(&key).arg(n).arg(format!("{n} {}", json(n))).ignore(),
                _ => _ = pipe.cmd("HSET").arg(&key).arg(n).arg(json(n)).ignore(),
            })
            .await?;
            let mut usage = redis::cmd("MEMORY");
            usage.arg("USAGE").arg(&key).arg("SAMPLES").arg(0);
            let used: u64 = usage.query_async(&mut env.redis.clone()).await?;
            let () = redis::cmd("UNLINK").arg(&key).query_async(&mut env.redis.clone()).await?;
            bytes.push(used as f64 / size as f64);
        }
        let points = SIZES.iter().zip(&bytes).map(|(x, y)| Point::at(*x as f64, *y)).collect();
        series.push(Series { name: name.to_owned(), points });
        last.push((name, bytes[SIZES.len() - 1]));
        findings.row(name, bytes);
    }
    let stream = last[0].1;
    for (name, bytes) in &last[1..] {
        findings.conclude(format!(
            "{name}: {bytes:.0} bytes an event, {:.2} times a stream's {stream:.0}.",
            bytes / stream
        ));
    }
    findings.note("The stream repeats no names of fields; the others hold the event as JSON, with names.");
    findings.charts.push(Chart {
        title: "Bytes an event".into(),
        x: Axis::log("events"),
        y: Axis::linear("bytes an event"),
        series,
    });
    Ok(findings)
}

/// Events that come.
const COMING: usize = 5_000;
/// Between two trims.
const ROUND: usize = 500;
/// What MAXLEN keeps.
const KEPT: usize = 1_000;

/// What a slow group never sees, by the share that it keeps up with.
pub(crate) async fn trim(env: &Env) -> LabResult<Findings> {
    let columns = ["lost, MAXLEN", "left, MAXLEN", "lost, MINID", "left, MINID"];
    let mut findings = Findings::new("share read", columns);
    let mut points = Vec::new();
    for percent in [100_usize, 75, 50, 25] {
        let (lost_maxlen, left_maxlen) = trimmed(&env.redis, percent, false).await?;
        let (lost_minid, left_minid) = trimmed(&env.redis, percent, true).await?;
        let row = [lost_maxlen, left_maxlen, lost_minid, left_minid].map(|n| n as f64);
        findings.row(format!("{percent} %"), row);
        points.push(Point::at(percent as f64, lost_maxlen as f64));
        findings.conclude(format!(
            "A group that keeps up with {percent} %: MAXLEN {KEPT} lost {lost_maxlen} of {COMING} events; MINID lost \
             {lost_minid} and left {left_minid} in the log."
        ));
    }
    findings.charts.push(Chart {
        title: format!("Events lost by MAXLEN {KEPT}"),
        x: Axis::linear("% that the group keeps up with"),
        y: Axis::linear("events lost"),
        series: vec![Series { name: "MAXLEN".into(), points }],
    });
    Ok(findings)
}

/// Entries never seen by the group, and entries left before it reads the rest.
async fn trimmed(redis: &Redis, percent: usize, safe: bool) -> LabResult<(usize, usize)> {
    let key = key(&UserId::new(), "trim");
    let mut one = redis.clone();
    let mut create = redis::cmd("XGROUP");
    let () =
        create.arg("CREATE").arg(&key).arg("slow").arg("0").arg("MKSTREAM").query_async(&mut one).await?;
    let mut seen = 0;
    for _ in 0..COMING / ROUND {
        fill(redis, ROUND, |pipe, n| xadd(pipe, &key, n)).await?;
        seen += read(redis, &key, ROUND * percent / 100).await?.len();
        if safe {
            let _: u64 = crate::stream_groups::TRIM.call().key(&key).run(&mut one).await?;
        } else {
            let mut trim = redis::cmd("XTRIM");
            let _: u64 = trim.arg(&key).arg("MAXLEN").arg("=").arg(KEPT).query_async(&mut one).await?;
        }
    }
    let left: usize = redis::cmd("XLEN").arg(&key).query_async(&mut one).await?;
    seen += read(redis, &key, COMING).await?.len();
    let () = redis::cmd("UNLINK").arg(&key).query_async(&mut one).await?;
    Ok((COMING - seen, left))
}

/// Reads and acknowledges at most `count`: two round trips.
async fn read(redis: &Redis, key: &str, count: usize) -> LabResult<Vec<String>> {
    let mut one = redis.clone();
    let mut read = redis::cmd("XREADGROUP");
    read.arg("GROUP").arg("slow").arg("c").arg("COUNT").arg(count).arg("STREAMS").arg(key).arg(">");
    type Streams = Vec<(String, Vec<crate::stream_groups::Entry>)>;
    let streams: Option<Streams> = read.query_async(&mut one).await?;
    let entries = streams.unwrap_or_default().into_iter().flat_map(|(_, entries)| entries);
    let ids: Vec<String> = entries.map(|(id, _)| id).collect();
    if !ids.is_empty() {
        let _: u64 = redis::cmd("XACK").arg(key).arg("slow").arg(&ids).query_async(&mut one).await?;
    }
    Ok(ids)
}

const BATCHES: [usize; 3] = [1, 10, 100];
/// Events of one run.
const EVENTS: usize = 2_000;
/// Runs of each batch, by turns.
const RUNS: usize = 5;

/// Events a second, by batch.
pub(crate) async fn throughput(env: &Env) -> LabResult<Findings> {
    let mut rates = BATCHES.map(|_| Vec::new());
    for _ in 0..RUNS {
        for (batch, rates) in BATCHES.iter().zip(&mut rates) {
            rates.push(consume(&env.redis, *batch).await?);
        }
    }
    let mut findings = Findings::new("events/s", ["slowest", "median", "fastest"]);
    let mut points = Vec::new();
    let mut medians = Vec::new();
    for (batch, rates) in BATCHES.iter().zip(&mut rates) {
        rates.sort_by(f64::total_cmp);
        let (slowest, median, fastest) = (rates[0], rates[RUNS / 2], rates[RUNS - 1]);
        findings.row(format!("batches of {batch}"), [slowest, median, fastest]);
        points.push(Point { x: *batch as f64, y: median, interval: Some((slowest, fastest)) });
        medians.push(median);
    }
    for (batch, median) in BATCHES.iter().zip(&medians).skip(1) {
        findings.conclude(format!(
            "Batches of {batch}: {median:.0} events a second, {:.1} times as many as one by one.",
            median / medians[0]
        ));
    }
    findings.note(format!("{RUNS} runs of {EVENTS} events each, by turns; one connection, nothing but reading and acknowledging."));
    findings.charts.push(Chart {
        title: "Events a second of one consumer".into(),
        x: Axis::log("events a batch"),
        y: Axis::log("events a second"),
        series: vec![Series { name: "XREADGROUP + XACK".into(), points }],
    });
    Ok(findings)
}

async fn consume(redis: &Redis, batch: usize) -> LabResult<f64> {
    let key = key(&UserId::new(), "throughput");
    let mut one = redis.clone();
    fill(redis, EVENTS, |pipe, n| xadd(pipe, &key, n)).await?;
    let mut create = redis::cmd("XGROUP");
    let () = create.arg("CREATE").arg(&key).arg("slow").arg("0").query_async(&mut one).await?;
    let began = Instant::now();
    let mut seen = 0;
    for _ in 0..EVENTS.div_ceil(batch) {
        seen += read(redis, &key, batch).await?.len();
    }
    let rate = seen as f64 / began.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
    let () = redis::cmd("UNLINK").arg(&key).query_async(&mut one).await?;
    Ok(rate)
}
