//! The Redis handle of every lab: redis-rs or fred, one node or a cluster, chosen at run time.
//!
//! [`Redis`] implements redis-rs's [`ConnectionLike`], so a lab reads as plain redis-rs
//! (`redis::cmd("HSET").arg(..).query_async(&mut redis)`, `redis::pipe()`, `AsyncCommands`) and
//! the code on the page is the command on the wire. Without a trace or a hook the handle hands
//! out the client's own future: it costs one branch.
//!
//! Subscriptions are elsewhere on purpose ([`crate::subscribe`]): on a connection shared with
//! commands, redis-rs mixes replies and pushes up.

mod cluster;
mod config;
#[cfg(feature = "fred")]
mod fred_adapter;
#[cfg(feature = "fred")]
mod fred_value;
mod hook;
mod lanes;
mod nodes;
mod render;
mod route;
mod tap;
mod trace;

use std::sync::Arc;

use ::redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use ::redis::io::tcp::TcpSettings;
use ::redis::{Cmd, Pipeline, RedisFuture, Value};

pub use config::{CONNECT_TIMEOUT_MS, ClientKind, RESPONSE_TIMEOUT_MS, RedisConfig, Tls, UnknownClient};
pub use hook::{CutAfter, Hook, STEPPER_QUEUE, Stepper};
use lanes::Lanes;
pub(crate) use nodes::Nodes;
pub use nodes::{NODES_MAX, SlotOwners};
pub use render::{ARG_PRINT_BYTES, REPLY_PRINT_BYTES, printable_arg, printable_reply};
pub use route::key_of;
pub(crate) use trace::{Answer, Sent, Trip};
pub use trace::{TRACE_ENTRIES_MAX, Trace, TraceEntry};

use crate::LabResult;
use crate::servers::Topology;
use tap::Tap;

/// How often a lost connection is tried again before its commands fail.
const RECONNECT_RETRIES: usize = 6;
/// The first pause between two attempts to reconnect; doubles from attempt to attempt.
const RECONNECT_MIN_DELAY_MS: u64 = 50;
/// The longest pause between two attempts to reconnect.
const RECONNECT_MAX_DELAY_MS: u64 = 1_000;
/// How often one command follows a redirect or waits out a failover on the cluster.
const CLUSTER_RETRIES: u32 = 8;
/// The shortest pause before a retry on the cluster.
const CLUSTER_RETRY_MIN_MS: u64 = 20;
/// The longest pause before a retry on the cluster.
const CLUSTER_RETRY_MAX_MS: u64 = 500;
/// Commands that wait for the socket of a single node, above which the callers wait.
const PIPELINE_BUFFER: usize = 1_024;

/// A cheap clone of one multiplexed connection to one node or to a cluster.
///
/// Blocking commands (`BLPOP`, `XREAD BLOCK`) hold up every other user of the same connection
/// and run into the response timeout: give them a handle of their own, see
/// [`RedisConfig::with_response_timeout_ms`].
///
/// On the cluster, redis-rs repeats a command whose connection was lost, so it may run twice; fred
/// is set to try once. Whoever writes must be idempotent or say so.
#[derive(Clone)]
pub struct Redis {
    backend: Backend,
    tap: Option<Arc<Tap>>,
    shared: Arc<Shared>,
}

#[derive(Clone)]
enum Backend {
    Single(ConnectionManager),
    Cluster(Lanes),
    #[cfg(feature = "fred")]
    Fred(fred_adapter::FredConnection),
}

struct Shared {
    config: RedisConfig,
    nodes: Nodes,
}

impl Redis {
    /// Connects as `config` says, and returns when the first connection stands.
    ///
    /// # Errors
    /// [`LabError::Redis`](crate::LabError::Redis) when no node answers within the connect timeout;
    /// [`LabError::Other`](crate::LabError::Other) for a configuration that cannot work, such as fred
    /// in a build without it.
    pub async fn connect(config: &RedisConfig) -> LabResult<Self> {
        config.check()?;
        let nodes = Nodes::new(config.clone());
        let backend = match (config.client, config.topology) {
            (ClientKind::RedisRs, Topology::Single) => connect_single(config).await?,
            (ClientKind::RedisRs, Topology::Cluster) => connect_cluster(config, &nodes).await?,
            (ClientKind::Fred, _) => connect_fred(config).await?,
        };
        let shared = Arc::new(Shared { nodes, config: config.clone() });
        Ok(Self { backend, tap: None, shared })
    }

    /// One node or a cluster.
    pub fn topology(&self) -> Topology {
        self.shared.config.topology
    }

    /// The client library underneath.
    pub fn client(&self) -> ClientKind {
        self.shared.config.client
    }

    /// What this handle was connected with.
    pub fn config(&self) -> &RedisConfig {
        &self.shared.config
    }

    /// The same handle, trace and hooks included, over a new connection of its own: for blocking commands, which would
    /// hold up everybody else. `response_timeout_ms` must be longer than they block.
    ///
    /// # Errors
    /// As [`Redis::connect`].
    pub async fn on_own_connection(&self, response_timeout_ms: u64) -> LabResult<Self> {
        let config = self.shared.config.clone().with_response_timeout_ms(response_timeout_ms);
        Ok(Self { tap: self.tap.clone(), ..Self::connect(&config).await? })
    }

    /// The same connection, and a record of every command that goes through the new handle.
    pub fn traced(&self) -> (Self, Trace) {
        let trace = Trace::new();
        let label = self.shared.config.client.as_str();
        (self.traced_into(&trace, label), trace)
    }

