//! Measured growth against the documented Big-O.

use std::time::Instant;

use chatlab_kit::{
    LabError, LabResult,
    growth::{Assessment, Claim, Growth, Sized, judge},
    keys,
    lab::{Axis, Chart, Env, Findings, Point, Series},
    lua::{Call, Script},
    slots::slot,
};
use redis::{Cmd, aio::MultiplexedConnection};

/// The sizes measured.
const SIZES: [u64; 6] = [1_000, 3_000, 10_000, 30_000, 100_000, 200_000];
/// How often all sizes are gone through.
const ROUNDS: usize = 11;
/// Elements that one call of the script lays out.
const FILL_STEP: u64 = 2_000;
/// Messages a page.
const PAGE: u64 = 10;
/// How often the client times one operation in a round.
const CLIENT_CALLS: usize = 11;

pub(crate) static FILL: Script = Script::new(
    "history/fill",
    include_str!("../../../../lua/history/fill.lua"),
    &["zset", "list", "stream", "hash"],
    &["first", "last"],
);

/// A call of [`FILL`] with its keys.
pub(crate) fn fill_call(tag: &str, n: u64) -> Call {
    FILL.keys.iter().fold(FILL.call(), |call, name| call.key(key(tag, name, n)))
}

fn key(tag: &str, structure: &str, n: u64) -> String {
    keys::lab(tag, "growth", &format!("{structure}{n}"))
}

/// An operation on a structure of some size.
struct Operation {
    name: &'static str,
    /// As `INFO commandstats` calls it.
    verb: &'static str,
    documented: Growth,
    /// Calls in one round.
    calls: u64,
    /// The `i`-th call.
    call: fn(tag: &str, n: u64, i: u64) -> Cmd,
}

/// An index near the middle: a list is made of blocks, and where in its block an element lies is chance.
fn middle(n: u64, i: u64) -> u64 {
    n / 2 - 100 + i * 7 % 200
}

const OPERATIONS: [Operation; 7] = [
    Operation {
        name: "HGET",
        verb: "hget",
        documented: Growth::Constant,
        calls: 200,
        call: |tag, n, _| redis::cmd("HGET").arg(key(tag, "hash", n)).arg(n / 2).clone(),
    },
    Operation {
        name: "XRANGE 10 by id",
        verb: "xrange",
        documented: Growth::Constant,
        calls: 200,
        call: |tag, n, _| {
            redis::cmd("XRANGE").arg(key(tag, "stream", n)).arg(n / 2).arg("+").arg("COUNT").arg(PAGE).clone()
        },
    },
    Operation {
        name: "ZADD",
        verb: "zadd",
        documented: Growth::Log,
        calls: 200,
        // Moves members from one random place to another.
        call: |tag, n, i| {
            let at = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % n + 1;
            redis::cmd("ZADD").arg(key(tag, "zset", n)).arg(at(i + 1)).arg(format!("m:{}", at(i))).clone()
        },
    },
    Operation {
        name: "ZRANGE 10 by score",
        verb: "zrange",
        documented: Growth::Log,
        calls: 200,
        call: |tag, n, _| {
            let mut cmd = redis::cmd("ZRANGE");
            cmd.arg(key(tag, "zset", n)).arg(n / 2).arg("+inf").arg("BYSCORE").arg("LIMIT").arg(0).arg(PAGE);
            cmd
        },
    },
    Operation {
        name: "LINDEX, middle",
        verb: "lindex",
        documented: Growth::Linear,
        calls: 100,
        call: |tag, n, i| redis::cmd("LINDEX").arg(key(tag, "list", n)).arg(middle(n, i)).clone(),
    },
    Operation {
        name: "LRANGE 10, middle",
        verb: "lrange",
        documented: Growth::Linear,
        calls: 100,
        call: |tag, n, i| {
            let at = middle(n, i);
            redis::cmd("LRANGE").arg(key(tag, "list", n)).arg(at).arg(at + PAGE - 1).clone()
        },
    },
    Operation {
        name: "LPOS, not there",
        verb: "lpos",
        documented: Growth::Linear,
        calls: 3,
        call: |tag, n, _| redis::cmd("LPOS").arg(key(tag, "list", n)).arg("nobody").clone(),
    },
];

