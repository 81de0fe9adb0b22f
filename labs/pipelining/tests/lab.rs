//! Every variant is as declared, on one node and on a cluster; races, experiments, workloads and console steps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use chatlab_kit::{
    check::Verdict,
    lab::{Env, Lab as _, Orders, fitting, proving},
    servers::Topology,
};
use chatlab_pipelining::LAB;

/// Seeds of each variant; more with `CHATLAB_SEEDS`.
const SEEDS: u64 = 4;
/// Runs at once on one server.
const AT_ONCE: usize = 10;

async fn every_variant_is_as_declared(topology: Topology) {
    let (_servers, env) = proving::start(topology).await.unwrap();
    let problems = proving::variants(&LAB, &env, &proving::seeds(SEEDS), AT_ONCE, |_, _| Ok(())).await;
    assert!(problems.is_empty(), "{}", problems.join("\n"));
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
    let (_servers, env) = proving::start(topology).await.unwrap();
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
    for topology in Topology::ALL {
        let (_servers, env) = proving::start(topology).await.unwrap();
        let problems = proving::experiments(&LAB, &env, |_, _| Ok(())).await;
        assert!(problems.is_empty(), "{topology}: {}", problems.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_workload_runs() {
    for topology in Topology::ALL {
        let (_servers, env) = proving::start(topology).await.unwrap();
        let problems = proving::workloads(&LAB, &env, 4).await;
        assert!(problems.is_empty(), "{topology}: {}", problems.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_console_step_is_passed_by_its_solution_and_knows_its_mistakes() {
    proving::console_track(&LAB).unwrap();
    let (servers, env) = proving::start(Topology::Single).await.unwrap();
    let problems = proving::console_steps(&LAB, &servers, &env, &proving::seeds(SEEDS)).await;
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hint_is_shown_to_the_flawed_variant_that_it_names() {
    let (_servers, env) = proving::start(Topology::Single).await.unwrap();
    let manifest = LAB.manifest().unwrap();
    for seed in proving::seeds(SEEDS) {
        for hint in manifest.hints.iter().filter(|hint| hint.shown_by != "exercise") {
            let env = Env { seed, ..env.clone() };
            let report = LAB.check(&hint.shown_by, &env).await.unwrap();
            let outcome = report.outcome(&hint.when_fails).unwrap();
            assert_eq!(outcome.verdict, Verdict::Fail, "{}: {}", hint.shown_by, hint.when_fails);
            assert_eq!(fitting(&manifest.hints, outcome), Some(hint), "{outcome:?}");
        }
    }
}

#[test]
fn the_lab_keeps_the_rules_of_all_labs() {
    chatlab_kit::lab::audit(&LAB).unwrap();
}