    /// The same connection; its commands are added to `trace` under `label`. With several handles
    /// in one trace the record shows how their commands interleaved.
    pub fn traced_into(&self, trace: &Trace, label: &str) -> Self {
        self.with_tap(Tap::and_trace(self.tap.as_deref(), trace.clone(), label))
    }

    /// The same connection; `hook` runs before and after each command of the new handle and of
    /// its clones.
    pub fn hooked(&self, hook: Arc<dyn Hook>) -> Self {
        self.with_tap(Tap::and_hook(self.tap.as_deref(), hook))
    }

    fn with_tap(&self, tap: Tap) -> Self {
        Self { tap: Some(Arc::new(tap)), ..self.clone() }
    }

    /// The `host:port` of every master now, asked of the cluster; or the one node.
    ///
    /// # Errors
    /// When no known node answers `CLUSTER SLOTS`.
    pub async fn primaries(&self) -> LabResult<Vec<String>> {
        Ok(self.shared.nodes.slot_owners().await?.primaries())
    }

    /// Who owns which slot now, and every node's address, asked of the cluster.
    ///
    /// # Errors
    /// When no known node answers `CLUSTER SLOTS`.
    pub async fn slot_owners(&self) -> LabResult<SlotOwners> {
        self.shared.nodes.slot_owners().await
    }

    /// A handle to the node at `address` alone, over a connection of its own, with this handle's traces and hooks: for a
    /// command that holds up its connection or is about the connection itself (`WAIT`, `READONLY`). It follows no
    /// redirect: `MOVED` and `ASK` are errors. Always redis-rs.
    ///
    /// # Errors
    /// [`LabError::Redis`](crate::LabError::Redis) when the node does not answer within the connect timeout.
    pub async fn node(&self, address: &str) -> LabResult<Self> {
        let mut config = self.shared.config.clone().with_client(ClientKind::RedisRs);
        config.topology = Topology::Single;
        config.nodes = vec![address.to_owned()];
        Ok(Self { tap: self.tap.clone(), ..Self::connect(&config).await? })
    }

    /// A new plain connection to every node, masters first, for what is asked of a node and not
    /// of a key (`INFO`, `TIME`, `SCRIPT LOAD`). Nodes that do not answer are left out.
    ///
    /// # Errors
    /// When no node answers.
    pub async fn each_node(&self) -> LabResult<Vec<(String, MultiplexedConnection)>> {
        self.shared.nodes.connect_each().await
    }
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis")
            .field("config", &self.shared.config)
            .field("tapped", &self.tap.is_some())
            .finish_non_exhaustive()
    }
}

impl Backend {
    fn command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(cmd),
            Self::Cluster(cluster) => cluster.command(cmd),
            #[cfg(feature = "fred")]
            Self::Fred(connection) => connection.req_packed_command(cmd),
        }
    }

    fn pipeline<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(cluster) => cluster.pipeline(pipeline, offset, count),
            #[cfg(feature = "fred")]
            Self::Fred(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }
}

impl ConnectionLike for Redis {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match &self.tap {
            None => self.backend.command(cmd),
            Some(tap) => Box::pin(tap.command(cmd, self.backend.command(cmd))),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let Self { backend, tap, .. } = self;
        match tap {
            None => backend.pipeline(pipeline, offset, count),
            Some(tap) => Box::pin(tap.pipeline(pipeline, backend.pipeline(pipeline, offset, count))),
        }
    }

    fn get_db(&self) -> i64 {
        0
    }
}

async fn connect_single(config: &RedisConfig) -> LabResult<Backend> {
    let client = config.client_of(config.connection_info(&config.nodes[0])?)?;
    let options = ConnectionManagerConfig::new()
        .set_number_of_retries(RECONNECT_RETRIES)
        .set_min_delay(std::time::Duration::from_millis(RECONNECT_MIN_DELAY_MS))
        .set_max_delay(std::time::Duration::from_millis(RECONNECT_MAX_DELAY_MS))
        .set_connection_timeout(Some(config.connect_timeout()))
        .set_response_timeout(Some(config.response_timeout()))
        .set_pipeline_buffer_size(PIPELINE_BUFFER);
    let manager = ConnectionManager::new_with_config(client, options).await?;
    Ok(Backend::Single(manager))
}

async fn connect_cluster(config: &RedisConfig, nodes: &Nodes) -> LabResult<Backend> {
    let seeds =
        config.nodes.iter().map(|node| config.connection_info(node)).collect::<LabResult<Vec<_>>>()?;
    let mut builder = ::redis::cluster::ClusterClient::builder(seeds)
        .tcp_settings(TcpSettings::default().set_nodelay(true))
        .connection_timeout(config.connect_timeout())
        .response_timeout(config.response_timeout())
        .retries(CLUSTER_RETRIES)
        .min_retry_wait(CLUSTER_RETRY_MIN_MS)
        .max_retry_wait(CLUSTER_RETRY_MAX_MS);
    if let Some(username) = &config.username {
        builder = builder.username(username);
    }
    if let Some(password) = &config.password {
        builder = builder.password(password);
    }
    if let Some(tls) = &config.tls {
        builder = builder.certs(tls.certificates());
    }
    let owners = nodes.slot_owners().await?;
    Ok(Backend::Cluster(Lanes::connect(&builder.build()?, &owners).await?))
}

#[cfg(feature = "fred")]
async fn connect_fred(config: &RedisConfig) -> LabResult<Backend> {
    let connection = fred_adapter::FredConnection::connect(config).await?;
    Ok(Backend::Fred(connection))
}

#[cfg(not(feature = "fred"))]
async fn connect_fred(_config: &RedisConfig) -> LabResult<Backend> {
    Err(crate::LabError::Other(
        "this build has no fred client: build with the cargo feature `fred`, or use redis-rs".into(),
    ))
}
