//! Flawed: sends WAIT and believes that it waited. WAIT is no error when fewer replicas confirmed in time: it answers
//! with a number, and here nobody looks at it.

use async_trait::async_trait;
use chatlab_kit::{LabResult, ids::RoomId, redis::Redis};

use crate::{Freshness, Partitions, Receipt, Rooms, View};

fn by_partition(room: &RoomId, name: &str) -> String {
    chatlab_kit::keys::RoomKeys::new(room).lab("wait_ignored", name)
}

/// Rooms whose receipts always say that all is safe.
#[derive(Debug, Clone)]
pub struct WaitIgnored(Partitions);

impl WaitIgnored {
    /// Keeps rooms in `redis`.
    pub fn new(redis: Redis) -> Self {
        Self(Partitions::placed(redis, by_partition))
    }
}

#[async_trait]
impl Rooms for WaitIgnored {
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
        let receipt = self.0.append_replicated(room, text, replicas, wait_ms).await?;
        Ok(Receipt { replicated: true, ..receipt })
    }

    async fn read(&self, room: &RoomId, count: u32, freshness: Freshness) -> LabResult<View> {
        self.0.read(room, count, freshness).await
    }

    async fn heads(&self, rooms: &[RoomId]) -> LabResult<Vec<u64>> {
        self.0.heads(rooms).await
    }

    async fn move_message(&self, from: &RoomId, seq: u64, to: &RoomId) -> LabResult<Option<u64>> {
        self.0.move_message(from, seq, to).await
    }
}
