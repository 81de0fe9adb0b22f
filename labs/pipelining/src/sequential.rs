//! Flawed: one command after the other, each awaited.
//!
//! Five round trips, and between any two of them the client can crash or be overtaken: a number that nobody uses, a message whose client
//! id is not remembered, a message that is not counted.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{ClientMsgId, RoomId, UserId},
    redis::Redis,
};

use crate::{
    Draft, LOG_MAX, SENT_TTL_MS, SendPath, Sent,
    stored::{Keys, check_batch, check_body, counter, read_stream},
};

const NAME: &str = "sequential";

/// A round trip a command.
#[derive(Debug, Clone)]
pub struct Sequential {
    redis: Redis,
}

impl Sequential {
    /// Over a handle.
    pub fn new(redis: Redis) -> Self {
        Self { redis }
    }
}

#[async_trait]
impl SendPath for Sequential {
    async fn send(&self, room: &RoomId, from: &UserId, cid: &ClientMsgId, body: &str) -> LabResult<Sent> {
        check_body(body)?;
        let keys = Keys::of(NAME, room);
        let mut redis = self.redis.clone();
        let known = keys.sent(from, cid);
        let before: Option<u64> = redis::cmd("GET").arg(&known).query_async(&mut redis).await?;
        if let Some(seq) = before {
            return Ok(Sent { seq, duplicate: true });
        }
        let seq: u64 = redis::cmd("INCR").arg(keys.seq()).query_async(&mut redis).await?;
        let mut add = redis::cmd("XADD");
        add.arg(keys.log()).arg("MAXLEN").arg("~").arg(LOG_MAX).arg(format!("{seq}-0"));
        add.arg("from").arg(from.to_string()).arg("cid").arg(cid.as_str()).arg("body").arg(body);
        let _: String = add.query_async(&mut redis).await?;
        let mut remember = redis::cmd("SET");
        remember.arg(known).arg(seq).arg("PX").arg(SENT_TTL_MS);
        let () = remember.query_async(&mut redis).await?;
        let _: u64 = redis::cmd("INCR").arg(keys.unread()).query_async(&mut redis).await?;
        Ok(Sent { seq, duplicate: false })
    }

    async fn send_many(&self, drafts: &[Draft]) -> LabResult<Vec<Sent>> {
        check_batch(drafts)?;
        let mut sent = Vec::with_capacity(drafts.len());
        for draft in drafts {
            sent.push(self.send(&draft.room, &draft.from, &draft.cid, &draft.body).await?);
        }
        Ok(sent)
    }

    async fn read(&self, room: &RoomId, after: u64, limit: usize) -> LabResult<Vec<(u64, String)>> {
        read_stream(&self.redis, Keys::of(NAME, room).log(), after, limit).await
    }

    async fn unread(&self, room: &RoomId) -> LabResult<u64> {
        counter(&self.redis, &Keys::of(NAME, room).unread()).await
    }
}
