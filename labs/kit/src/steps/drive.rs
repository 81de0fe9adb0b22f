//! What happens around the learner during a step.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Typist;
use super::line::blocks;
use crate::budget::{has_verb, is_redirect};
use crate::lab::Drive;
use crate::proxy::{Cut, Proxy};
use crate::redis::Redis;

/// How long a look at the proxy stays fresh while a command waits that may not have reached the server.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long a message that the step published may take to reach the learner.
const DELIVERY_MAX: Duration = Duration::from_secs(2);

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Acting(String),
    Awaiting { verb: String, times: u64 },
    Done,
    Failed(String),
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acting(what) => write!(f, "{what} is on its way"),
            Self::Awaiting { verb, times: 1 } => write!(f, "the step waits for you to send {verb}"),
            Self::Awaiting { verb, times } => {
                write!(f, "the step waits for you to send {verb} {times} times")
            }
            Self::Done => write!(f, "all is done"),
            Self::Failed(why) => write!(f, "{why}"),
        }
    }
}

/// Shared by the driver and those who look.
#[derive(Debug)]
pub(super) struct Progress {
    stage: Mutex<Stage>,
}

impl Progress {
    /// Before the first of so many actions.
    pub(super) fn before(actions: usize) -> Self {
        let first = if actions == 0 { Stage::Done } else { Stage::Acting("the first action".to_owned()) };
        Self { stage: Mutex::new(first) }
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stage(&self) -> Stage {
        self.lock().clone()
    }

    fn set(&self, stage: Stage) {
        *self.lock() = stage;
    }
}

/// Does one thing after the other; `typist` goes past the proxy.
pub(super) async fn drive(
    actions: Vec<Drive>,
    redis: Redis,
    proxy: Arc<Proxy>,
    progress: Arc<Progress>,
    mut typist: Typist,
) {
    // The frames that the learner will have got when all that was published so far has arrived.
    let mut on_their_way = 0;
    for action in actions {
        match action {
            Drive::AwaitSent { verb, times } => {
                let times = times.unwrap_or(1);
                progress.set(Stage::Awaiting { verb: verb.clone(), times });
                await_sent(&redis, &proxy, &verb, times).await;
            }
            Drive::Run { commands } => {
                let before = pushes(&proxy);
                let mut published = 0;
                for command in commands {
                    progress.set(Stage::Acting(format!("`{command}`")));
                    let typed = typist.line(&command).await;
                    if typed.error {
                        progress.set(Stage::Failed(format!("`{command}` gave {}", typed.text)));
                        return;
                    }
                    published += receivers(&command, &typed.text);
                }
                on_their_way = before + published;
            }
            Drive::Cut { all } => {
                progress.set(Stage::Acting("a cut".to_owned()));
                await_pushes(&proxy, on_their_way).await;
                proxy.cut(if all { Cut::All } else { Cut::Subscribers });
            }
            Drive::Latency { ms } => proxy.set_latency(Duration::from_millis(ms)),
        }
    }
    progress.set(Stage::Done);
}

/// How many clients of the node a line published to, by its reply.
fn receivers(line: &str, reply: &str) -> usize {
    let verb = line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    let published = matches!(verb.as_str(), "PUBLISH" | "SPUBLISH");
    let count = reply.strip_prefix("(integer) ").filter(|_| published);
    count.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
}

/// How many frames have come to the learner that no command asked for.
fn pushes(proxy: &Proxy) -> usize {
    proxy.trace().entries().iter().filter(|entry| entry.push).count()
}

/// The publisher may have its reply before the message has reached the subscriber: a cut must not overtake it. A
/// subscriber that is not the learner's never shows here, so the wait is bounded.
async fn await_pushes(proxy: &Proxy, count: usize) {
    let mut changes = proxy.changes();
    let arrived = async {
        while pushes(proxy) < count {
            let _ = changes.changed().await;
        }
    };
    let _ = tokio::time::timeout(DELIVERY_MAX, arrived).await;
}

/// Waits as long as the learner takes; the attempt's end ends it.
async fn await_sent(redis: &Redis, proxy: &Proxy, verb: &str, times: u64) {
    let mut changes = proxy.changes();
    while !is_sent(redis, proxy, verb, times).await {
        // A command that blocks changes nothing when it reaches the server: look again by time.
        let _ = tokio::time::timeout(LOOK_AGAIN, changes.changed()).await;
    }
}

/// Whether a verb was sent so often: with a reply, or waiting inside the server.
pub(super) async fn is_sent(redis: &Redis, proxy: &Proxy, verb: &str, times: u64) -> bool {
    let entries = proxy.trace().entries();
    let answered =
        entries.iter().filter(|e| !e.push && !is_redirect(e) && has_verb(&e.command, verb)).count() as u64;
    if answered >= times {
        return true;
    }
    let waiting = proxy.trace().waiting();
    let blocking: Vec<_> = waiting
        .iter()
        .filter(|(_, command)| {
            command.first().is_some_and(|verb| blocks(&verb.to_ascii_uppercase(), command))
        })
        .collect();
    let of_verb = blocking.iter().filter(|(_, command)| has_verb(command, verb)).count() as u64;
    answered + of_verb >= times && blocked_clients(redis).await >= blocking.len() as u64
}

/// How many clients wait inside the servers; none where a server does not answer.
async fn blocked_clients(redis: &Redis) -> u64 {
    let Ok(nodes) = redis.each_node().await else { return 0 };
    let mut blocked = 0;
    for (_, mut connection) in nodes {
        let info: String =
            ::redis::cmd("INFO").arg("clients").query_async(&mut connection).await.unwrap_or_default();
        let line = info.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
        blocked += line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or_default();
    }
    blocked
}
