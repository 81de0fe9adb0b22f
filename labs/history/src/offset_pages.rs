//! Flawed: pages by offset. The cursor is ignored; the pages so far are counted instead.
//!
//! `ZREVRANGE log offset offset+size` counts from the newest message. One more arrives, and everything moves down by one:
//! the next page begins with what the last one ended with. And both ends of a range by rank belong to it, so that each page
//! has one message too many.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::RoomId,
    keys::RoomKeys,
    message::{Message, Seq},
};

use crate::{
    History, ZsetHash,
    stored::{check_limit, messages},
    twist::Twist,
};

/// ZSET and HASH, paged by offset.
pub(crate) struct OffsetPages {
    sound: ZsetHash,
    /// The reader's room, and how many messages it has seen.
    reader: Mutex<(Option<RoomId>, usize)>,
}

impl OffsetPages {
    pub(crate) fn new(sound: ZsetHash) -> Self {
        Self { sound, reader: Mutex::default() }
    }
}

#[async_trait]
impl Twist for OffsetPages {
    fn sound(&self) -> &dyn History {
        &self.sound
    }

    async fn page(&self, room: &RoomId, before: Option<Seq>, limit: usize) -> LabResult<Vec<Message>> {
        check_limit(limit)?;
        let offset = {
            let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
            let seen = if before.is_none() || reader.0 != Some(*room) { 0 } else { reader.1 };
            *reader = (Some(*room), seen + limit);
            seen
        };
        let keys = RoomKeys::new(room);
        let mut redis = self.sound.redis.clone();
        let ids: Vec<String> = redis::cmd("ZREVRANGE")
            .arg(keys.log())
            .arg(offset)
            .arg(offset + limit)
            .query_async(&mut redis)
            .await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut envelopes: Vec<Option<Vec<u8>>> =
            redis::cmd("HMGET").arg(keys.msg()).arg(&ids).query_async(&mut redis).await?;
        envelopes.reverse();
        messages(&keys.msg(), &envelopes)
    }
}
