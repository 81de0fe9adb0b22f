//! Predict, run, explain.

use std::sync::Arc;

use chatlab_kit::{
    LabError, LabResult,
    ids::{ConnectionId, InstanceId, UserId},
    lab::{Axis, Chart, Env, Experiment, Findings, Point, Series, Variant, VariantKind},
};
use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;

use crate::{Policy, Presence, batch::PAGE, build_in, variants::VARIANTS};

mod ghosts;

pub(crate) use ghosts::ghosts;

/// The lab's experiments.
pub(crate) const EXPERIMENTS: &[Experiment] = &[
    Experiment {
        name: "ghosts",
        question: "An instance that holds 200 users is killed; another one goes on refreshing and reaping. How many of the 200 \
                   are still shown online half a lease later, one lease, two, three, and how many offlines are told?",
        explanation: "Until the lease has run out nobody can know: every variant shows all of them. After it a variant with \
                      leases loses them within a margin and a reap. One without shows them for ever. A key that expires hides \
                      its user in time, but tells nobody: others see the user online until they ask again.",
    },
    Experiment {
        name: "refresh-cost",
        question: "An instance holds 10, 100, 1,000 or 3,000 connections. How many commands does one refresh send, and how long \
                   is the server busy with it?",
        explanation: "A lease of the instance is one member of one ZSET, whatever hangs on it. A lease of each connection is a \
                      heartbeat of each: as many script calls as there are connections, every few seconds, for as long as \
                      nothing happens. What the instance's lease costs instead is an index of its connections.",
    },
    Experiment {
        name: "memory",
        question: "Users with one device or with four: what does one connection cost in each variant, in bytes of Redis memory?",
        explanation: "An id is 36 letters, and every structure that a connection is written into repeats it: its user's key, the \
                      index of what to reap, and in one variant a key of its own. Each key pays for its name and for the user's \
                      id in it. MEMORY USAGE leaves out the entry in the table of expiries, which each key with an expiry has \
                      once more.",
    },
];

/// The numbers of connections whose refresh is measured.
const CONNECTIONS: [usize; 4] = [10, 100, 1_000, 3_000];
/// Refreshes measured at each number; the median is shown.
const REFRESHES: usize = 9;
/// The numbers of devices a user whose memory is measured.
const DEVICES: [usize; 2] = [1, 4];
/// Connections whose memory is measured.
const MEASURED: usize = 400;
/// No lease runs out while something is measured.
const UNHURRIED: Policy = Policy { lease_ms: 3_600_000, refresh_ms: 600_000 };

/// A variant's instance in a space of its own.
fn instance(
    env: &Env,
    variant: &str,
    space: &str,
    id: InstanceId,
    policy: Policy,
) -> LabResult<Arc<dyn Presence>> {
    build_in(space, variant, env.redis.clone(), id, policy)
        .ok_or_else(|| LabError::Other(format!("no variant {variant}")))
}

fn new_space() -> String {
    UserId::new().to_string()
}

/// The variants that keep their promises and that this server can run; the others become notes.
async fn honest(env: &Env, findings: &mut Findings) -> LabResult<Vec<&'static Variant>> {
    let mut honest = Vec::new();
    for variant in VARIANTS {
        if !matches!(variant.kind, VariantKind::Reference | VariantKind::Alternative) {
            continue;
        }
        if let Some(needs) = variant.needs
            && !needs.met(&env.redis).await?
        {
            findings.note(format!("{}: not measured, this server lacks {needs}", variant.name));
            continue;
        }
        honest.push(variant);
    }
    Ok(honest)
}

/// Commands, and microseconds of the server, of one refresh.
pub(crate) async fn refresh_cost(env: &Env) -> LabResult<Findings> {
    let columns = CONNECTIONS.map(|count| format!("{count}"));
    let mut findings = Findings::new("commands, and server µs, of one refresh by connections", columns);
    let mut series = Vec::new();
    for variant in honest(env, &mut findings).await? {
        let measured = refreshes_of(env, variant.name).await?;
        findings.row(format!("{}: commands", variant.name), measured.iter().map(|m| m.0).collect::<Vec<_>>());
        findings.row(format!("{}: µs", variant.name), measured.iter().map(|m| m.1).collect::<Vec<_>>());
        let (few, many) = (measured[0], measured[measured.len() - 1]);
        findings.conclude(format!(
            "{}: from {} to {} connections a refresh goes from {} to {} commands and keeps the server busy {:.1} times as \
             long.",
            variant.name,
            CONNECTIONS[0],
            CONNECTIONS[CONNECTIONS.len() - 1],
            few.0,
            many.0,
            many.1 / few.1.max(1.0)
        ));
        let points = CONNECTIONS.iter().zip(&measured).map(|(x, (_, y))| Point::at(*x as f64, *y)).collect();
        series.push(Series { name: variant.name.to_owned(), points });
    }
    findings.charts.push(Chart {
        title: "What a refresh costs the server".to_owned(),
        x: Axis::log("connections of the instance"),
        y: Axis::log("µs of the server a refresh"),
        series,
    });
    Ok(findings)
}

