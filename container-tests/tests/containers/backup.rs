//! A backup of the whole stack's archive, as docs/OPERATING.md says it is made, restored into a fresh stack.

use std::{
    fs::File,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use hyper::Method;
use serde_json::{Value, json};

use crate::{
    compose::Compose,
    conversation::{Party, history, room, token},
    engine::run,
    http::{Ask, Http},
    nodes::until,
    settings::Settings,
};

const ROOMS: usize = 3;
const MESSAGES: usize = 40;

pub async fn restores(settings: &Settings) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let backup = &folder.path().join("backup.sql");
    let old = Compose::new(settings, "old")?;
    old.up(&[])?;
    let http = old.http();
    let party = Party::gather(&http, 2).await?;
    let mut rooms = vec![party.room.clone()];
    for i in 1..ROOMS {
        rooms.push(room(&http, &party.tokens[0], &format!("Room {i}")).await?);
    }
    for room in &rooms {
        talk(&http, &party.tokens[0], room).await?;
    }
    let before = all(&http, &party.tokens[0], &rooms).await?;
    let dump =
        ["exec", "-i", &old.container("postgres")?, "pg_dump", "-U", "chatlab", "chatlab"].map(str::to_owned);
    run(Command::new("docker").args(dump).stdout(File::create(backup)?))?;
    drop(old);

    let fresh = Compose::new(settings, "fresh")?;
    fresh.up(&["postgres"])?;
    let container = fresh.container("postgres")?;
    until("PostgreSQL takes connections", async || {
        let ready = ["exec", &container, "pg_isready", "-h", "127.0.0.1", "-U", "chatlab", "-d", "chatlab"];
        Ok(run(Command::new("docker").args(ready)).is_ok())
    })
    .await?;
    let restore =
        ["exec", "-i", &container, "psql", "-q", "-v", "ON_ERROR_STOP=1", "-U", "chatlab", "chatlab"];
    run(Command::new("docker").args(restore).stdin(File::open(backup)?).stdout(Stdio::null()))?;
    fresh.up(&[])?;
    let http = fresh.http();
    // Log-ins were in Redis.
    let again = token(&http, "/v1/login", &party.names[0]).await?;
    let after = all(&http, &again, &rooms).await?;
    ensure!(before == after, "the history is another one:\n{before:#?}\n{after:#?}");
    // And it goes on above it.
    let newest = after[0].last().and_then(|message| message["seq"].as_u64()).context("no message")?;
    let stored = say(&http, &again, &rooms[0], "after", "after").await?;
    ensure!(stored["seq"].as_u64() == Some(newest + 1), "{stored} after {newest}");
    let count: usize = after.iter().map(Vec::len).sum();
    println!(
        "backup of {} bytes restored: {count} messages in {ROOMS} rooms, identical",
        backup.metadata()?.len()
    );
    Ok(())
}

async fn talk(http: &Http, token: &str, room: &str) -> anyhow::Result<()> {
    for i in 0..MESSAGES {
        let stored =
            say(http, token, room, &format!("{room}-{i}"), &format!("Nr. {i}: ä \u{1F44B} \0 '")).await?;
        ensure!(stored["level"] == "archived", "{stored}");
        let msg = stored["msg"].as_str().unwrap_or_default();
        if i % 10 == 3 {
            let path = format!("/v1/rooms/{room}/messages/{msg}");
            let body = Some(json!({ "body": "changed", "level": "archived" }));
            http.must(Method::PATCH, &path, Ask { token: Some(token), body, ..Ask::default() }).await?;
        }
    }
    Ok(())
}

async fn say(http: &Http, token: &str, room: &str, key: &str, text: &str) -> anyhow::Result<Value> {
    let body = Some(json!({ "body": text, "level": "archived" }));
    let ask = Ask { token: Some(token), key: Some(key), body };
    http.must(Method::POST, &format!("/v1/rooms/{room}/messages"), ask).await
}

async fn all(http: &Http, token: &str, rooms: &[String]) -> anyhow::Result<Vec<Vec<Value>>> {
    let mut all = Vec::new();
    for room in rooms {
        all.push(history(http, token, room).await?);
    }
    Ok(all)
}
