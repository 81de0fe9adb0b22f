//! Flawed: the reference without a bound on a batch.
//!
//! A pipeline of a hundred thousand calls is one round trip, too. The client keeps all of it in memory to send it, the server keeps what
//! it has received and all the answers that the client has not read yet, and the first message waits for the last.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{ClientMsgId, RoomId, UserId},
    redis::Redis,
};

use crate::{Draft, Script, SendPath, Sent, stored::check_rooms_and_bodies};

/// As many as there are.
#[derive(Debug, Clone)]
pub struct UnboundedBatch {
    script: Script,
}

impl UnboundedBatch {
    /// Over a handle.
    pub fn new(redis: Redis) -> Self {
        Self { script: Script::named(redis, "unbounded_batch") }
    }
}

#[async_trait]
impl SendPath for UnboundedBatch {
    async fn send(&self, room: &RoomId, from: &UserId, cid: &ClientMsgId, body: &str) -> LabResult<Sent> {
        self.script.send(room, from, cid, body).await
    }

    async fn send_many(&self, drafts: &[Draft]) -> LabResult<Vec<Sent>> {
        check_rooms_and_bodies(drafts)?;
        self.script.send_unbounded(drafts).await
    }

    async fn read(&self, room: &RoomId, after: u64, limit: usize) -> LabResult<Vec<(u64, String)>> {
        self.script.read(room, after, limit).await
    }

    async fn unread(&self, room: &RoomId) -> LabResult<u64> {
        self.script.unread(room).await
    }
}
