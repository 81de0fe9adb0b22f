//! Redis servers that chatlab starts itself: a single node, or three masters and three replicas. And, for tests, a PostgreSQL server.
//!
//! They listen on loopback, live in a temporary folder of their own, and end with the process that started them, however
//! that process ends:
//!
//! | the owner | what ends the servers | what removes the folder |
//! | --- | --- | --- |
//! | drops [`Managed`] | the drop | the drop |
//! | exits, panics, is ended by Ctrl-C, `SIGTERM`, `kill -9` | the kernel's parent-death signal (Linux), else the janitor | the janitor |
//! | dies together with the janitor (a container stops, the machine loses power) | | [`sweep`], at the next start |

mod cluster;
mod error;
mod folder;
mod janitor;
mod managed;
mod node;
mod poll;
mod ports;
mod postgres;
pub mod process;
pub mod reshard;
mod resp;
mod spawn;
mod status;
mod topology;

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use error::ServerError;
pub use folder::sweep;
pub use managed::Managed;
pub use poll::poll;
pub use postgres::Postgres;
pub use status::{NodeStatus, inspect};
pub use topology::{Topology, UnknownTopology};

/// How servers are configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// Whether an append-only file is kept, so that a restarted node has its data again.
    pub persistence: bool,
    /// After how many milliseconds of silence a cluster node is suspected to have failed.
    pub cluster_node_timeout_ms: u64,
    /// The folder of `ca.crt`, `redis.crt` and `redis.key`, for nodes that speak TLS as well, at ports of their own.
    pub tls: Option<PathBuf>,
    /// More lines for `redis.conf`, as name and value; they win over chatlab's own.
    pub extra: Vec<(String, String)>,
}

/// [`ServerOptions::steady`]: longer than a machine that is busy with other work keeps a node from answering, in
/// milliseconds. It is Redis's own default.
const STEADY_NODE_TIMEOUT_MS: u64 = 15_000;

impl ServerOptions {
    /// For checks and measurements in which no node is killed: a node that a busy machine leaves without a processor for
    /// some seconds is not taken for dead, which would put its replica in its place in the middle of a check.
    pub fn steady() -> Self {
        Self { cluster_node_timeout_ms: STEADY_NODE_TIMEOUT_MS, ..Self::default() }
    }
}

/// Writes nothing to disk, and takes a node for dead after 2 s: for lessons and tests that kill one.
impl Default for ServerOptions {
    fn default() -> Self {
        Self { persistence: false, cluster_node_timeout_ms: 2_000, tls: None, extra: Vec::new() }
    }
}

/// What a node was started as; a failover changes its role later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Takes writes.
    Master,
    /// Copies a master.
    Replica,
}

/// One server process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Always loopback.
    pub host: Ipv4Addr,
    /// Where it takes clients.
    pub port: u16,
    /// Its first process; after a restart ask [`Managed::pid`].
    pub pid: u32,
    /// Its folder: `redis.conf`, `redis.log`, and its data if it keeps any.
    pub dir: PathBuf,
    /// What it was started as.
    pub initial_role: Role,
}

impl Node {
    /// `127.0.0.1:PORT`.
    pub fn addr(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}
