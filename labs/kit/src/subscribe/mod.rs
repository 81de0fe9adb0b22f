//! Subscriptions that survive failover, on connections of their own.
//!
//! redis-rs's own cluster pub/sub loses shard channels for good after a failover (it asks for all
//! channels of a node in one `SSUBSCRIBE`, which is refused) and mixes replies up when commands
//! share the connection. So this keeps its own registry and asks for **one channel at a time**, anew
//! after a lost connection, an unasked `sunsubscribe`, a refusal, or a change of the slot map; a sweep
//! every few seconds catches what nobody told. A message to oneself through every master proves that
//! it works, see [`Health`].
//!
//! ```text
//! link (one a master, RESP3) --push--> registry --> each subscriber's bounded queue
//!        ^                                |
//!        +------ manager <----------------+   what is lost, wanted or unwanted
//! ```

mod channel;
mod link;
mod manager;
mod probe;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::redis::{Nodes, RedisConfig};
use crate::{LabError, LabResult};
use channel::{Channel, Registry};
use manager::Manager;
use probe::{Probe, ProbeState};

/// The most items that wait for one subscriber; a further one is dropped and leaves a gap.
pub const SUBSCRIBER_QUEUE: usize = 4_096;
/// The most channels of one [`Subscriptions`].
pub const CHANNELS_MAX: usize = 100_000;
/// How long [`Subscriptions::subscribe`] waits for the server's confirmation, in milliseconds.
pub const SUBSCRIBE_TIMEOUT_MS: u64 = 5_000;
/// The pause between two checks of the slot map and of all channels, in milliseconds.
pub const SWEEP_MS: u64 = 5_000;
/// The same pause while a channel or a node is not as it should be, in milliseconds.
pub const UNSETTLED_MS: u64 = 100;
/// A channel that is not confirmed after this time is asked for again, in milliseconds.
pub const CONFIRM_MS: u64 = 500;
/// The pause between two probes, in milliseconds.
pub const PROBE_MS: u64 = 2_000;
/// How long the probe of one master may take, in milliseconds.
pub const PROBE_TIMEOUT_MS: u64 = 1_000;
/// So many lost probes in a row have a master's connection made anew. One may be a busy machine, and
/// a new connection is a gap for every channel of that master.
pub const PROBE_MISSES: u32 = 2;
/// Probes that are older than this say nothing about now, in milliseconds.
pub const PROBE_STALE_MS: u64 = 4 * PROBE_MS;
/// How long a node may take to connect or to answer before another is tried.
const LINK_TIMEOUT: Duration = Duration::from_millis(1_000);
/// Nodes that wait to be connected anew after a lost probe.
const SUSPECT_QUEUE: usize = 64;

/// The two kinds of pub/sub channels; the same name in both is two channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    /// `SPUBLISH`/`SSUBSCRIBE`: stays within the shard that owns the channel's slot.
    Sharded,
    /// `PUBLISH`/`SUBSCRIBE`: a cluster carries it to every node.
    Classic,
}

/// What a subscriber receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedItem {
    /// One message.
    Payload(Bytes),
    /// Messages may be missing here: the subscription was lost and is back, or this subscriber's
    /// queue was full. Read the history.
    Gap,
}

/// Whether messages arrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Masters that a connection stands to.
    pub connected_nodes: usize,
    /// Connections that were made since the start. More than before: a master may be another one, or have lost what was written to
    /// it last.
    pub connections_made: u64,
    /// Channels with subscribers.
    pub channels: usize,
    /// How many of them the server has confirmed.
    pub confirmed: usize,
    /// Milliseconds since a probe last came back through every master; none before the first.
    pub last_probe_ms_ago: Option<u64>,
    /// The newest probe came back, and no channel has waited long for its confirmation.
    pub healthy: bool,
    /// Why not.
    pub why: Option<String>,
}

