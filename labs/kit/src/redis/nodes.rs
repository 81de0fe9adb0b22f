//! The nodes behind a handle: who owns which slot, and plain connections to each.
//!
//! Asked on short connections of its own, so that the answer does not depend on what the client
//! library believes about the cluster.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Value};

use super::config::RedisConfig;
use crate::servers::Topology;
use crate::slots::SLOTS;
use crate::{LabError, LabResult};

/// The most nodes that a handle remembers.
pub const NODES_MAX: usize = 1_000;

/// One run of slots and its master.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SlotRange {
    first: u16,
    last: u16,
    primary: String,
    replicas: Vec<String>,
}

/// Who owns which slot, as one node told it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotOwners {
    ranges: Vec<SlotRange>,
    replicas: Vec<String>,
}

impl SlotOwners {
    /// All slots on one node.
    pub fn single(node: &str) -> Self {
        let whole = SlotRange { first: 0, last: SLOTS - 1, primary: node.to_owned(), replicas: Vec::new() };
        Self { ranges: vec![whole], replicas: Vec::new() }
    }

    #[cfg(test)]
    pub(super) fn of(ranges: &[(u16, u16, &str)]) -> Self {
        let range = |(first, last, primary): &(u16, u16, &str)| SlotRange {
            first: *first,
            last: *last,
            primary: (*primary).to_owned(),
            replicas: Vec::new(),
        };
        Self { ranges: ranges.iter().map(range).collect(), replicas: Vec::new() }
    }

    /// The `host:port` of the master that owns `slot`; none while the slot is not served.
    pub fn owner_of(&self, slot: u16) -> Option<&str> {
        self.ranges
            .iter()
            .find(|range| (range.first..=range.last).contains(&slot))
            .map(|range| range.primary.as_str())
    }

    /// The `host:port` of the replicas of the master that owns `slot`; none that has not heard of a write yet.
    pub fn replicas_of(&self, slot: u16) -> &[String] {
        self.ranges
            .iter()
            .find(|range| (range.first..=range.last).contains(&slot))
            .map_or(&[], |range| range.replicas.as_slice())
    }

    /// Every master once, sorted.
    pub fn primaries(&self) -> Vec<String> {
        let mut nodes: Vec<_> = self.ranges.iter().map(|range| range.primary.clone()).collect();
        nodes.sort();
        nodes.dedup();
        nodes
    }

    /// Every replica once, sorted.
    pub fn replicas(&self) -> &[String] {
        &self.replicas
    }

    /// The masters, then the replicas.
    pub fn nodes(&self) -> Vec<String> {
        let mut nodes = self.primaries();
        nodes.extend_from_slice(&self.replicas);
        nodes
    }

    /// `CLUSTER SLOTS` leaves out a replica whose master has not written yet, `CLUSTER NODES` does not.
    /// It has addresses only, so it is of no use where the nodes announce names.
    fn with_replicas_of(mut self, cluster_nodes: &str) -> Self {
        let by_address = |range: &SlotRange| {
            let host = range.primary.rsplit_once(':').map(|(host, _)| host);
            host.is_some_and(|host| host.parse::<IpAddr>().is_ok())
        };
        if self.ranges.iter().all(by_address) {
            self.replicas.extend(cluster_nodes.lines().filter_map(replica_address));
            self.replicas.sort();
            self.replicas.dedup();
        }
        self
    }

    /// Reads the reply to `CLUSTER SLOTS`; `asked` replaces an address that the node left empty,
    /// which means "the one you reached me at".
    fn parse(reply: Value, asked: &str) -> Option<Self> {
        let mut owners = Self::default();
        let asked_host = asked.rsplit_once(':').map_or(asked, |(host, _)| host);
        for range in reply.into_sequence().ok()? {
            let mut parts = range.into_sequence().ok()?.into_iter();
            let first = ::redis::from_redis_value(parts.next()?).ok()?;
            let last = ::redis::from_redis_value(parts.next()?).ok()?;
            let primary = node_address(parts.next()?, asked_host)?;
            let replicas: Vec<String> = parts.filter_map(|node| node_address(node, asked_host)).collect();
            owners.replicas.extend_from_slice(&replicas);
            owners.ranges.push(SlotRange { first, last, primary, replicas });
        }
        owners.ranges.sort_by_key(|range| range.first);
        owners.replicas.sort();
        owners.replicas.dedup();
        (!owners.ranges.is_empty()).then_some(owners)
    }
}

/// The address of a working replica in a line of `CLUSTER NODES`.
fn replica_address(line: &str) -> Option<String> {
    let mut words = line.split(' ').skip(1);
    let address = words.next()?.split(['@', ',']).next()?;
    let flags: Vec<_> = words.next()?.split(',').collect();
    let broken = ["fail", "fail?", "handshake", "noaddr"];
    let works = !flags.iter().any(|flag| broken.contains(flag));
    (works && flags.contains(&"slave") && !address.starts_with(':')).then(|| address.to_owned())
}

/// `host:port` of one node in `CLUSTER SLOTS`; none when the node's address is unknown.
fn node_address(node: Value, asked_host: &str) -> Option<String> {
    let mut parts = node.into_sequence().ok()?.into_iter();
    let host: Option<String> = ::redis::from_redis_value(parts.next()?).ok()?;
    let port: u16 = ::redis::from_redis_value(parts.next()?).ok()?;
    match host.as_deref() {
        Some("?") => None,
        None | Some("") => Some(format!("{asked_host}:{port}")),
        Some(host) => Some(format!("{host}:{port}")),
    }
}

