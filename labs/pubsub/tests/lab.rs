//! Every variant is as it is declared to be, on one node and on a cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use chatlab_kit::lab::Drive;
use chatlab_kit::lab::{Env, Lab};
use chatlab_kit::prereq::find_server;
use chatlab_kit::proxy::Proxy;
use chatlab_kit::redis::{Redis, RedisConfig};
use chatlab_kit::servers::{Managed, ServerOptions, Topology};
use chatlab_kit::steps::{prove, words};
use chatlab_pubsub::LAB;
use futures_util::future::join_all;

/// Seeds of each variant; more with `CHATLAB_SEEDS`.
fn seeds() -> u64 {
    std::env::var("CHATLAB_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(2)
}

async fn all_as_declared(topology: Topology) {
    let bin = find_server(None).unwrap();
    let servers = Managed::start_async(topology, &bin, &ServerOptions::steady()).await.unwrap();
    let redis = Redis::connect(&RedisConfig::new(topology, servers.addrs())).await.unwrap();
    for variant in LAB.variants() {
        for seed in 1..=seeds() {
            let env = Env { redis: redis.clone(), seed, server: None };
            let Some(report) = LAB.check(variant.name, &env).await else { continue };
            let verdicts =
                report.outcomes.iter().map(|o| format!("{} {} {} ms", o.predicate, o.verdict, o.took_ms));
            println!("{topology} {} {seed}: {}", variant.name, verdicts.collect::<Vec<_>>().join(", "));
            if let Err(why) = variant.as_declared(&report) {
                panic!("{} on {topology}: {why}\n{report}", variant.name);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_variant_is_as_declared_on_one_node() {
    all_as_declared(Topology::Single).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_variant_is_as_declared_on_a_cluster() {
    all_as_declared(Topology::Cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_experiment_measures_something() {
    let bin = find_server(None).unwrap();
    let servers = Managed::start_async(Topology::Single, &bin, &ServerOptions::steady()).await.unwrap();
    let redis = Redis::connect(&RedisConfig::new(Topology::Single, servers.addrs())).await.unwrap();
    let env = Env { redis, seed: 1, server: Some(bin) };
    for experiment in LAB.experiments() {
        let began = std::time::Instant::now();
        let findings = LAB.experiment(experiment.name, &env).await.unwrap().unwrap();
        println!("{} ({} ms)\n{findings}", experiment.name, began.elapsed().as_millis());
        for line in findings.conclusions.iter().chain(&findings.notes) {
            println!("  {line}");
        }
        assert!(!findings.rows.is_empty() && !findings.conclusions.is_empty(), "{}", experiment.name);
    }
}

/// A cut in one run must not be felt in another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_runs_at_once_on_one_server_do_not_disturb_each_other() {
    let bin = find_server(None).unwrap();
    let servers = Managed::start_async(Topology::Single, &bin, &ServerOptions::steady()).await.unwrap();
    let redis = Redis::connect(&RedisConfig::new(Topology::Single, servers.addrs())).await.unwrap();
    for name in ["sharded", "stream_tail"] {
        let variant = LAB.variant(name).unwrap();
        let runs = (1..=10).map(|seed| {
            let env = Env { redis: redis.clone(), seed, server: None };
            async move { LAB.check(name, &env).await.unwrap() }
        });
        for report in join_all(runs).await {
            if let Err(why) = variant.as_declared(&report) {
                panic!("{name}: {why}\n{report}");
            }
        }
    }
    let mut redis = redis.clone();
    let keys: u64 = redis::cmd("DBSIZE").query_async(&mut redis).await.unwrap();
    let users: Vec<String> = redis::cmd("ACL").arg("USERS").query_async(&mut redis).await.unwrap();
    assert_eq!((keys, users), (0, vec!["default".to_owned()]), "nothing is left behind");
}

#[test]
fn every_line_of_the_console_track_is_well_formed() {
    for step in LAB.manifest().unwrap().steps {
        let driven = step.drive.iter().flat_map(|drive| match drive {
            Drive::Run { commands } => commands.clone(),
            _ => Vec::new(),
        });
        let attempts = step.mistakes.iter().flat_map(|mistake| mistake.attempt.clone());
        let lines = step.setup.iter().chain(&step.solution).cloned().chain(driven).chain(attempts);
        for line in lines {
            assert!(words(&line).is_ok_and(|words| !words.is_empty()), "{}: {line}", step.id);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_console_step_is_passed_by_its_solution_and_knows_its_mistakes() {
    let bin = find_server(None).unwrap();
    let servers = Managed::start_async(Topology::Single, &bin, &ServerOptions::steady()).await.unwrap();
    let redis = Redis::connect(&RedisConfig::new(Topology::Single, servers.addrs())).await.unwrap();
    let proxy = std::sync::Arc::new(Proxy::start(Topology::Single, &servers.addrs()).await.unwrap());
    let manifest = LAB.manifest().unwrap();
    let mut wrong = Vec::new();
    for step in &manifest.steps {
        for seed in 1..=seeds() {
            if let Err(why) = prove(LAB.id(), &manifest, &step.id, seed, &redis, proxy.clone()).await {
                wrong.push(why);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
