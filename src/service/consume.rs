//! A consumer: one instance's part in a group that works a topic.
//!
//! What this instance wrote it reads soon, because it knows the partitions ([`Wakes`](super::events::Wakes)); a sweep over all of them finds
//! what others wrote and left behind. Work happens at least once: an entry is acknowledged after its work, and what its
//! holder did not acknowledge is given to another instance.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use chatlab_audit::{
    EventId, TAKE_MAX,
    outbox::{Entry, Outbox},
};
use chatlab_kit::slots::Partition;
use futures_util::{StreamExt, stream};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{
    events::{Events, Topic},
    lock, now_ms,
};

/// How long writes are collected before they are read: fewer, larger batches.
const COLLECT: Duration = Duration::from_millis(300);
/// How often all partitions are looked at.
const SWEEP: Duration = Duration::from_secs(5);
/// Partitions that are read together: a batch has at most that many times [`TAKE_MAX`] entries.
const PARTITIONS_AT_ONCE: usize = 16;
/// The first pause after a failure; doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// So long a consumer may fail before the instance is not ready any more.
const RED_AFTER: Duration = Duration::from_secs(5);
/// How long a stop waits for the last batch.
const LAST_PASS: Duration = Duration::from_secs(3);

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done, now or before.
    Done,
    /// It can never be done: it becomes a dead letter.
    Poison(String),
}

/// An entry and where it is from.
pub type Taken = (Partition, Entry);

/// The work of a group. It must not matter when it is done twice.
#[async_trait]
pub trait Work: Send + Sync {
    /// Does a batch: an outcome for each entry, in order; or why all of it must be tried again.
    async fn work(&self, batch: &[Taken]) -> Result<Vec<Outcome>, String>;
}

/// How a consumer does, for readiness.
#[derive(Debug)]
pub struct Status {
    /// The group.
    pub group: &'static str,
    failing: Mutex<Option<(Instant, String)>>,
    done: AtomicU64,
}

impl Status {
    fn new(group: &'static str) -> Self {
        Self { group, failing: Mutex::default(), done: AtomicU64::default() }
    }

    /// Why the instance should not be called ready; none while it works.
    pub fn red(&self) -> Option<String> {
        let failing = lock(&self.failing);
        failing.as_ref().filter(|(since, _)| since.elapsed() >= RED_AFTER).map(|(_, why)| why.clone())
    }

    /// Entries that this instance has worked.
    pub fn done(&self) -> u64 {
        self.done.load(Relaxed)
    }

    fn failed(&self, why: &str) {
        metrics::counter!("chatlab_events_failures_total", "group" => self.group).increment(1);
        let mut failing = lock(&self.failing);
        match &mut *failing {
            Some((_, last)) => why.clone_into(last),
            None => {
                tracing::warn!(group = self.group, why, "consumer.failing");
                *failing = Some((Instant::now(), why.to_owned()));
            }
        }
    }

    fn works(&self) {
        if let Some((since, _)) = lock(&self.failing).take() {
            tracing::info!(group = self.group, after = ?since.elapsed(), "consumer.works_again");
        }
    }
}

/// One instance's part in a group.
pub struct Consumer {
    outbox: Arc<dyn Outbox>,
    events: Events,
    topic: Topic,
    group: &'static str,
    name: String,
    work: Arc<dyn Work>,
    status: Arc<Status>,
}

