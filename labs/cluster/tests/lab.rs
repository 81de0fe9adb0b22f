//! Every variant is as declared, on one node and on six, with several seeds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use chatlab_cluster::LAB;
use chatlab_kit::check::Verdict;
use chatlab_kit::lab::{Env, Lab, VariantKind, rehearse};
use chatlab_kit::prereq::find_server;
use chatlab_kit::redis::{Redis, RedisConfig};
use chatlab_kit::servers::{Managed, ServerOptions, Topology};

const SEEDS: [u64; 3] = [1, 7, 20_261_121];
/// Checks of one variant that run at once on one server.
const CONCURRENT: u64 = 10;

async fn start(topology: Topology) -> (Managed, Redis) {
    let bin = find_server(None).unwrap();
    let managed = Managed::start_async(topology, &bin, &ServerOptions::steady()).await.unwrap();
    let redis = Redis::connect(&RedisConfig::new(topology, managed.addrs())).await.unwrap();
    (managed, redis)
}

async fn every_variant_is_as_declared(topology: Topology) {
    let (_managed, redis) = start(topology).await;
    let seeds: Vec<u64> = match std::env::var("CHATLAB_SEEDS") {
        Ok(count) => (0..count.parse().unwrap()).collect(),
        Err(_) => SEEDS.to_vec(),
    };
    for variant in LAB.variants() {
        let mut slowest = 0;
        for &seed in &seeds {
            let env = Env { redis: redis.clone(), seed, server: None };
            let began = std::time::Instant::now();
            let Some(report) = LAB.check(variant.name, &env).await else { continue };
            slowest = slowest.max(began.elapsed().as_millis());
            variant.as_declared(&report).unwrap_or_else(|why| panic!("{}: {why}\n{report}", variant.name));
            if let VariantKind::Flawed { caught_by } = variant.kind {
                let others: Vec<_> =
                    report.failures().map(|o| o.predicate.as_str()).filter(|p| *p != caught_by).collect();
                println!("{topology} {} seed {seed} also fails {others:?}", variant.name);
            }
            if variant.kind == VariantKind::Exercise {
                assert!(report.outcomes.iter().all(|o| o.verdict == Verdict::Fail), "{report}");
                assert!(report.outcomes.iter().all(|o| o.reason.contains("not written yet")), "{report}");
            }
        }
        println!("{topology} {} took up to {slowest} ms", variant.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_variant_is_as_declared_on_one_node() {
    every_variant_is_as_declared(Topology::Single).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_variant_is_as_declared_on_six_nodes() {
    every_variant_is_as_declared(Topology::Cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_checks_share_a_server() {
    let (_managed, redis) = start(Topology::Single).await;
    let redis = Arc::new(redis);
    let mut running = tokio::task::JoinSet::new();
    for seed in 0..CONCURRENT {
        let env = Env { redis: (*redis).clone(), seed, server: None };
        running.spawn(async move { LAB.check("partitions", &env).await.unwrap() });
    }
    while let Some(report) = running.join_next().await {
        let report = report.unwrap();
        assert_eq!(report.verdict(), Verdict::Pass, "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workload_of_every_sound_variant_runs() {
    for topology in Topology::ALL {
        let (_managed, redis) = start(topology).await;
        for variant in LAB.variants() {
            if !matches!(variant.kind, VariantKind::Reference | VariantKind::Alternative) {
                continue;
            }
            for cost in rehearse(&LAB, variant.name, &redis).await.unwrap() {
                println!(
                    "{topology} {} {}: {} round trips, {} µs",
                    variant.name, cost.operation, cost.round_trips, cost.best_us
                );
            }
        }
    }
}

#[test]
fn console_steps_use_declared_names_and_know_mistakes() {
    let manifest = LAB.manifest().unwrap();
    assert!(manifest.steps.len() >= 5 && manifest.steps.iter().any(|step| step.cluster));
    assert!(manifest.steps.iter().filter(|step| !step.mistakes.is_empty()).count() >= 3);
    let lines = manifest.steps.iter().flat_map(|step| {
        let attempts = step.mistakes.iter().flat_map(|mistake| &mistake.attempt);
        step.solution.iter().chain(&step.setup).chain(attempts)
    });
    for line in lines {
        assert!(!line.trim().is_empty());
        for name in line.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name) {
            assert!(manifest.choices.iter().any(|choice| choice.name == name), "{line}: {name}");
        }
    }
}
