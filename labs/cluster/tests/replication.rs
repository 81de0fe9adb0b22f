//! Whether a replica has what was written: asked of the right master, shared by all who ask, never said without one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use chatlab_cluster::replication::{Confirmation, GroupWait, Replication};
use chatlab_kit::{
    keys,
    lab::proving,
    prereq::find_server,
    redis::{Redis, RedisConfig},
    servers::{Managed, ServerOptions, Topology, reshard},
    slots::Partition,
};
use tokio::task::JoinSet;

/// Far more than a confirmation takes.
const LONG: Duration = Duration::from_secs(2);
/// Less than [`LONG`], and enough to see that nothing comes.
const SHORT: Duration = Duration::from_millis(500);

/// Longer than a cluster takes to put a replica in a dead master's place.
const PROMOTED: Duration = Duration::from_secs(40);

/// What all masters say of a command: how often it was called.
async fn calls(redis: &Redis, command: &str) -> u64 {
    let mut calls = 0;
    let masters = redis.primaries().await.unwrap();
    for (address, mut node) in redis.each_node().await.unwrap() {
        let stats: String = redis::cmd("INFO").arg("commandstats").query_async(&mut node).await.unwrap();
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        let count = line.and_then(|line| line.split(',').next()).map_or(0, |count| count.parse().unwrap());
        calls += if masters.contains(&address) { count } else { 0 };
    }
    calls
}

/// The number of the replica of the master that has a partition.
async fn replica_of(servers: &Managed, redis: &Redis, partition: Partition) -> usize {
    let owners = redis.slot_owners().await.unwrap();
    let owner = owners.owner_of(partition.slot()).unwrap();
    servers.addrs().iter().position(|address| address == owner).unwrap() + 3
}

