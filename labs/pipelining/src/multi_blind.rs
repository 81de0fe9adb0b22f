//! Flawed: all of it in one MULTI, which cannot decide.
//!
//! One round trip, and all or nothing. A LIST answers RPUSH with its length, and that is the message's number: even the number needs no
//! look before. But the commands of a MULTI are queued before any of them is answered: `SET … NX` says afterwards that the message was known,
//! and by then the second copy is stored.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{ClientMsgId, RoomId, UserId},
    redis::Redis,
};

use crate::{
    Draft, MAX_READ, SENT_TTL_MS, SendPath, Sent,
    stored::{Keys, check_batch, check_body, counter},
};

const NAME: &str = "multi_blind";

/// One transaction a send, without a look.
#[derive(Debug, Clone)]
pub struct MultiBlind {
    redis: Redis,
}

impl MultiBlind {
    /// Over a handle.
    pub fn new(redis: Redis) -> Self {
        Self { redis }
    }

    async fn send_drafts(&self, drafts: &[Draft]) -> LabResult<Vec<Sent>> {
        let Some(first) = drafts.first() else { return Ok(Vec::new()) };
        let keys = Keys::of(NAME, &first.room);
        let mut write = redis::pipe();
        write.atomic();
        for draft in drafts {
            write.cmd("SET").arg(keys.sent(&draft.from, &draft.cid)).arg(1).arg("PX").arg(SENT_TTL_MS);
            write.arg("NX");
            write.cmd("RPUSH").arg(keys.log()).arg(&draft.body);
            write.cmd("INCR").arg(keys.unread()).ignore();
        }
        let replies: Vec<(Option<String>, u64)> = {
            let flat: Vec<redis::Value> = write.query_async(&mut self.redis.clone()).await?;
            let pairs = flat.chunks_exact(2).map(|pair| {
                let first = redis::from_redis_value(pair[0].clone())?;
                Ok((first, redis::from_redis_value(pair[1].clone())?))
            });
            pairs.collect::<Result<_, redis::ParsingError>>().map_err(redis::RedisError::from)?
        };
        Ok(replies.into_iter().map(|(new, seq)| Sent { seq, duplicate: new.is_none() }).collect())
    }
}

#[async_trait]
impl SendPath for MultiBlind {
    async fn send(&self, room: &RoomId, from: &UserId, cid: &ClientMsgId, body: &str) -> LabResult<Sent> {
        check_body(body)?;
        let draft = Draft { room: *room, from: *from, cid: cid.clone(), body: body.to_owned() };
        let sent = self.send_drafts(std::slice::from_ref(&draft)).await?;
        Ok(sent.first().copied().unwrap_or(Sent { seq: 0, duplicate: false }))
    }

    async fn send_many(&self, drafts: &[Draft]) -> LabResult<Vec<Sent>> {
        check_batch(drafts)?;
        self.send_drafts(drafts).await
    }

    async fn read(&self, room: &RoomId, after: u64, limit: usize) -> LabResult<Vec<(u64, String)>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut range = redis::cmd("LRANGE");
        let last = after + limit.min(MAX_READ) as u64 - 1;
        range.arg(Keys::of(NAME, room).log()).arg(after).arg(last);
        let bodies: Vec<String> = range.query_async(&mut self.redis.clone()).await?;
        Ok((after + 1..).zip(bodies).collect())
    }

    async fn unread(&self, room: &RoomId) -> LabResult<u64> {
        counter(&self.redis, &Keys::of(NAME, room).unread()).await
    }
}
