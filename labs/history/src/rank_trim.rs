//! Flawed: trims by rank, and from the wrong end.
//!
//! Rank 0 is the oldest message. `ZREMRANGEBYRANK log 1000 -1` keeps the first thousand, and throws away each new one. It
//! looks right for as long as a room is short. (`0 -1001` is what was meant.)

use async_trait::async_trait;
use chatlab_kit::{LabResult, keys::RoomKeys, message::Draft};

use crate::{Appended, History, ZsetHash, twist::Twist};

/// ZSET and HASH, keeping the oldest.
pub(crate) struct RankTrim {
    /// Trims nothing itself.
    pub(crate) sound: ZsetHash,
    pub(crate) hot_messages: u64,
}

#[async_trait]
impl Twist for RankTrim {
    fn sound(&self) -> &dyn History {
        &self.sound
    }

    async fn append(&self, draft: &Draft) -> LabResult<Appended> {
        let appended = self.sound.append(draft).await?;
        let _: u64 = redis::cmd("ZREMRANGEBYRANK")
            .arg(RoomKeys::new(&draft.room).log())
            .arg(self.hot_messages)
            .arg(-1)
            .query_async(&mut self.sound.redis.clone())
            .await?;
        Ok(appended)
    }
}
