//! Moving a hash slot from one master to another while clients use it: what `redis-cli --cluster reshard` does, a slot at
//! a time and in steps, so that a caller can look at the cluster in between.
//!
//! The order matters. The target learns first that the slot is coming (`IMPORTING`: it answers those who say `ASKING`), then
//! the source that it is going (`MIGRATING`: for a key that it has no more it answers `ASK`). In the end the target learns
//! first that the slot is its own, so that at no moment nobody owns it.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client};
use std::time::Duration;

use crate::{LabError, LabResult};

/// How long one command of a move may take.
const ANSWER_BOUND: Duration = Duration::from_secs(5);
/// How long one `MIGRATE` may take, in milliseconds.
const MIGRATE_TIMEOUT_MS: u64 = 4_000;
/// The most keys that one `MIGRATE` carries: both nodes stand still for that long.
pub const MIGRATE_KEYS_MAX: usize = 100;

/// One master.
struct Master {
    address: String,
    id: String,
    connection: MultiplexedConnection,
}

/// A slot on its way. Dropped unfinished, it leaves the slot open on both sides; [`SlotMove::finish`] it.
pub struct SlotMove {
    slot: u16,
    source: Master,
    target: Master,
    others: Vec<Master>,
}

impl SlotMove {
    /// Opens `slot` on both sides. `addrs` are the nodes as `host:port`, replicas and dead nodes too; `to` is a master.
    ///
    /// # Errors
    /// When no master of `addrs` owns the slot, `to` is no other master, or a node refuses.
    pub async fn begin(addrs: &[String], slot: u16, to: &str) -> LabResult<Self> {
        let mut masters = Vec::new();
        let mut source = None;
        for address in addrs {
            let Ok(mut master) = connect(address).await else { continue };
            let nodes: String =
                redis::cmd("CLUSTER").arg("NODES").query_async(&mut master.connection).await?;
            match own_slots(&nodes) {
                Some(ranges) if ranges.iter().any(|(first, last)| (*first..=*last).contains(&slot)) => {
                    source = Some(master);
                }
                Some(_) => masters.push(master),
                None => {}
            }
        }
        let mut source = source.ok_or_else(|| other(format!("no master that answers owns slot {slot}")))?;
        let place = masters.iter().position(|master| master.address == to);
        let place = place.ok_or_else(|| other(format!("{to} is no other master than the slot's owner")))?;
        let mut target = masters.swap_remove(place);
        set_slot(&mut target, slot, "IMPORTING", &source.id).await?;
        set_slot(&mut source, slot, "MIGRATING", &target.id).await?;
        Ok(Self { slot, source, target, others: masters })
    }

    /// The `host:port` that the slot comes from.
    pub fn source(&self) -> &str {
        &self.source.address
    }

    /// Moves up to `at_most` keys (and [`MIGRATE_KEYS_MAX`]); how many it moved: 0 when none is left.
    ///
    /// # Errors
    /// When a node refuses or does not answer.
    pub async fn move_keys(&mut self, at_most: usize) -> LabResult<usize> {
        let connection = &mut self.source.connection;
        let keys: Vec<Vec<u8>> = redis::cmd("CLUSTER")
            .arg("GETKEYSINSLOT")
            .arg(self.slot)
            .arg(at_most.min(MIGRATE_KEYS_MAX))
            .query_async(connection)
            .await?;
        if keys.is_empty() {
            return Ok(0);
        }
        let (host, port) = self.target.address.rsplit_once(':').unwrap_or((&self.target.address, ""));
        // NOKEY: a key that expired or was deleted since it was listed is no failure.
        let _: String = redis::cmd("MIGRATE")
            .arg(host)
            .arg(port)
            .arg("")
            .arg(0)
            .arg(MIGRATE_TIMEOUT_MS)
            .arg("REPLACE")
            .arg("KEYS")
            .arg(&keys)
            .query_async(connection)
            .await?;
        Ok(keys.len())
    }

