//! Somebody at a terminal: `chatlab chat --json`, which connects by WebSocket, and again when it is cut off.

use std::{
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
};

/// For whoever talks here.
pub const PASSWORD: &str = "correct horse battery";
/// How often a connection is tried again: for longer than anything here is broken.
const TRIES: &str = "100";
const SOON: Duration = Duration::from_secs(60);
/// How often it is looked whether something was heard.
const LOOK: Duration = Duration::from_millis(50);

/// A program that chats.
pub struct Talker {
    child: Child,
    stdin: ChildStdin,
    heard: Arc<Mutex<Vec<(Instant, Value)>>>,
}

impl Talker {
    /// Connects to a server and goes into a room.
    pub async fn join(program: &Path, url: &str, name: &str, room: &str) -> anyhow::Result<Self> {
        let mut child = Command::new(program)
            .args(["chat", "--json", "--tries", TRIES, "--url", url, "--name", name, room])
            .env("CHATLAB_PASSWORD", PASSWORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| program.display().to_string())?;
        let stdin = child.stdin.take().context("no stdin")?;
        let mut lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let heard: Arc<Mutex<Vec<(Instant, Value)>>> = Arc::default();
        let kept = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let event = serde_json::from_str(&line).unwrap_or(Value::Null);
                kept.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), event));
            }
        });
        let talker = Self { child, stdin, heard };
        talker
            .until("be in the room", |events| events.iter().any(|(_, event)| event["t"] == "joined"))
            .await?;
        Ok(talker)
    }

    /// Says something in the room.
    pub async fn say(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.stdin.write_all(format!("{text}\n").as_bytes()).await?)
    }

    /// The texts of the messages that came, in the order in which they came.
    pub fn texts(&self) -> Vec<String> {
        let texts = |(_, event): &(Instant, Value)| {
            (event["t"] == "message").then(|| event["body"].as_str().map(str::to_owned)).flatten()
        };
        self.events().iter().filter_map(texts).collect()
    }

    /// How often a kind of event came.
    pub fn count(&self, kind: &str) -> usize {
        self.events().iter().filter(|(_, event)| event["t"] == kind).count()
    }

    /// The longest time without a message, from the first to the last.
    pub fn longest_silence(&self) -> Duration {
        let events = self.events();
        let at: Vec<_> =
            events.iter().filter(|(_, event)| event["t"] == "message").map(|(at, _)| *at).collect();
        at.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// Waits until all of these texts came.
    pub async fn until_heard(&self, wanted: &[String]) -> anyhow::Result<()> {
        let all = |events: &[(Instant, Value)]| {
            let came: std::collections::HashSet<_> =
                events.iter().filter_map(|(_, event)| event["body"].as_str()).collect();
            wanted.iter().all(|text| came.contains(text.as_str()))
        };
        self.until("hear all that was said", all).await
    }

    async fn until(&self, what: &str, holds: impl Fn(&[(Instant, Value)]) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + SOON;
        while !holds(&self.events()) {
            if Instant::now() > deadline {
                let events = self.events();
                bail!(
                    "did not {what} in {SOON:?}; the last events: {:?}",
                    &events[events.len().saturating_sub(8)..]
                );
            }
            // A poll, bounded by the deadline.
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    fn events(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, Value)>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}
