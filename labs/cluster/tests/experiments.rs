//! Every experiment runs to its end on servers of its own, and its numbers say what its text says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use chatlab_cluster::LAB;
use chatlab_kit::lab::{Env, Findings, Lab};
use chatlab_kit::prereq::find_server;
use chatlab_kit::redis::{Redis, RedisConfig};
use chatlab_kit::servers::{Managed, ServerOptions, Topology};

async fn run(name: &str) -> Findings {
    let bin = find_server(None).unwrap();
    let managed = Managed::start_async(Topology::Single, &bin, &ServerOptions::default()).await.unwrap();
    let redis = Redis::connect(&RedisConfig::new(Topology::Single, managed.addrs())).await.unwrap();
    let env = Env { redis, seed: 1, server: Some(bin) };
    let began = std::time::Instant::now();
    let findings = LAB.experiment(name, &env).await.unwrap().unwrap();
    println!("{name} took {:?}\n{findings}", began.elapsed());
    findings
}

fn number(findings: &Findings, row: usize, column: &str) -> f64 {
    let place = findings.columns.iter().position(|name| name == column).unwrap();
    findings.rows[row].1[place]
}

#[tokio::test(flavor = "multi_thread")]
async fn failover_loses_a_cut_tail_and_no_write_that_wait_confirmed() {
    let findings = run("failover").await;
    assert!(findings.rows.iter().all(|row| row.1[0] > 0.0), "somebody wrote in every run");
    assert!(number(&findings, 1, "lost") > 0.0, "the cut tail is lost");
    assert_eq!(number(&findings, 2, "lost"), 0.0, "what WAIT confirmed survives");
    assert!(number(&findings, 3, "lost") > 0.0, "unless nobody looks at its number");
}

#[tokio::test(flavor = "multi_thread")]
async fn skew_shows_who_does_the_work() {
    let findings = run("skew").await;
    assert!(number(&findings, 0, "calls ×") < 1.25);
    assert_eq!(number(&findings, 4, "calls ×"), 3.0, "one prefix, one master");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moving_slot_redirects_and_loses_nothing() {
    let findings = run("moved").await;
    assert_eq!(number(&findings, 0, "ASK") + number(&findings, 0, "MOVED"), 0.0);
    assert!(number(&findings, 1, "ASK") > 0.0);
    assert!(findings.rows.iter().all(|row| row.1[4] == 0.0), "no errors besides redirects");
    assert!(findings.conclusions[1].contains(" 0 of "), "{:?}", findings.conclusions);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_without_its_master_answers_with_what_it_had() {
    let findings = run("stale-reads").await;
    assert!(number(&findings, 2, "stale %") > 50.0);
    assert!(number(&findings, 2, "max ms") > number(&findings, 0, "p50 ms"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_slots_are_refused_and_one_tag_is_taken() {
    let findings = run("cross-slot").await;
    for (name, row) in &findings.rows {
        assert_eq!(row[..2], [1.0, 1.0], "{name}");
    }
    assert!(findings.rows[..6].iter().all(|(_, row)| row[2] == 0.0));
}
