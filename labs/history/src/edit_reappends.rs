//! Flawed: an edit takes the message out and appends it again.
//!
//! It jumps to the end of the conversation, and its old place is a hole: whoever stood there cannot resume.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{MessageId, RoomId, UserId},
    keys::RoomKeys,
    message::{Message, Seq},
};

use crate::{History, ZsetHash, stored::message, twist::Twist};

/// ZSET and HASH, edits at the end.
pub(crate) struct EditReappends(pub(crate) ZsetHash);

#[async_trait]
impl Twist for EditReappends {
    fn sound(&self) -> &dyn History {
        &self.0
    }

    async fn edit(
        &self,
        room: &RoomId,
        id: &MessageId,
        editor: &UserId,
        body: &str,
    ) -> LabResult<Option<Message>> {
        let Some(edited) = self.0.edit(room, id, editor, body).await? else { return Ok(None) };
        let keys = RoomKeys::new(room);
        let mut redis = self.0.redis.clone();
        let seq: Seq =
            redis::cmd("HINCRBY").arg(keys.meta()).arg("seq").arg(1).query_async(&mut redis).await?;
        let json = serde_json::to_string(&Message { seq, ..edited.clone() }).unwrap_or_default();
        let envelope = format!("{} {seq} {} {json}", edited.epoch, edited.ts);
        let () = redis::pipe()
            .atomic()
            .cmd("ZADD")
            .arg(keys.log())
            .arg(seq)
            .arg(id.to_string())
            .cmd("HSET")
            .arg(keys.msg())
            .arg(id.to_string())
            .arg(&envelope)
            .ignore()
            .query_async(&mut redis)
            .await?;
        Ok(Some(message(&keys.msg(), envelope.as_bytes())?))
    }
}
