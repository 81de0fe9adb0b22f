//! Every variant is as declared, on one node and on a cluster; the race is found and replayed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use chatlab_kit::{
    lab::{Lab as _, Orders, proving},
    servers::Topology,
};
use chatlab_ratelimit::LAB;

/// Seeds of each variant; more with `CHATLAB_SEEDS`.
const SEEDS: u64 = 4;
/// Runs at once on one server.
const AT_ONCE: usize = 4;

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

async fn the_last_permit(topology: Topology) {
    let (_servers, env) = proving::start(topology).await.unwrap();
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
    for topology in Topology::ALL {
        let (_servers, env) = proving::start(topology).await.unwrap();
        let problems = proving::experiments(&LAB, &env, |_, _| Ok(())).await;
        assert!(problems.is_empty(), "{topology}: {}", problems.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_workload_runs() {
    let (_servers, env) = proving::start(Topology::Single).await.unwrap();
    let problems = proving::workloads(&LAB, &env, 2).await;
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_console_track_is_whole() {
    proving::console_track(&LAB).unwrap();
}

#[test]
fn the_lab_keeps_the_rules_of_all_labs() {
    chatlab_kit::lab::audit(&LAB).unwrap();
}