async fn refreshes_of(env: &Env, variant: &str) -> LabResult<Vec<(f64, f64)>> {
    let (redis, trace) = env.redis.traced();
    let traced = Env { redis, ..env.clone() };
    let presence = instance(&traced, variant, &new_space(), InstanceId::new(), UNHURRIED)?;
    let mut held = Vec::new();
    let mut measured = Vec::with_capacity(CONNECTIONS.len());
    for count in CONNECTIONS {
        let more: Vec<_> = (held.len()..count).map(|_| (UserId::new(), ConnectionId::new())).collect();
        for page in more.chunks(PAGE) {
            let connecting = page.iter().map(|(user, conn)| presence.connect(user, conn));
            join_all(connecting).await.into_iter().collect::<LabResult<Vec<bool>>>()?;
        }
        held.extend(more);
        // The first one may load scripts.
        presence.refresh().await?;
        trace.clear();
        presence.refresh().await?;
        let commands = trace.entries().len() as f64;
        let mut micros = Vec::with_capacity(REFRESHES);
        for _ in 0..REFRESHES {
            let before = script_micros(env).await?;
            presence.refresh().await?;
            micros.push(script_micros(env).await? - before);
        }
        micros.sort_unstable();
        measured.push((commands, micros[REFRESHES / 2] as f64));
    }
    for page in held.chunks(PAGE) {
        let closing = page.iter().map(|(user, conn)| presence.disconnect(user, conn));
        join_all(closing).await.into_iter().collect::<LabResult<Vec<bool>>>()?;
    }
    Ok(measured)
}

/// How long all masters have been busy with scripts, in microseconds. Every refresh consists of scripts alone.
async fn script_micros(env: &Env) -> LabResult<u64> {
    let masters = env.redis.primaries().await?;
    let mut micros = 0;
    for (address, mut node) in env.redis.each_node().await? {
        if !masters.contains(&address) {
            continue;
        }
        let info: String = redis::cmd("INFO").arg("commandstats").query_async(&mut node).await?;
        for line in info.lines().filter(|line| line.starts_with("cmdstat_eval")) {
            let usec = line.split(',').find_map(|part| part.strip_prefix("usec="));
            micros += usec.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(micros)
}

/// Bytes a connection: `MEMORY USAGE key SAMPLES 0` of every key that the variant wrote, over the number of connections.
pub(crate) async fn memory(env: &Env) -> LabResult<Findings> {
    let mut findings = Findings::new("bytes a connection", DEVICES.map(|count| format!("{count} a user")));
    for variant in honest(env, &mut findings).await? {
        let mut row = Vec::with_capacity(DEVICES.len());
        for devices in DEVICES {
            row.push(bytes_a_connection(env, variant.name, devices).await?);
        }
        findings.row(variant.name, row);
    }
    for (at, devices) in DEVICES.iter().enumerate() {
        let least = findings.rows.iter().min_by(|a, b| a.1[at].total_cmp(&b.1[at]));
        if let Some((name, row)) = least {
            let sentence =
                format!("{devices} a user: {name} needs least, {:.0} bytes a connection.", row[at]);
            findings.conclude(sentence);
        }
    }
    Ok(findings)
}

async fn bytes_a_connection(env: &Env, variant: &str, devices: usize) -> LabResult<f64> {
    let (space, id) = (new_space(), InstanceId::new());
    let presence = instance(env, variant, &space, id, UNHURRIED)?;
    let mut held = Vec::with_capacity(MEASURED);
    for _ in 0..MEASURED / devices {
        let user = UserId::new();
        for _ in 0..devices {
            let conn = ConnectionId::new();
            presence.connect(&user, &conn).await?;
            held.push((user, conn));
        }
    }
    let mut names: std::collections::HashSet<String> =
        held.iter().map(|(user, _)| user.to_string()).collect();
    names.extend([space, id.to_string()]);
    let masters = env.redis.primaries().await?;
    let mut bytes = 0_u64;
    for (address, mut node) in env.redis.each_node().await? {
        if masters.contains(&address) {
            bytes += bytes_of(&mut node, &names).await?;
        }
    }
    for (user, conn) in &held {
        presence.disconnect(user, conn).await?;
    }
    // Far below 2^52: exact.
    Ok(bytes as f64 / held.len() as f64)
}

/// The memory of the keys on one node whose hash tag contains one of the names.
async fn bytes_of(
    node: &mut MultiplexedConnection,
    names: &std::collections::HashSet<String>,
) -> LabResult<u64> {
    let mut bytes = 0;
    let mut cursor = 0_u64;
    loop {
        let (next, keys): (u64, Vec<String>) =
            redis::cmd("SCAN").arg(cursor).arg("COUNT").arg(10_000).query_async(node).await?;
        for key in keys {
            let tag = key.split(['{', ':', '}']).find(|part| names.contains(*part));
            if tag.is_none() {
                continue;
            }
            let size: Option<u64> =
                redis::cmd("MEMORY").arg("USAGE").arg(&key).arg("SAMPLES").arg(0).query_async(node).await?;
            bytes += size.unwrap_or(0);
        }
        cursor = next;
        if cursor == 0 {
            return Ok(bytes);
        }
    }
}
