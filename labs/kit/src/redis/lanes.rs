//! A client of redis-rs for each master of a cluster.
//!
//! redis-rs asks for the slots whenever a command finds no node, connects to all nodes that it has no connection to, the dead one
//! too, and lets every other command wait for that. Were there one client for all slots, a dead master would hold up those of the living ones for
//! as long as nobody has taken its place. So each master has a client of its own, for the slots that it had at the start; which node
//! serves those later is for that client to find out.

use ::redis::cluster::ClusterClient;
use ::redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value};
use futures_util::future::try_join_all;

use super::cluster::Cluster;
use super::nodes::SlotOwners;
use super::route::key_of;
use crate::slots::{SLOTS, slot};

/// The most clients; masters beyond share theirs.
const LANES_MAX: usize = 16;

/// All clients of one handle.
#[derive(Clone)]
pub(super) struct Lanes {
    lanes: Vec<Cluster>,
    /// Where runs of slots end, and the lane of each, in the order of the slots.
    runs: std::sync::Arc<[(u16, usize)]>,
}

impl Lanes {
    /// Connects once for each master of `owners`.
    pub(super) async fn connect(client: &ClusterClient, owners: &SlotOwners) -> RedisResult<Self> {
        let (count, runs) = runs(owners);
        let lanes = try_join_all((0..count).map(|_| Cluster::connect(client.clone()))).await?;
        Ok(Self { lanes, runs: runs.into() })
    }

    pub(super) fn command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let lane = self.lane_of(key_of(cmd));
        self.lanes[lane].command(cmd)
    }

    pub(super) fn pipeline<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let lane = self.lane_of(pipeline.cmd_iter().find_map(key_of));
        self.lanes[lane].pipeline(pipeline, offset, count)
    }

    /// What has no key goes by the first.
    fn lane_of(&self, key: Option<&[u8]>) -> usize {
        let Some(key) = key else { return 0 };
        let slot = slot(key);
        self.runs.iter().find(|(last, _)| slot <= *last).map_or(0, |(_, lane)| *lane)
    }
}

/// How many lanes there are, and the last slot and the lane of each run of slots. What nobody owns goes with the next run.
fn runs(owners: &SlotOwners) -> (usize, Vec<(u16, usize)>) {
    let primaries = owners.primaries();
    let lane = |slot: u16| {
        let owner = owners.owner_of(slot)?;
        primaries.iter().position(|primary| primary == owner).map(|place| place % LANES_MAX)
    };
    let mut runs: Vec<(u16, usize)> = Vec::new();
    for slot in 0..SLOTS {
        match (lane(slot), runs.last_mut()) {
            (Some(lane), Some((last, of))) if *of == lane => *last = slot,
            (Some(lane), _) => runs.push((slot, lane)),
            (None, _) => {}
        }
    }
    (primaries.len().clamp(1, LANES_MAX), runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_master_has_a_lane_for_its_slots() {
        let owners = SlotOwners::of(&[(0, 99, "a:1"), (100, 16_000, "b:1"), (16_001, 16_383, "a:1")]);
        assert_eq!(runs(&owners), (2, vec![(99, 0), (16_000, 1), (16_383, 0)]));
        assert_eq!(runs(&SlotOwners::single("a:1")), (1, vec![(16_383, 0)]));
        assert_eq!(runs(&SlotOwners::of(&[(10, 20, "a:1")])), (1, vec![(20, 0)]));
    }

    #[test]
    fn there_are_no_more_lanes_than_named() {
        let names: Vec<String> = (0..40).map(|i| format!("n{i}:1")).collect();
        let ranges: Vec<_> =
            names.iter().zip(0..).map(|(name, i)| (i * 10, i * 10 + 9, name.as_str())).collect();
        let (count, runs) = runs(&SlotOwners::of(&ranges));
        assert_eq!(count, LANES_MAX);
        assert!(runs.len() == 40 && runs.iter().all(|(_, lane)| *lane < LANES_MAX));
    }
}
