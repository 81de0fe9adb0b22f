//! A tracing RESP proxy: one loopback listener in front of each server node.
//!
//! Clients of any language connect to [`Proxy::addrs`] instead of the servers. Every command and reply goes into a
//! [`Trace`]; what the server tells about addresses (`MOVED`, `ASK`, `CLUSTER SLOTS`, `SHARDS`, `NODES`, `REPLICAS`) is rewritten so
//! that cluster clients come back to the proxy. `INFO`, `ROLE` and the like, and replies inside of `EXEC`, stay as they are.
//!
//! **A round trip** is what a client sends before it has an answer. All commands of one read share it, where a read takes
//! what lies in the socket; a read goes on with the round trip of the one before when that one ended in the middle of a
//! command, or when no answer has gone to the client since the round trip began.
//!
//! Bounded: a frame is buffered up to [`FRAME_BYTES_MAX`]; a larger one streams through, is shown cut, cannot be held by a
//! [`Gate`] and is not rewritten.

mod connection;
mod gate;
mod request;
mod rewrite;
mod wire;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use gate::Gate;

use crate::redis::{Nodes, RedisConfig, Trace};
use crate::servers::Topology;
use crate::{LabError, LabResult};
use wire::Wire;

/// A frame is buffered up to this many bytes.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;
/// The most connections at a time; further ones are closed at once.
pub const CONNECTIONS_MAX: usize = 1_000;
/// How long a connection to the server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after a listener could not accept, as when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Which connections [`Proxy::cut`] closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Every one.
    All,
    /// Those that have subscribed to something.
    Subscribers,
}

/// The proxy; ends when dropped, with all its connections.
#[derive(Debug)]
pub struct Proxy {
    topology: Topology,
    addrs: Vec<String>,
    shared: Arc<Shared>,
}

/// What all connections use.
#[derive(Debug)]
struct Shared {
    trace: Trace,
    /// Server address to listener address.
    routes: HashMap<String, String>,
    latency_us: AtomicU64,
    connections: Mutex<Connections>,
    gate: Mutex<Option<Arc<gate::Inner>>>,
    /// Counts commands and replies; whoever waits looks again.
    changes: watch::Sender<u64>,
    end: CancellationToken,
}

#[derive(Debug, Default)]
struct Connections {
    /// How many there were ever.
    count: u64,
    open: BTreeMap<u64, (CancellationToken, Arc<Mutex<Wire>>)>,
}

impl Proxy {
    /// Starts a listener for each of `nodes`, `host:port`; the other nodes of a cluster are discovered.
    ///
    /// # Errors
    /// When no port can be had, or no node answers.
    pub async fn start(topology: Topology, nodes: &[String]) -> LabResult<Self> {
        let nodes = discover(topology, nodes).await?;
        let mut listeners = Vec::with_capacity(nodes.len());
        let mut routes = HashMap::new();
        for node in nodes {
            let refused = |error| LabError::Other(format!("no port for the proxy: {error}"));
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(refused)?;
            let addr = listener.local_addr().map_err(refused)?.to_string();
            routes.insert(node.clone(), addr.clone());
            listeners.push((listener, addr, node));
        }
        let addrs = listeners.iter().map(|(_, addr, _)| addr.clone()).collect();
        let shared = Arc::new(Shared {
            trace: Trace::new(),
            routes,
            latency_us: AtomicU64::new(0),
            connections: Mutex::default(),
            gate: Mutex::default(),
            changes: watch::Sender::new(0),
            end: CancellationToken::new(),
        });
        for (listener, addr, node) in listeners {
            tokio::spawn(listen(listener, Arc::from(addr), Arc::from(node), shared.clone()));
        }
        Ok(Self { topology, addrs, shared })
    }

    /// Where clients connect: `127.0.0.1:PORT` of each listener, in the order of `nodes`, discovered ones last.
    pub fn addrs(&self) -> Vec<String> {
        self.addrs.clone()
    }

    /// One node or a cluster.
    pub fn topology(&self) -> Topology {
        self.topology
    }

