//! Every variant is as it is declared, on a single node and on a cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use chatlab_history::LAB;
use chatlab_kit::{
    lab::{Env, Lab},
    prereq::find_server,
    redis::{Redis, RedisConfig},
    servers::{Managed, ServerOptions, Topology},
};

/// `CHATLAB_SEEDS` tries more.
fn seeds() -> u64 {
    std::env::var("CHATLAB_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

async fn server(topology: Topology) -> (Managed, Redis) {
    let managed =
        Managed::start_async(topology, &find_server(None).unwrap(), &ServerOptions::steady()).await.unwrap();
    let redis = Redis::connect(&RedisConfig::new(topology, managed.addrs())).await.unwrap();
    (managed, redis)
}

async fn every_variant_is_as_declared(topology: Topology) {
    let (_server, redis) = server(topology).await;
    for seed in 1..=seeds() {
        for variant in LAB.variants() {
            let env = Env { redis: redis.clone(), seed, server: None };
            let Some(report) = LAB.check(variant.name, &env).await else { continue };
            if let Err(why) = variant.as_declared(&report) {
                panic!("{}: {why}\n{report}", variant.name);
            }
            if seed == 1 {
                let failed: Vec<_> = report.failures().map(|outcome| outcome.predicate.as_str()).collect();
                let slowest = report.outcomes.iter().map(|outcome| outcome.took_ms).max().unwrap_or(0);
                println!("{topology} {}: fails {failed:?}, {slowest} ms", variant.name);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_variant_is_as_declared_on_a_single_node() {
    every_variant_is_as_declared(Topology::Single).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_variant_is_as_declared_on_a_cluster() {
    every_variant_is_as_declared(Topology::Cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_experiments_measure_every_variant_and_refuse_what_they_cannot_see() {
    let (_server, redis) = server(Topology::Single).await;
    let env = Env { redis, seed: 7, server: None };
    for experiment in LAB.experiments() {
        let began = std::time::Instant::now();
        let findings = LAB.experiment(experiment.name, &env).await.unwrap().unwrap();
        println!("{} in {:?}\n{findings}", experiment.name, began.elapsed());
        for sentence in findings.conclusions.iter().chain(&findings.notes) {
            println!("{sentence}");
        }
        assert!(!findings.charts.is_empty() && !findings.conclusions.is_empty());
        assert!(findings.rows.iter().all(|(_, row)| row.iter().all(|number| *number > 0.0)));
    }
    let mut redis = env.redis.clone();
    let growth = LAB.experiment("growth", &env).await.unwrap().unwrap();
    assert!(growth.notes.iter().any(|note| note.contains("at the client: refused")), "{:?}", growth.notes);
    let keys: Vec<String> = redis::cmd("KEYS").arg("*growth*").query_async(&mut redis).await.unwrap();
    assert!(keys.is_empty(), "{keys:?}");
}

#[test]
fn every_step_of_the_console_track_is_well_formed() {
    let manifest = LAB.manifest().unwrap();
    assert!(manifest.steps.len() >= 5 && manifest.predictions.len() >= 2);
    let mistakes = manifest.steps.iter().filter(|step| !step.mistakes.is_empty()).count();
    assert!(mistakes >= 3, "{mistakes} steps have a mistake");
    for step in &manifest.steps {
        assert!(!step.learnt.is_empty() && step.hints.len() >= 2, "{}", step.id);
        let lines =
            step.solution.iter().chain(&step.setup).chain(step.mistakes.iter().flat_map(|m| &m.attempt));
        for line in lines {
            assert_eq!(line.trim(), line, "{}", step.id);
            assert!(!line.is_empty() && line.matches('"').count() % 2 == 0, "{}: {line}", step.id);
        }
    }
    for (predicate, _) in LAB.predicates() {
        assert!(manifest.hints.iter().any(|hint| hint.when_fails == predicate), "no hint for {predicate}");
    }
}

#[test]
fn the_lab_keeps_the_rules_of_all_labs() {
    chatlab_kit::lab::audit(&LAB).unwrap();
}
