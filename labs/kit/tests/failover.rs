//! A master dies under load: the handle goes on when its replica has taken its place, whichever client is underneath.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use chatlab_kit::{
    prereq::find_server,
    redis::{ClientKind, Redis, RedisConfig},
    servers::{Managed, Role, ServerOptions, Topology},
};

/// Callers at once: so many that redis-rs waits for itself each time.
const CALLERS: usize = 600;
/// How long the cluster takes to promote a replica, and the handle to find it, at most.
const BOUND: Duration = Duration::from_secs(60);
/// How long a caller may wait for an answer of redis-rs, be it an error: well below the 5 s after which a command times out.
const ANSWER: Duration = Duration::from_millis(4_000);
/// So often each caller must get through afterwards.
const AFTER: u64 = 20;

async fn goes_on(client: ClientKind) {
    let options = ServerOptions { cluster_node_timeout_ms: 2_000, ..ServerOptions::default() };
    let managed =
        Managed::start_async(Topology::Cluster, &find_server(None).unwrap(), &options).await.unwrap();
    let config = RedisConfig::new(Topology::Cluster, managed.addrs()).with_client(client);
    let redis = Redis::connect(&config).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let counts: Arc<Vec<AtomicU64>> = Arc::new((0..CALLERS).map(|_| AtomicU64::new(0)).collect());
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let (mut redis, stop, counts) = (redis.clone(), stop.clone(), counts.clone());
        callers.spawn(async move {
            let mut longest = Duration::ZERO;
            while !stop.load(Relaxed) {
                let asked = Instant::now();
                let mut incr = redis::cmd("INCR");
                let answer = incr.arg(format!("k{caller}")).query_async::<u64>(&mut redis).await;
                longest = longest.max(asked.elapsed());
                match answer {
                    Ok(_) => drop(counts[caller].fetch_add(1, Relaxed)),
                    // The pace of a caller that tries again.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
            longest
        });
    }
    let seen = |since: &[u64]| {
        (0..CALLERS).filter(|caller| counts[*caller].load(Relaxed) < since[*caller] + AFTER).count()
    };
    let until_all = async |since: &[u64], what: &str| {
        let began = Instant::now();
        while seen(since) > 0 {
            let left = seen(since);
            assert!(
                began.elapsed() < BOUND,
                "{client}, {what}: {left} of {CALLERS} callers do not get through"
            );
            // A poll, bounded by `BOUND`.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!("{client}, {what}: all get through after {:?}", began.elapsed());
    };
    until_all(&vec![0; CALLERS], "before").await;
    let master = managed.nodes().iter().position(|node| node.initial_role == Role::Master).unwrap();
    managed.kill_node(master).unwrap();
    let at_death: Vec<u64> = counts.iter().map(|count| count.load(Relaxed)).collect();
    until_all(&at_death, "after a master's death").await;
    stop.store(true, Relaxed);
    let longest = callers.join_all().await.into_iter().max().unwrap();
    println!("{client}: the longest wait for an answer was {longest:?}");
    // fred asks the dead master's slots until its own time is over.
    assert!(
        longest < ANSWER || client == ClientKind::Fred,
        "{client}: somebody waited {longest:?} for an answer"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_rs_goes_on_after_a_masters_death_under_load() {
    goes_on(ClientKind::RedisRs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fred_goes_on_after_a_masters_death_under_load() {
    if ClientKind::available().contains(&ClientKind::Fred) {
        goes_on(ClientKind::Fred).await;
    }
}
