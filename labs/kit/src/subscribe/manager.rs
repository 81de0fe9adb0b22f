//! Keeps every wanted channel subscribed at the node that owns it now.
//!
//! The manager never waits for a server: connecting and asking for the slot map run in tasks of
//! their own and report back. It holds no message either; those go from the connection's task
//! straight into the subscribers' queues.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::channel::{Channel, NOWHERE, Registry};
use super::link::Link;
use super::{CONFIRM_MS, ChannelKind, SWEEP_MS, UNSETTLED_MS};
use crate::LabResult;
use crate::redis::{Nodes, RedisConfig, SlotOwners};

/// Reports of background tasks that wait for the manager: one a node and one for the map.
const REPORT_QUEUE: usize = 64;
/// Channels handled before the manager looks for anything else.
const WORK_BATCH: usize = 1_024;

/// What a background task found out.
enum Report {
    Connected(String, LabResult<Link>),
    Map(LabResult<SlotOwners>),
}

/// The connection to one node.
enum Node {
    Connecting,
    Up(Link),
    Down { retry_at: Instant },
}

pub(super) struct Manager {
    config: RedisConfig,
    registry: Arc<Registry>,
    nodes: Arc<Nodes>,
    owners: watch::Sender<SlotOwners>,
    links: HashMap<String, Node>,
    reports: mpsc::Sender<Report>,
    asking_for_map: bool,
    /// Someone wants the map again, once the present answer is in or the pause is over.
    map_wanted: bool,
    map_asked_at: Instant,
    swept_at: Instant,
    unsettled: bool,
}

impl Manager {
    /// Runs until `stop`; opens connections to all masters at once.
    pub(super) async fn run(
        config: RedisConfig,
        registry: Arc<Registry>,
        nodes: Arc<Nodes>,
        owners: watch::Sender<SlotOwners>,
        mut todo: mpsc::Receiver<Arc<Channel>>,
        mut suspects: mpsc::Receiver<String>,
        stop: CancellationToken,
    ) {
        let (reports, mut reported) = mpsc::channel(REPORT_QUEUE);
        let mut manager = Self {
            config,
            registry: registry.clone(),
            nodes,
            owners,
            links: HashMap::new(),
            reports,
            asking_for_map: false,
            map_wanted: false,
            map_asked_at: Instant::now(),
            swept_at: Instant::now(),
            unsettled: false,
        };
        manager.reconcile();
        let mut work = Vec::with_capacity(WORK_BATCH);
        loop {
            let next_sweep = manager.next_sweep();
            tokio::select! {
                () = stop.cancelled() => break,
                Some(report) = reported.recv() => manager.on_report(report),
                () = registry.wake.notified() => manager.on_wake(),
                Some(node) = suspects.recv() => manager.on_suspect(&node),
                _ = todo.recv_many(&mut work, WORK_BATCH) => {
                    for channel in work.drain(..) {
                        manager.settle(&channel);
                    }
                }
                // The pace of sweeps.
                () = tokio::time::sleep_until(next_sweep.into()) => manager.sweep(),
            }
        }
        registry.close();
    }

    fn next_sweep(&self) -> Instant {
        let pause_ms = if self.unsettled { UNSETTLED_MS } else { SWEEP_MS };
        self.swept_at + Duration::from_millis(pause_ms)
    }

    fn on_report(&mut self, report: Report) {
        match report {
            Report::Connected(node, Ok(link)) => {
                tracing::debug!(redis.node = %node, "subscription connection is up");
                self.links.insert(node, Node::Up(link));
                self.registry.connections_made.fetch_add(1, Ordering::Relaxed);
                self.reconcile();
            }
            Report::Connected(node, Err(error)) => {
                tracing::debug!(redis.node = %node, %error, "subscription connection failed");
                let retry_at = Instant::now() + Duration::from_millis(UNSETTLED_MS);
                self.links.insert(node, Node::Down { retry_at });
                self.unsettled = true;
            }
            Report::Map(answer) => {
                self.asking_for_map = false;
                match answer {
                    Ok(owners) => {
                        self.owners.send_if_modified(|known| {
                            let new = *known != owners;
                            *known = owners;
                            new
                        });
                    }
                    Err(error) => tracing::debug!(%error, "no node told the slot map"),
                }
                self.reconcile();
            }
        }
    }

    fn on_wake(&mut self) {
        if self.registry.map_is_stale.swap(false, Ordering::Relaxed) {
            self.ask_for_map();
        }
        self.reconcile();
    }

    /// The probe of a node did not come back: its connection is not to be trusted.
    fn on_suspect(&mut self, node: &str) {
        tracing::warn!(redis.node = %node, "the probe was lost: connecting anew");
        self.links.remove(node);
        self.ask_for_map();
        self.reconcile();
    }

