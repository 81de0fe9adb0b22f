//! The demo's conversation: real users on two server processes, each step checked.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chatlab_kit::ids::RoomId;
use chatlab_load::{client::WsClient, http::HttpClient};
use serde_json::{Value, json};

use crate::harness::Stack;

/// How long the story waits for a message before it calls it lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many messages each of the two says.
const LINES: u64 = 5;

/// A step that held: what it showed, and how long it took.
#[derive(Debug, serde::Serialize)]
pub struct Step {
    /// What was done and seen.
    pub what: String,
    /// Milliseconds.
    pub ms: f64,
}

struct Person {
    token: String,
    client: WsClient,
}

/// Drives two users, one at each server process, through the whole path.
pub async fn tell(stack: &Stack) -> anyhow::Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut started = Instant::now();
    let mut done = |what: String| {
        steps.push(Step { what, ms: started.elapsed().as_secs_f64() * 1000.0 });
        started = Instant::now();
    };
    let mut ada = arrive(stack, 0, "ada").await?;
    let mut bob = arrive(stack, 1, "bob").await?;
    done("ada and bob register, log in, connect; each at another process".into());

    let room = ada.client.create("demo").await?;
    bob.client.join(room, None).await?;
    done("ada makes a room, bob joins".into());

    talk(&mut ada.client, &mut bob.client, room).await?;
    done(format!("each says {LINES} things; both see all {} in the same order", 2 * LINES));

    let again = ada.client.send(room, "ada-1", "line 1").await?;
    ensure!(again.dup && again.seq == 1, "the retry made another message: {again:?}");
    done("ada sends one again: recognised as a retry, no copy".into());

    let page = ada.client.history(room, None, Some(4)).await?;
    let older = ada.client.history(room, page.next, Some(200)).await?;
    let seen: Vec<u64> = older.messages.iter().chain(&page.messages).map(|m| m.seq).collect();
    ensure!(seen.iter().copied().eq(1..=2 * LINES), "history has {seen:?}");
    done(format!("history in two pages: {} messages, none missing", seen.len()));

    reconnect(stack, &mut ada.client, bob, room).await?;
    done("bob's connection is cut; he returns at the other process: no gap, no copy".into());
    Ok(steps)
}

async fn arrive(stack: &Stack, server: usize, who: &str) -> anyhow::Result<Person> {
    let http = HttpClient::new(&stack.http_url(server));
    let account = json!({ "name": who, "password": format!("{who} knows a secret"), "device": "demo" });
    let _: Value =
        http.post("/v1/register", None, &account).await.with_context(|| format!("registering {who}"))?;
    let login: Value =
        http.post("/v1/login", None, &account).await.with_context(|| format!("logging {who} in"))?;
    let token = login["token"].as_str().context("the login has no token")?.to_owned();
    let client = WsClient::connect(&stack.ws_url(server), &token).await?;
    Ok(Person { token, client })
}

async fn talk(ada: &mut WsClient, bob: &mut WsClient, room: RoomId) -> anyhow::Result<()> {
    for line in 1..=LINES {
        ada.send(room, &format!("ada-{line}"), &format!("line {line}")).await?;
        bob.send(room, &format!("bob-{line}"), &format!("line {line}")).await?;
    }
    for expected in 1..=2 * LINES {
        let (a, b) = (ada.next_message(PATIENCE).await?, bob.next_message(PATIENCE).await?);
        ensure!(a.seq == expected && a == b, "at {expected}, ada saw {} and bob {}", a.seq, b.seq);
    }
    Ok(())
}

async fn reconnect(stack: &Stack, ada: &mut WsClient, bob: Person, room: RoomId) -> anyhow::Result<()> {
    let seen = bob.client.position(room).context("bob saw nothing")?;
    drop(bob.client);
    for line in 1..=LINES {
        ada.send(room, &format!("while-away-{line}"), "bob?").await?;
    }
    let mut back = WsClient::connect(&stack.ws_url(0), &bob.token).await?;
    back.join(room, Some(seen.clone())).await?;
    ada.send(room, "welcome", "there you are").await?;
    for expected in seen.seq + 1..=seen.seq + LINES + 1 {
        let message = back.next_message(PATIENCE).await?;
        ensure!(message.seq == expected, "bob saw {} where {expected} was next", message.seq);
    }
    Ok(())
}