/// The nodes of one deployment: the configured ones and those discovered since.
pub(crate) struct Nodes {
    config: RedisConfig,
    known: Mutex<Vec<String>>,
}

impl Nodes {
    pub(crate) fn new(config: RedisConfig) -> Self {
        let known = Mutex::new(config.nodes.clone());
        Self { config, known }
    }

    /// Asks one known node after the other until one answers that belongs to a working cluster. A
    /// node that was cut off still tells what it last knew: it is believed only if no other answers.
    pub(crate) async fn slot_owners(&self) -> LabResult<SlotOwners> {
        if self.config.topology == Topology::Single {
            return Ok(SlotOwners::single(&self.config.nodes[0]));
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut last = LabError::Other("no Redis address is configured".into());
        let mut doubtful = None;
        for node in known {
            match self.ask(&node).await {
                Ok((owners, true)) => {
                    self.remember(&node, &owners);
                    return Ok(owners);
                }
                Ok((owners, false)) => {
                    doubtful.get_or_insert(owners);
                }
                Err(error) => last = error,
            }
        }
        doubtful.ok_or(last)
    }

    /// A plain connection of its own to `node`, with the configured timeouts.
    pub(crate) async fn connect(&self, node: &str) -> LabResult<MultiplexedConnection> {
        let options = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.config.connect_timeout()))
            .set_response_timeout(Some(self.config.response_timeout()));
        let client = self.config.client_of(self.config.connection_info(node)?)?;
        Ok(client.get_multiplexed_async_connection_with_config(&options).await?)
    }

    pub(crate) async fn connect_each(&self) -> LabResult<Vec<(String, MultiplexedConnection)>> {
        let nodes = self.slot_owners().await?.nodes();
        let mut connections = Vec::with_capacity(nodes.len());
        let mut last = None;
        for node in nodes {
            match self.connect(&node).await {
                Ok(connection) => connections.push((node, connection)),
                Err(error) => {
                    tracing::debug!(redis.node = %node, %error, "node left out");
                    last = Some(error);
                }
            }
        }
        match last {
            Some(error) if connections.is_empty() => Err(error),
            _ => Ok(connections),
        }
    }

    /// What `node` knows, and whether it finds the cluster in order.
    async fn ask(&self, node: &str) -> LabResult<(SlotOwners, bool)> {
        let mut connection = self.connect(node).await?;
        let (info, slots, nodes): (String, Value, String) = ::redis::pipe()
            .cmd("CLUSTER")
            .arg("INFO")
            .cmd("CLUSTER")
            .arg("SLOTS")
            .cmd("CLUSTER")
            .arg("NODES")
            .query_async(&mut connection)
            .await?;
        let owners = SlotOwners::parse(slots, node)
            .ok_or_else(|| LabError::Other(format!("{node} knows no owner of any slot")))?;
        Ok((owners.with_replicas_of(&nodes), info.contains("cluster_state:ok")))
    }

    /// First the node that answered, then those of its answer, then the configured ones, which may
    /// come back.
    fn remember(&self, answered: &str, owners: &SlotOwners) {
        let mut nodes = vec![answered.to_owned()];
        for node in owners.nodes().into_iter().chain(self.config.nodes.clone()) {
            if !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        nodes.truncate(NODES_MAX);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = nodes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: Value, port: i64) -> Value {
        Value::Array(vec![host, Value::Int(port), Value::BulkString(b"id".to_vec())])
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn cluster_slots_are_read_with_their_odd_addresses() {
        let reply = Value::Array(vec![
            Value::Array(vec![
                Value::Int(8_192),
                Value::Int(16_383),
                node(Value::Nil, 7_001),
                node(text("?"), 7_009),
            ]),
            Value::Array(vec![
                Value::Int(0),
                Value::Int(8_191),
                node(text("10.0.0.1"), 7_000),
                node(text("10.0.0.2"), 7_002),
            ]),
        ]);
        let owners = SlotOwners::parse(reply, "10.0.0.9:7001").unwrap();
        assert_eq!(owners.owner_of(0), Some("10.0.0.1:7000"));
        assert_eq!(owners.owner_of(16_383), Some("10.0.0.9:7001"));
        assert_eq!(owners.replicas(), ["10.0.0.2:7002"]);
        assert_eq!(owners.nodes().len(), 3);
        assert_eq!(SlotOwners::parse(Value::Array(vec![]), "x:1"), None);
    }

    #[test]
    fn replicas_without_data_are_found_among_the_nodes() {
        let nodes = "aa 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-16383\n\
                     bb 127.0.0.1:7001@17001,host slave aa 0 0 1 connected\n\
                     cc 127.0.0.1:7002@17002 slave,fail aa 0 0 1 disconnected\n\
                     dd :0@0 slave,noaddr aa 0 0 1 disconnected\n";
        let owners = SlotOwners::single("127.0.0.1:7000").with_replicas_of(nodes);
        assert_eq!(owners.replicas(), ["127.0.0.1:7001"]);
    }
}
