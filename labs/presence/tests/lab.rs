//! Every variant is what it is declared to be, on one node and on six.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use chatlab_kit::lab::{Env, Lab, VariantKind};
use chatlab_kit::prereq::find_server;
use chatlab_kit::redis::{Redis, RedisConfig};
use chatlab_kit::servers::{Managed, ServerOptions, Topology};
use chatlab_presence::LAB;

/// Different plans.
const SEEDS: [u64; 3] = [1, 42, 4711];

#[test]
fn every_step_of_the_console_track_is_whole() {
    let manifest = LAB.manifest().unwrap();
    assert!(manifest.steps.len() >= 5);
    for step in &manifest.steps {
        let typed =
            step.setup.iter().chain(&step.solution).chain(step.mistakes.iter().flat_map(|m| &m.attempt));
        for line in typed.chain([&step.goal]).chain(&step.hints) {
            assert!(!line.trim().is_empty(), "{}", step.id);
            for name in line.split("${").skip(1).map(|rest| rest.split('}').next().unwrap()) {
                assert!(
                    manifest.choices.iter().any(|choice| choice.name == name),
                    "{}: ${{{name}}}",
                    step.id
                );
            }
        }
    }
    for (predicate, _) in LAB.predicates() {
        assert!(manifest.hints.iter().any(|hint| hint.when_fails == predicate), "no hint for {predicate}");
    }
}

async fn every_variant_is_as_declared(topology: Topology) {
    let server = Managed::start(topology, &find_server(None).unwrap(), &ServerOptions::steady()).unwrap();
    let redis = Redis::connect(&RedisConfig::new(topology, server.addrs())).await.unwrap();
    for seed in SEEDS {
        let env = Env { redis: redis.clone(), seed, server: None };
        for variant in LAB.variants() {
            let Some(report) = LAB.check(variant.name, &env).await else {
                assert_eq!(variant.kind, VariantKind::Exercise, "{}", variant.name);
                continue;
            };
            if let Err(why) = variant.as_declared(&report) {
                panic!("{} ({topology}, seed {seed}): {why}\n{report}", variant.name);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_variant_is_as_declared_on_one_node() {
    every_variant_is_as_declared(Topology::Single).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_variant_is_as_declared_on_a_cluster() {
    every_variant_is_as_declared(Topology::Cluster).await;
}
