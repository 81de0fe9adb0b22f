//! The same rooms and load under other tags.

use std::collections::HashSet;
use std::sync::Arc;

use chatlab_kit::{
    LabError, LabResult,
    ids::RoomId,
    lab::{Axis, Chart, Env, Findings, Point, Series},
    redis::Redis,
    servers::Topology,
    slots::slot,
};

use super::Private;
use crate::{Rooms, build};

/// The variants that differ in where rooms lie.
const VARIANTS: [&str; 5] = ["partitions", "room_tags", "one_key", "sixteen_tags", "id_prefix"];
/// Rooms, each with some messages.
const ROOMS: usize = 2_000;
/// Messages a room.
const MESSAGES: usize = 4;
/// Clients at work.
const CLIENTS: usize = 32;

/// One master's share.
struct Share {
    keys: u64,
    bytes: u64,
    calls: u64,
}

/// Fills a cluster of its own with each variant in turn.
pub(super) async fn run(env: &Env) -> LabResult<Findings> {
    let cluster = Private::start(env, Topology::Cluster, 2_000).await?;
    let masters = cluster.redis.primaries().await?.len();
    let mut columns = vec!["slots".to_owned()];
    columns.extend((1..=masters).map(|n| format!("keys n{n}")));
    columns.extend(["keys ×".to_owned(), "memory ×".to_owned(), "calls ×".to_owned()]);
    let mut findings = Findings::new("variant", columns);
    let mut curves = Vec::new();
    for name in VARIANTS {
        let (slots, shares) = one(&cluster.redis, name).await?;
        let even = |of: fn(&Share) -> u64| {
            let all: u64 = shares.iter().map(of).sum();
            let most = shares.iter().map(of).max().unwrap_or(0);
            most as f64 * shares.len() as f64 / all.max(1) as f64
        };
        let calls = even(|share| share.calls);
        let mut row = vec![slots as f64];
        row.extend(shares.iter().map(|share| share.keys as f64));
        row.extend([even(|share| share.keys), even(|share| share.bytes), calls]);
        findings.row(name, row);
        findings.conclude(format!(
            "{name}: {ROOMS} rooms in {slots} slots; the busiest master takes {calls:.2} times an even share of the calls."
        ));
        let all: u64 = shares.iter().map(|share| share.calls).sum();
        let percent = |share: &Share| share.calls as f64 / all.max(1) as f64 * 100.0;
        let points = shares.iter().enumerate().map(|(i, share)| Point::at((i + 1) as f64, percent(share)));
        curves.push(Series { name: name.to_owned(), points: points.collect() });
    }
    findings.charts.push(Chart {
        title: "Who does the work".to_owned(),
        x: Axis::linear("master"),
        y: Axis::linear("% of the calls"),
        series: curves,
    });
    findings.note("×: the fullest master, as a multiple of an even share; 1.00 is even, 3.00 is everything on one of three");
    findings.note("memory: growth of used_memory; calls: appends, from INFO commandstats");
    Ok(findings)
}

/// The slots that the variant's rooms lie in, and each master's share.
async fn one(redis: &Redis, name: &str) -> LabResult<(usize, Vec<Share>)> {
    let rooms = build(name, redis.clone()).ok_or_else(|| LabError::Other(format!("no variant {name}")))?;
    let masters = redis.primaries().await?;
    let mut before = Vec::new();
    for address in &masters {
        let mut node = redis.node(address).await?;
        let _: () = redis::cmd("FLUSHALL").query_async(&mut node).await?;
        let _: () = redis::cmd("CONFIG").arg("RESETSTAT").query_async(&mut node).await?;
        before.push(share(&mut node).await?);
    }
    let ids: Arc<Vec<RoomId>> = Arc::new((0..ROOMS).map(|_| RoomId::new()).collect());
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(fill(rooms.clone(), ids.clone(), client));
    }
    while let Some(done) = clients.join_next().await {
        done.map_err(|error| LabError::Other(error.to_string()))??;
    }
    let mut slots = HashSet::new();
    for id in ids.iter() {
        slots.extend(rooms.keys(id)?.iter().map(|key| slot(key.as_bytes())));
    }
    let mut shares = Vec::new();
    for (address, before) in masters.iter().zip(before) {
        let after = share(&mut redis.node(address).await?).await?;
        shares.push(Share {
            keys: after.keys,
            bytes: after.bytes.saturating_sub(before.bytes),
            calls: after.calls - before.calls,
        });
    }
    Ok((slots.len(), shares))
}

async fn fill(rooms: Arc<dyn Rooms>, ids: Arc<Vec<RoomId>>, client: usize) -> LabResult<()> {
    for room in ids.iter().skip(client).step_by(CLIENTS) {
        for _ in 0..MESSAGES {
            rooms.append(room, "what a person says in a room, about as long as this").await?;
        }
    }
    Ok(())
}

async fn share(node: &mut Redis) -> LabResult<Share> {
    let keys = redis::cmd("DBSIZE").query_async(node).await?;
    let info: String = redis::cmd("INFO").arg("all").query_async(node).await?;
    let number = |line: &str, after: &str| -> u64 {
        let digits = line.split_once(after).map_or("", |(_, rest)| rest);
        digits.split(|c: char| !c.is_ascii_digit()).next().unwrap_or("").parse().unwrap_or(0)
    };
    let line = |name: &str| info.lines().find(|line| line.starts_with(name)).unwrap_or("");
    Ok(Share {
        keys,
        bytes: number(line("used_memory:"), ":"),
        calls: number(line("cmdstat_evalsha:"), "calls="),
    })
}
