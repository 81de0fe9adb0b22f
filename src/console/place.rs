//! A private server, and the proxy in front of it that sees what the learner sends.

use std::sync::Arc;

use chatlab_kit::prereq::ServerBinary;
use chatlab_kit::proxy::Proxy;
use chatlab_kit::redis::{Redis, RedisConfig};
use chatlab_kit::servers::{Managed, ServerOptions, Topology};

/// A private server or cluster. Ends when dropped.
pub struct Place {
    /// One node or a cluster.
    pub topology: Topology,
    /// Past the proxy, unseen by the trace.
    pub redis: Redis,
    /// Where the learner's connections go.
    pub proxy: Arc<Proxy>,
    _managed: Managed,
}

impl Place {
    /// Starts it.
    ///
    /// # Errors
    /// When the servers or the proxy do not start.
    pub async fn start(topology: Topology, server: &ServerBinary) -> anyhow::Result<Self> {
        let managed = Managed::start_async(topology, server, &ServerOptions::default()).await?;
        let nodes = managed.addrs();
        let redis = Redis::connect(&RedisConfig::new(topology, nodes.clone())).await?;
        let proxy = Arc::new(Proxy::start(topology, &nodes).await?);
        Ok(Self { topology, redis, proxy, _managed: managed })
    }
}
