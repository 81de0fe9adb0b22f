//! Flawed: a resume trusts the number. What has a greater sequence is what was missed.
//!
//! After a failover that lost its last messages, the same numbers are given again to other messages. Whoever resumes from 5
//! gets only 6, and never sees the new 4 and 5. And whoever comes back after the room was trimmed gets what is left,
//! without a word about the rest.

use async_trait::async_trait;
use chatlab_kit::{LabResult, ids::RoomId, keys::RoomKeys, message::Position};

use crate::{History, SINCE_MAX, Since, ZsetHash, stored::messages, twist::Twist};

/// ZSET and HASH, resumed without a look at the message.
pub(crate) struct ResumeBySeq(pub(crate) ZsetHash);

#[async_trait]
impl Twist for ResumeBySeq {
    fn sound(&self) -> &dyn History {
        &self.0
    }

    async fn since(&self, room: &RoomId, after: &Position) -> LabResult<Since> {
        let keys = RoomKeys::new(room);
        let mut redis = self.0.redis.clone();
        let mut ids: Vec<String> = redis::cmd("ZRANGE")
            .arg(keys.log())
            .arg(format!("({}", after.seq))
            .arg("+inf")
            .arg("BYSCORE")
            .arg("LIMIT")
            .arg(0)
            .arg(SINCE_MAX + 1)
            .query_async(&mut redis)
            .await?;
        let more = ids.len() > SINCE_MAX;
        ids.truncate(SINCE_MAX);
        if ids.is_empty() {
            return Ok(Since::Continued { messages: Vec::new(), more });
        }
        let envelopes: Vec<Option<Vec<u8>>> =
            redis::cmd("HMGET").arg(keys.msg()).arg(&ids).query_async(&mut redis).await?;
        Ok(Since::Continued { messages: messages(&keys.msg(), &envelopes)?, more })
    }
}
