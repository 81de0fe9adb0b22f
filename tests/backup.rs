//! A backup of the archive, restored beside a Redis that knows nothing: the history is the same, and goes on above it.

use chatlab::harness::Stack;
use chatlab_kit::{ids::RoomId, message::Message, servers::Topology, wire::AckLevel};
use chatlab_load::{client::WsClient, http::HttpClient};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection};

use crate::common::own;

const MESSAGES: usize = 60;

/// Shows a name and a password, at a door.
async fn enter(stack: &Stack, door: &str, name: &str) -> WsClient {
    let http = HttpClient::new(&stack.http_url(0));
    let who = json!({ "name": name, "password": "correct horse" });
    let answer: Value = http.post(door, None, &who).await.unwrap();
    WsClient::connect(&stack.ws_url(0), answer["token"].as_str().unwrap()).await.unwrap()
}

async fn all(client: &mut WsClient, room: RoomId) -> Vec<Message> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = client.history(room, before, Some(25)).await.unwrap();
        all.splice(0..0, page.messages);
        before = page.next;
        if before.is_none() {
            return all;
        }
    }
}

async fn a_restored_archive_has_the_same_history_beside_an_empty_redis(topology: Topology) {
    let stack = own(topology, 1).await;
    let mut ada = enter(&stack, "/v1/register", "ada").await;
    let room = ada.create("Tea").await.unwrap();
    let mut sent = Vec::new();
    for nth in 0..MESSAGES {
        sent.push(ada.send(room, &format!("m{nth}"), &format!("nr {nth}")).await.unwrap().msg);
    }
    ada.edit(room, "e", sent[3], "nr three").await.unwrap();
    ada.delete(room, "d", sent[4]).await.unwrap();
    ada.react(room, "r", sent[5], ("👍", true)).await.unwrap();
    ada.pin(room, "p", sent[5], true).await.unwrap();
    ada.send_at(room, "last", "the last one", AckLevel::Archived).await.unwrap();
    let (before, pins) = (all(&mut ada, room).await, ada.pins(room).await.unwrap());

    // As docs/OPERATING.md says it, while the server runs.
    let copy = stack.db().with_file_name("backup.db");
    let mut database =
        SqliteConnection::connect(&format!("sqlite://{}", stack.db().display())).await.unwrap();
    database.execute(AssertSqlSafe(format!("VACUUM INTO '{}'", copy.display()))).await.unwrap();
    let mut fresh = own(topology, 0).await;
    std::fs::copy(&copy, fresh.db()).unwrap();
    fresh.add_server().await.unwrap();

    let mut ada = enter(&fresh, "/v1/login", "ada").await;
    ada.join(room, None).await.unwrap();
    assert_eq!(all(&mut ada, room).await, before);
    assert_eq!(ada.pins(room).await.unwrap(), pins);
    let next = ada.send(room, "next", "and on it goes").await.unwrap();
    assert_eq!(next.seq, before.last().unwrap().seq + 1, "no number comes twice");
}

crate::on_both!(a_restored_archive_has_the_same_history_beside_an_empty_redis);
