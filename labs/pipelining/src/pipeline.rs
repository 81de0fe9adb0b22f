//! Flawed: two pipelines. The first asks whether the message is known and takes a number, the second stores.
//!
//! A pipeline saves round trips and decides nothing: INCR is sent before anybody knows what GET answers. Each retry uses up a number that no
//! message gets. And it is no transaction: between the two pipelines the client can crash or be overtaken.

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

const NAME: &str = "pipeline";

/// Two pipelines a send.
#[derive(Debug, Clone)]
pub struct Pipeline {
    redis: Redis,
}

impl Pipeline {
    /// Over a handle.
    pub fn new(redis: Redis) -> Self {
        Self { redis }
    }

    async fn send_drafts(&self, drafts: &[Draft]) -> LabResult<Vec<Sent>> {
        let Some(first) = drafts.first() else { return Ok(Vec::new()) };
        let keys = Keys::of(NAME, &first.room);
        let mut ask = redis::pipe();
        for draft in drafts {
            ask.cmd("GET").arg(keys.sent(&draft.from, &draft.cid)).cmd("INCR").arg(keys.seq());
        }
        let found: Vec<Option<u64>> = ask.query_async(&mut self.redis.clone()).await?;
        let mut store = redis::pipe();
        let mut sent = Vec::with_capacity(drafts.len());
        for (draft, found) in drafts.iter().zip(found.chunks_exact(2)) {
            let (before, seq) = (found[0], found[1].unwrap_or(0));
            sent.push(Sent { seq: before.unwrap_or(seq), duplicate: before.is_some() });
            if before.is_some() {
                continue;
            }
            store.cmd("XADD").arg(keys.log()).arg("MAXLEN").arg("~").arg(LOG_MAX).arg(format!("{seq}-0"));
            store.arg("from").arg(draft.from.to_string()).arg("cid").arg(draft.cid.as_str());
            store.arg("body").arg(&draft.body).ignore();
            store.cmd("SET").arg(keys.sent(&draft.from, &draft.cid)).arg(seq).arg("PX").arg(SENT_TTL_MS);
            store.ignore().cmd("INCR").arg(keys.unread()).ignore();
        }
        if sent.iter().any(|sent| !sent.duplicate) {
            let () = store.query_async(&mut self.redis.clone()).await?;
        }
        Ok(sent)
    }
}

#[async_trait]
impl SendPath for Pipeline {
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
        read_stream(&self.redis, Keys::of(NAME, room).log(), after, limit).await
    }

    async fn unread(&self, room: &RoomId) -> LabResult<u64> {
        counter(&self.redis, &Keys::of(NAME, room).unread()).await
    }
}
