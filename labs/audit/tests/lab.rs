//! Every variant is as declared, on one node and on a cluster; console steps, lesson, experiments and workloads work.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use chatlab_audit::LAB;
use chatlab_kit::{
    check::CheckReport,
    lab::{Lab as _, Variant, VariantKind, fitting, proving},
    servers::Topology,
};

/// Seeds of each variant; more with `CHATLAB_SEEDS`. All at once: the runs must not get in each other's way.
const SEEDS: u64 = 3;
/// Names and numbers of each console step.
const INSTANCES: [u64; 2] = [0, 1];

/// A flawed variant gets the hint that names it; the exercise fails by what is not written yet.
fn is_explained(variant: &Variant, report: &CheckReport) -> Result<(), String> {
    if let VariantKind::Flawed { caught_by } = variant.kind {
        let hints = LAB.manifest()?.hints;
        let outcome = report.outcome(caught_by).ok_or("its predicate did not run")?;
        let shown = fitting(&hints, outcome).map(|hint| hint.shown_by.as_str());
        if shown != Some(variant.name) {
            return Err(format!("it gets the hint of {shown:?}"));
        }
    }
    let unwritten = report.outcomes.iter().all(|outcome| outcome.reason.contains("not written yet"));
    if variant.kind == VariantKind::Exercise
        && !unwritten
        && report.failures().count() == report.outcomes.len()
    {
        return Err("it fails every check, and not because it is not written yet".to_owned());
    }
    Ok(())
}

async fn every_variant_is_as_declared(topology: Topology) {
    let (_servers, env) = proving::start(topology).await.unwrap();
    let seeds = proving::seeds(SEEDS);
    let problems = proving::variants(&LAB, &env, &seeds, seeds.len(), is_explained).await;
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
    let (_servers, env) = proving::start(Topology::Single).await.unwrap();
    let problems = proving::workloads(&LAB, &env, 4).await;
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_console_step_can_be_done_and_catches_its_mistakes() {
    proving::console_track(&LAB).unwrap();
    let (servers, env) = proving::start(Topology::Single).await.unwrap();
    let problems = proving::console_steps(&LAB, &servers, &env, &INSTANCES).await;
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lessons_commands_run_as_printed() {
    let (servers, _env) = proving::start(Topology::Single).await.unwrap();
    let problems = proving::lesson(&LAB, &servers).await;
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_lab_keeps_the_rules_of_all_labs() {
    chatlab_kit::lab::audit(&LAB).unwrap();
}
