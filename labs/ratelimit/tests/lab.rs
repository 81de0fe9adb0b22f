//! Every variant is as declared, on one node and on a cluster; the race is found and replayed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use chatlab_kit::{
    lab::{Env, Lab as _, Orders, VariantKind},
    prereq::find_server,
    redis::{Redis, RedisConfig},
    servers::{Managed, ServerOptions, Topology},
};
use chatlab_ratelimit::LAB;

/// Runs at once on one server.
const AT_ONCE: u64 = 4;

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
            for report in futures_util::future::join_all(runs).await {
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

async fn the_last_permit(topology: Topology) {
    let (_servers, env) = env(topology).await;
    let all = Orders::All { max: 200 };
    for race in LAB.races() {
        for variant in LAB.variants() {
            let Some(report) = LAB.race(race.name, variant.name, &env, &all).await else { continue };
            let report = report.unwrap();
            assert_eq!(report.undriven, 0, "{report:?}");
            if variant.name != "read_then_write" {
                assert!(report.broken.is_none() && report.exhausted, "{report:?}");
                continue;
            }
            let broken = report.broken.expect("the last permit is given twice");
            let again = LAB.race(race.name, variant.name, &env, &Orders::Only(broken.order.clone())).await;
            let again = again.unwrap().unwrap().broken.expect("the same order breaks it again");
            assert_eq!((again.order, again.reason), (broken.order, broken.reason));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_permit_is_given_twice_by_who_reads_and_then_writes_only() {
    the_last_permit(Topology::Single).await;
    the_last_permit(Topology::Cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_experiment_finds_numbers() {
    for topology in [Topology::Single, Topology::Cluster] {
        let (_servers, env) = env(topology).await;
        for experiment in LAB.experiments() {
            let findings = LAB.experiment(experiment.name, &env).await.unwrap().unwrap();
            println!("{topology}: {}\n{findings}", experiment.name);
            assert!(!findings.rows.is_empty() && !findings.conclusions.is_empty());
            let finite = findings.rows.iter().all(|(_, numbers)| numbers.iter().all(|n| n.is_finite()));
            assert!(finite, "{findings}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_workload_runs() {
    let (_servers, env) = env(Topology::Single).await;
    for variant in LAB.variants().iter().filter(|variant| variant.kind != VariantKind::Exercise) {
        let costs = chatlab_kit::lab::rehearse(&LAB, variant.name, &env.redis).await.unwrap();
        assert_eq!(costs.len(), 2);
    }
}