    /// Moves what is left and tells all masters who owns the slot now. Replicas learn it from them.
    ///
    /// # Errors
    /// When a node refuses or does not answer.
    pub async fn finish(mut self) -> LabResult<()> {
        while self.move_keys(MIGRATE_KEYS_MAX).await? > 0 {}
        let owner = self.target.id.clone();
        set_slot(&mut self.target, self.slot, "NODE", &owner).await?;
        set_slot(&mut self.source, self.slot, "NODE", &owner).await?;
        for master in &mut self.others {
            set_slot(master, self.slot, "NODE", &owner).await?;
        }
        Ok(())
    }
}

/// Moves `slot` with all its keys to the master `to`; how many keys it moved. `addrs` as of [`SlotMove::begin`].
///
/// # Errors
/// As of [`SlotMove`]'s steps. A slot that is there already is an error.
pub async fn move_slot(addrs: &[String], slot: u16, to: &str) -> LabResult<u64> {
    let mut moving = SlotMove::begin(addrs, slot, to).await?;
    let mut moved = 0;
    loop {
        match moving.move_keys(MIGRATE_KEYS_MAX).await? {
            0 => break,
            keys => moved += keys as u64,
        }
    }
    moving.finish().await?;
    Ok(moved)
}

/// A master and the slots that it says are its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// `host:port`.
    pub address: String,
    /// First and last of each range.
    pub ranges: Vec<(u16, u16)>,
}

impl Owner {
    /// Whether it owns a slot.
    pub fn owns(&self, slot: u16) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&slot))
    }
}

/// The masters of `addrs` that answer, as each sees itself. Nodes that do not answer are passed over.
///
/// # Errors
/// When a node that takes a connection does not answer what it is asked.
pub async fn owners(addrs: &[String]) -> LabResult<Vec<Owner>> {
    let mut owners = Vec::new();
    for address in addrs {
        let Ok(mut node) = connect(address).await else { continue };
        let nodes: String = redis::cmd("CLUSTER").arg("NODES").query_async(&mut node.connection).await?;
        owners.extend(own_slots(&nodes).map(|ranges| Owner { address: address.clone(), ranges }));
    }
    Ok(owners)
}

async fn connect(address: &str) -> LabResult<Master> {
    let options = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWER_BOUND))
        .set_response_timeout(Some(ANSWER_BOUND));
    let client = Client::open(format!("redis://{address}/"))?;
    let mut connection = client.get_multiplexed_async_connection_with_config(&options).await?;
    let id = redis::cmd("CLUSTER").arg("MYID").query_async(&mut connection).await?;
    Ok(Master { address: address.to_owned(), id, connection })
}

async fn set_slot(master: &mut Master, slot: u16, state: &str, node: &str) -> LabResult<()> {
    let mut cmd = redis::cmd("CLUSTER");
    cmd.arg("SETSLOT").arg(slot).arg(state).arg(node);
    Ok(cmd.query_async(&mut master.connection).await?)
}

/// The slots of the node that wrote this `CLUSTER NODES`; none when it is a replica.
fn own_slots(nodes: &str) -> Option<Vec<(u16, u16)>> {
    let line = nodes.lines().find(|line| line.contains("myself"))?;
    let mut words = line.split(' ');
    if !words.nth(2)?.contains("master") {
        return None;
    }
    // Five more words, then ranges; `[slot->-id]` is a slot on its way.
    let ranges = words.skip(5).filter(|word| !word.starts_with('['));
    let range = |word: &str| {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        Some((first.parse().ok()?, last.trim().parse().ok()?))
    };
    Some(ranges.filter_map(range).collect())
}

fn other(why: String) -> LabError {
    LabError::Other(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_lists_its_slots_and_a_replica_none() {
        let nodes = "aa h:1@2 master - 0 0 2 connected 5461-10922\n\
                     bb h:2@3 myself,master - 0 0 1 connected 0-10 12 [13->-aa]\n";
        assert_eq!(own_slots(nodes), Some(vec![(0, 10), (12, 12)]));
        assert_eq!(own_slots("bb h:2@3 myself,slave aa 0 0 1 connected\n"), None);
    }
}
