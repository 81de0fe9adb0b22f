//! Every variant is what it is declared to be, on one node and on six.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use chatlab_kit::{
    ids::{ConnectionId, InstanceId, UserId},
    keys,
    lab::proving,
    servers::Topology,
};
use chatlab_presence::{LAB, Policy, Presence, ZsetLease};

/// Different plans; more with `CHATLAB_SEEDS`.
const SEEDS: u64 = 3;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failover_lost_is_written_again_on_one_node() {
    what_a_failover_lost_is_written_again(Topology::Single).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failover_lost_is_written_again_on_a_cluster() {
    what_a_failover_lost_is_written_again(Topology::Cluster).await;
}
