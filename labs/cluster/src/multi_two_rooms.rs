//! Flawed: moves a message in one MULTI over both rooms. On one node that is the right answer. On a cluster a
//! transaction lives on one node, and in it every command must be at home: the client or the server refuses.

use async_trait::async_trait;
use chatlab_kit::{LabResult, ids::RoomId, redis::Redis};

use crate::{Freshness, MOVE_RETRY_MS, Partitions, Receipt, Rooms, View};

fn by_partition(room: &RoomId, name: &str) -> String {
    chatlab_kit::keys::RoomKeys::new(room).lab("multi_two_rooms", name)
}

/// Rooms that move messages in one transaction.
#[derive(Debug, Clone)]
pub struct MultiTwoRooms(Partitions);

impl MultiTwoRooms {
    /// Keeps rooms in `redis`.
    pub fn new(redis: Redis) -> Self {
        Self(Partitions::placed(redis, by_partition))
    }
}

#[async_trait]
impl Rooms for MultiTwoRooms {
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
        self.0.read(room, count, freshness).await
    }

    async fn heads(&self, rooms: &[RoomId]) -> LabResult<Vec<u64>> {
        self.0.heads(rooms).await
    }

    async fn move_message(&self, from: &RoomId, seq: u64, to: &RoomId) -> LabResult<Option<u64>> {
        let mark = self.0.key(to, &format!("moved:{from}:{seq}"));
        let mut redis = self.0.redis();
        if let Some(there) = redis::cmd("GET").arg(&mark).query_async(&mut redis).await? {
            return Ok(Some(there));
        }
        let Some(text) = self.0.text(from, seq).await? else { return Ok(None) };
        let there = self.0.read_through(&mut redis, to, 1).await?.seq + 1;
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("SET").arg(self.0.key(to, "seq")).arg(there).ignore();
        pipe.cmd("HSET").arg(self.0.key(to, "log")).arg(there).arg(text).ignore();
        pipe.cmd("SET").arg(mark).arg(there).arg("PX").arg(MOVE_RETRY_MS).ignore();
        pipe.cmd("HDEL").arg(self.0.key(from, "log")).arg(seq).ignore();
        let _: () = pipe.query_async(&mut redis).await?;
        Ok(Some(there))
    }
}
