//! Flawed: takes the message out of one room, then puts it into the other. A client that dies in between has it in its
//! memory only.

use async_trait::async_trait;
use chatlab_kit::{LabResult, ids::RoomId, redis::Redis};

use crate::{Freshness, Partitions, Receipt, Rooms, View};

fn by_partition(room: &RoomId, name: &str) -> String {
    chatlab_kit::keys::RoomKeys::new(room).lab("remove_first", name)
}

/// Rooms that lose a message between two steps.
#[derive(Debug, Clone)]
pub struct RemoveFirst(Partitions);

impl RemoveFirst {
    /// Keeps rooms in `redis`.
    pub fn new(redis: Redis) -> Self {
        Self(Partitions::placed(redis, by_partition))
    }
}

#[async_trait]
impl Rooms for RemoveFirst {
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
        let text = self.0.text(from, seq).await?;
        if text.is_some() {
            self.0.remove(from, seq).await?;
        }
        self.0.adopt((from, seq), text.as_deref(), to).await
    }
}
