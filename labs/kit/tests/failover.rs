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
    slots::slot,
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

/// Callers of each master while one of them is dead and nobody takes its place.
const EACH: usize = 20;
/// How long it is dead.
const DEAD: Duration = Duration::from_secs(6);
/// How long a caller of the others may wait meanwhile: their servers answer at once, this machine may be busy.
const HELD_UP: Duration = Duration::from_millis(1_500);

/// What a master's callers saw.
#[derive(Default)]
struct Seen {
    answers: AtomicU64,
    errors: AtomicU64,
    longest_ms: AtomicU64,
}

/// Nobody who asks another master notices that one answers no more. What breaks it may leave something in its place for as long.
async fn others_go_on<T>(break_node: impl Fn(&Managed, usize) -> T) {
    let (server, options) = (find_server(None).unwrap(), ServerOptions::steady());
    let managed = Managed::start_async(Topology::Cluster, &server, &options).await.unwrap();
    let redis = Redis::connect(&RedisConfig::new(Topology::Cluster, managed.addrs())).await.unwrap();
    let owners = redis.slot_owners().await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let seen: Vec<Arc<Seen>> = (0..3).map(|_| Arc::default()).collect();
    let mut callers = tokio::task::JoinSet::new();
    for (master, seen) in seen.iter().enumerate() {
        let addr = managed.nodes()[master].addr();
        let of_master = |key: &String| owners.owner_of(slot(key.as_bytes())) == Some(&addr);
        for key in (0..).map(|i| format!("k{i}")).filter(of_master).take(EACH) {
            let (mut redis, stop, seen) = (redis.clone(), stop.clone(), seen.clone());
            callers.spawn(async move {
                while !stop.load(Relaxed) {
                    let asked = Instant::now();
                    let answer = redis::cmd("INCR").arg(&key).query_async::<u64>(&mut redis).await;
                    let took = u64::try_from(asked.elapsed().as_millis()).unwrap();
                    seen.longest_ms.fetch_max(took, Relaxed);
                    let count = if answer.is_ok() { &seen.answers } else { &seen.errors };
                    count.fetch_add(1, Relaxed);
                    // The pace of a caller.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
        }
    }
    let answered = |master: usize| seen[master].answers.load(Relaxed);
    while (0..3).any(|master| answered(master) < AFTER) {
        tokio::task::yield_now().await;
    }
    let before = [0, 1, 2].map(answered);
    seen.iter().for_each(|seen| seen.longest_ms.store(0, Relaxed));
    let _left = break_node(&managed, 0);
    // It is dead for a while: that is what is tested.
    tokio::time::sleep(DEAD).await;
    for master in [1, 2] {
        let longest = Duration::from_millis(seen[master].longest_ms.load(Relaxed));
        let (answers, errors) = (answered(master) - before[master], seen[master].errors.load(Relaxed));
        println!("master {master}: {answers} answers, {errors} errors, the longest after {longest:?}");
        assert!(longest < HELD_UP && errors == 0 && answers > AFTER * EACH as u64, "master {master}");
    }
    stop.store(true, Relaxed);
    callers.abort_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_was_killed_holds_up_no_other() {
    others_go_on(|managed, node| managed.kill_node(node).unwrap()).await;
}

/// As when its machine is gone: who connects waits for nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_cannot_be_reached_holds_up_no_other() {
    let deaf = |managed: &Managed, node: usize| {
        managed.kill_node(node).unwrap();
        std::net::TcpListener::bind(managed.nodes()[node].addr()).unwrap()
    };
    others_go_on(deaf).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_stands_still_holds_up_no_other() {
    others_go_on(|managed, node| managed.pause_node(node).unwrap()).await;
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