fn each_third() -> [Partition; 3] {
    // One at each master.
    [10, 128, 250].map(|index| Partition::all().nth(index).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_replica_says_so_at_once() {
    let (_servers, env) = proving::start(Topology::Single).await.unwrap();
    let replication = GroupWait::new(env.redis);
    let began = Instant::now();
    for partition in each_third() {
        assert_eq!(replication.confirm(partition, LONG).await, Confirmation::NoReplica);
    }
    assert!(began.elapsed() < LONG, "waited for nobody: {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_confirmed_is_on_the_replica_and_no_mark_stays() {
    let (servers, env) = proving::start(Topology::Cluster).await.unwrap();
    let redis = env.redis;
    let replication = GroupWait::new(redis.clone());
    for partition in each_third() {
        let key = keys::events(partition, "test");
        let replica = replica_of(&servers, &redis, partition).await;
        let mut reader = redis.node(&servers.addrs()[replica]).await.unwrap();
        let _: () = redis::cmd("READONLY").query_async(&mut reader).await.unwrap();
        for n in 0..200_u32 {
            let _: () = redis::cmd("SET").arg(&key).arg(n).query_async(&mut redis.clone()).await.unwrap();
            assert_eq!(replication.confirm(partition, LONG).await, Confirmation::Replicated);
            let there: u32 = redis::cmd("GET").arg(&key).query_async(&mut reader).await.unwrap();
            assert_eq!(there, n);
        }
        let _: () = redis::cmd("DEL").arg(&key).query_async(&mut redis.clone()).await.unwrap();
    }
    for (address, mut node) in redis.each_node().await.unwrap() {
        let left: u64 = redis::cmd("DBSIZE").query_async(&mut node).await.unwrap();
        assert_eq!(left, 0, "{address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_ask_during_one_wait_share_the_next() {
    const ASKERS: usize = 3_000;
    let (_servers, env) = proving::start(Topology::Cluster).await.unwrap();
    let replication = Arc::new(GroupWait::new(env.redis.clone()));
    let partitions: Vec<Partition> = Partition::all().collect();
    let mut asking = JoinSet::new();
    for n in 0..ASKERS {
        let (replication, partition) = (replication.clone(), partitions[n % partitions.len()]);
        asking.spawn(async move { replication.confirm(partition, LONG).await });
    }
    while let Some(told) = asking.join_next().await {
        assert_eq!(told.unwrap(), Confirmation::Replicated);
    }
    let waits = calls(&env.redis, "wait").await;
    println!("{waits} WAIT for {ASKERS} who asked");
    assert!(waits >= 3 && waits <= ASKERS as u64 / 20, "{waits}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stands_still_confirms_nothing_until_it_goes_on() {
    let (servers, env) = proving::start(Topology::Cluster).await.unwrap();
    let replication = GroupWait::new(env.redis.clone());
    let [here, there, _] = each_third();
    assert_eq!(replication.confirm(here, LONG).await, Confirmation::Replicated);
    let replica = replica_of(&servers, &env.redis, here).await;
    servers.pause_node(replica).unwrap();
    let began = Instant::now();
    assert_eq!(replication.confirm(here, SHORT).await, Confirmation::TooLate);
    assert!(began.elapsed() >= SHORT && began.elapsed() < LONG, "{:?}", began.elapsed());
    assert_eq!(replication.confirm(there, LONG).await, Confirmation::Replicated, "another master's");
    // Who waits when it goes on is told then.
    let (told, ()) = tokio::join!(replication.confirm(here, LONG), async {
        // A part of the time that the other one waits.
        tokio::time::sleep(SHORT).await;
        servers.resume_node(replica).unwrap();
    });
    assert_eq!(told, Confirmation::Replicated);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_whose_replica_is_gone_says_so() {
    let (servers, env) = proving::start(Topology::Cluster).await.unwrap();
    let replication = GroupWait::new(env.redis.clone());
    let [here, ..] = each_third();
    assert_eq!(replication.confirm(here, LONG).await, Confirmation::Replicated);
    let replica = replica_of(&servers, &env.redis, here).await;
    servers.kill_node(replica).unwrap();
    assert_eq!(replication.confirm(here, LONG).await, Confirmation::NoReplica);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failover_the_new_master_is_asked() {
    // Takes a silent node for dead after 2 s.
    let options = ServerOptions::default();
    let servers =
        Managed::start_async(Topology::Cluster, &find_server(None).unwrap(), &options).await.unwrap();
    let redis = Redis::connect(&RedisConfig::new(Topology::Cluster, servers.addrs())).await.unwrap();
    let replication = GroupWait::new(redis.clone());
    let [here, ..] = each_third();
    assert_eq!(replication.confirm(here, LONG).await, Confirmation::Replicated);
    let replica = replica_of(&servers, &redis, here).await;
    servers.kill_node(replica - 3).unwrap();
    // The dead one is not asked for ever; the new one has no replica.
    let began = Instant::now();
    while replication.confirm(here, SHORT).await != Confirmation::NoReplica {
        assert!(began.elapsed() < PROMOTED, "not asked");
    }
    let role: (String, redis::Value, redis::Value) = redis::cmd("ROLE")
        .query_async(&mut redis.node(&servers.addrs()[replica]).await.unwrap())
        .await
        .unwrap();
    assert_eq!(role.0, "master");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_slot_has_moved_its_new_master_is_asked() {
    let (servers, env) = proving::start(Topology::Cluster).await.unwrap();
    let replication = GroupWait::new(env.redis.clone());
    let [here, there, _] = each_third();
    assert_eq!(replication.confirm(here, LONG).await, Confirmation::Replicated);
    let owners = env.redis.slot_owners().await.unwrap();
    let target = owners.owner_of(there.slot()).unwrap();
    // While it is on its way nobody has all of it, not even for a slot without a key.
    let moving = reshard::SlotMove::begin(&servers.addrs(), here.slot(), target).await.unwrap();
    assert_eq!(replication.confirm(here, SHORT).await, Confirmation::TooLate);
    moving.finish().await.unwrap();
    assert_eq!(replication.confirm(here, LONG).await, Confirmation::Replicated);
    // The new master's replica stands still: the old one's would say yes.
    let replica = replica_of(&servers, &env.redis, there).await;
    servers.pause_node(replica).unwrap();
    assert_eq!(replication.confirm(here, SHORT).await, Confirmation::TooLate);
    servers.resume_node(replica).unwrap();
}
