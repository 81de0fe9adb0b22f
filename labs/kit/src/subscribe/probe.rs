//! Proof that messages really arrive: a message to oneself through every master.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::redis::aio::MultiplexedConnection;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::channel::Registry;
use super::{ChannelKind, FeedItem, PROBE_MISSES, PROBE_MS, PROBE_TIMEOUT_MS, Subscription, subscribe_in};
use crate::keys;
use crate::redis::{Nodes, SlotOwners};
use crate::slots::slot;
use crate::{LabError, LabResult};

/// How many names are tried to find one in a node's slots.
const NAMES_TRIED: u32 = 10_000;

/// The outcome of the newest round.
#[derive(Clone, Debug, Default)]
pub(super) struct ProbeState {
    /// When the last message came back through every master.
    pub(super) returned_at: Option<Instant>,
    /// What failed in the newest round.
    pub(super) failure: Option<String>,
}

/// The probe of one Subscriptions.
pub(super) struct Probe {
    pub(super) registry: Arc<Registry>,
    pub(super) nodes: Arc<Nodes>,
    pub(super) owners: watch::Receiver<SlotOwners>,
    pub(super) suspects: mpsc::Sender<String>,
    pub(super) state: Arc<Mutex<ProbeState>>,
    pub(super) instance: String,
}

/// What is needed to probe one master.
struct NodeProbe {
    subscription: Subscription,
    publisher: MultiplexedConnection,
    channel: String,
}

impl Probe {
    /// Probes once, then every `PROBE_MS` until `stop`; `first` hears of the first round.
    pub(super) async fn run(self, first: tokio::sync::oneshot::Sender<()>, stop: CancellationToken) {
        let mut first = Some(first);
        let (mut probes, mut misses) = (HashMap::new(), HashMap::new());
        let mut number = 0_u64;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.round(&mut probes, &mut misses, number) => {}
            }
            number += 1;
            if let Some(first) = first.take() {
                let _ = first.send(());
            }
            tokio::select! {
                () = stop.cancelled() => return,
                // The pace of probes.
                () = tokio::time::sleep(Duration::from_millis(PROBE_MS)) => {}
            }
        }
    }

    async fn round(
        &self,
        probes: &mut HashMap<String, NodeProbe>,
        misses: &mut HashMap<String, u32>,
        number: u64,
    ) {
        let primaries = self.owners.borrow().primaries();
        probes.retain(|node, _| primaries.contains(node));
        misses.retain(|node, _| primaries.contains(node));
        let mut failure = None;
        for node in &primaries {
            let bound = Duration::from_millis(PROBE_TIMEOUT_MS);
            let outcome = tokio::time::timeout(bound, self.one(probes, node, number)).await;
            let why = match outcome {
                Ok(Ok(())) => {
                    misses.remove(node);
                    continue;
                }
                Ok(Err(error)) => format!("probe of {node}: {error}"),
                Err(_) => format!("probe of {node} did not come back in {PROBE_TIMEOUT_MS} ms"),
            };
            probes.remove(node);
            let missed = misses.entry(node.clone()).or_default();
            *missed += 1;
            if *missed >= PROBE_MISSES {
                *missed = 0;
                let _ = self.suspects.try_send(node.clone());
            }
            failure.get_or_insert(why);
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.is_none() {
            state.returned_at = Some(Instant::now());
        }
        state.failure = failure;
    }

    /// Publishes on a connection of its own, and waits for that very message.
    async fn one(&self, probes: &mut HashMap<String, NodeProbe>, node: &str, number: u64) -> LabResult<()> {
        let moved = probes.get(node).is_some_and(|probe| !self.owns(node, probe.channel.as_bytes()));
        if moved {
            probes.remove(node);
        }
        if !probes.contains_key(node) {
            probes.insert(node.to_owned(), self.prepare(node).await?);
        }
        let Some(probe) = probes.get_mut(node) else {
            return Ok(());
        };
        let sent = number.to_string();
        let _: i64 =
            ::redis::cmd("SPUBLISH").arg(&probe.channel).arg(&sent).query_async(&mut probe.publisher).await?;
        loop {
            match probe.subscription.recv().await {
                Some(FeedItem::Payload(payload)) if payload == sent.as_bytes() => return Ok(()),
                Some(_) => {}
                None => return Err(LabError::Other("the subscriptions were shut down".into())),
            }
        }
    }

    async fn prepare(&self, node: &str) -> LabResult<NodeProbe> {
        let channel = (0..NAMES_TRIED)
            .map(|number| keys::probe(&self.instance, number))
            .find(|name| self.owns(node, name.as_bytes()))
            .ok_or_else(|| LabError::Other(format!("{node} owns next to no slots")))?;
        let publisher = self.nodes.connect(node).await?;
        let subscription = subscribe_in(&self.registry, ChannelKind::Sharded, &channel).await?;
        Ok(NodeProbe { subscription, publisher, channel })
    }

    fn owns(&self, node: &str, channel: &[u8]) -> bool {
        self.owners.borrow().owner_of(slot(channel)) == Some(node)
    }
}
