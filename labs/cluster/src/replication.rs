//! What the server asks when a message must outlive its master: whether a replica has it by now.
//!
//! `WAIT` blocks its connection, and counts what *that connection* has written. So nobody waits where commands are shared: each
//! master has one connection for it, which writes a mark of its own in the slot in question and waits for that. Replication keeps
//! the order, so a replica that has the mark has everything that the master wrote before it, whoever asked for it. While one
//! `WAIT` is under way, whoever else asks shares the next one: a thousand askers cost two, and not a thousand.
//!
//! The mark does more than wait to be replicated. A node takes it only as the owner of its slot, and, since there is no key of
//! that name, only when no part of the slot has left: a slot on its way answers `ASK`. So the answer is about the node that has the data.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chatlab_kit::{LabError, LabResult, ids::InstanceId, keys, redis::Redis, slots::Partition};
use redis::{Value, aio::ConnectionLike};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::nodes::{For, MAX_WAIT_MS, NodeHandles};

/// The most askers that one master has at a time; one more is told at once that it is too late.
pub const ASKERS_MAX: usize = 16_384;
/// How long a mark may outlive its removal, which comes in the same pipeline, in milliseconds.
pub const MARK_TTL_MS: u64 = 1_000;
/// The longest single `WAIT`: who comes meanwhile waits for its end, in milliseconds.
const SLICE_MS: u64 = 200;
/// The pause before another node is asked.
const PAUSE: Duration = Duration::from_millis(20);
/// A connection that nobody asked for so long is given up.
const IDLE: Duration = Duration::from_secs(60);

/// What became of waiting for a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// A replica has everything that was written before.
    Replicated,
    /// The master has no replica at the moment. Told at once.
    NoReplica,
    /// There was no such answer in time.
    TooLate,
}

/// The port: whether replicas have what was written.
#[async_trait]
pub trait Replication: Send + Sync {
    /// Waits until a replica of the partition's master has everything that this master had written when it was asked, for at
    /// most `within` (and 2 s).
    ///
    /// It speaks for the master of that moment. What a failover took away between a write and this question is not known to the
    /// new master's replicas either: who wants to be sure of one write looks whether it is still there.
    async fn confirm(&self, partition: Partition, within: Duration) -> Confirmation;
}

/// One `WAIT` at a time for each master, shared by all who ask.
pub struct GroupWait {
    nodes: NodeHandles,
    instance: InstanceId,
    workers: Mutex<HashMap<String, mpsc::Sender<Ask>>>,
}

struct Ask {
    partition: Partition,
    until: Instant,
    /// Dropped without an answer: another node must be asked.
    answer: oneshot::Sender<Confirmation>,
}

impl GroupWait {
    /// For the deployment behind `redis`. Connects to a master when it is asked for first.
    pub fn new(redis: Redis) -> Self {
        Self { nodes: NodeHandles::new(redis), instance: InstanceId::new(), workers: Mutex::default() }
    }

    /// None when the node that was asked is not, or no longer, the one to ask.
    async fn ask(&self, partition: Partition, until: Instant) -> LabResult<Option<Confirmation>> {
        let owners = self.nodes.owners().await?;
        if let Some(address) = owners.owner_of(partition.slot()) {
            let (answer, told) = oneshot::channel();
            match self.worker(address).try_send(Ask { partition, until, answer }) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => return Ok(Some(Confirmation::TooLate)),
                // It has just ended; the next one is a new one.
                Err(TrySendError::Closed(_)) => return Ok(None),
            }
            if let Ok(confirmation) = told.await {
                return Ok(Some(confirmation));
            }
        }
        self.nodes.forget_if(&owners).await;
        Ok(None)
    }

    fn worker(&self, address: &str) -> mpsc::Sender<Ask> {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.retain(|_, worker| !worker.is_closed());
        if let Some(worker) = workers.get(address) {
            return worker.clone();
        }
        let (sender, asks) = mpsc::channel(ASKERS_MAX);
        let worker = Worker {
            nodes: self.nodes.clone(),
            address: address.to_owned(),
            instance: self.instance,
            has_replica: false,
        };
        tokio::spawn(worker.run(asks));
        workers.insert(address.to_owned(), sender.clone());
        sender
    }
}

#[async_trait]
impl Replication for GroupWait {
    async fn confirm(&self, partition: Partition, within: Duration) -> Confirmation {
        let until = Instant::now() + within.min(Duration::from_millis(MAX_WAIT_MS));
        let asking = async {
            loop {
                // No node that answers: there may be one again in a moment.
                if let Ok(Some(confirmation)) = self.ask(partition, until).await {
                    return confirmation;
                }
                sleep(PAUSE).await;
            }
        };
        timeout_at(until, asking).await.unwrap_or(Confirmation::TooLate)
    }
}

/// The one who waits at a master. It ends when the node does not do what a master does.
struct Worker {
    nodes: NodeHandles,
    address: String,
    instance: InstanceId,
    /// The last `WAIT` was answered by one.
    has_replica: bool,
}