    /// What went through. A connection is `c1`, `c2`, … there. A reply is recorded before the client gets it; a command
    /// without a reply so far is in [`Trace::waiting`].
    pub fn trace(&self) -> &Trace {
        &self.shared.trace
    }

    /// From now on each round trip takes so much longer, on the way to the server. Commands of one pipeline pay it once,
    /// together, and the order within a connection stays.
    pub fn set_latency(&self, added_to_a_round_trip: Duration) {
        let micros = u64::try_from(added_to_a_round_trip.as_micros()).unwrap_or(u64::MAX);
        self.shared.latency_us.store(micros, Ordering::Relaxed);
    }

    /// Closes connections; how many there were.
    pub fn cut(&self, which: Cut) -> usize {
        let connections = self.shared.connections();
        let chosen = connections.open.values().filter(|(end, wire)| {
            !end.is_cancelled() && (which == Cut::All || wire::lock(wire).subscribed())
        });
        chosen.map(|(end, _)| end.cancel()).count()
    }

    /// From now on holds every command, except a client's own set-up ([`housekeeping`](crate::budget::housekeeping)),
    /// until the gate lets it go, so that one drives two clients into a race. The gate opens when it is dropped; a gate that
    /// was there before is opened now.
    pub fn hold(&self) -> Gate {
        let inner = Arc::new(gate::Inner::default());
        let before = self.shared.gate().replace(inner.clone());
        if let Some(before) = before {
            before.open();
        }
        Gate::new(inner, self.shared.clone())
    }

    /// Changes with every batch of commands and of replies; for waiting without polling.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.end.cancel();
        if let Some(gate) = self.shared.gate().take() {
            gate.open();
        }
    }
}

impl Shared {
    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gate(&self) -> MutexGuard<'_, Option<Arc<gate::Inner>>> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn latency(&self) -> Duration {
        Duration::from_micros(self.latency_us.load(Ordering::Relaxed))
    }
}

/// The given nodes, then those of the cluster that were not given.
async fn discover(topology: Topology, given: &[String]) -> LabResult<Vec<String>> {
    let config = RedisConfig::new(topology, given.to_vec());
    config.check()?;
    let nodes = Nodes::new(config);
    let mut all = given.to_vec();
    match topology {
        Topology::Single => drop(nodes.connect(&given[0]).await?),
        Topology::Cluster => {
            let found = nodes.slot_owners().await?.nodes();
            all.extend(found.into_iter().filter(|node| !given.contains(node)));
        }
    }
    Ok(all)
}

/// Accepts until the proxy ends.
async fn listen(listener: TcpListener, addr: Arc<str>, node: Arc<str>, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            () = shared.end.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((client, _)) => admit(client, &addr, &node, &shared),
            Err(error) => {
                tracing::warn!(%error, "proxy: cannot accept");
                // The pace of a listener that cannot accept, such as without a free file descriptor.
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(client: TcpStream, addr: &Arc<str>, node: &Arc<str>, shared: &Arc<Shared>) {
    let end = shared.end.child_token();
    let (number, wire) = {
        let mut connections = shared.connections();
        if connections.open.len() >= CONNECTIONS_MAX {
            tracing::warn!(bound = CONNECTIONS_MAX, "proxy: too many connections, one more is closed");
            return;
        }
        connections.count += 1;
        let number = connections.count;
        let wire = Arc::new(Mutex::new(Wire::new(shared.trace.clone(), number, addr.clone())));
        connections.open.insert(number, (end.clone(), wire.clone()));
        (number, wire)
    };
    let (node, shared) = (node.clone(), shared.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = end.cancelled() => {}
            result = Box::pin(connection::serve(client, &node, &wire, &shared)) => {
                if let Err(error) = result {
                    tracing::debug!(redis.node = %node, %error, "proxy: a connection ended");
                }
            }
        }
        wire::lock(&wire).close();
        shared.connections().open.remove(&number);
        shared.changed();
    });
}
