//! Every variant is what it is declared to be, on one node and on six.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    io::{Error, ErrorKind},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use chatlab_kit::{
    ids::{ConnectionId, InstanceId, UserId},
    keys,
    lab::proving,
    redis::Hook,
    servers::Topology,
};
use chatlab_presence::{LAB, Policy, Presence, ZsetLease};

/// Different plans; more with `CHATLAB_SEEDS`.
const SEEDS: u64 = 3;
/// Far longer than any lease here.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn the_console_track_is_whole() {
    proving::console_track(&LAB).unwrap();
}

async fn every_variant_is_as_declared(topology: Topology) {
    let (_servers, env) = proving::start(topology).await.unwrap();
    let problems = proving::variants(&LAB, &env, &proving::seeds(SEEDS), 1, |_, _| Ok(())).await;
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_variant_is_as_declared_on_one_node() {
    every_variant_is_as_declared(Topology::Single).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_variant_is_as_declared_on_a_cluster() {
    every_variant_is_as_declared(Topology::Cluster).await;
}

#[test]
fn the_lab_keeps_the_rules_of_all_labs() {
    chatlab_kit::lab::audit(&LAB).unwrap();
}

/// Done by hand here: that somebody came, and that somebody went, is forgotten.
async fn what_a_failover_lost_is_written_again(topology: Topology) {
    let (_servers, env) = proving::start(topology).await.unwrap();
    let mut redis = env.redis.clone();
    let instance = ZsetLease::new(redis.clone(), InstanceId::new(), Policy::default(), "lost");
    let [(ada, here), (bob, gone)] = std::array::from_fn(|_| (UserId::new(), ConnectionId::new()));
    assert!(instance.connect(&ada, &here).await.unwrap());
    assert!(instance.connect(&bob, &gone).await.unwrap());
    let (_, lease): (String, String) = {
        let all: Vec<(String, String)> =
            redis::cmd("HGETALL").arg(keys::presence(&bob)).query_async(&mut redis).await.unwrap();
        all[0].clone()
    };
    assert!(instance.disconnect(&bob, &gone).await.unwrap());
    let (came, went) = (keys::presence(&ada), keys::presence(&bob));
    let () = redis::cmd("DEL").arg(came).query_async(&mut redis).await.unwrap();
    let mut back = redis::cmd("HSET");
    let () = back.arg(went).arg(gone.to_string()).arg(lease).query_async(&mut redis).await.unwrap();

    instance.refresh().await.unwrap();
    assert_eq!(instance.online(&[ada, bob]).await.unwrap(), [false, true], "without a doubt nobody looks");
    instance.doubt();
    instance.refresh().await.unwrap();
    assert_eq!(instance.online(&[ada, bob]).await.unwrap(), [true, false]);
    assert_eq!((instance.returned(), instance.reap().await.unwrap()), (vec![ada], vec![bob]));
    // Once.
    instance.refresh().await.unwrap();
    assert_eq!((instance.returned(), instance.reap().await.unwrap()), (vec![], vec![]));
}

/// Done by hand here: what a reaper took from a dead instance is there again, and in no index.
async fn what_was_taken_from_the_dead_and_comes_again_is_taken_again(topology: Topology) {
    let (_servers, env) = proving::start(topology).await.unwrap();
    let mut redis = env.redis.clone();
    let policy = Policy { lease_ms: 400, refresh_ms: 100 };
    let (dead, ada, conn) = (InstanceId::new(), UserId::new(), ConnectionId::new());
    let dies = ZsetLease::new(redis.clone(), dead, policy, "taken");
    assert!(dies.connect(&ada, &conn).await.unwrap());
    let reaper = ZsetLease::new(redis.clone(), InstanceId::new(), policy, "taken");
    let deadline = Instant::now() + SOON;
    let mut told = Vec::new();
    while told.is_empty() {
        assert!(Instant::now() < deadline, "never reaped");
        // The pace of an instance that lives.
        tokio::time::sleep(Duration::from_millis(policy.refresh_ms)).await;
        reaper.refresh().await.unwrap();
        told = reaper.reap().await.unwrap();
    }
    assert_eq!((told, reaper.online(&[ada]).await.unwrap()), (vec![ada], vec![false]));
    let mut back = redis::cmd("HSET");
    back.arg(keys::presence(&ada)).arg(conn.to_string()).arg(dead.to_string());
    let () = back.query_async(&mut redis).await.unwrap();
    reaper.doubt();
    reaper.refresh().await.unwrap();
    assert_eq!(
        (reaper.online(&[ada]).await.unwrap(), reaper.reap().await.unwrap()),
        (vec![false], vec![ada])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_from_the_dead_and_comes_again_is_taken_again_on_one_node() {
    what_was_taken_from_the_dead_and_comes_again_is_taken_again(Topology::Single).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_from_the_dead_and_comes_again_is_taken_again_on_a_cluster() {
    what_was_taken_from_the_dead_and_comes_again_is_taken_again(Topology::Cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failover_lost_is_written_again_on_one_node() {
    what_a_failover_lost_is_written_again(Topology::Single).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failover_lost_is_written_again_on_a_cluster() {
    what_a_failover_lost_is_written_again(Topology::Cluster).await;
}

/// Time passes for one entry: its client gives up, and the entry is written when the test says so.
#[derive(Default)]
struct Late(Mutex<Option<Vec<String>>>);

#[async_trait]
impl Hook for Late {
    async fn before(&self, _n: u64, command: &[String]) -> Result<(), redis::RedisError> {
        let mut held = self.0.lock().unwrap();
        let enters = command.get(3).is_some_and(|key| key.ends_with(":presence"));
        if held.is_some() || !enters {
            return Ok(());
        }
        *held = Some(command.to_vec());
        Err(Error::from(ErrorKind::TimedOut).into())
    }
}

async fn an_entry_that_is_written_late_does_not_stay(topology: Topology) {
    let (_servers, env) = proving::start(topology).await.unwrap();
    let mut redis = env.redis.clone();
    let policy = Policy { lease_ms: 800, refresh_ms: 250 };
    let late = Arc::new(Late::default());
    let instance = ZsetLease::new(redis.hooked(late.clone()), InstanceId::new(), policy, "late");
    let [(ada, gone), (bob, here)] = std::array::from_fn(|_| (UserId::new(), ConnectionId::new()));
    assert!(instance.connect(&bob, &here).await.is_err(), "the first one is held back");
    let bobs = late.0.lock().unwrap().take().unwrap();
    assert!(instance.connect(&ada, &gone).await.is_err(), "and the second one");
    let adas = late.0.lock().unwrap().clone().unwrap();
    // Bob's is tried again; Ada is gone before her own is written.
    assert!(instance.connect(&bob, &here).await.unwrap());
    assert!(!instance.disconnect(&ada, &gone).await.unwrap());
    // What the script does, by hand: the node may not know it yet.
    for entry in [bobs, adas] {
        let [_, _, _, key, conn, lease, _] = &entry[..] else { panic!("{entry:?}") };
        let mut write = redis::cmd("HSET");
        let () = write.arg(key).arg(conn).arg(lease).query_async(&mut redis).await.unwrap();
    }
    assert_eq!(instance.online(&[ada, bob]).await.unwrap(), [true, true]);
    let (mut told, deadline) = (Vec::new(), Instant::now() + SOON);
    while instance.online(&[ada]).await.unwrap() == [true] {
        assert!(Instant::now() < deadline, "who went is online for good");
        // The pace of an instance that lives.
        tokio::time::sleep(Duration::from_millis(policy.refresh_ms)).await;
        instance.refresh().await.unwrap();
        assert_eq!(instance.returned(), []);
        told.extend(instance.reap().await.unwrap());
    }
    assert_eq!((told, instance.online(&[bob]).await.unwrap()), (vec![ada], vec![true]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_is_written_late_does_not_stay_on_one_node() {
    an_entry_that_is_written_late_does_not_stay(Topology::Single).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_is_written_late_does_not_stay_on_a_cluster() {
    an_entry_that_is_written_late_does_not_stay(Topology::Cluster).await;
}
