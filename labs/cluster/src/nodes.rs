//! Handles to single nodes: for `WAIT`, which is about the connection that wrote, for replica reads, and for pipelines
//! that hold many slots of one master.

use std::collections::HashMap;
use std::sync::Arc;

use chatlab_kit::{
    LabError, LabResult,
    lua::Script,
    redis::{Redis, SlotOwners},
    servers::Topology,
    slots,
};
use tokio::sync::Mutex;

/// The longest that a write waits for replicas, in milliseconds; far below the bound on a reply.
pub const MAX_WAIT_MS: u64 = 2_000;
/// How often one write may be refused because of an unknown script or a slot that moves.
const REFUSALS_MAX: usize = 5;

/// Connections to nodes, made when first needed, and who owns which slot, as far as known.
#[derive(Clone)]
pub struct NodeHandles {
    redis: Redis,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    owners: Option<Arc<SlotOwners>>,
    handles: HashMap<(String, For), Redis>,
}

/// What a connection is for. One that waits holds up everything else on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum For {
    /// Commands and pipelines to a master.
    Commands,
    /// Writes followed by `WAIT`.
    Waiting,
    /// Reads from a replica.
    ReplicaReads,
}

impl NodeHandles {
    /// Those of the deployment behind `redis`, with its traces and hooks.
    pub fn new(redis: Redis) -> Self {
        Self { redis, known: Arc::default() }
    }

    /// Who owns which slot, as it was known last.
    ///
    /// # Errors
    /// When no node answers.
    pub async fn owners(&self) -> LabResult<Arc<SlotOwners>> {
        let mut known = self.known.lock().await;
        if let Some(owners) = &known.owners {
            return Ok(owners.clone());
        }
        let owners = Arc::new(self.redis.slot_owners().await?);
        known.owners = Some(owners.clone());
        Ok(owners)
    }

    /// After `MOVED` or a lost node: ask again who owns what.
    pub async fn forget(&self) {
        *self.known.lock().await = Known::default();
    }

    /// The same, unless somebody has asked again since `stale` was known.
    pub(crate) async fn forget_if(&self, stale: &Arc<SlotOwners>) {
        let mut known = self.known.lock().await;
        if known.owners.as_ref().is_some_and(|owners| Arc::ptr_eq(owners, stale)) {
            known.owners = None;
        }
    }

    /// A node does not do what it should: makes a new connection the next time, and asks again who owns what.
    pub(crate) async fn lose(&self, address: &str, purpose: For) {
        let mut known = self.known.lock().await;
        known.owners = None;
        known.handles.remove(&(address.to_owned(), purpose));
    }

    /// A handle to the node at `address`.
    pub(crate) async fn at(&self, address: &str, purpose: For) -> LabResult<Redis> {
        let place = (address.to_owned(), purpose);
        if let Some(handle) = self.known.lock().await.handles.get(&place) {
            return Ok(handle.clone());
        }
        let mut handle = self.redis.node(address).await?;
        if purpose == For::ReplicaReads {
            let _: () = redis::cmd("READONLY").query_async(&mut handle).await?;
        }
        self.known.lock().await.handles.insert(place, handle.clone());
        Ok(handle)
    }

    /// A handle to the master of `key`'s slot.
    pub(crate) async fn master_of(&self, key: &str, purpose: For) -> LabResult<Redis> {
        let slot = slots::slot(key.as_bytes());
        let owners = self.owners().await?;
        let address =
            owners.owner_of(slot).ok_or_else(|| LabError::Other(format!("nobody serves slot {slot}")))?;
        self.at(address, purpose).await
    }