/// The subscriptions of one process to one deployment; clones share them.
#[derive(Clone)]
pub struct Subscriptions {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Arc<Registry>,
    probe: Arc<Mutex<ProbeState>>,
    stop: CancellationToken,
    tasks: tokio::sync::Mutex<Vec<tokio::task::JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Subscriptions {
    /// Connects to every master and probes once. The client library of `config` plays no part.
    ///
    /// # Errors
    /// When no node tells who owns the slots. A probe that does not come back is no error: see
    /// [`health`](Self::health).
    pub async fn start(config: &RedisConfig) -> LabResult<Self> {
        config.check()?;
        let timeout_ms = u64::try_from(LINK_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
        let config = config
            .clone()
            .with_connect_timeout_ms(config.connect_timeout_ms.min(timeout_ms))
            .with_response_timeout_ms(config.response_timeout_ms.min(timeout_ms));
        let nodes = Arc::new(Nodes::new(config.clone()));
        let (owners, owners_seen) = watch::channel(nodes.slot_owners().await?);
        let (registry, todo) = Registry::new();
        let (suspects, suspected) = mpsc::channel(SUSPECT_QUEUE);
        let stop = CancellationToken::new();
        let state = Arc::<Mutex<ProbeState>>::default();
        let probe = Probe {
            registry: registry.clone(),
            nodes: nodes.clone(),
            owners: owners_seen,
            suspects,
            state: state.clone(),
            instance: uuid::Uuid::now_v7().simple().to_string(),
        };
        let manager = tokio::spawn(Manager::run(
            config,
            registry.clone(),
            nodes,
            owners,
            todo,
            suspected,
            stop.clone(),
        ));
        let (first, first_probe) = oneshot::channel();
        let prober = tokio::spawn(probe.run(first, stop.clone()));
        let _ = first_probe.await;
        Ok(Self {
            inner: Arc::new(Inner {
                registry,
                probe: state,
                stop,
                tasks: tokio::sync::Mutex::new(vec![manager, prober]),
            }),
        })
    }

    /// Subscribes, and returns when the server has confirmed. Local subscribers of one channel share
    /// one subscription at the server. Dropping the [`Subscription`] ends it.
    ///
    /// # Errors
    /// [`LabError::Bound`] above [`CHANNELS_MAX`]; [`LabError::Other`] when no confirmation came within
    /// [`SUBSCRIBE_TIMEOUT_MS`] or after [`shutdown`](Self::shutdown).
    pub async fn subscribe(&self, kind: ChannelKind, channel: &str) -> LabResult<Subscription> {
        if self.inner.stop.is_cancelled() {
            return Err(LabError::Other("the subscriptions were shut down".into()));
        }
        subscribe_in(&self.inner.registry, kind, channel).await
    }

    /// Whether messages arrive, now.
    pub fn health(&self) -> Health {
        let patience = Duration::from_millis(PROBE_TIMEOUT_MS);
        let (channels, confirmed, overdue) = self.inner.registry.tally(patience);
        let probe = self.inner.probe.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let last_probe_ms_ago =
            probe.returned_at.map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX));
        let why = if self.inner.stop.is_cancelled() {
            Some("shut down".to_owned())
        } else if let Some(failure) = probe.failure {
            Some(failure)
        } else if overdue {
            Some(format!("{} channels wait for their server", channels - confirmed))
        } else {
            match last_probe_ms_ago {
                None => Some("no probe has come back yet".to_owned()),
                Some(ms) if ms > PROBE_STALE_MS => Some(format!("the last probe is {ms} ms old")),
                Some(_) => None,
            }
        };
        Health {
            connected_nodes: self.inner.registry.connected_nodes.load(Ordering::Relaxed),
            connections_made: self.inner.registry.connections_made.load(Ordering::Relaxed),
            channels,
            confirmed,
            last_probe_ms_ago,
            healthy: why.is_none(),
            why,
        }
    }

    /// Ends every subscription (`recv` gives none) and closes the connections. Returns when the
    /// tasks are gone.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        for task in self.inner.tasks.lock().await.drain(..) {
            let _ = task.await;
        }
    }
}

async fn subscribe_in(registry: &Arc<Registry>, kind: ChannelKind, name: &str) -> LabResult<Subscription> {
    if registry.len() >= CHANNELS_MAX && registry.find(kind, name).is_none() {
        return Err(LabError::Bound { what: "the number of channels", bound: CHANNELS_MAX as u64 });
    }
    let joined = registry.join(kind, name);
    let subscription = Subscription {
        registry: registry.clone(),
        channel: joined.channel,
        id: joined.id,
        queue: joined.queue,
    };
    if let Some(confirmed) = joined.confirmed {
        registry.attend(&subscription.channel);
        let bound = Duration::from_millis(SUBSCRIBE_TIMEOUT_MS);
        if !matches!(tokio::time::timeout(bound, confirmed).await, Ok(Ok(()))) {
            return Err(LabError::Other(format!(
                "the subscription of `{name}` was not confirmed in {SUBSCRIBE_TIMEOUT_MS} ms"
            )));
        }
    }
    Ok(subscription)
}

/// One subscriber of one channel. Dropping it unsubscribes; the last one also at the server.
pub struct Subscription {
    registry: Arc<Registry>,
    channel: Arc<Channel>,
    id: u64,
    queue: mpsc::Receiver<FeedItem>,
}

impl Subscription {
    /// The next item, in the order of publication; none after
    /// [`shutdown`](Subscriptions::shutdown). Safe to cancel.
    pub async fn recv(&mut self) -> Option<FeedItem> {
        self.queue.recv().await
    }

    /// An item that is there already.
    pub fn try_recv(&mut self) -> Option<FeedItem> {
        self.queue.try_recv().ok()
    }

    /// The channel's name.
    pub fn channel(&self) -> &str {
        &self.channel.name
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.registry.leave(&self.channel, self.id);
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription")
            .field("kind", &self.channel.kind)
            .field("channel", &self.channel.name)
            .finish_non_exhaustive()
    }
}
