//! What stands between a handle and its connection when someone watches: traces and hooks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ::redis::{Cmd, Pipeline, RedisResult, Value};

use super::hook::Hook;
use super::render::printable_command;
use super::trace::{Record, Trace};

/// The watchers of one handle and of its clones.
#[derive(Clone, Default)]
pub(super) struct Tap {
    traces: Vec<(Trace, Arc<str>)>,
    hooks: Vec<Hooked>,
}

#[derive(Clone)]
struct Hooked {
    hook: Arc<dyn Hook>,
    commands: Arc<AtomicU64>,
}

impl Tap {
    pub(super) fn and_trace(tap: Option<&Self>, trace: Trace, label: &str) -> Self {
        let mut tap = tap.cloned().unwrap_or_default();
        tap.traces.push((trace, Arc::from(label)));
        tap
    }

    pub(super) fn and_hook(tap: Option<&Self>, hook: Arc<dyn Hook>) -> Self {
        let mut tap = tap.cloned().unwrap_or_default();
        tap.hooks.push(Hooked { hook, commands: Arc::default() });
        tap
    }

    /// Runs one command, already made into the future `sent`, which does nothing until polled.
    pub(super) async fn command(
        &self,
        cmd: &Cmd,
        sent: impl Future<Output = RedisResult<Value>>,
    ) -> RedisResult<Value> {
        let commands = [printable_command(cmd)];
        let numbers = self.before(&commands).await?;
        let start = Instant::now();
        let reply = sent.await;
        self.record(start, &commands, &replies_of_one(&reply));
        self.after(&numbers, &commands).await?;
        reply
    }

    /// Runs one pipeline; the commands share a round trip.
    pub(super) async fn pipeline(
        &self,
        pipeline: &Pipeline,
        sent: impl Future<Output = RedisResult<Vec<Value>>>,
    ) -> RedisResult<Vec<Value>> {
        let atomic = pipeline.is_transaction();
        let mut commands: Vec<_> = pipeline.cmd_iter().map(printable_command).collect();
        if atomic {
            commands.insert(0, vec!["MULTI".to_owned()]);
            commands.push(vec!["EXEC".to_owned()]);
        }
        let numbers = self.before(&commands).await?;
        let start = Instant::now();
        let reply = sent.await;
        self.record(start, &commands, &replies_of_many(&reply, commands.len(), atomic));
        self.after(&numbers, &commands).await?;
        reply
    }

    /// One number a command and hook, hooks outermost last, as `after` needs them.
    async fn before(&self, commands: &[Vec<String>]) -> RedisResult<Vec<u64>> {
        let mut numbers = Vec::with_capacity(self.hooks.len() * commands.len());
        for hooked in &self.hooks {
            for command in commands {
                let n = hooked.commands.fetch_add(1, Ordering::Relaxed);
                hooked.hook.before(n, command).await?;
                numbers.push(n);
            }
        }
        Ok(numbers)
    }

    async fn after(&self, numbers: &[u64], commands: &[Vec<String>]) -> RedisResult<()> {
        let mut numbers = numbers.iter();
        for hooked in &self.hooks {
            for (command, n) in commands.iter().zip(numbers.by_ref()) {
                hooked.hook.after(*n, command).await?;
            }
        }
        Ok(())
    }

    fn record(&self, start: Instant, commands: &[Vec<String>], replies: &[(String, bool)]) {
        let took = start.elapsed();
        for (trace, label) in &self.traces {
            trace.record(&Record { start, took, label, commands, replies });
        }
    }
}

use super::render::{printable_error, printable_reply};

fn replies_of_one(reply: &RedisResult<Value>) -> Vec<(String, bool)> {
    vec![match reply {
        Ok(value) => (printable_reply(value), matches!(value, Value::ServerError(_))),
        Err(error) => (printable_error(error), true),
    }]
}

/// One reply a command. Of a transaction the client hands out only EXEC's: its elements are shown
/// beside the commands that they answer.
fn replies_of_many(reply: &RedisResult<Vec<Value>>, commands: usize, atomic: bool) -> Vec<(String, bool)> {
    let values = match reply {
        Ok(values) => values,
        Err(error) => return vec![(printable_error(error), true); commands],
    };
    let shown = |value: &Value| (printable_reply(value), matches!(value, Value::ServerError(_)));
    if !atomic {
        return values.iter().map(shown).collect();
    }
    let mut replies = vec![("OK".to_owned(), false)];
    match values.first() {
        Some(Value::Array(elements)) => {
            replies.extend(elements.iter().map(shown));
            replies.push((format!("({} replies)", elements.len()), false));
        }
        Some(other) => {
            let queued = commands.saturating_sub(2);
            replies.extend(std::iter::repeat_n(("QUEUED".to_owned(), false), queued));
            replies.push(shown(other));
        }
        None => {}
    }
    replies
}