impl Consumer {
    /// As `name`, which no other instance has.
    pub fn new(
        outbox: Arc<dyn Outbox>,
        events: Events,
        (topic, group): (Topic, &'static str),
        name: String,
        work: Arc<dyn Work>,
    ) -> Self {
        Self { outbox, events, topic, group, name, work, status: Arc::new(Status::new(group)) }
    }

    /// How it does.
    pub fn status(&self) -> Arc<Status> {
        self.status.clone()
    }

    /// Works until `stop`, and then once more what this instance wrote last.
    pub async fn run(&self, stop: CancellationToken) {
        let wakes = self.events.wakes(self.topic);
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = sweep.tick() => wakes.mark_all(),
                () = wakes.marked() => {
                    // What is written meanwhile is read with it; a stop does not wait.
                    let _ = stop.run_until_cancelled(tokio::time::sleep(COLLECT)).await;
                }
            }
            let mut pass = std::pin::pin!(self.pass(wakes.take()));
            tokio::select! {
                () = &mut pass => {}
                () = stop.cancelled() => {
                    // What is cut short here is pending, and somebody else's later.
                    let _ = tokio::time::timeout(LAST_PASS, pass).await;
                    break;
                }
            }
        }
        if tokio::time::timeout(LAST_PASS, self.pass(wakes.take())).await.is_err() {
            tracing::warn!(group = self.group, "consumer.last_pass_timed_out");
        }
    }

    /// Works everything that there is in some partitions.
    async fn pass(&self, mut partitions: Vec<Partition>) {
        while !partitions.is_empty() {
            let now = partitions.split_off(partitions.len().saturating_sub(PARTITIONS_AT_ONCE));
            let taken = stream::iter(now).map(|partition| self.take(partition));
            let taken: Vec<_> = taken.buffer_unordered(PARTITIONS_AT_ONCE).collect().await;
            let mut batch = Vec::new();
            for (partition, entries) in taken {
                if entries.len() >= TAKE_MAX {
                    partitions.push(partition);
                }
                batch.extend(entries.into_iter().map(|entry| (partition, entry)));
            }
            if !batch.is_empty() {
                self.finish(&batch).await;
            }
        }
        // Also when there was nothing to be done: nobody may come to a server that calls itself not ready, and bring something.
        self.status.works();
    }

    /// Until Redis answers.
    async fn take(&self, partition: Partition) -> (Partition, Vec<Entry>) {
        let mut pause = PAUSE;
        loop {
            let taking = self.outbox.take(partition, self.topic.name(), self.group, &self.name, TAKE_MAX);
            match taking.await {
                Ok(entries) => return (partition, entries),
                Err(error) => self.status.failed(&error.to_string()),
            }
            // Between two tries: Redis is away, and is not asked without rest.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Works a batch until it is done, and acknowledges it.
    async fn finish(&self, batch: &[Taken]) {
        let mut pause = PAUSE;
        let outcomes = loop {
            match self.work.work(batch).await {
                Ok(outcomes) if outcomes.len() == batch.len() => break outcomes,
                Ok(outcomes) => {
                    self.status.failed(&format!("{} outcomes of {}", outcomes.len(), batch.len()));
                }
                Err(why) => self.status.failed(&why),
            }
            // The same for what the work needs, such as SQL; an instance that stops leaves the batch to others.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        let mut done: Vec<(Partition, Vec<EventId>)> = Vec::new();
        for ((partition, entry), outcome) in batch.iter().zip(&outcomes) {
            if let Outcome::Poison(why) = outcome {
                self.bury(*partition, entry, why).await;
                continue;
            }
            match done.last_mut() {
                Some((last, ids)) if last == partition => ids.push(entry.id),
                _ => done.push((*partition, vec![entry.id])),
            }
        }
        let oldest = batch.iter().map(|(_, entry)| entry.id.0).min().unwrap_or_default();
        let late_ms = u64::try_from(now_ms()).unwrap_or_default().saturating_sub(oldest);
        metrics::histogram!("chatlab_events_delay_seconds", "group" => self.group)
            .record(late_ms as f64 / 1e3);
        let acknowledging = done.into_iter().map(|(partition, ids)| self.acknowledge(partition, ids));
        stream::iter(acknowledging).buffer_unordered(PARTITIONS_AT_ONCE).collect::<Vec<()>>().await;
        self.status.done.fetch_add(batch.len() as u64, Relaxed);
        metrics::counter!("chatlab_events_done_total", "group" => self.group).increment(batch.len() as u64);
        self.status.works();
    }

    /// Once: what is not acknowledged comes again, and is done already.
    async fn acknowledge(&self, partition: Partition, ids: Vec<EventId>) {
        if let Err(error) = self.outbox.done(partition, self.topic.name(), self.group, &ids).await {
            self.status.failed(&error.to_string());
        }
    }

    async fn bury(&self, partition: Partition, entry: &Entry, why: &str) {
        tracing::error!(group = self.group, topic = self.topic.name(), id = %entry.id, why, "consumer.dead_letter");
        metrics::counter!("chatlab_events_dead_total", "group" => self.group).increment(1);
        if let Err(error) = self.outbox.bury(partition, self.topic.name(), self.group, entry.id, why).await {
            self.status.failed(&error.to_string());
        }
    }
}
