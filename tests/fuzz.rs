//! A few seconds of the fuzzer against a real server; `chatlab dev fuzz` takes its time.

use std::time::Duration;

use chatlab::{
    cli::fuzz::{stack_options, target},
    harness::{Stack, StackOptions},
};
use chatlab_kit::servers::Topology;
use chatlab_load::fuzz::{self, Kind, Options};

use crate::common::{chatlab, redis_binary};

/// Enough for every kind of input to come several times.
const CASES: u64 = 1_200;
/// Only a machine that is far too slow takes so long.
const LONGEST: Duration = Duration::from_secs(60);
/// Answers that must have been provoked: a run without them did not reach the code that gives them.
const PROVOKED: [&str; 16] = [
    "HTTP 400 invalid",
    "HTTP 400",
    "HTTP 404 not_found",
    "HTTP 405 invalid",
    "HTTP 431",
    "close 1000",
    "close 1002",
    "close 1007",
    "close 1009",
    "close 4000",
    "error bad_frame",
    "error invalid",
    "error unknown_type",
    "error bad_state",
    "error forbidden",
    "ack",
];
/// The same of the Socket.IO endpoint.
const PROVOKED_SOCKETIO: [&str; 14] = [
    "HTTP 200",
    "HTTP 400 invalid",
    "HTTP 400 bad_version",
    "HTTP 400 bad_state",
    "HTTP 405 invalid",
    "packet 0",
    "packet 40",
    "packet 44",
    "refused bad_state",
    "refused unauthorized",
    "error bad_frame",
    "error invalid",
    "event welcome",
    "ack",
];

async fn options(topology: Topology) -> (Stack, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("server.log");
    let options =
        StackOptions { chatlab: chatlab(), ..stack_options(topology, redis_binary(), &log).unwrap() };
    (Stack::start(options).await.unwrap(), folder)
}

async fn fuzz(topology: Topology, kind: Kind, provoked: &[&str]) {
    let (stack, folder) = options(topology).await;
    let target = target(&stack, &folder.path().join("server.log")).await.unwrap();
    let options =
        Options { kind, seed: 5, time: LONGEST, clients: fuzz::CLIENTS, first: 0, cases: Some(CASES) };
    let report = fuzz::run(&target, &options, &mut |_, _| {}).await.unwrap();
    let shown = report.terminal();
    assert!(report.passed(), "{shown}\n{:#?}", report.failures);
    assert_eq!(report.layers.len(), 3, "{shown}");
    let missing: Vec<_> = provoked.iter().filter(|answer| report.count(answer) == 0).collect();
    assert!(missing.is_empty(), "not provoked: {missing:?}\n{shown}");
    assert!(report.honest.probes > 2 && report.memory.is_some(), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    stack.stop().await.unwrap();
}

async fn bad_input_of_every_layer_is_answered_and_breaks_nothing(topology: Topology) {
    fuzz(topology, Kind::Ws, &PROVOKED).await;
}

async fn bad_packets_of_socket_io_are_answered_and_break_nothing(topology: Topology) {
    fuzz(topology, Kind::Socketio, &PROVOKED_SOCKETIO).await;
}

crate::on_both!(
    bad_input_of_every_layer_is_answered_and_breaks_nothing,
    bad_packets_of_socket_io_are_answered_and_break_nothing,
);
