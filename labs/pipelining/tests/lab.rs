//! Every variant is as declared, on one node and on a cluster; races, experiments, workloads and console steps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use chatlab_kit::{
    check::Verdict,
    lab::{Env, Lab as _, Orders, VariantKind, fitting},
    prereq::find_server,
    proxy::Proxy,
    redis::{Redis, RedisConfig},
    servers::{Managed, ServerOptions, Topology},
    steps::prove,
};
use chatlab_pipelining::LAB;
use futures_util::future::join_all;

/// Runs at once on one server.
const AT_ONCE: u64 = 10;

async fn env(topology: Topology) -> (Managed, Env) {
    let binary = find_server(None).unwrap();
    let servers = Managed::start_async(topology, &binary, &ServerOptions::steady()).await.unwrap();
    let redis = Redis::connect(&RedisConfig::new(topology, servers.addrs())).await.unwrap();
    (servers, Env { redis, seed: 1, server: Some(binary) })
}

fn seeds() -> u64 {
    std::env::var("CHATLAB_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(4)
}

async fn every_variant_is_as_declared(topology: Topology) {
    let (_servers, env) = env(topology).await;
    let only = std::env::var("CHATLAB_VARIANT").ok();
    for variant in LAB.variants() {
        if variant.kind == VariantKind::Exercise || only.as_deref().is_some_and(|only| only != variant.name) {
            continue;
        }
        for first in (0..seeds()).step_by(AT_ONCE as usize) {
            let runs = (first..seeds().min(first + AT_ONCE)).map(|seed| {
                let env = Env { seed: seed * 7_919 + 1, ..env.clone() };
                async move { LAB.check(variant.name, &env).await.unwrap() }
            });
            for report in join_all(runs).await {
                if std::env::var_os("CHATLAB_SHOW").is_some() {
                    println!("{report}");
                }
                if let Err(why) = variant.as_declared(&report) {
                    panic!("{}: {why}\n{report}", variant.name);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_variant_is_as_declared_on_one_node() {
    every_variant_is_as_declared(Topology::Single).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_variant_is_as_declared_on_a_cluster() {
    every_variant_is_as_declared(Topology::Cluster).await;
}

async fn races_break_what_they_should(topology: Topology) {
    let (_servers, env) = env(topology).await;
    let all = Orders::All { max: 300 };
    for race in LAB.races() {
        for variant in LAB.variants() {
            let Some(report) = LAB.race(race.name, variant.name, &env, &all).await else { continue };
            let report = report.unwrap();
            let same = race.name == "same-retry-twice";
            let breaks = match variant.name {
                "sequential" | "pipeline" | "watch_no_retry" => true,
                "multi_blind" => same,
                _ => false,
            };
            if !breaks {
                assert!(report.broken.is_none() && report.exhausted, "{report:?}");
                continue;
            }
            let broken = report.broken.unwrap_or_else(|| panic!("{}, {}", race.name, variant.name));
            let again = LAB.race(race.name, variant.name, &env, &Orders::Only(broken.order.clone())).await;
            let again = again.unwrap().unwrap().broken.expect("the same order breaks it again");
            assert_eq!(again.order, broken.order);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_races_break_the_flawed_and_nothing_else() {
    races_break_what_they_should(Topology::Single).await;
    races_break_what_they_should(Topology::Cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_experiment_finds_numbers() {
    for topology in [Topology::Single, Topology::Cluster] {
        let (_servers, env) = env(topology).await;
        for experiment in LAB.experiments() {
            let began = std::time::Instant::now();
            let findings = LAB.experiment(experiment.name, &env).await.unwrap().unwrap();
            println!("{topology}: {} ({} ms)\n{findings}", experiment.name, began.elapsed().as_millis());
            for line in findings.conclusions.iter().chain(&findings.notes) {
                println!("  {line}");
            }
            assert!(!findings.rows.is_empty() && !findings.conclusions.is_empty());
            let finite = findings.rows.iter().all(|(_, numbers)| numbers.iter().all(|n| n.is_finite()));
            assert!(finite, "{findings}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_workload_runs() {
    for topology in [Topology::Single, Topology::Cluster] {
        let (_servers, env) = env(topology).await;
        for variant in LAB.variants().iter().filter(|variant| variant.kind != VariantKind::Exercise) {
            let costs = chatlab_kit::lab::rehearse(&LAB, variant.name, &env.redis).await.unwrap();
            assert_eq!(costs.len(), 4);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_console_step_is_passed_by_its_solution_and_knows_its_mistakes() {
    let (servers, env) = env(Topology::Single).await;
    let proxy = Arc::new(Proxy::start(Topology::Single, &servers.addrs()).await.unwrap());
    let manifest = LAB.manifest().unwrap();
    let mut wrong = Vec::new();
    for step in &manifest.steps {
        for seed in 1..=seeds() {
            if let Err(why) = prove(LAB.id(), &manifest, &step.id, seed, &env.redis, proxy.clone()).await {
                wrong.push(why);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hint_is_shown_to_the_flawed_variant_that_it_names() {
    let (_servers, env) = env(Topology::Single).await;
    let manifest = LAB.manifest().unwrap();
    for seed in 1..=seeds() {
        for hint in manifest.hints.iter().filter(|hint| hint.shown_by != "exercise") {
            let env = Env { seed, ..env.clone() };
            let report = LAB.check(&hint.shown_by, &env).await.unwrap();
            let outcome = report.outcome(&hint.when_fails).unwrap();
            assert_eq!(outcome.verdict, Verdict::Fail, "{}: {}", hint.shown_by, hint.when_fails);
            assert_eq!(fitting(&manifest.hints, outcome), Some(hint), "{outcome:?}");
        }
    }
}
