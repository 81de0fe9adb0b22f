//! Experiments on a cluster: who gets a message that was published, and what happens when a channel's slot moves.

use bytes::Bytes;
use chatlab_kit::{
    LabError, LabResult,
    ids::RoomId,
    keys::RoomKeys,
    lab::{Env, Findings},
    redis::{Redis, RedisConfig},
    servers::{Managed, ServerOptions, Topology, reshard},
    slots::slot,
};
use redis::aio::MultiplexedConnection;

use crate::{build, flow, flow::Account};

/// Messages of each kind.
const MESSAGES: usize = 1_000;
/// Rooms that they go to in turn.
const ROOMS: usize = 30;

/// Where an experiment runs that was not given a cluster, or would leave it changed.
const OWN_CLUSTER: &str = "a cluster of its own (3 masters, 3 replicas)";

/// The cluster of the experiment: the one that is there, or a private one.
async fn cluster(env: &Env, private: bool) -> LabResult<(Redis, Option<Managed>)> {
    if env.redis.topology() == Topology::Cluster && !private {
        return Ok((env.redis.clone(), None));
    }
    let started = Managed::start_async(Topology::Cluster, env.server()?, &ServerOptions::default()).await;
    let managed = started.map_err(|error| LabError::Other(error.to_string()))?;
    let redis = Redis::connect(&RedisConfig::new(Topology::Cluster, managed.addrs())).await?;
    Ok((redis, Some(managed)))
}

/// Messages that a node got over the cluster bus, both kinds.
async fn bus(node: &mut MultiplexedConnection) -> LabResult<f64> {
    let info: String = redis::cmd("CLUSTER").arg("INFO").query_async(node).await?;
    let count = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or(0.0)
    };
    Ok(count("cluster_stats_messages_publish_received:")
        + count("cluster_stats_messages_publishshard_received:"))
}

/// Publishes with both commands, and counts what each node gets over the bus.
pub(crate) async fn broadcast(env: &Env) -> LabResult<Findings> {
    let (redis, managed) = cluster(env, false).await?;
    let mut nodes = redis.each_node().await?;
    let masters = redis.primaries().await?.len();
    let mut findings = Findings::new(format!("for {MESSAGES} messages"), ["PUBLISH", "SPUBLISH"]);
    let rooms: Vec<RoomId> = (0..ROOMS).map(|_| RoomId::new()).collect();
    let mut received = vec![Vec::new(); nodes.len()];
    for variant in ["classic", "sharded"] {
        let fanout =
            build(variant, redis.clone()).ok_or_else(|| LabError::Other(format!("no variant {variant}")))?;
        let mut before = Vec::new();
        for (_, node) in &mut nodes {
            before.push(bus(node).await?);
        }
        for n in 0..MESSAGES {
            fanout.notify(&rooms[n % ROOMS], Bytes::from_static(b"hello")).await?;
        }
        settle(&mut nodes, &before, variant).await?;
        for (i, (_, node)) in nodes.iter_mut().enumerate() {
            received[i].push(bus(node).await? - before[i]);
        }
    }
    for (i, numbers) in received.iter().enumerate() {
        let role = if i < masters { "master" } else { "replica" };
        findings.row(format!("{role} {}, over the bus", i % masters + 1), numbers.clone());
    }
    let sums = [0, 1].map(|column| received.iter().map(|row| row[column]).sum::<f64>() / MESSAGES as f64);
    findings.row("all nodes, a message", sums);
    findings.conclude(format!(
        "A PUBLISH travels to {:.1} further nodes, a SPUBLISH to {:.1}: the replicas of its shard.",
        sums[0], sums[1]
    ));
    findings.note("Nobody listens: the bus carries a PUBLISH to all nodes all the same.");
    Ok(if managed.is_some() { findings.measured_on(OWN_CLUSTER) } else { findings })
}

/// The bus is asynchronous: waits until the counts stand still.
async fn settle(
    nodes: &mut [(String, MultiplexedConnection)],
    before: &[f64],
    variant: &str,
) -> LabResult<()> {
    let mut last = -1.0;
    for _ in 0..100 {
        let mut sum = 0.0;
        for (i, (_, node)) in nodes.iter_mut().enumerate() {
            sum += bus(node).await? - before[i];
        }
        if sum > 0.0 && sum == last {
            return Ok(());
        }
        last = sum;
        // A poll, bounded by the number of looks.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Err(LabError::Other(format!("the bus counts of {variant} do not settle")))
}

/// Moves the slot of a room while messages flow, and counts.
pub(crate) async fn slot_move(env: &Env) -> LabResult<Findings> {
    let (redis, _managed) = cluster(env, true).await?;
    let mut findings = Findings::new("messages", ["published", "lost", "untold", "refused"]);
    for variant in ["sharded", "classic", "stream_tail", "polling"] {
        let fanout =
            build(variant, redis.clone()).ok_or_else(|| LabError::Other(format!("no variant {variant}")))?;
        let room = RoomId::new();
        let event = move_slot(&redis, slot(RoomKeys::new(&room).live().as_bytes()));
        let Account { published, lost, untold, refused } =
            flow::flow(&*fanout, &*fanout, &room, event).await?;
        findings.row(variant, [published, lost, untold, refused].map(|count| count as f64));
        findings.conclude(match (lost, untold) {
            (0, _) => format!("{variant}: nothing was lost while the slot moved."),
            (_, 0) => format!("{variant}: {lost} messages were lost, and a gap told it."),
            _ => format!("{variant}: {lost} messages were lost, {untold} of them without a word."),
        });
    }
    findings.note("One room, one move, 2 ms between two messages.");
    Ok(findings.measured_on(OWN_CLUSTER))
}

/// Moves one slot with its keys to another master.
async fn move_slot(redis: &Redis, slot: u16) -> LabResult<()> {
    let nowhere = || LabError::Other(format!("no master to move slot {slot} to"));
    let owners = redis.slot_owners().await?;
    let from = owners.owner_of(slot).ok_or_else(nowhere)?;
    let to = owners.primaries().into_iter().find(|node| node != from).ok_or_else(nowhere)?;
    reshard::move_slot(&owners.nodes(), slot, &to).await.map(drop)
}
