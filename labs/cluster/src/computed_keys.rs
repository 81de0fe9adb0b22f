//! Flawed: the script makes up a key's name that it was not given. It works on one node, and on a cluster too, while
//! nothing moves. While a slot moves, Redis looks at the declared keys to decide whether to redirect; the other one may
//! be on the other node already, and is then written a second time.

use async_trait::async_trait;
use chatlab_kit::{LabResult, ids::RoomId, lua::Script, redis::Redis};

use crate::{Freshness, MAX_MESSAGES, Partitions, Receipt, Rooms, View, check_bounds};

pub(crate) static COMPUTED_APPEND: Script = Script::new(
    "cluster/computed_append",
    include_str!("../../../lua/cluster/computed_append.lua"),
    &["seq", "log"],
    &["text", "keep"],
);

fn by_partition(room: &RoomId, name: &str) -> String {
    chatlab_kit::keys::RoomKeys::new(room).lab("computed_keys", name)
}

/// Rooms with one key that nobody declared.
#[derive(Debug, Clone)]
pub struct ComputedKeys(Partitions);

impl ComputedKeys {
    /// Keeps rooms in `redis`.
    pub fn new(redis: Redis) -> Self {
        Self(Partitions::placed(redis, by_partition))
    }
}

#[async_trait]
impl Rooms for ComputedKeys {
    fn keys(&self, room: &RoomId) -> LabResult<Vec<String>> {
        self.0.keys(room)
    }

    async fn append(&self, room: &RoomId, text: &str) -> LabResult<u64> {
        check_bounds(text)?;
        COMPUTED_APPEND
            .call()
            .key(self.0.key(room, "seq"))
            .key(self.0.key(room, "log"))
            .arg(text)
            .arg(MAX_MESSAGES)
            .run(&mut self.0.redis())
            .await
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
