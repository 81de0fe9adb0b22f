//! Reference: 256 tags that are chosen to lie evenly, and everything of a room under one of them.
//!
//! Rooms that share a partition share a slot: what one script touches together is together, and 256 places are enough to
//! spread over any number of nodes that a chat server has. What spans rooms never needs two slots in one step.

use std::fmt;

use async_trait::async_trait;
use chatlab_kit::{LabError, LabResult, ids::RoomId, keys::RoomKeys, lua::Script, redis::Redis};

use crate::nodes::{NodeHandles, is_redirect};
use crate::{
    Freshness, MAX_MESSAGES, MAX_READ, MAX_ROOMS, MOVE_RETRY_MS, Message, Receipt, Rooms, View, check_bounds,
};

pub(crate) static APPEND: Script = Script::new(
    "cluster/append",
    include_str!("../../../lua/cluster/append.lua"),
    &["seq", "log"],
    &["text", "keep"],
);
pub(crate) static READ: Script =
    Script::new("cluster/read", include_str!("../../../lua/cluster/read.lua"), &["seq", "log"], &["count"]);
pub(crate) static ADOPT: Script = Script::new(
    "cluster/adopt",
    include_str!("../../../lua/cluster/adopt.lua"),
    &["seq", "log", "mark"],
    &["found", "text", "keep", "mark_ms"],
);

/// The names of a room's keys, by room and by what the key holds.
pub type RoomKeyNames = fn(&RoomId, &str) -> String;

/// The server's own names: `{pN}:room:RID:lab:partitions:NAME`.
pub(crate) fn by_partition(room: &RoomId, name: &str) -> String {
    RoomKeys::new(room).lab("partitions", name)
}

/// Rooms of a counter and a hash each.
#[derive(Clone)]
pub struct Partitions {
    redis: Redis,
    nodes: NodeHandles,
    key: RoomKeyNames,
}

impl fmt::Debug for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partitions").finish_non_exhaustive()
    }
}

impl Partitions {
    /// Keeps rooms in `redis`.
    pub fn new(redis: Redis) -> Self {
        Self::placed(redis, by_partition)
    }

    /// The same with other names, and so in other places.
    pub(crate) fn placed(redis: Redis, key: RoomKeyNames) -> Self {
        Self { nodes: NodeHandles::new(redis.clone()), redis, key }
    }

    /// The name of a key.
    pub(crate) fn key(&self, room: &RoomId, name: &str) -> String {
        (self.key)(room, name)
    }

    /// Handles to single nodes.
    pub(crate) fn nodes(&self) -> &NodeHandles {
        &self.nodes
    }

    /// A handle for the whole cluster.
    pub(crate) fn redis(&self) -> Redis {
        self.redis.clone()
    }

    /// Reads through `redis`, whichever node that is.
    pub(crate) async fn read_through(&self, redis: &mut Redis, room: &RoomId, count: u32) -> LabResult<View> {
        check_count(count)?;
        let (seq, found): (u64, Vec<(u64, String)>) =
            READ.call().key(self.key(room, "seq")).key(self.key(room, "log")).arg(count).run(redis).await?;
        Ok(View { seq, messages: found.into_iter().map(|(seq, text)| Message { seq, text }).collect() })
    }

    /// The text of one message, if the room still has it.
    pub(crate) async fn text(&self, room: &RoomId, seq: u64) -> LabResult<Option<String>> {
        let log = self.key(room, "log");
        Ok(redis::cmd("HGET").arg(log).arg(seq).query_async(&mut self.redis.clone()).await?)
    }

    /// Adds what comes from another room, once.
    pub(crate) async fn adopt(
        &self,
        origin: (&RoomId, u64),
        text: Option<&str>,
        to: &RoomId,
    ) -> LabResult<Option<u64>> {
        ADOPT
            .call()
            .key(self.key(to, "seq"))
            .key(self.key(to, "log"))
            .key(self.key(to, &format!("moved:{}:{}", origin.0, origin.1)))
            .arg(u8::from(text.is_some()))
            .arg(text.unwrap_or_default())
            .arg(MAX_MESSAGES)
            .arg(MOVE_RETRY_MS)
            .run(&mut self.redis.clone())
            .await
    }

    /// Takes one message out of a room.
    pub(crate) async fn remove(&self, room: &RoomId, seq: u64) -> LabResult<()> {
        let log = self.key(room, "log");
        Ok(redis::cmd("HDEL").arg(log).arg(seq).query_async(&mut self.redis.clone()).await?)
    }
}

#[async_trait]
impl Rooms for Partitions {
    fn keys(&self, room: &RoomId) -> LabResult<Vec<String>> {
        Ok(vec![self.key(room, "seq"), self.key(room, "log")])
    }

    async fn append(&self, room: &RoomId, text: &str) -> LabResult<u64> {
        check_bounds(text)?;
        APPEND
            .call()
            .key(self.key(room, "seq"))
            .key(self.key(room, "log"))
            .arg(text)
            .arg(MAX_MESSAGES)
            .run(&mut self.redis.clone())
            .await
    }

    async fn append_replicated(
        &self,
        room: &RoomId,
        text: &str,
        replicas: u32,
        wait_ms: u64,
    ) -> LabResult<Receipt> {
        check_bounds(text)?;
        let keys = [self.key(room, "seq"), self.key(room, "log")];
        let keep = MAX_MESSAGES.to_string();
        let (seq, confirmed) =
            self.nodes.run_and_wait(&APPEND, &keys, &[text, &keep], (replicas, wait_ms)).await?;
        Ok(Receipt { seq, replicated: confirmed >= u64::from(replicas) })
    }

    async fn read(&self, room: &RoomId, count: u32, _freshness: Freshness) -> LabResult<View> {
        // The master has everything that was acknowledged.
        self.read_through(&mut self.redis.clone(), room, count).await
    }

    async fn heads(&self, rooms: &[RoomId]) -> LabResult<Vec<u64>> {
        check_rooms(rooms)?;
        let get = |room| {
            let key = self.key(room, "seq");
            let mut cmd = redis::cmd("GET");
            cmd.arg(&key);
            (key, cmd)
        };
        let commands: Vec<_> = rooms.iter().map(get).collect();
        let heads: Vec<Option<u64>> = match self.nodes.by_node(&commands).await {
            Err(error) if is_redirect(&error) => {
                // A slot is on its way: the cluster-aware client follows each redirect.
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
        // Three steps on two slots, in an order in which every prefix can be continued: copy once, then remove.
        let text = self.text(from, seq).await?;
        let there = self.adopt((from, seq), text.as_deref(), to).await?;
        if there.is_some() && text.is_some() {
            self.remove(from, seq).await?;
        }
        Ok(there)
    }
}

/// Refuses to look at too many messages.
pub(crate) fn check_count(count: u32) -> LabResult<()> {
    if count == 0 || count > MAX_READ {
        return Err(LabError::Bound { what: "messages of a read", bound: u64::from(MAX_READ) });
    }
    Ok(())
}

/// Refuses to look at too many rooms.
pub(crate) fn check_rooms(rooms: &[RoomId]) -> LabResult<()> {
    if rooms.len() > MAX_ROOMS {
        return Err(LabError::Bound { what: "rooms at once", bound: MAX_ROOMS as u64 });
    }
    Ok(())
}
