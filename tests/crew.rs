//! One run by several generators on a real server: on this machine, and joined through a Redis.

use std::process::{Child, Command, Output, Stdio};

use chatlab_kit::servers::{Managed, ServerOptions, Topology};
use serde_json::Value;

use crate::common::{chatlab, redis_binary};

/// A small run: rooms have members in every generator.
const RUN: [&str; 12] = [
    "load",
    "run",
    "chat-steady",
    "--conns",
    "40",
    "--rooms",
    "4",
    "--rate",
    "100",
    "--secs",
    "2",
    "--accept",
];

fn load(more: &[&str]) -> Output {
    let args = [&RUN[..], more, &["--json"]].concat();
    Command::new(chatlab()).args(args).stdin(Stdio::null()).output().unwrap()
}

/// The ledger is clean, and every message came to all subscribers of both generators.
fn every_message_is_everywhere(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains('\u{1b}'), "no terminal, no escape codes: {said}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (counts, ledger) = (&result["counts"], &result["ledger"]);
    let sent = counts["sent"].as_u64().unwrap();
    assert!(sent > 100, "{counts}");
    assert_eq!((counts["intended"].as_u64(), counts["acked"].as_u64()), (Some(sent), Some(sent)), "{counts}");
    assert_eq!(counts["delivered"].as_u64(), Some(sent * 10), "ten subscribers a room: {counts}");
    for fault in
        ["lost", "duplicated", "reordered", "corrupt", "misrouted", "stored_twice", "holes", "foreign"]
    {
        assert_eq!(ledger[fault], 0, "{fault}: {ledger}");
    }
    let generators = result["generators"].as_array().unwrap();
    assert_eq!(generators.len(), 2);
    let of = |field: &str| generators.iter().map(|one| one[field].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(of("sent").iter().sum::<u64>(), sent);
    assert_eq!(of("delivered"), [sent * 5, sent * 5], "each holds half of every room");
    result
}

#[test]
fn two_processes_deliver_every_message_to_the_subscribers_of_both() {
    let alone = load(&[]);
    let alone: Value = serde_json::from_slice(&alone.stdout).unwrap();
    let result = every_message_is_everywhere(&load(&["--generators", "2"]));
    let hash = |result: &Value| result["config"]["schedule_sha256"].as_str().unwrap().to_owned();
    assert_eq!(hash(&alone), hash(&result), "the same schedule, arrival by arrival");
    assert_eq!(alone["counts"]["intended"], result["counts"]["intended"]);
    assert!(alone["generators"].is_null());
}

struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn worker(join: &str, name: &str) -> Worker {
    let mut command = Command::new(chatlab());
    command.args(["load", "worker", "--once", "--join", join, "--name", name]);
    Worker(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

#[test]
fn workers_that_meet_in_a_redis_do_the_same_and_say_how_sure_their_clocks_are() {
    let meeting = Managed::start(Topology::Single, &redis_binary(), &ServerOptions::steady()).unwrap();
    let join = format!("redis://{}/a-room", meeting.addrs()[0]);
    let workers = ["one", "two"].map(|name| worker(&join, name));
    let result = every_message_is_everywhere(&load(&["--workers", "2", "--join", &join]));
    let generators = result["generators"].as_array().unwrap();
    let mut names: Vec<_> = generators.iter().map(|one| one["place"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["one", "two"]);
    for one in generators {
        let uncertain_ns = one["clock_uncertain_ns"].as_u64().unwrap();
        assert!(uncertain_ns > 0, "{one}");
        assert_eq!(one["clock"].as_array().unwrap().len(), 2);
    }
    let evidence = result["verdict"]["evidence"].as_array().unwrap();
    assert!(evidence.iter().any(|rule| rule["rule"] == "clock_uncertainty"), "{evidence:?}");
    for mut worker in workers {
        assert!(worker.0.wait().unwrap().success());
    }
    // What is left runs out by itself.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = redis::Client::open(format!("redis://{}", meeting.addrs()[0])).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
        for key in keys {
            let ttl: i64 = redis::cmd("TTL").arg(&key).query_async(&mut connection).await.unwrap();
            assert!((1..=900).contains(&ttl), "{key}: {ttl}");
        }
    });
    meeting.stop();
}

#[test]
fn what_cannot_be_shared_is_refused() {
    for (args, named) in [
        (&["load", "run", "history", "--generators", "2"][..], "one generator"),
        (&["load", "run", "chat-steady", "--generators", "2", "--record", "x"], "--out"),
        (&["load", "run", "chat-steady", "--generators", "65"], "64"),
        (&["load", "run", "chat-steady", "--workers", "2"], "--join"),
        (&["load", "worker", "--join", "redis://127.0.0.1:1/"], "ROOM"),
    ] {
        let output = Command::new(chatlab()).args(args).stdin(Stdio::null()).output().unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(named), "{args:?}: {said}");
    }
}
