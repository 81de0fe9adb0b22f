//! Exercise: your own send path. Written by you, checked by `chatlab check pipelining`.
//!
//! After each step run the check: it says which invariant breaks, shows the shortest history that breaks it, and the commands that your
//! code sent.
//!
//! Things to decide:
//!
//! - Who decides whether a message is a retry: your code, between two round trips, or the server, within one step?
//! - Where does the number come from? INCR takes one before you know whether you need it.
//! - What is in Redis when your client dies after each single command? The sender will send the same again.
//! - If you watch: which key does every message change? And who else uses this connection? (`self.redis.on_own_connection(…)`, and on a
//!   cluster `self.redis.node(…)`.)
//! - A batch: how many messages do you take, and what do you answer to one more?
//!
//! A script in three lines, without the registry that the other variants use:
//!
//! ```ignore
//! let (seq, duplicate): (u64, bool) = redis::Script::new("local sent = KEYS[1] return {1, 0}")
//!     .key(self.key(room, "sent")).arg(body)
//!     .invoke_async(&mut self.redis.clone()).await?;
//! ```
//!
//! Several commands in one round trip: `let mut pipe = redis::pipe(); pipe.cmd("GET").arg(key); … pipe.query_async(…)`. All keys of a room
//! lie in one slot, which a pipeline on a cluster needs.

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    ids::{ClientMsgId, RoomId, UserId},
    keys::RoomKeys,
    redis::Redis,
};

use crate::{Draft, SendPath, Sent};

/// Your variant.
#[derive(Debug, Clone)]
pub struct Exercise {
    redis: Redis,
}

impl Exercise {
    /// Over a handle.
    pub fn new(redis: Redis) -> Self {
        Self { redis }
    }

    /// A key of the room, such as `log` or `sent:{from}:{cid}`.
    fn key(&self, room: &RoomId, name: &str) -> String {
        RoomKeys::new(room).lab("exercise", name)
    }
}

#[async_trait]
impl SendPath for Exercise {
    async fn send(&self, room: &RoomId, from: &UserId, cid: &ClientMsgId, body: &str) -> LabResult<Sent> {
        // 1. Was it sent before, by this sender under this id? Then answer its number, `duplicate: true`, and change nothing.
        // 2. If not: the next number, the message under it, the id remembered for `crate::SENT_TTL_MS`, and one more unread.
        // 3. All of that, or nothing, in at most two round trips.
        let _ = (&self.redis, self.key(room, "log"), from, cid, body);
        Err(LabError::Unfinished("send"))
    }

    async fn send_many(&self, drafts: &[Draft]) -> LabResult<Vec<Sent>> {
        // 1. More than `crate::MAX_BATCH`, or more than one room: `LabError::Bound`, before anything is sent.
        // 2. All of them in order, in no more round trips than one message takes.
        let _ = drafts;
        Err(LabError::Unfinished("send_many"))
    }

    async fn read(&self, room: &RoomId, after: u64, limit: usize) -> LabResult<Vec<(u64, String)>> {
        // What comes after number `after`, oldest first, at most `limit`; without reading all that came before.
        let _ = (room, after, limit);
        Err(LabError::Unfinished("read"))
    }

    async fn unread(&self, room: &RoomId) -> LabResult<u64> {
        // How many messages were counted.
        let _ = room;
        Err(LabError::Unfinished("unread"))
    }
}
