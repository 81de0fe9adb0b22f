//! Every variant is as declared, on one node and on six, with several seeds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use chatlab_cluster::LAB;
use chatlab_kit::check::{CheckReport, Verdict};
use chatlab_kit::lab::{Env, Lab, Variant, VariantKind, proving, rehearse};
use chatlab_kit::servers::Topology;

/// Seeds of each variant; more with `CHATLAB_SEEDS`.
const SEEDS: u64 = 3;
/// Checks of one variant that run at once on one server.
const CONCURRENT: u64 = 10;

fn the_exercise_is_not_written_yet(variant: &Variant, report: &CheckReport) -> Result<(), String> {
    let unwritten =
        |o: &chatlab_kit::check::Outcome| o.verdict == Verdict::Fail && o.reason.contains("not written yet");
    match variant.kind {
        VariantKind::Exercise if !report.outcomes.iter().all(unwritten) => {
            Err("not every check says that it is not written yet".to_owned())
        }
        VariantKind::Flawed { caught_by } => {
            let others = report.failures().map(|o| o.predicate.as_str()).filter(|p| *p != caught_by);
            let others: Vec<_> = others.collect();
            println!("{} {} seed {} also fails {others:?}", report.topology, variant.name, report.seed);
            Ok(())
        }
        _ => Ok(()),
    }
}

async fn every_variant_is_as_declared(topology: Topology) {
    let (_servers, env) = proving::start(topology).await.unwrap();
    let seeds = proving::seeds(SEEDS);
    let problems = proving::variants(&LAB, &env, &seeds, 1, the_exercise_is_not_written_yet).await;
    assert!(problems.is_empty(), "{}", problems.join("\n"));
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
    let (_servers, env) = proving::start(Topology::Single).await.unwrap();
    let mut running = tokio::task::JoinSet::new();
    for seed in 0..CONCURRENT {
        let env = Env { seed, ..env.clone() };
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
        let (_servers, env) = proving::start(topology).await.unwrap();
        for variant in LAB.variants() {
            if !matches!(variant.kind, VariantKind::Reference | VariantKind::Alternative) {
                continue;
            }
            for cost in rehearse(&LAB, variant.name, &env.redis).await.unwrap() {
                println!(
                    "{topology} {} {}: {} round trips, {} µs",
                    variant.name, cost.operation, cost.round_trips, cost.best_us
                );
            }
        }
    }
}

#[test]
fn the_console_track_is_whole_and_part_of_it_needs_a_cluster() {
    proving::console_track(&LAB).unwrap();
    assert!(LAB.manifest().unwrap().steps.iter().any(|step| step.cluster));
}

#[test]
fn the_lab_keeps_the_rules_of_all_labs() {
    chatlab_kit::lab::audit(&LAB).unwrap();
}