/// The samples of one operation at all sizes.
#[derive(Default)]
struct Samples {
    server_us: Vec<Vec<f64>>,
    client_us: Vec<Vec<f64>>,
    ping_us: Vec<Vec<f64>>,
}

/// Microseconds a call by size, in the server and at the client, and what they say about the documented growth.
pub(crate) async fn growth(env: &Env) -> LabResult<Findings> {
    let tag = format!("growth{}", env.seed);
    let mut node = owner(env, &key(&tag, "zset", SIZES[0])).await?;
    lay_out(&mut node, &tag).await?;
    let samples = measure(&mut node, &tag).await;
    clean_up(&mut node, &tag).await?;
    let samples = samples?;

    let mut findings = Findings::new("µs a call", SIZES.map(|n| n.to_string()));
    let mut server_lines = Vec::new();
    let mut client_lines = Vec::new();
    for (operation, samples) in OPERATIONS.iter().zip(&samples) {
        let seed = env.seed;
        let server = judge(&sized(&samples.server_us, None), operation.documented, seed);
        let client = judge(&sized(&samples.client_us, Some(&samples.ping_us)), operation.documented, seed);
        findings.row(operation.name, curve(&samples.server_us));
        findings.row(format!("{} (client)", operation.name), curve(&samples.client_us));
        say(&mut findings, &format!("{}, in the server", operation.name), &server);
        say(&mut findings, &format!("{}, at the client", operation.name), &client);
        server_lines.push(line(operation.name, &server, &samples.server_us));
        client_lines.push(line(operation.name, &client, &samples.client_us));
    }
    if let Some(first) = samples.first() {
        findings.row("PING (client)", curve(&first.ping_us));
        client_lines.push(Series { name: "PING".into(), points: points(&first.ping_us) });
    }
    for (title, series) in [("In the server", server_lines), ("At the client", client_lines)] {
        findings.charts.push(Chart {
            title: title.into(),
            x: Axis::log("elements"),
            y: Axis::log("µs a call"),
            series,
        });
    }
    findings.note(format!(
        "{ROUNDS} rounds through all sizes; lower quartiles. In the server: INFO commandstats, its own clock. At the client: one call at a \
         time, floor: PING. Intervals: 95 %, bootstrap over rounds."
    ));
    Ok(findings)
}

/// A verdict is a conclusion; a refusal is a note.
fn say(findings: &mut Findings, what: &str, assessment: &Assessment) {
    let sentence = format!("{what}: {assessment}");
    match assessment.claim {
        Claim::Is(_) | Claim::NotSeparable(_) => findings.conclude(sentence),
        Claim::NoneFits | Claim::RefusedRoundTripDominates { .. } | Claim::TooFewSizes { .. } => {
            findings.note(sentence);
        }
    }
}

fn sized(samples: &[Vec<f64>], floor: Option<&[Vec<f64>]>) -> Vec<Sized> {
    let floor_of = |i: usize| floor.and_then(|floor| floor.get(i)).cloned().unwrap_or_default();
    SIZES
        .iter()
        .zip(samples)
        .enumerate()
        .map(|(i, (n, cost_us))| Sized { n: *n as f64, cost_us: cost_us.clone(), floor_us: floor_of(i) })
        .collect()
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The lower quartile, as the judge takes it.
fn typical(rounds: &[f64]) -> f64 {
    let mut sorted = rounds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 4).copied().unwrap_or(f64::NAN)
}

fn curve(samples: &[Vec<f64>]) -> Vec<f64> {
    samples.iter().map(|rounds| typical(rounds)).collect()
}

fn points(samples: &[Vec<f64>]) -> Vec<Point> {
    SIZES.iter().zip(curve(samples)).map(|(n, y)| Point::at(*n as f64, y)).collect()
}

/// The curve, with intervals where the judge gave them for these very numbers.
fn line(name: &str, assessment: &Assessment, samples: &[Vec<f64>]) -> Series {
    let mut points = points(samples);
    if let Some(fit) = &assessment.fit {
        for (point, (_, above, (low, high))) in points.iter_mut().zip(&fit.points) {
            // What lies below the part that was judged is the floor.
            let floor = point.y - above;
            point.interval = Some((low + floor, high + floor));
        }
    }
    Series { name: name.to_owned(), points }
}

