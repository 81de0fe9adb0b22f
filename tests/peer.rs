//! The Socket.IO peer: started, loaded beside ours, and doing the work that it is there for.
//!
//! Needs Node.js and npm on PATH. Where they are missing each test says so and ends; where they are there, it must pass.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use chatlab::cli::load::peer;
use chatlab_kit::servers::{Managed, ServerOptions, Topology};
use chatlab_load::peers::Peer;
use serde_json::Value;

use crate::common::{chatlab, redis_binary};

const SIZE: [&str; 10] =
    ["--conns", "20", "--rooms", "2", "--rate", "30", "--secs", "2", "--accept", "--json"];
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Whether there is what a peer needs; says what is missing.
fn can_run() -> bool {
    match peer::missing() {
        Some(missing) => {
            println!("SKIPPED: {missing}");
            false
        }
        None => true,
    }
}

fn load(args: &[&str]) -> Output {
    Command::new(chatlab()).args(["--yes", "load"]).args(args).stdin(Stdio::null()).output().unwrap()
}

fn json(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Every message came to all ten of its room, and cost Redis what it should.
fn did_the_work(result: &Value) {
    let (counts, ledger) = (&result["counts"], &result["ledger"]);
    assert_eq!((counts["sent"].as_u64(), counts["acked"].as_u64()), (Some(60), Some(60)), "{counts}");
    assert_eq!(counts["delivered"], 600, "{counts}");
    for fault in ["lost", "duplicated", "reordered", "corrupt", "misrouted"] {
        assert_eq!(ledger[fault], 0, "{fault}: {ledger}");
    }
    assert_eq!(counts["error_frames"], 0, "{counts}");
    // With the warm-up.
    let messages = ledger["delivered"].as_u64().unwrap() / 10;
    let rows = result["reconciliation"]["commands"].as_array().unwrap();
    for command in ["zadd", "xadd", "publish"] {
        let row = rows.iter().find(|row| row["command"] == command);
        assert_eq!(row.and_then(|row| row["calls"].as_u64()), Some(messages), "{command}: {rows:?}");
    }
    let used = &result["resources"]["server"];
    assert!(
        used["cores"].as_f64().unwrap() > 0.0 && used["rss_bytes"].as_u64().unwrap() > 20 << 20,
        "{used}"
    );
    assert!(result["resources"]["redis"].is_object());
}

#[test]
fn a_message_costs_the_peer_one_zadd_one_xadd_and_one_publish_and_reaches_all() {
    if !can_run() {
        return;
    }
    let compared = json(&load(&[&["run", "fanout", "--against", "peer:socketio"][..], &SIZE].concat()));
    let runs = compared["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 4, "A B B A");
    for (at, result) in runs.iter().enumerate() {
        let peer = result["labels"]["peer"].is_string();
        assert_eq!(peer, [1, 2].contains(&at), "{}", result["labels"]);
        assert_eq!(result["counts"]["delivered"], 600, "{}", result["counts"]);
        if peer {
            did_the_work(result);
        }
    }
}

#[test]
fn knees_are_searched_in_turns_and_set_side_by_side() {
    if !can_run() {
        return;
    }
    // So low that both keep all of it: what is looked at is who had which turn.
    let search = ["--most", "60", "--repeats", "1", "--against", "peer:socketio"];
    let output = load(&[&["knee", "fanout", "--p99-ms", "10000"][..], &search, &SIZE].concat());
    let beside = json(&output);
    let knees = beside["knees"].as_array().unwrap();
    assert_eq!(knees.len(), 2);
    for (knee, whose) in knees.iter().zip(["reference", "peer:socketio"]) {
        assert!(knee["title"].as_str().unwrap().contains(whose), "{knee}");
        let probes = knee["probes"].as_array().unwrap();
        assert!(!probes.is_empty());
        for probe in probes {
            assert!(probe["seen"]["server_us"].as_f64().unwrap() > 0.0, "{probe}");
            assert!(probe["seen"]["server_rss_bytes"].as_u64().unwrap() > 0, "{probe}");
        }
    }
    let turns: Vec<_> = String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter(|line| line.contains("probe "))
        .map(|line| line.contains("peer:socketio"))
        .collect();
    assert_eq!(turns[..4], [false, true, true, false], "there and back again");
}

struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_peer_that_runs_already_takes_signed_tokens_only() {
    if !can_run() {
        return;
    }
    let found = Peer::find("socketio").unwrap();
    peer::ensure(found, true).unwrap();
    let redis = Managed::start(Topology::Single, &redis_binary(), &ServerOptions::steady()).unwrap();
    let mut node = Command::new("node")
        .arg("server.mjs")
        .current_dir(peer::folder(found))
        .env("REDIS_URL", format!("redis://{}", redis.addrs()[0]))
        .env("JWT_SECRET", SECRET)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(node.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let node = Node(node);
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!((words[0], words[2]), ("READY", node.0.id().to_string().as_str()), "{line}");
    let target = format!("ws://127.0.0.1:{}/", words[1]);
    let dialect = Path::new(env!("CARGO_MANIFEST_DIR")).join("load-tests/peers/socketio/dialect.toml");
    let (dialect, pid) = (dialect.to_str().unwrap(), words[2]);
    let run = |secret: &str| {
        let there =
            ["--target", &target, "--dialect", dialect, "--target-pids", pid, "--target-secret", secret];
        load(&[&["run", "fanout"][..], &there, &SIZE].concat())
    };
    let result = json(&run(SECRET));
    assert_eq!((&result["counts"]["delivered"], &result["ledger"]["lost"]), (&600.into(), &0.into()));
    assert!(result["resources"]["server"].is_object());
    let forged = run("fedcba9876543210fedcba9876543210");
    let said = String::from_utf8_lossy(&forged.stderr).into_owned();
    assert_eq!(forged.status.code(), Some(2), "{said}");
    assert!(said.contains("unauthorized"), "{said}");
    drop(node);
    redis.stop();
}

#[test]
fn what_a_peer_cannot_do_is_refused() {
    for (args, named) in [
        (&["run", "fanout", "--against", "peer:pigeon"][..], "socketio"),
        (&["run", "history", "--against", "peer:socketio"], "stay and listen"),
        (&["run", "reconnect-storm", "--against", "peer:socketio"], "stay and listen"),
    ] {
        let output = load(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(named), "{args:?}: {said}");
    }
    // Nobody to ask, and no leave to fetch: it says what would be done.
    if can_run() {
        let empty = tempfile::tempdir().unwrap();
        let output = Command::new(chatlab())
            .args(["load", "run", "fanout", "--against", "peer:socketio"])
            .env("CHATLAB_CACHE", empty.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("npm ci") && said.contains("--yes"), "{said}");
        assert!(!empty.path().join("peers").exists(), "nothing was fetched");
    }
}
