//! Exercise: your own rooms on a cluster. Written by you, checked by `chatlab check cluster`.
//!
//! Start with `keys`, `append` and `read`: `keys_share_a_slot`, `spread_is_even` and `append_is_atomic` need little else.
//! Then `heads`, `append_replicated`, `move_message`. After each step run the check: it says which invariant breaks, shows
//! the shortest history that breaks it, and the commands that your code sent. Run it with `--topology cluster` too; the
//! checks compute the slots of your commands, so a single node already shows what a cluster would refuse.
//!
//! Things to decide:
//!
//! - Which part of a room's key is its hash tag `{…}`? What does a script touch together? How many tags are enough to
//!   spread over 3 nodes, over 6? (Look at a few ids: what do rooms made in one week have in common?)
//! - What does a client that dies between two of your commands leave behind? What does a reader see in between?
//! - Two rooms are on two nodes: no MULTI and no script spans them. In which order must copying and removing happen, so that
//!   somebody else can finish after a crash? How does the second attempt know that the first got halfway?
//! - `WAIT` counts what its own connection has written. Is your `WAIT` on that connection?
//!
//! Keys: build them with [`chatlab_kit::keys`] (`RoomKeys::lab`, `lab(tag, …)`); each must contain the room's id. Scripts: see
//! `lua/cluster/append.lua`; `redis::pipe().atomic()` is MULTI/EXEC.

use async_trait::async_trait;
use chatlab_kit::{LabError, LabResult, ids::RoomId, redis::Redis};

use crate::{Freshness, NodeHandles, Receipt, Rooms, View};

/// Your variant.
#[derive(Clone)]
pub struct Exercise {
    redis: Redis,
    nodes: NodeHandles,
}

impl Exercise {
    /// Keeps rooms in `redis`.
    pub fn new(redis: Redis) -> Self {
        Self { nodes: NodeHandles::new(redis.clone()), redis }
    }
}

#[async_trait]
impl Rooms for Exercise {
    fn keys(&self, _room: &RoomId) -> LabResult<Vec<String>> {
        // Such as one for the counter and one for the messages, in one slot.
        Err(LabError::Unfinished("keys"))
    }

    async fn append(&self, _room: &RoomId, _text: &str) -> LabResult<u64> {
        // Count and store in one step: a script
        // `redis::cmd("EVAL").arg(SOURCE).arg(2).arg(seq_key).arg(log_key).arg(text).query_async(&mut self.redis.clone()).await?`
        let _ = &self.redis;
        Err(LabError::Unfinished("append"))
    }

    async fn append_replicated(
        &self,
        _room: &RoomId,
        _text: &str,
        _replicas: u32,
        _wait_ms: u64,
    ) -> LabResult<Receipt> {
        // The write and WAIT over one connection to the room's master: `self.nodes.run_and_wait(…)` does that for a script,
        // and gives both answers. What do you make of the second one?
        let _ = &self.nodes;
        Err(LabError::Unfinished("append_replicated"))
    }

    async fn read(&self, _room: &RoomId, _count: u32, _freshness: Freshness) -> LabResult<View> {
        // The newest sequence and the messages of one instant: one script, or one MULTI.
        Err(LabError::Unfinished("read"))
    }

    async fn heads(&self, _rooms: &[RoomId]) -> LabResult<Vec<u64>> {
        // Many rooms, many slots, three masters: `self.nodes.by_node(&commands)` sends one pipeline to each.
        Err(LabError::Unfinished("heads"))
    }

    async fn move_message(&self, _from: &RoomId, _seq: u64, _to: &RoomId) -> LabResult<Option<u64>> {
        // Read it there, add it here once (remember where it came from, in the slot of `to`), then remove it there.
        Err(LabError::Unfinished("move_message"))
    }
}