    /// Every few seconds, and more often while something is not as it should be: the map may have
    /// changed without anyone being told.
    fn sweep(&mut self) {
        self.swept_at = Instant::now();
        self.ask_for_map();
        self.reconcile();
    }

    fn ask_for_map(&mut self) {
        let soon = self.map_asked_at.elapsed() < Duration::from_millis(UNSETTLED_MS) / 2;
        if self.asking_for_map || soon {
            self.map_wanted = true;
            return;
        }
        self.map_wanted = false;
        self.asking_for_map = true;
        self.map_asked_at = Instant::now();
        let (nodes, reports) = (self.nodes.clone(), self.reports.clone());
        tokio::spawn(async move {
            let answer = nodes.slot_owners().await;
            let _ = reports.send(Report::Map(answer)).await;
        });
    }

    /// Looks at every node and every channel.
    fn reconcile(&mut self) {
        self.unsettled = self.map_wanted;
        let primaries = self.owners.borrow().primaries();
        self.links.retain(|node, link| match link {
            Node::Up(link) => link.is_alive() && primaries.contains(node),
            Node::Connecting => true,
            Node::Down { .. } => primaries.contains(node),
        });
        for node in &primaries {
            self.ensure_link(node);
        }
        let up: Vec<u64> = self.up().map(Link::id).collect();
        self.registry.connected_nodes.store(up.len(), Ordering::Relaxed);
        for channel in self.registry.all() {
            let mut state = channel.lock();
            if state.target != NOWHERE && !up.contains(&state.target) {
                state.lose();
            }
            drop(state);
            self.settle(&channel);
        }
    }

    fn up(&self) -> impl Iterator<Item = &Link> {
        self.links.values().filter_map(|node| match node {
            Node::Up(link) => Some(link),
            _ => None,
        })
    }

    fn ensure_link(&mut self, node: &str) {
        match self.links.get(node) {
            Some(Node::Up(_)) => return,
            Some(Node::Connecting) => {
                self.unsettled = true;
                return;
            }
            Some(Node::Down { retry_at }) if *retry_at > Instant::now() => {
                self.unsettled = true;
                return;
            }
            _ => {}
        }
        self.unsettled = true;
        self.links.insert(node.to_owned(), Node::Connecting);
        let (config, registry) = (self.config.clone(), self.registry.clone());
        let (node, reports) = (node.to_owned(), self.reports.clone());
        tokio::spawn(async move {
            let link = Link::connect(&config, &node, registry).await;
            let _ = reports.send(Report::Connected(node, link)).await;
        });
    }

    /// Subscribes, moves or drops one channel, as its subscribers and the map demand.
    fn settle(&mut self, channel: &Arc<Channel>) {
        if !channel.lock().is_wanted() {
            self.drop_unwanted(channel);
            return;
        }
        let Some(link) = self.link_for(channel) else {
            self.unsettled = true;
            return;
        };
        let mut state = channel.lock();
        let there = state.target == link.id();
        let patience = Duration::from_millis(CONFIRM_MS);
        let waiting = state.asked_at.is_some_and(|asked| asked.elapsed() < patience);
        if there && state.confirmed {
            return;
        }
        let left = state.target;
        if !(there && waiting) {
            if !there {
                state.lose();
            }
            if link.subscribe(channel) {
                state.asked(link.id());
            }
        }
        drop(state);
        if !there
            && left != NOWHERE
            && let Some(old) = self.up().find(|link| link.id() == left)
        {
            old.unsubscribe(channel);
        }
        self.unsettled = true;
    }

    fn drop_unwanted(&self, channel: &Arc<Channel>) {
        if !self.registry.remove_unwanted(channel) {
            return;
        }
        let target = channel.lock().target;
        if let Some(link) = self.up().find(|link| link.id() == target) {
            link.unsubscribe(channel);
        }
    }

    /// The connection that ought to deliver `channel`: the slot's owner, or for a classic channel
    /// any one master, the present one if possible.
    fn link_for(&self, channel: &Channel) -> Option<&Link> {
        let up = |node: &str| match self.links.get(node) {
            Some(Node::Up(link)) => Some(link),
            _ => None,
        };
        match channel.kind {
            ChannelKind::Sharded => up(self.owners.borrow().owner_of(channel.slot)?),
            ChannelKind::Classic => {
                let target = channel.lock().target;
                self.up().find(|link| link.id() == target).or_else(|| {
                    let primaries = self.owners.borrow().primaries();
                    primaries.iter().find_map(|node| up(node))
                })
            }
        }
    }
}
