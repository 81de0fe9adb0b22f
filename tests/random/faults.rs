//! What is broken while people talk, and mended again: nothing of it may cost a message.

use std::time::Duration;

use chatlab::harness::Stack;
use chatlab_kit::servers::{Role, Topology, inspect};
use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::common::SOON;

/// Between two faults.
const CALM: Duration = Duration::from_millis(600);
/// How long Redis answers nobody.
const PAUSED_MS: u64 = 700;

/// One thing that breaks.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Every subscriber's connection to Redis ends.
    KillSubscribers,
    /// Redis takes commands and answers none for a while.
    PauseClients,
    /// A server process is killed and started again.
    KillServer,
    /// A replica takes its master's place, without a loss.
    Failover,
}

/// All that a topology can take, in an order that the seed decides.
pub fn plan(topology: Topology, rng: &mut ChaCha8Rng) -> Vec<Fault> {
    let mut faults = vec![Fault::KillSubscribers, Fault::PauseClients, Fault::KillServer];
    if topology == Topology::Cluster {
        faults.extend([Fault::Failover, Fault::Failover]);
    }
    faults.shuffle(rng);
    faults
}

async fn ask<T: redis::FromRedisValue>(stack: &Stack, node: usize, command: &redis::Cmd) -> T {
    let client = redis::Client::open(format!("redis://{}", stack.managed().nodes()[node].addr())).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    command.query_async(&mut connection).await.unwrap()
}

fn role(stack: &Stack, node: usize) -> Option<Role> {
    inspect(stack.managed().nodes()[node].port).ok().map(|seen| seen.role)
}

/// Breaks one thing after the other, and mends it.
pub async fn happen(stack: &mut Stack, faults: &[Fault], rng: &mut ChaCha8Rng) {
    let nodes = stack.managed().nodes().len();
    for fault in faults {
        // The pace of what breaks; nothing depends on it.
        tokio::time::sleep(CALM).await;
        match fault {
            Fault::KillSubscribers => {
                for node in 0..nodes {
                    let mut kill = redis::cmd("CLIENT");
                    let _: u64 = ask(stack, node, kill.arg("KILL").arg("TYPE").arg("pubsub")).await;
                }
            }
            Fault::PauseClients => {
                for node in 0..nodes {
                    let mut pause = redis::cmd("CLIENT");
                    let _: String = ask(stack, node, pause.arg("PAUSE").arg(PAUSED_MS).arg("WRITE")).await;
                }
            }
            Fault::KillServer => {
                let server = rng.random_range(0..stack.servers());
                stack.kill_server(server).await.unwrap();
                tokio::time::sleep(CALM).await;
                stack.restart_server(server).await.unwrap();
            }
            Fault::Failover => {
                let replicas: Vec<usize> =
                    (0..nodes).filter(|node| role(stack, *node) == Some(Role::Replica)).collect();
                let replica = replicas[rng.random_range(0..replicas.len())];
                let _: String = ask(stack, replica, redis::cmd("CLUSTER").arg("FAILOVER")).await;
                let deadline = tokio::time::Instant::now() + SOON;
                while role(stack, replica) != Some(Role::Master) {
                    assert!(tokio::time::Instant::now() < deadline, "node {replica} was not promoted");
                    // A poll, bounded by the deadline.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
    tokio::time::sleep(CALM).await;
}