impl Worker {
    async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        let mut waiting: Vec<Ask> = Vec::new();
        loop {
            if waiting.is_empty() {
                match timeout(IDLE, asks.recv()).await {
                    Ok(Some(ask)) => waiting.push(ask),
                    Ok(None) | Err(_) => return,
                }
            }
            while waiting.len() < ASKERS_MAX
                && let Ok(ask) = asks.try_recv()
            {
                waiting.push(ask);
            }
            let now = Instant::now();
            waiting.retain(|ask| ask.until > now && !ask.answer.is_closed());
            if waiting.is_empty() {
                continue;
            }
            // Whoever still waits when this returns is told by the end of the channel to ask elsewhere.
            if self.round(&mut waiting).await.is_err() {
                self.nodes.lose(&self.address, For::Waiting).await;
                return;
            }
        }
    }

    /// One `WAIT` for all who wait; who has an answer then waits no longer.
    async fn round(&mut self, waiting: &mut Vec<Ask>) -> LabResult<()> {
        let mut node = self.nodes.at(&self.address, For::Waiting).await?;
        if !self.has_replica && replicas(&mut node).await? == 0 {
            waiting.drain(..).for_each(|ask| tell(ask, Confirmation::NoReplica));
            return Ok(());
        }
        let mut partitions: Vec<Partition> = waiting.iter().map(|ask| ask.partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        let (taken, confirmed) = self.mark_and_wait(&mut node, &partitions, longest(waiting)).await?;
        self.has_replica = confirmed > 0;
        for ask in std::mem::take(waiting) {
            match partitions.binary_search(&ask.partition) {
                Ok(place) if taken[place] && confirmed > 0 => tell(ask, Confirmation::Replicated),
                Ok(place) if taken[place] => waiting.push(ask),
                // Not the owner of that slot, or not of all of it.
                _ => drop(ask),
            }
        }
        Ok(())
    }

    /// Writes a mark in each partition and waits, in one pipeline: which marks were taken, and how many replicas have them.
    async fn mark_and_wait(
        &self,
        node: &mut Redis,
        partitions: &[Partition],
        wait_ms: u64,
    ) -> LabResult<(Vec<bool>, u64)> {
        let mut pipe = redis::pipe();
        for partition in partitions {
            let mark = keys::wait_mark(*partition, self.instance);
            // NX: a mark that an interrupted pipeline left could stay here while the rest of its slot leaves.
            pipe.cmd("SET").arg(&mark).arg(1).arg("PX").arg(MARK_TTL_MS).arg("NX");
            pipe.cmd("UNLINK").arg(&mark);
        }
        pipe.cmd("WAIT").arg(1).arg(wait_ms);
        // Each command's own answer: one slot may be elsewhere while the others are here.
        let answers = node.req_packed_commands(&pipe, 0, pipe.len()).await?;
        let confirmed = match answers.last() {
            Some(Value::Int(confirmed)) => u64::try_from(*confirmed).unwrap_or_default(),
            other => return Err(LabError::Other(format!("WAIT at {}: {other:?}", self.address))),
        };
        let marks = answers.chunks_exact(2).map(|answers| answers[0] == Value::Okay);
        Ok((marks.take(partitions.len()).collect(), confirmed))
    }
}

fn tell(ask: Ask, confirmation: Confirmation) {
    // Who asked may be gone.
    let _ = ask.answer.send(confirmation);
}

/// As long as the most patient one has time, in slices.
fn longest(waiting: &[Ask]) -> u64 {
    let until = waiting.iter().map(|ask| ask.until).max().unwrap_or_else(Instant::now);
    let left = until.saturating_duration_since(Instant::now()).as_millis();
    // 0 would mean: for ever.
    u64::try_from(left).unwrap_or(SLICE_MS).clamp(1, SLICE_MS)
}

/// How many replicas are connected to a master.
async fn replicas(node: &mut Redis) -> LabResult<usize> {
    let role: Value = redis::cmd("ROLE").query_async(node).await?;
    let Value::Array(role) = role else { return Err(LabError::Other(format!("ROLE: {role:?}"))) };
    let is_master = role.first().is_some_and(|name| *name == Value::BulkString(b"master".to_vec()));
    match role.get(2) {
        Some(Value::Array(replicas)) if is_master => Ok(replicas.len()),
        _ => Err(LabError::Other("no master".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(within: Duration) -> (Ask, oneshot::Receiver<Confirmation>) {
        let (answer, told) = oneshot::channel();
        (Ask { partition: Partition::FIRST, until: Instant::now() + within, answer }, told)
    }

    #[tokio::test]
    async fn a_wait_is_as_long_as_the_most_patient_has_time_in_slices_and_never_for_ever() {
        let of = |ms: &[u64]| {
            let asks: Vec<Ask> = ms.iter().map(|ms| ask(Duration::from_millis(*ms)).0).collect();
            longest(&asks)
        };
        assert_eq!((of(&[]), of(&[0]), of(&[50, 9_000])), (1, 1, SLICE_MS));
        assert!((1..=120).contains(&of(&[50, 120, 7])));
    }
}
