//! What a client is told of a fault is found in the server's log, and what is counted says in which unit.

use std::path::Path;

use chatlab::harness::Stack;
use chatlab_kit::{keys::RoomKeys, redis::Redis, servers::Topology, wire::ErrorCode};
use chatlab_load::{client::ClientError, http::HttpClient};
use serde_json::Value;

use crate::common::{SOON, options, party, shared};

/// The request id in the text of an error.
fn id_in(message: &str) -> String {
    message.split_once("(request ").and_then(|(_, rest)| rest.strip_suffix(')')).unwrap().to_owned()
}

/// The lines of a log that name something, without colours.
fn lines(log: &Path, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap();
    text.lines().filter(|line| line.contains(name)).map(str::to_owned).collect()
}

fn refused(error: ClientError) -> (ErrorCode, String) {
    match error {
        ClientError::Refused { code, message, .. } => (code, message),
        other => panic!("{other}"),
    }
}

async fn the_id_in_a_clients_error_is_in_the_servers_log(topology: Topology) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("server.log");
    let mut options = options(topology, 1);
    (options.log, options.log_file) = ("info".to_owned(), Some(log.clone()));
    let stack = Stack::start(options).await.unwrap();
    let (mut clients, tokens, room) = party(&stack, 1).await;
    let client = &mut clients[0];
    client.set_timeout(SOON);
    client.join(room, None).await.unwrap();
    let sent = client.send(room, "c1", "x").await.unwrap();

    // What is stored is no message any more: a fault of the server's own.
    let mut redis = Redis::connect(&stack.redis_config()).await.unwrap();
    let broken =
        redis::cmd("HSET").arg(RoomKeys::new(&room).msg()).arg(sent.msg.to_string()).arg("broken").clone();
    broken.query_async::<()>(&mut redis).await.unwrap();
    let (code, message) = refused(client.history(room, None, None).await.unwrap_err());
    assert_eq!(code, ErrorCode::Internal);
    assert!(!message.contains("broken") && !message.contains("room"), "tells of the inside: {message}");
    let internal = id_in(&message);
    let told = lines(&log, &internal);
    assert!(
        told.iter().any(|line| line.contains("request.failed") && line.contains("corrupt data")),
        "{told:?}"
    );

    for node in 0..stack.managed().nodes().len() {
        stack.managed().kill_node(node).unwrap();
    }
    let (code, message) = refused(client.send(room, "c2", "x").await.unwrap_err());
    assert_eq!(code, ErrorCode::Unavailable);
    let unavailable = id_in(&message);
    assert!(lines(&log, &unavailable).iter().any(|line| line.contains("unavailable")), "{message}");
    // Requests of one connection share its name, and each has a number of its own.
    let (connection, number) = internal.rsplit_once('-').unwrap();
    assert_eq!(unavailable.rsplit_once('-').unwrap().0, connection);
    assert_ne!(unavailable, internal);
    // What goes wrong beside a request that succeeds stands in the request's span.
    client.leave(room).await.unwrap();
    let beside = lines(&log, "chat.not_announced");
    assert!(beside.len() == 1 && beside[0].contains(&format!("request_id=\"{connection}-")), "{beside:?}");
    assert!(number.parse::<u64>().unwrap() > 2 && beside[0].contains("t=\"leave\""), "{beside:?}");

    let http = HttpClient::new(&stack.http_url(0));
    let answer = http.request("GET".parse().unwrap(), "/v1/sessions", Some(&tokens[0]), None).await.unwrap();
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &body["code"]), (503, &Value::from("unavailable")), "{body}");
    let id = body["request_id"].as_str().unwrap();
    assert!(body["detail"].as_str().unwrap().contains(id), "{body}");
    assert!(lines(&log, id).iter().any(|line| line.contains("request.failed")), "{id}");
}

/// Name, kind and help of everything that is counted, as Prometheus reads it.
fn families(text: &str) -> Vec<(String, String, String)> {
    let help = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("# HELP {name} ")));
        line.unwrap_or_default().to_owned()
    };
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned(), help(name))).collect()
}

async fn everything_that_is_counted_says_what_and_in_which_unit(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, _, room) = party(stack, 1).await;
    clients[0].join(room, None).await.unwrap();
    let level = chatlab_kit::wire::AckLevel::Archived;
    clients[0].send_at(room, "c1", "x", level).await.unwrap();
    let http = HttpClient::new(&stack.http_url(0));
    let answer = http.request("GET".parse().unwrap(), "/metrics", None, None).await.unwrap();
    let text = String::from_utf8(answer.body).unwrap();
    let families = families(&text);
    for (name, kind, help) in &families {
        assert!(!help.is_empty(), "{name} has no description");
        let unit = ["_seconds", "_bytes"].iter().any(|unit| name.ends_with(unit));
        match kind.as_str() {
            "counter" => assert!(name.ends_with("_total"), "{name}"),
            "histogram" | "summary" => assert!(unit, "{name} has no unit"),
            "gauge" => assert!(unit || help.contains(' '), "{name}: {help}"),
            other => panic!("{name} is a {other}"),
        }
    }
    for name in ["chatlab_send_seconds", "chatlab_level_seconds", "chatlab_connections"] {
        assert!(families.iter().any(|(family, ..)| family == name), "{name} is missing in {text}");
    }
    assert!(text.contains(r#"chatlab_level_seconds_count{level="archived"}"#), "{text}");
}

crate::on_both!(
    the_id_in_a_clients_error_is_in_the_servers_log,
    everything_that_is_counted_says_what_and_in_which_unit,
);

/// What is counted in a file: by the macro, and by its name wherever that comes from.
fn counted(code: &str) -> Vec<(&'static str, String)> {
    let names = code.match_indices("\"chatlab_").filter_map(|(at, _)| code[at + 1..].split('"').next());
    let names = names.filter(|text| ["_total", "_seconds", "_bytes"].iter().any(|end| text.ends_with(end)));
    let mut found: Vec<_> = names.map(|name| ("name", name.to_owned())).collect();
    for kind in ["counter", "gauge", "histogram"] {
        for (at, _) in code.match_indices(&format!("metrics::{kind}!(")) {
            let mut words = code[at..].splitn(3, '"');
            let before = words.next().unwrap_or_default();
            if before.trim_end().ends_with("!(") {
                found.push((kind, words.next().unwrap_or_default().to_owned()));
            }
        }
    }
    found
}

#[test]
fn nothing_is_counted_that_is_not_described() {
    fn walk(folder: &Path, found: &mut Vec<(&'static str, String)>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.extend(counted(&std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let described = std::fs::read_to_string(source.join("telemetry.rs")).unwrap();
    let mut found = Vec::new();
    walk(&source, &mut found);
    assert!(found.iter().filter(|(kind, _)| *kind != "name").count() > 15, "{found:?}");
    for (kind, name) in found {
        assert!(described.contains(&format!("\"{name}\"")), "{name} is not described in src/telemetry.rs");
        match kind {
            "counter" => assert!(name.ends_with("_total"), "{name}"),
            "histogram" => assert!(name.ends_with("_seconds") || name.ends_with("_bytes"), "{name}"),
            _ => {}
        }
    }
}
