//! Faults under load: whatever is broken, every message must be explained.

use std::process::{Command, Stdio};

use chatlab_load::result::RunResult;

use crate::common::chatlab;

/// A light load, and its result. Whether the machine kept the schedule is not judged here: another program may run.
fn load(args: &str) -> RunResult {
    let output = Command::new(chatlab())
        .args(["--json", "load", "run", "chat-steady", "--conns", "40", "--rooms", "8", "--rate", "80"])
        .arg("--accept")
        .args(args.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let result: RunResult = serde_json::from_slice(&output.stdout).unwrap();
    println!("{}", chatlab_load::report::terminal(&result));
    result
}

fn assert_explained(result: &RunResult) {
    let sums = result.accounts.unwrap();
    assert_eq!(sums.intended, result.counts.intended);
    assert!(sums.explained(), "{sums:?}");
    assert_eq!((sums.history_unknown, sums.stored_twice, sums.not_resumed), (0, 0, 0), "{sums:?}");
    assert_eq!(
        sums.missed_in_history, 0,
        "kept by Redis, and a subscriber was neither sent it nor told: {sums:?}"
    );
    for fault in &result.faults {
        assert!(fault.injected && fault.ended_ms.is_some(), "{fault:?}");
        assert!(fault.due > 0 || fault.recovered_ms == Some(0.0), "{fault:?}");
    }
    assert_eq!(result.headline, None);
    assert!(result.verdict.apart_from.is_some());
}

#[test]
fn a_killed_master_leaves_no_message_unexplained() {
    let result = load("--topology cluster --secs 24 --node-timeout-ms 2000 --fault kill-master@4");
    assert_explained(&result);
    let fault = &result.faults[0];
    assert!(fault.proof.iter().any(|fact| fact.name == "promoted"), "{fault:?}");
    let used = fault.proof.iter().find(|fact| fact.name == "slots in use there").unwrap();
    assert!(!used.value.starts_with("0 "), "the master with the most rooms, at least a third: {fault:?}");
    // Those rooms are away for as long as a death goes unnoticed.
    assert!(fault.unacknowledged_ms >= 1_000.0 && fault.rooms_affected > 0, "{fault:?}");
    let sums = result.accounts.unwrap();
    assert!(sums.retried > 0 || sums.unanswered + sums.refused == 0, "{sums:?}");
}

#[test]
fn killed_pubsub_connections_and_a_cut_server_lose_nothing() {
    let result = load("--servers 2 --secs 14 --fault kill-pubsub@3 --fault cut-server@7");
    assert_explained(&result);
    let sums = result.accounts.unwrap();
    assert_eq!((sums.acked_and_gone, sums.missed()), (0, 0), "{sums:?}");
    assert_eq!((sums.acked, sums.unanswered), (sums.intended, 0), "{sums:?}");
    assert!(sums.resumed >= 16, "the connections of one server of two: {sums:?}");
    assert!(result.faults[0].proof[0].value.starts_with(char::is_numeric), "{:?}", result.faults[0]);
}

#[test]
fn faults_that_can_not_be_done_are_refused_before_anything_starts() {
    for (args, named) in [
        ("--fault kill-master", "--topology cluster"),
        ("--fault cut-server", "--servers 2"),
        ("--servers 2 --fault cut-server:5", "0 to 1"),
        ("--fault kill-pubsub@9.5", "after it"),
        ("--fault nothing", "kill-pubsub"),
    ] {
        let run = Command::new(chatlab())
            .args(["load", "run", "chat-steady"])
            .args(args.split(' '))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(!run.status.success() && said.contains(named), "{args}: {said}");
    }
    let run = Command::new(chatlab())
        .args(["load", "run", "redis-50k", "--fault", "kill-pubsub"])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&run.stderr).contains("chat server"));
}
