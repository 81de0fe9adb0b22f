//! Alternative: a read that may be a little old goes to a replica of the room's slot, and to the master when the
//! replica is not as far as the reader was before. Takes reads off the master; costs a second round trip when the
//! replica is behind, and the master's own clients see their writes late unless they say what they have seen.

use async_trait::async_trait;
use chatlab_kit::{LabResult, ids::RoomId, redis::Redis};

use crate::{
    Freshness, Message, Partitions, Receipt, Rooms, View,
    nodes::is_redirect,
    partitions::{READ, check_count},
};

fn by_partition(room: &RoomId, name: &str) -> String {
    chatlab_kit::keys::RoomKeys::new(room).lab("replica_reads", name)
}

/// Rooms that let replicas answer.
#[derive(Debug, Clone)]
pub struct ReplicaReads(Partitions);

impl ReplicaReads {
    /// Keeps rooms in `redis`.
    pub fn new(redis: Redis) -> Self {
        Self(Partitions::placed(redis, by_partition))
    }
}

#[async_trait]
impl Rooms for ReplicaReads {
    fn keys(&self, room: &RoomId) -> LabResult<Vec<String>> {
        self.0.keys(room)
    }

    async fn append(&self, room: &RoomId, text: &str) -> LabResult<u64> {
        self.0.append(room, text).await
    }

    async fn append_replicated(
        &self,
        room: &RoomId,
        text: &str,
        replicas: u32,
        wait_ms: u64,
    ) -> LabResult<Receipt> {
        self.0.append_replicated(room, text, replicas, wait_ms).await
    }

    async fn read(&self, room: &RoomId, count: u32, freshness: Freshness) -> LabResult<View> {
        let Freshness::AtLeast(seen) = freshness else { return self.0.read(room, count, freshness).await };
        check_count(count)?;
        match self.read_at_replica(room, count).await {
            Ok(Some(view)) if view.seq >= seen => Ok(view),
            Ok(_) => self.0.read(room, count, Freshness::Latest).await,
            Err(error) if is_redirect(&error) => {
                // The replica follows another master now, or is gone, or lost its READONLY with its connection.
                self.0.nodes().forget().await;
                self.0.read(room, count, Freshness::Latest).await
            }
            Err(error) => Err(error),
        }
    }

    async fn heads(&self, rooms: &[RoomId]) -> LabResult<Vec<u64>> {
        self.0.heads(rooms).await
    }

    async fn move_message(&self, from: &RoomId, seq: u64, to: &RoomId) -> LabResult<Option<u64>> {
        self.0.move_message(from, seq, to).await
    }
}

impl ReplicaReads {
    /// What a replica has; none where there is none.
    async fn read_at_replica(&self, room: &RoomId, count: u32) -> LabResult<Option<View>> {
        let keys = [self.0.key(room, "seq"), self.0.key(room, "log")];
        let Some(mut replica) = self.0.nodes().replica_of(&keys[0]).await? else { return Ok(None) };
        let mut cmd = redis::cmd("EVAL_RO");
        cmd.arg(READ.source).arg(keys.len()).arg(&keys).arg(count);
        let (seq, found): (u64, Vec<(u64, String)>) = cmd.query_async(&mut replica).await?;
        Ok(Some(View { seq, messages: found.into_iter().map(|(seq, text)| Message { seq, text }).collect() }))
    }
}
