//! Flawed: what is deleted is removed.
//!
//! The sequence has a hole then. Whoever stood on the removed message cannot resume, whoever stood before it gets a
//! resync because something is missing, and a reader never learns that there was something to forget.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{MessageId, RoomId},
    keys::RoomKeys,
    message::Message,
};

use crate::{History, ZsetHash, twist::Twist};

/// ZSET and HASH, with holes.
pub(crate) struct HardDelete(pub(crate) ZsetHash);

#[async_trait]
impl Twist for HardDelete {
    fn sound(&self) -> &dyn History {
        &self.0
    }

    async fn delete(&self, room: &RoomId, id: &MessageId) -> LabResult<Option<Message>> {
        let tombstone = self.0.delete(room, id).await?;
        let keys = RoomKeys::new(room);
        let () = redis::pipe()
            .atomic()
            .cmd("ZREM")
            .arg(keys.log())
            .arg(id.to_string())
            .cmd("HDEL")
            .arg(keys.msg())
            .arg(id.to_string())
            .ignore()
            .query_async(&mut self.0.redis.clone())
            .await?;
        Ok(tombstone)
    }
}
