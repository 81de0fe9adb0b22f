//! The explorer of races against real servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{Finding, Racers, explore},
    ids::UserId,
    keys,
    lab::{Orders, RaceReport},
    prereq::find_server,
    redis::{Redis, RedisConfig},
    servers::{Managed, ServerOptions, Topology},
};
use redis::AsyncCommands as _;

/// How each client counts.
#[derive(Clone, Copy, PartialEq)]
enum Counting {
    /// `GET`, then `SET`.
    GetSet,
    /// `INCR`.
    Incr,
    /// `INCR` twice, in one pipeline.
    Pipeline,
    /// `SET NX`; only who finds the key there increments it.
    Early,
}

struct Counters {
    counting: Counting,
    clients: usize,
}

#[async_trait]
impl Racers for Counters {
    type Place = String;
    type Answer = u64;

    fn clients(&self) -> usize {
        self.clients
    }

    async fn place(&self, _redis: &Redis) -> LabResult<String> {
        Ok(keys::user_lab(&UserId::new(), "test", "counter"))
    }

    /// Answers with how much it has counted.
    async fn act(&self, key: &String, _client: usize, mut redis: Redis) -> u64 {
        match self.counting {
            Counting::GetSet => {
                let seen: u64 = redis.get::<_, Option<u64>>(key).await.unwrap().unwrap_or(0);
                let () = redis.set(key, seen + 1).await.unwrap();
                1
            }
            Counting::Incr => {
                let _: u64 = redis.incr(key, 1).await.unwrap();
                1
            }
            Counting::Pipeline => {
                let _: (u64, u64) =
                    redis::pipe().incr(key, 1).incr(key, 1).query_async(&mut redis).await.unwrap();
                2
            }
            Counting::Early => {
                let first: bool = redis.set_nx(key, 1).await.unwrap();
                if !first {
                    let _: u64 = redis.incr(key, 1).await.unwrap();
                }
                1
            }
        }
    }

    async fn judge(&self, key: &String, redis: &Redis, answers: &[u64]) -> LabResult<Finding> {
        let counted: u64 = redis.clone().get(key).await?;
        let expected: u64 = answers.iter().sum();
        Ok(if counted == expected {
            Finding::Holds
        } else {
            Finding::Broken(format!("{expected} were counted, the counter says {counted}"))
        })
    }
}

const ALL: Orders = Orders::All { max: 100 };

async fn run(redis: &Redis, counting: Counting, clients: usize, orders: &Orders) -> RaceReport {
    explore(&Counters { counting, clients }, redis, &[], orders).await.unwrap()
}

async fn on_both<F: AsyncFn(Redis)>(test: F) {
    for topology in [Topology::Single, Topology::Cluster] {
        let binary = find_server(None).unwrap();
        let servers = Managed::start_async(topology, &binary, &ServerOptions::steady()).await.unwrap();
        test(Redis::connect(&RedisConfig::new(topology, servers.addrs())).await.unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_found_replayed_and_counted() {
    on_both(async |redis| {
        a_lost_update_is_found_and_replayed(&redis).await;
        what_is_atomic_holds_in_every_order(&redis).await;
        what_cannot_be_driven_is_no_pass(&redis).await;
    })
    .await;
}

async fn a_lost_update_is_found_and_replayed(redis: &Redis) {
    let report = run(redis, Counting::GetSet, 2, &ALL).await;
    let broken = report.broken.expect("the lost update");
    assert_eq!((broken.order.as_str(), report.explored), ("ABAB", 2));
    assert_eq!(broken.reason, "2 were counted, the counter says 1");
    let shown: Vec<String> =
        broken.steps.iter().map(|step| format!("{} {}", step.client, &step.command[..3])).collect();
    assert_eq!(shown, ["A GET", "B GET", "A SET", "B SET"]);

    let again = run(redis, Counting::GetSet, 2, &Orders::Only(broken.order.clone())).await;
    assert_eq!(again.broken.map(|b| (b.order, b.reason)), Some((broken.order, broken.reason)));
    let other = run(redis, Counting::GetSet, 2, &Orders::Only("BBAA".into())).await;
    assert_eq!((other.broken, other.explored, other.exhausted), (None, 1, false));
}

async fn what_is_atomic_holds_in_every_order(redis: &Redis) {
    // A client of one command each: as many orders as there are permutations.
    for (clients, orders) in [(1, 1), (2, 2), (3, 6), (4, 24)] {
        for counting in [Counting::Incr, Counting::Pipeline] {
            let report = run(redis, counting, clients, &ALL).await;
            assert_eq!((report.broken, report.explored, report.undriven), (None, orders, 0));
            assert!(report.exhausted);
            assert_eq!(report.last.len(), clients);
        }
    }
    // Who comes first is done after one command. AB… and BA… with the other's second command last.
    let report = run(redis, Counting::Early, 2, &ALL).await;
    assert_eq!((report.broken, report.explored, report.exhausted), (None, 2, true));
    let bounded = run(redis, Counting::Incr, 3, &Orders::All { max: 4 }).await;
    assert_eq!((bounded.broken, bounded.explored, bounded.exhausted), (None, 4, false));
}

async fn what_cannot_be_driven_is_no_pass(redis: &Redis) {
    let report = run(redis, Counting::Incr, 2, &Orders::Only("AAB".into())).await;
    assert_eq!((report.broken, report.explored, report.undriven), (None, 0, 1));
    assert!(!report.exhausted);
    let racers = Counters { counting: Counting::Incr, clients: 2 };
    assert!(explore(&racers, redis, &[], &Orders::Only("AXB".into())).await.is_err());
}
