//! The bare loop by itself, and in turns with the chat server.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::common::chatlab;

fn load(args: &[&str]) -> Output {
    Command::new(chatlab()).arg("load").args(args).stdin(Stdio::null()).output().unwrap()
}

fn json(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Ten sockets a burst: what was written, by how many calls, and what was read.
fn agrees(result: &Value, bursts: u64) {
    let (bare, counts) = (&result["bare"], &result["counts"]);
    for count in [&bare["writes"], &bare["calls"], &bare["reads"], &counts["delivered"]] {
        assert_eq!(count.as_u64(), Some(bursts * 10), "{bare} {counts}");
    }
    assert_eq!((counts["sent"].as_u64(), counts["acked"].as_u64()), (Some(bursts), Some(bursts)));
    for fault in ["lost", "duplicated", "reordered", "corrupt", "misrouted"] {
        assert_eq!(result["ledger"][fault], 0, "{fault}");
    }
    let us = |of: &Value| of.as_f64().unwrap();
    assert!(us(&bare["thread_us"]) > 0.0 && us(&bare["thread_us"]) <= us(&bare["process_us"]), "{bare}");
    let resources = &result["resources"];
    // Processes are measured in ticks of 10 ms, which may miss so few writes; threads are not.
    assert!(resources["server"]["us_per_delivery"].is_number(), "{resources}");
    assert!(us(&resources["generator_busiest_thread"]) > 0.0, "{resources}");
    assert!(resources["redis"].is_null(), "there is none");
}

#[test]
fn a_bare_loop_needs_nothing_but_this_program() {
    let size = ["--conns", "40", "--rooms", "4", "--rate", "50", "--secs", "2", "--accept", "--json"];
    let output = load(&[&["run", "bare-writes", "--redis-server", "/nonexistent"][..], &size].concat());
    agrees(&json(&output), 100);
}

#[test]
fn the_floor_takes_turns_with_the_chat_server_at_as_many_writes() {
    let size = ["--conns", "20", "--rooms", "2", "--rate", "300", "--secs", "2", "--rounds", "1"];
    let compared = json(&load(&[&["floor", "fanout"][..], &size, &["--accept", "--json"]].concat()));
    let turns = compared["turns"].as_array().unwrap();
    let order: String = turns.iter().map(|turn| turn["which"].as_str().unwrap()).collect();
    assert!(["ABBA", "BAAB"].contains(&order.as_str()), "{order}");
    for turn in turns {
        let result = &turn["result"];
        match turn["which"].as_str() {
            Some("A") => agrees(result, 600),
            _ => {
                assert!(result["bare"].is_null() && result["resources"]["redis"].is_object());
                assert_eq!(result["counts"]["delivered"], 6000, "{}", result["counts"]);
            }
        }
    }
    let hashes: Vec<_> = turns.iter().map(|turn| &turn["result"]["config"]["schedule_sha256"]).collect();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "the same bursts at the same instants");
    let figures = compared["judgement"]["figures"].as_array().unwrap();
    let figure = (&figures[0]["name"], figures.len());
    assert_eq!(figure, (&Value::from("server CPU, µs a delivery"), 1));
    let of = |field: &str| figures[0][field].as_f64().unwrap();
    assert!((of("b") / of("a") / of("ratio") - 1.0).abs() < 0.01, "{figures:?}");
}

#[test]
fn what_has_no_floor_is_refused_with_the_reason() {
    for (args, named) in [
        (&["floor", "history"][..], "history"),
        (&["floor", "reconnect-storm"], "stay and listen"),
        (&["floor", "fanout", "--write-bytes", "8"], "body_bytes"),
        (&["run", "bare-writes", "--conns", "10001"], "conns"),
        (&["run", "bare-writes", "--variant", "history=list"], "history=list"),
    ] {
        let output = load(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(named), "{args:?}: {said}");
    }
}
