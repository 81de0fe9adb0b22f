//! Flawed: reads the whole list, and picks the page in the client.
//!
//! The answers are right. `LRANGE log 0 -1` copies and sends every message of the room for each page of ten, and while it
//! does, nobody else is served.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::RoomId,
    message::{Message, Seq},
};

use crate::{
    History,
    scripted::Scripted,
    stored::{check_limit, messages},
    twist::Twist,
};

/// A LIST, read whole.
pub(crate) struct WholeList(pub(crate) Scripted);

#[async_trait]
impl Twist for WholeList {
    fn sound(&self) -> &dyn History {
        &self.0
    }

    async fn page(&self, room: &RoomId, before: Option<Seq>, limit: usize) -> LabResult<Vec<Message>> {
        check_limit(limit)?;
        let log = self.0.structure.key(room, "log");
        let all: Vec<Option<Vec<u8>>> =
            redis::cmd("LRANGE").arg(&log).arg(0).arg(-1).query_async(&mut self.0.redis.clone()).await?;
        let mut page = messages(&log, &all)?;
        page.retain(|message| before.is_none_or(|before| message.seq < before));
        Ok(page.split_off(page.len().saturating_sub(limit)))
    }
}
