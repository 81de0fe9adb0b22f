//! Other variants in the live server: chosen, refused, played, loaded.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use chatlab::{config::Variants, harness::Stack};
use chatlab_kit::servers::Topology;
use chatlab_load::http::HttpClient;
use serde_json::Value;

use crate::common::{SOON, chatlab, options, party};

fn run(args: &[&str]) -> Output {
    Command::new(chatlab()).args(args).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn variants(choices: &[&str]) -> Variants {
    Variants::new(choices.iter().map(|choice| choice.parse().unwrap()))
}

async fn people_talk_over_another_variant_of_sessions(topology: Topology) {
    let mut options = options(topology, 2);
    options.variants = variants(&["sessions=user_hash"]);
    let stack = Stack::start(options).await.unwrap();
    let (mut clients, tokens, room) = party(&stack, 2).await;
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    clients[0].send(room, "c1", "hello").await.unwrap();
    assert_eq!(clients[1].next_message(SOON).await.unwrap().draft.body, "hello");
    let sessions: Value =
        HttpClient::new(&stack.http_url(1)).get("/v1/sessions", Some(&tokens[0])).await.unwrap();
    assert_eq!(sessions.as_array().unwrap().len(), 1);
    let health: Value = HttpClient::new(&stack.http_url(0)).get("/health", None).await.unwrap();
    assert_eq!(health["components"]["redis"]["ok"], true, "{health}");
    stack.stop().await.unwrap();
}

crate::on_both!(people_talk_over_another_variant_of_sessions);

#[test]
fn wrong_choices_are_refused_with_what_there_is() {
    for (args, named) in [
        (&["serve", "--variant", "sessions=nothing"][..], "hash_index"),
        (&["serve", "--variant", "nothing=x"], "sessions"),
        (&["serve", "--variant", "sessions"], "LAB=NAME"),
        (&["play", "nothing"], "sessions"),
        (&["play", "sessions", "--variant", "nothing"], "hash_index"),
        (&["load", "run", "chat-steady", "--variant", "sessions=nothing"], "hash_index"),
        (&["load", "run", "chat-steady", "--against", "nothing"], "reference"),
        (&["load", "run", "history", "--variant", "sessions=user_hash"], "history"),
    ] {
        let output = run(args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(named), "{args:?}: {stderr}");
    }
}

fn readiness(address: &str) -> String {
    let mut answer = String::new();
    let mut stream = TcpStream::connect(address).unwrap();
    let request = "GET /health/readiness HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn play_says_what_the_seat_is_and_where_it_plays() {
    let mut child = Command::new(chatlab())
        .args(["play", "sessions", "--variant", "user_hash", "--listen", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let seat = lines.next().unwrap();
    assert!(seat.contains("a login creates a session"), "{seat}");
    let where_it_is = lines.next().unwrap();
    assert!(
        where_it_is.starts_with("http://127.0.0.1:") && where_it_is.contains("sessions=user_hash"),
        "{where_it_is}"
    );
    let rest: Vec<_> = lines.by_ref().take(5).collect();
    assert!(rest.iter().any(|line| line.contains("--against reference")), "{rest:?}");
    let address = where_it_is.split_whitespace().next().unwrap().trim_start_matches("http://");
    // Red until the first probe of live delivery came back.
    let deadline = Instant::now() + SOON;
    while !readiness(address).starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < deadline, "{}", readiness(address));
        std::thread::sleep(Duration::from_millis(50));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(TcpStream::connect(address).is_err(), "the server ended with it");
}

#[test]
fn two_variants_are_loaded_in_turn_and_compared() {
    let args = ["load", "run", "chat-steady", "--conns", "20", "--rooms", "2", "--rate", "50", "--secs", "1"];
    let against = ["--variant", "sessions=user_hash", "--against", "reference", "--accept", "--json"];
    let output = run(&[&args[..], &against].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((result["a"].as_str(), result["b"].as_str()), (Some("sessions=user_hash"), Some("reference")));
    let variants: Vec<_> =
        result["runs"].as_array().unwrap().iter().map(|run| run["labels"]["variants"].as_str()).collect();
    let ours = Some("sessions=user_hash");
    assert_eq!(variants, [ours, None, None, ours], "A B B A");
    let valid = result["valid"].as_bool().unwrap();
    assert_eq!(!result["figures"].as_array().unwrap().is_empty(), valid, "withheld unless all are valid");
}

#[test]
fn churn_has_presence_at_work() {
    let args = ["load", "run", "presence", "--conns", "20", "--rooms", "2", "--rate", "20", "--secs", "2"];
    let output = run(&[&args[..], &["--accept", "--json"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let counts = &result["counts"];
    assert_eq!(
        (counts["reopened"].as_u64(), counts["reopen_failures"].as_u64()),
        (Some(40), Some(0)),
        "{counts}"
    );
    assert!(counts["presence_frames"].as_u64().unwrap() > 0, "{counts}");
    assert_eq!(counts["error_frames"], 0, "{counts}");
}
