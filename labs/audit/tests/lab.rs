//! Every variant is as declared, on one node and on a cluster; console steps, lesson, experiments and workloads work.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use chatlab_audit::LAB;
use chatlab_kit::{
    lab::{Env, Lab as _, VariantKind, fitting},
    prereq::find_server,
    proxy::Proxy,
    redis::{Redis, RedisConfig},
    servers::{Managed, ServerOptions, Topology},
    steps::{Typist, prove},
};

async fn env(topology: Topology) -> (Managed, Env) {
    let binary = find_server(None).unwrap();
    let servers = Managed::start_async(topology, &binary, &ServerOptions::steady()).await.unwrap();
    let redis = Redis::connect(&RedisConfig::new(topology, servers.addrs())).await.unwrap();
    (servers, Env { redis, seed: 1, server: Some(binary) })
}

/// Seeds of each variant; more with `CHATLAB_SEEDS`.
fn seeds() -> u64 {
    std::env::var("CHATLAB_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(3)
}

async fn every_variant_is_as_declared(topology: Topology) {
    let (_servers, env) = env(topology).await;
    let only = std::env::var("CHATLAB_VARIANT").ok();
    for variant in LAB.variants() {
        if only.as_deref().is_some_and(|only| only != variant.name) {
            continue;
        }
        // All seeds at once: the runs must not get in each other's way.
        let mut runs = tokio::task::JoinSet::new();
        for seed in 0..seeds() {
            let env = Env { seed: seed * 7_919 + 1, ..env.clone() };
            runs.spawn(async move { LAB.check(variant.name, &env).await });
        }
        for report in runs.join_all().await.into_iter().flatten() {
            if std::env::var_os("CHATLAB_SHOW").is_some() {
                println!("{report}");
            }
            if let Err(why) = variant.as_declared(&report) {
                panic!("{}: {why}\n{report}", variant.name);
            }
            if let VariantKind::Flawed { caught_by } = variant.kind {
                let hints = LAB.manifest().unwrap().hints;
                let shown =
                    fitting(&hints, report.outcome(caught_by).unwrap()).map(|hint| hint.shown_by.clone());
                assert_eq!(shown.as_deref(), Some(variant.name), "{report}");
            }
            if variant.kind == VariantKind::Exercise {
                let all = report.outcomes.iter().all(|outcome| outcome.reason.contains("not written yet"));
                assert!(all || report.failures().count() < report.outcomes.len(), "{report}");
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

#[tokio::test(flavor = "multi_thread")]
async fn every_experiment_finds_numbers() {
    for topology in [Topology::Single, Topology::Cluster] {
        let (_servers, env) = env(topology).await;
        for experiment in LAB.experiments() {
            let findings = LAB.experiment(experiment.name, &env).await.unwrap().unwrap();
            println!("{topology}: {}\n{findings}{}", experiment.name, findings.conclusions.join("\n"));
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
        assert_eq!(costs.len(), 4, "{}", variant.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_console_step_can_be_done_and_catches_its_mistakes() {
    let (servers, env) = env(Topology::Single).await;
    let proxy = std::sync::Arc::new(Proxy::start(Topology::Single, &servers.addrs()).await.unwrap());
    let manifest = LAB.manifest().unwrap();
    let mut wrong = Vec::new();
    for step in &manifest.steps {
        for seed in 0..2 {
            if let Err(why) = prove(LAB.id(), &manifest, &step.id, seed, &env.redis, proxy.clone()).await {
                wrong.push(why);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lessons_commands_run_as_printed() {
    let (servers, _env) = env(Topology::Single).await;
    let mut typist = Typist::new(Topology::Single, servers.addrs());
    let mut fence = None;
    for line in LAB.lesson().lines() {
        match (line.strip_prefix("```"), fence) {
            (Some(_), Some(_)) => fence = None,
            (Some(kind), None) => fence = Some(kind),
            (None, Some("")) => {
                let typed = typist.line(line).await;
                println!("> {line}\n{}", typed.text);
                assert!(!typed.error, "{line}: {}", typed.text);
            }
            (None, _) => {}
        }
    }
}
