//! Events: messages go to the archive by way of the outbox, and nothing on that way is lost.

use std::{process::Stdio, time::Duration};

use chatlab::harness::Stack;
use chatlab_audit::outbox::{Outbox, OutboxPolicy, Streams};
use chatlab_kit::{ids::RoomId, redis::Redis, servers::Topology, slots::Partition};
use chatlab_load::http::HttpClient;
use serde_json::Value;
use sqlx::{Connection, Executor, SqliteConnection};

use crate::common::{SOON, chatlab, nodes_of, options, own, party};

/// Polls what `/health` says until `is_so`.
async fn until(stack: &Stack, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let http = HttpClient::new(&stack.http_url(0));
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        let health: Value = http.get("/health", None).await.unwrap();
        if is_so(&health) {
            return health;
        }
        assert!(tokio::time::Instant::now() < deadline, "not {what} in time: {health}");
        // A poll, bounded by the deadline.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn archived(health: &Value) -> u64 {
    health["components"]["events"]["done"]["persistence"].as_u64().unwrap()
}

async fn older_pages_come_from_the_archive(topology: Topology) {
    const MESSAGES: u64 = 120;
    let mut options = options(topology, 1);
    options.serve_args = ["--hot-messages", "30"].map(str::to_owned).to_vec();
    let stack = Stack::start(options).await.unwrap();
    let (mut clients, _, room) = party(&stack, 1).await;
    let client = &mut clients[0];
    client.join(room, None).await.unwrap();
    let mut sent = Vec::new();
    for i in 1..=MESSAGES {
        sent.push(client.send(room, &format!("c{i}"), &format!("nr {i}")).await.unwrap().msg);
    }
    until(&stack, "archived", |health| archived(health) >= MESSAGES).await;
    // From the newest to the first, over the place where Redis ends; pages of 7 and of more than Redis has.
    for limit in [7, 50, 200] {
        let (mut before, mut read) = (None, Vec::new());
        loop {
            let page = client.history(room, before, Some(limit)).await.unwrap();
            assert!(page.messages.len() <= limit as usize);
            read.splice(0..0, page.messages);
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(read.iter().map(|m| m.seq).collect::<Vec<_>>(), (1..=MESSAGES).collect::<Vec<_>>());
        assert_eq!(read.iter().map(|m| m.draft.id).collect::<Vec<_>>(), sent, "limit {limit}");
        assert!(read.iter().enumerate().all(|(i, m)| m.draft.body == format!("nr {}", i + 1)));
    }
    stack.stop().await.unwrap();
}

async fn sends_go_on_while_the_archive_cannot_be_written(topology: Topology) {
    let stack = own(topology, 1).await;
    let (mut clients, _, room) = party(&stack, 1).await;
    let client = &mut clients[0];
    client.join(room, None).await.unwrap();
    client.send(room, "before", "x").await.unwrap();
    until(&stack, "archived", |health| archived(health) >= 1).await;

    let file = stack.managed().folder().join("chatlab.db");
    let mut other = SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    for i in 0..20 {
        client.send(room, &format!("c{i}"), "said without the archive").await.unwrap();
    }
    let red = until(&stack, "red", |health| health["status"] == "degraded").await;
    assert_eq!(red["components"]["events"]["ok"], false, "{red}");
    assert_eq!(archived(&red), 1, "{red}");
    other.execute("ROLLBACK").await.unwrap();
    let green = until(&stack, "green", |health| health["status"] == "ok" && archived(health) >= 21).await;
    assert_eq!(green["components"]["events"]["ok"], true, "{green}");
    let (kept,): (i64,) =
        sqlx::query_as("SELECT COUNT(DISTINCT seq) FROM messages").fetch_one(&mut other).await.unwrap();
    assert_eq!(kept, 21, "each of them once");
    stack.stop().await.unwrap();
}

/// A part of Redis is gone for a while, and nothing happens then or later: nobody is needed for the server to be ready again.
async fn a_server_where_nothing_happens_is_ready_again_when_redis_is(topology: Topology) {
    let stack = own(topology, 1).await;
    until(&stack, "green", |health| health["status"] == "ok").await;
    let nodes = match topology {
        Topology::Single => vec![0],
        // A master and who would take its place.
        Topology::Cluster => <[usize; 2]>::from(nodes_of(&stack, RoomId::new()).await).to_vec(),
    };
    for node in &nodes {
        stack.managed().kill_node(*node).unwrap();
    }
    until(&stack, "red", |health| health["components"]["events"]["ok"] == false).await;
    for node in &nodes {
        stack.managed().restart_node(*node).unwrap();
    }
    let green = until(&stack, "green", |health| health["status"] == "ok").await;
    assert_eq!(green["components"]["events"]["ok"], true, "{green}");
    stack.stop().await.unwrap();
}

/// What `chatlab events …` prints and how it ends.
async fn events(stack: &Stack, args: &[&str]) -> (i32, String, String) {
    let mut command = tokio::process::Command::new(chatlab());
    command.arg("events").args(args).stdin(Stdio::null());
    command.args(["--topology", &stack.redis_config().topology.to_string()]);
    command.args(["--redis-nodes", &stack.managed().addrs().join(",")]);
    let done = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn topics_are_read_replayed_and_say_what_nobody_could_work(topology: Topology) {
    let stack = own(topology, 1).await;
    let (mut clients, _, room) = party(&stack, 2).await;
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    for i in 0..5 {
        clients[0].send(room, &format!("c{i}"), &format!("nr {i}")).await.unwrap();
    }
    // Something that is no message, where only messages should be.
    let redis = Redis::connect(&stack.redis_config()).await.unwrap();
    let outbox = Streams::new(redis, OutboxPolicy::default());
    outbox.emit(Partition::of(&room), "message.created", b"no envelope").await.unwrap();
    clients[0].send(room, "last", "after it").await.unwrap();
    until(&stack, "archived", |health| archived(health) >= 7).await;

    let (code, out, _) = events(&stack, &["dead", "message.created"]).await;
    let dead = lines(&out);
    assert_eq!((code, dead.len(), &dead[0]["event"]), (0, 1, &Value::from("no envelope")), "{out}");
    assert!(dead[0]["error"].as_str().unwrap().contains("not an envelope"), "{out}");

    let (code, out, _) = events(&stack, &["replay", "message.created"]).await;
    let told = lines(&out);
    assert_eq!((code, told.len()), (0, 7), "{out}");
    assert!(told.iter().all(|line| line["partition"] == Partition::of(&room).tag()));
    let after = told[4]["id"].as_str().unwrap();
    let (_, out, _) = events(&stack, &["replay", "message.created", "--after", after]).await;
    assert_eq!(lines(&out), told[5..]);
    let (_, out, _) = events(&stack, &["tail", "message.created", "--since-s", "600", "--count", "2"]).await;
    assert_eq!(lines(&out), told[..2]);

    let (_, out, _) = events(&stack, &["lag", "message.created", "--json"]).await;
    let lag: Value = serde_json::from_str(&out).unwrap();
    let nothing = (&lag[0]["undelivered"], &lag[0]["pending"], &lag[0]["group"]);
    assert_eq!(nothing, (&Value::from(0), &Value::from(0), &Value::from("persistence")), "{out}");
    let (_, out, _) = events(&stack, &["replay", "user.online"]).await;
    assert_eq!(lines(&out).len(), 2, "{out}");
    let (_, out, _) = events(&stack, &["topics"]).await;
    assert!(out.contains("message.created") && out.lines().all(|line| line.chars().count() <= 80), "{out}");

    let (code, _, err) = events(&stack, &["replay", "nothing"]).await;
    assert!(code == 2 && err.contains("there is no topic `nothing`") && err.contains("audit.log"), "{err}");
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn without_a_redis_it_says_what_to_give() {
    let mut command = tokio::process::Command::new(chatlab());
    command.args(["events", "topics"]).env_remove("CHATLAB_REDIS_URL").env_remove("CHATLAB_REDIS_NODES");
    let done = command.output().await.unwrap();
    let err = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.code() == Some(2) && err.contains("--redis-url"), "{err}");
}

crate::on_both!(
    older_pages_come_from_the_archive,
    sends_go_on_while_the_archive_cannot_be_written,
    a_server_where_nothing_happens_is_ready_again_when_redis_is,
    topics_are_read_replayed_and_say_what_nobody_could_work,
);
