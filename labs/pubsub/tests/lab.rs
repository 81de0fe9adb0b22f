//! Every variant is as it is declared to be, on one node and on a cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use chatlab_kit::check::CheckReport;
use chatlab_kit::lab::{Env, Lab, Variant, proving};
use chatlab_kit::servers::Topology;
use chatlab_pubsub::LAB;
use futures_util::future::join_all;

/// Seeds of each variant; more with `CHATLAB_SEEDS`.
const SEEDS: u64 = 2;

fn is_told(variant: &Variant, report: &CheckReport) -> Result<(), String> {
    let verdicts = report.outcomes.iter().map(|o| format!("{} {} {} ms", o.predicate, o.verdict, o.took_ms));
    let verdicts = verdicts.collect::<Vec<_>>().join(", ");
    println!("{} {} {}: {verdicts}", report.topology, variant.name, report.seed);
    Ok(())
}

async fn all_as_declared(topology: Topology) {
    let (_servers, env) = proving::start(topology).await.unwrap();
    let problems = proving::variants(&LAB, &env, &proving::seeds(SEEDS), 1, is_told).await;
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_variant_is_as_declared_on_one_node() {
    all_as_declared(Topology::Single).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_variant_is_as_declared_on_a_cluster() {
    all_as_declared(Topology::Cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_experiment_measures_something() {
    let (_servers, env) = proving::start(Topology::Single).await.unwrap();
    let problems = proving::experiments(&LAB, &env, |_, _| Ok(())).await;
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// A cut in one run must not be felt in another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_runs_at_once_on_one_server_do_not_disturb_each_other() {
    let (_servers, env) = proving::start(Topology::Single).await.unwrap();
    for name in ["sharded", "stream_tail"] {
        let variant = LAB.variant(name).unwrap();
        let runs = (1..=10).map(|seed| {
            let env = Env { seed, ..env.clone() };
            async move { LAB.check(name, &env).await.unwrap() }
        });
        for report in join_all(runs).await {
            if let Err(why) = variant.as_declared(&report) {
                panic!("{name}: {why}\n{report}");
            }
        }
    }
    let mut redis = env.redis.clone();
    let keys: u64 = redis::cmd("DBSIZE").query_async(&mut redis).await.unwrap();
    let users: Vec<String> = redis::cmd("ACL").arg("USERS").query_async(&mut redis).await.unwrap();
    assert_eq!((keys, users), (0, vec!["default".to_owned()]), "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_console_step_is_passed_by_its_solution_and_knows_its_mistakes() {
    proving::console_track(&LAB).unwrap();
    let (servers, env) = proving::start(Topology::Single).await.unwrap();
    let problems = proving::console_steps(&LAB, &servers, &env, &proving::seeds(SEEDS)).await;
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_lab_keeps_the_rules_of_all_labs() {
    chatlab_kit::lab::audit(&LAB).unwrap();
}