    /// Runs a script that answers with a number, waits for `replicas` replicas for at most `wait_ms`, and answers with that
    /// number and how many confirmed. Both commands go in one pipeline over one connection to the master: `WAIT` counts what
    /// *its own* connection has written. Over another connection, from a pool or after a reconnection, it would wait for
    /// nothing and say that all is well.
    ///
    /// # Errors
    /// When the node does not answer or the script fails.
    pub async fn run_and_wait(
        &self,
        script: &'static Script,
        keys: &[String],
        args: &[&str],
        (replicas, wait_ms): (u32, u64),
    ) -> LabResult<(u64, u64)> {
        let first = keys.first().map_or("", String::as_str);
        let mut verb = ("EVALSHA", script.sha());
        // The script may be unknown, and the slot may have moved: both refuse before anything is written.
        for _ in 0..REFUSALS_MAX {
            let mut master = self.master_of(first, For::Waiting).await?;
            let mut pipe = redis::pipe();
            pipe.cmd(verb.0).arg(verb.1).arg(keys.len()).arg(keys).arg(args);
            // 0 would mean: for ever.
            pipe.cmd("WAIT").arg(replicas).arg(wait_ms.clamp(1, MAX_WAIT_MS));
            let answer: Result<(u64, u64), _> = pipe.query_async(&mut master).await;
            match answer {
                Err(error) if error.code() == Some("NOSCRIPT") => verb = ("EVAL", script.source),
                Err(error) if matches!(error.code(), Some("MOVED" | "ASK" | "TRYAGAIN")) => {
                    self.forget().await;
                }
                other => return Ok(other?),
            }
        }
        Err(LabError::Other(format!("the slot of {first} is on its way for too long: try again later")))
    }

    /// A handle to a replica of `key`'s slot, if there is one.
    ///
    /// # Errors
    /// When the replica does not answer.
    pub async fn replica_of(&self, key: &str) -> LabResult<Option<Redis>> {
        if self.redis.topology() == Topology::Single {
            return Ok(None);
        }
        let owners = self.owners().await?;
        match owners.replicas_of(slots::slot(key.as_bytes())).first() {
            Some(address) => Ok(Some(self.at(address, For::ReplicaReads).await?)),
            None => Ok(None),
        }
    }

    /// Sends one command a key, in one pipeline for each master, all masters at once. The replies come in the order of the
    /// keys.
    ///
    /// # Errors
    /// When a node does not answer, or answers with an error: the pipeline follows no redirect.
    pub async fn by_node<T>(&self, commands: &[(String, redis::Cmd)]) -> LabResult<Vec<T>>
    where
        T: redis::FromRedisValue + Default + Clone + Send + Sync + 'static,
    {
        let owners = self.owners().await?;
        let mut groups: HashMap<&str, Vec<usize>> = HashMap::new();
        for (i, (key, _)) in commands.iter().enumerate() {
            let slot = slots::slot(key.as_bytes());
            let address =
                owners.owner_of(slot).ok_or_else(|| LabError::Other(format!("nobody serves slot {slot}")))?;
            groups.entry(address).or_default().push(i);
        }
        let mut running = tokio::task::JoinSet::new();
        for (address, places) in groups {
            let mut node = self.at(address, For::Commands).await?;
            let mut pipe = redis::pipe();
            for &i in &places {
                pipe.add_command(commands[i].1.clone());
            }
            running.spawn(async move {
                let replies: Vec<T> = pipe.query_async(&mut node).await?;
                Ok::<_, LabError>((places, replies))
            });
        }
        let mut all = vec![T::default(); commands.len()];
        while let Some(joined) = running.join_next().await {
            let (places, replies) = joined.map_err(|error| LabError::Other(error.to_string()))??;
            for (place, reply) in places.into_iter().zip(replies) {
                all[place] = reply;
            }
        }
        Ok(all)
    }
}

/// Whether the error says that this node is not, or no longer, the one to ask.
pub(crate) fn is_redirect(error: &LabError) -> bool {
    let LabError::Redis(error) = error else { return false };
    matches!(error.code(), Some("MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN" | "READONLY"))
        || error.is_io_error()
        || error.is_connection_dropped()
}
