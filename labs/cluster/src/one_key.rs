//! Alternative: a room is one key, a HASH with the counter and the messages as fields. One key is in one slot whatever its
//! name: no tag is needed, and no command can ever cross slots within a room.
//!
//! What it costs: all of a room is one value. It can't expire in parts, a replica or another node takes it over as one
//! piece (`MIGRATE` blocks both nodes for a large one), and each further structure has to be squeezed into fields.

use async_trait::async_trait;
use chatlab_kit::{LabResult, ids::RoomId, keys, lua::Script, redis::Redis};

use crate::nodes::{NodeHandles, is_redirect};
use crate::partitions::{check_count, check_rooms};
use crate::{Freshness, MAX_MESSAGES, Message, Receipt, Rooms, View, check_bounds};

pub(crate) static APPEND: Script = Script::new(
    "cluster/hash_append",
    include_str!("../../../lua/cluster/hash_append.lua"),
    &["room"],
    &["text", "keep"],
);
pub(crate) static READ: Script = Script::new(
    "cluster/hash_read",
    include_str!("../../../lua/cluster/hash_read.lua"),
    &["room"],
    &["count"],
);
pub(crate) static ADOPT: Script = Script::new(
    "cluster/hash_adopt",
    include_str!("../../../lua/cluster/hash_adopt.lua"),
    &["room"],
    &["origin", "found", "text", "keep"],
);

/// Rooms of one HASH each.
#[derive(Clone)]
pub struct OneKey {
    redis: Redis,
    nodes: NodeHandles,
}

impl OneKey {
    /// Keeps rooms in `redis`.
    pub fn new(redis: Redis) -> Self {
        Self { nodes: NodeHandles::new(redis.clone()), redis }
    }
}

/// The one key of a room.
pub(crate) fn room_key(room: &RoomId) -> String {
    keys::untagged_lab("one_key", &room.to_string())
}

#[async_trait]
impl Rooms for OneKey {
    fn keys(&self, room: &RoomId) -> LabResult<Vec<String>> {
        Ok(vec![room_key(room)])
    }

    async fn append(&self, room: &RoomId, text: &str) -> LabResult<u64> {
        check_bounds(text)?;
        APPEND.call().key(room_key(room)).arg(text).arg(MAX_MESSAGES).run(&mut self.redis.clone()).await
    }

    async fn append_replicated(
        &self,
        room: &RoomId,
        text: &str,
        replicas: u32,
        wait_ms: u64,
    ) -> LabResult<Receipt> {
        check_bounds(text)?;
        let keep = MAX_MESSAGES.to_string();
        let wait = (replicas, wait_ms);
        let (seq, confirmed) =
            self.nodes.run_and_wait(&APPEND, &[room_key(room)], &[text, &keep], wait).await?;
        Ok(Receipt { seq, replicated: confirmed >= u64::from(replicas) })
    }

    async fn read(&self, room: &RoomId, count: u32, _freshness: Freshness) -> LabResult<View> {
        check_count(count)?;
        let (seq, found): (u64, Vec<(u64, String)>) =
            READ.call().key(room_key(room)).arg(count).run(&mut self.redis.clone()).await?;
        Ok(View { seq, messages: found.into_iter().map(|(seq, text)| Message { seq, text }).collect() })
    }

    async fn heads(&self, rooms: &[RoomId]) -> LabResult<Vec<u64>> {
        check_rooms(rooms)?;
        let get = |room| {
            let key = room_key(room);
            let mut cmd = redis::cmd("HGET");
            cmd.arg(&key).arg("seq");
            (key, cmd)
        };
        let commands: Vec<_> = rooms.iter().map(get).collect();
        let heads: Vec<Option<u64>> = match self.nodes.by_node(&commands).await {
            Err(error) if is_redirect(&error) => {
                self.nodes.forget().await;
                let mut heads = Vec::with_capacity(rooms.len());
                for (_, cmd) in &commands {
                    heads.push(cmd.query_async(&mut self.redis.clone()).await?);
                }
                heads
            }
            other => other?,
        };
        Ok(heads.into_iter().map(Option::unwrap_or_default).collect())
    }

    async fn move_message(&self, from: &RoomId, seq: u64, to: &RoomId) -> LabResult<Option<u64>> {
        let mut redis = self.redis.clone();
        let text: Option<String> =
            redis::cmd("HGET").arg(room_key(from)).arg(seq).query_async(&mut redis).await?;
        let there: Option<u64> = ADOPT
            .call()
            .key(room_key(to))
            .arg(format!("{from}:{seq}"))
            .arg(u8::from(text.is_some()))
            .arg(text.clone().unwrap_or_default())
            .arg(MAX_MESSAGES)
            .run(&mut redis)
            .await?;
        if there.is_some() && text.is_some() {
            let _: () = redis::cmd("HDEL").arg(room_key(from)).arg(seq).query_async(&mut redis).await?;
        }
        Ok(there)
    }
}

impl std::fmt::Debug for OneKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OneKey").finish_non_exhaustive()
    }
}
