//! Every variant is as it is declared, on a single node and on a cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use chatlab_history::LAB;
use chatlab_kit::{
    lab::{Experiment, Findings, Lab, proving},
    servers::Topology,
};

/// Seeds of each variant; more with `CHATLAB_SEEDS`.
const SEEDS: u64 = 3;

async fn every_variant_is_as_declared(topology: Topology) {
    let (_servers, env) = proving::start(topology).await.unwrap();
    let problems = proving::variants(&LAB, &env, &proving::seeds(SEEDS), 1, |_, _| Ok(())).await;
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_variant_is_as_declared_on_a_single_node() {
    every_variant_is_as_declared(Topology::Single).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_variant_is_as_declared_on_a_cluster() {
    every_variant_is_as_declared(Topology::Cluster).await;
}

/// Every measurement has a curve, and nothing costs nothing.
fn is_drawn(_: &Experiment, findings: &Findings) -> Result<(), String> {
    let measured = findings.rows.iter().all(|(_, row)| row.iter().all(|number| *number > 0.0));
    if measured && !findings.charts.is_empty() { Ok(()) } else { Err("no chart, or a zero".to_owned()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_experiments_measure_every_variant_and_refuse_what_they_cannot_see() {
    let (_servers, env) = proving::start(Topology::Single).await.unwrap();
    let problems = proving::experiments(&LAB, &env, is_drawn).await;
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let mut redis = env.redis.clone();
    let growth = LAB.experiment("growth", &env).await.unwrap().unwrap();
    assert!(growth.notes.iter().any(|note| note.contains("at the client: refused")), "{:?}", growth.notes);
    let keys: Vec<String> = redis::cmd("KEYS").arg("*growth*").query_async(&mut redis).await.unwrap();
    assert!(keys.is_empty(), "{keys:?}");
}

#[test]
fn the_console_track_is_whole_and_has_layered_hints() {
    proving::console_track(&LAB).unwrap();
    let manifest = LAB.manifest().unwrap();
    assert!(manifest.predictions.len() >= 2);
    assert!(manifest.steps.iter().all(|step| step.hints.len() >= 2));
}

#[test]
fn the_lab_keeps_the_rules_of_all_labs() {
    chatlab_kit::lab::audit(&LAB).unwrap();
}