/// A connection to the node that owns `key`.
async fn owner(env: &Env, key: &str) -> LabResult<MultiplexedConnection> {
    let owners = env.redis.slot_owners().await?;
    let address = owners
        .owner_of(slot(key.as_bytes()))
        .ok_or_else(|| LabError::Other(format!("nobody serves the slot of {key}")))?
        .to_owned();
    let nodes = env.redis.each_node().await?;
    let found = nodes.into_iter().find(|(node, _)| *node == address);
    found.map(|(_, node)| node).ok_or_else(|| LabError::Other(format!("{address} does not answer")))
}

async fn lay_out(node: &mut MultiplexedConnection, tag: &str) -> LabResult<()> {
    for n in SIZES {
        let mut first = 1;
        while first <= n {
            let last = (first + FILL_STEP - 1).min(n);
            let _: u64 = fill_call(tag, n).arg(first).arg(last).run(node).await?;
            first = last + 1;
        }
    }
    Ok(())
}

async fn clean_up(node: &mut MultiplexedConnection, tag: &str) -> LabResult<()> {
    let mut pipe = redis::pipe();
    for n in SIZES {
        for structure in FILL.keys {
            pipe.cmd("UNLINK").arg(key(tag, structure, n)).ignore();
        }
    }
    Ok(pipe.query_async(node).await?)
}

async fn measure(node: &mut MultiplexedConnection, tag: &str) -> LabResult<Vec<Samples>> {
    let empty = || vec![Vec::with_capacity(ROUNDS); SIZES.len()];
    let mut all: Vec<Samples> = OPERATIONS
        .iter()
        .map(|_| Samples { server_us: empty(), client_us: empty(), ping_us: empty() })
        .collect();
    for _ in 0..ROUNDS {
        for (i, n) in SIZES.iter().enumerate() {
            for (operation, samples) in OPERATIONS.iter().zip(&mut all) {
                samples.server_us[i].push(in_the_server(node, operation, tag, *n).await?);
                let (client, ping) = at_the_client(node, operation, tag, *n).await?;
                samples.client_us[i].push(client);
                samples.ping_us[i].push(ping);
            }
        }
    }
    Ok(all)
}

/// Microseconds a call by the server's own clock.
async fn in_the_server(
    node: &mut MultiplexedConnection,
    operation: &Operation,
    tag: &str,
    n: u64,
) -> LabResult<f64> {
    let mut pipe = redis::pipe();
    for i in 0..operation.calls {
        pipe.add_command((operation.call)(tag, n, i)).ignore();
    }
    let before = spent(node, operation.verb).await?;
    let () = pipe.query_async(node).await?;
    let after = spent(node, operation.verb).await?;
    let calls = after.0.saturating_sub(before.0).max(1);
    Ok(after.1.saturating_sub(before.1) as f64 / calls as f64)
}

/// Calls and microseconds of a verb so far.
async fn spent(node: &mut MultiplexedConnection, verb: &str) -> LabResult<(u64, u64)> {
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(node).await?;
    let head = format!("cmdstat_{verb}:");
    let line = info.lines().find_map(|line| line.strip_prefix(head.as_str())).unwrap_or_default();
    let number = |name: &str| {
        let value = line.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    Ok((number("calls"), number("usec")))
}

/// The median of some calls and of as many PINGs in between, in microseconds.
async fn at_the_client(
    node: &mut MultiplexedConnection,
    operation: &Operation,
    tag: &str,
    n: u64,
) -> LabResult<(f64, f64)> {
    let ping = redis::cmd("PING");
    let mut calls = Vec::with_capacity(CLIENT_CALLS);
    let mut pings = Vec::with_capacity(CLIENT_CALLS);
    for i in 0..CLIENT_CALLS {
        let call = (operation.call)(tag, n, i as u64);
        for (cmd, times) in [(&call, &mut calls), (&ping, &mut pings)] {
            let began = Instant::now();
            let _: redis::Value = cmd.query_async(node).await?;
            times.push(began.elapsed().as_secs_f64() * 1e6);
        }
    }
    Ok((median(&calls), median(&pings)))
}
