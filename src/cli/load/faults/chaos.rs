//! What can be broken, and how to look at it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use chatlab_kit::{
    ids::RoomId,
    servers::{Managed, Role, Topology, inspect, reshard::owners},
    slots::Partition,
};
use chatlab_load::faults::{Fact, Fault, Kind};
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue};

use crate::harness::Stack;

/// How long one command to a node may take.
const ANSWER_BOUND: Duration = Duration::from_secs(5);

/// The servers of a run.
#[derive(Clone)]
pub(in super::super) struct Chaos {
    pub(super) managed: Arc<Managed>,
    pub(super) node_timeout: Duration,
    pub(super) server_pids: Vec<u32>,
    /// Slots of rooms that are talked in, each once.
    pub(super) slots: Vec<u16>,
}

/// What came of a fault.
pub(super) struct Done {
    pub target: String,
    pub proved: bool,
    pub facts: Vec<Fact>,
}

impl Chaos {
    /// Of a stack whose clients talk in these rooms.
    pub(in super::super) fn of(stack: &Stack, rooms: &[RoomId]) -> Self {
        let slots: BTreeSet<u16> = rooms.iter().map(|room| Partition::of(room).slot()).collect();
        Self {
            managed: stack.shared_managed(),
            node_timeout: stack.node_timeout(),
            server_pids: (0..stack.servers()).map(|i| stack.server_pid(i)).collect(),
            slots: slots.into_iter().collect(),
        }
    }

    /// Does it. What goes wrong is told as a fact, and leaves it unproved.
    pub(super) async fn inject(&self, fault: &Fault) -> Done {
        let argument = fault.argument_or_usual().unwrap_or(0);
        let done = match fault.kind {
            Kind::KillMaster => self.kill_master(argument as usize).await,
            Kind::Failover => self.failover(argument as usize).await,
            Kind::MoveSlots => self.move_slots(argument as usize).await,
            Kind::PauseNode => self.pause_node(Duration::from_millis(argument)).await,
            Kind::KillPubsub => self.kill_pubsub().await,
            Kind::CutServer => self.cut_server(fault.argument).await,
        };
        done.unwrap_or_else(|error| Done {
            target: String::new(),
            proved: false,
            facts: vec![Fact::new("failed", format!("{error:#}"))],
        })
    }

    /// Runs what blocks on a thread of its own.
    pub(super) async fn blocking<T, F>(&self, work: F) -> anyhow::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Managed) -> anyhow::Result<T> + Send + 'static,
    {
        let managed = Arc::clone(&self.managed);
        tokio::task::spawn_blocking(move || work(&managed)).await?
    }

    /// One command to one node.
    pub(super) async fn ask<T: FromRedisValue>(&self, node: usize, command: &Cmd) -> anyhow::Result<T> {
        let address = self.managed.nodes()[node].addr();
        let options = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_BOUND))
            .set_response_timeout(Some(ANSWER_BOUND));
        let client = redis::Client::open(format!("redis://{address}/"))?;
        let asked = async {
            let mut connection = client.get_multiplexed_async_connection_with_config(&options).await?;
            command.query_async(&mut connection).await
        };
        asked.await.with_context(|| format!("asking {address}"))
    }

    /// The `nth` master now, and how much the run has there: the first is the one with the most slots of rooms that are talked
    /// in. Whatever happened to a master without any would not be felt.
    pub(super) async fn master(&self, nth: usize) -> anyhow::Result<(usize, Fact)> {
        let addrs = self.managed.addrs();
        let mut masters = Vec::new();
        match self.managed.topology() {
            Topology::Single => masters.push((self.slots.len(), 0)),
            Topology::Cluster => {
                for owner in owners(&addrs).await? {
                    let node = addrs.iter().position(|addr| *addr == owner.address);
                    let node = node.with_context(|| format!("{} is none of the nodes", owner.address))?;
                    masters.push((self.slots.iter().filter(|slot| owner.owns(**slot)).count(), node));
                }
            }
        }
        masters.sort_by_key(|(used, node)| (std::cmp::Reverse(*used), *node));
        let (used, node) = *masters
            .get(nth)
            .ok_or_else(|| anyhow!("there are {} masters, no number {nth}", masters.len()))?;
        Ok((node, Fact::new("slots in use there", format!("{used} of {}", self.slots.len()))))
    }

    /// The replica of a node.
    pub(super) async fn replica_of(&self, master: usize) -> anyhow::Result<usize> {
        let port = self.managed.nodes()[master].port.to_string();
        let replicas = self.blocking(|managed| Ok(with_role(managed, Role::Replica))).await?;
        for replica in replicas {
            let info: String = self.ask(replica, redis::cmd("INFO").arg("replication")).await?;
            let of = info.lines().find_map(|line| line.strip_prefix("master_port:"));
            if of.is_some_and(|of| of.trim() == port) {
                return Ok(replica);
            }
        }
        Err(anyhow!("no replica of {} answers", self.managed.nodes()[master].addr()))
    }

    /// A node for people.
    pub(super) fn name(&self, node: usize) -> String {
        let pid = self.managed.pid(node).map_or_else(String::new, |pid| format!(", process {pid}"));
        format!("node {node} at {}{pid}", self.managed.nodes()[node].addr())
    }
}

/// The nodes that answer and have that role now.
fn with_role(managed: &Managed, role: Role) -> Vec<usize> {
    let nodes = managed.nodes().iter().enumerate();
    let now = nodes.filter(|(_, node)| inspect(node.port).is_ok_and(|status| status.role == role));
    now.map(|(index, _)| index).collect()
}
