//! Flawed: the counter first, then the message, as two commands. A client that dies in between leaves a sequence that
//! no message has, and a reader in between sees a newest message that is not there.

use async_trait::async_trait;
use chatlab_kit::{LabResult, ids::RoomId, redis::Redis};

use crate::{Freshness, Partitions, Receipt, Rooms, View, check_bounds};

fn by_partition(room: &RoomId, name: &str) -> String {
    chatlab_kit::keys::RoomKeys::new(room).lab("seq_then_log", name)
}

/// Rooms whose counter runs ahead of their log.
#[derive(Debug, Clone)]
pub struct SeqThenLog(Partitions);

impl SeqThenLog {
    /// Keeps rooms in `redis`.
    pub fn new(redis: Redis) -> Self {
        Self(Partitions::placed(redis, by_partition))
    }
}

#[async_trait]
impl Rooms for SeqThenLog {
    fn keys(&self, room: &RoomId) -> LabResult<Vec<String>> {
        self.0.keys(room)
    }

    async fn append(&self, room: &RoomId, text: &str) -> LabResult<u64> {
        check_bounds(text)?;
        let mut redis = self.0.redis();
        let seq: u64 = redis::cmd("INCR").arg(self.0.key(room, "seq")).query_async(&mut redis).await?;
        let log = self.0.key(room, "log");
        let _: () = redis::cmd("HSET").arg(log).arg(seq).arg(text).query_async(&mut redis).await?;
        Ok(seq)
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
        self.0.move_message(from, seq, to).await
    }
}
