//! Reference: one Lua script a send, and a pipeline of its calls for a batch.
//!
//! The script runs where the data is: it looks, decides and writes while the server does nothing else, so one round trip is all there
//! is, and a client can only crash before it or after it. A batch is not one large script: a call for each message in one pipeline
//! takes one round trip as well, and other clients get their turn in between.
//!
//! | key | type | holds |
//! | --- | --- | --- |
//! | `…:script:seq` | STRING | the last number |
//! | `…:script:log` | STREAM | entry `N-0` is message N; a stream refuses an entry older than its last |
//! | `…:script:sent:UID:CID` | STRING, ends by itself | the number that this id got |
//! | `…:script:unread` | STRING | how many were counted for the notifier |

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{ClientMsgId, RoomId, UserId},
    lua::{self, Call},
    redis::Redis,
};

use crate::{
    Draft, LOG_MAX, SENT_TTL_MS, SendPath, Sent,
    stored::{Keys, Reply, check_batch, check_body, counter, read_stream, sent},
};

pub(crate) static SEND: lua::Script = lua::Script::new(
    "pipelining/send",
    include_str!("../../../lua/pipelining/send.lua"),
    &["seq", "log", "sent", "unread"],
    &["from", "cid", "body", "sent_ttl_ms", "log_max"],
);

/// One script a send.
#[derive(Debug, Clone)]
pub struct Script {
    redis: Redis,
    name: &'static str,
}

impl Script {
    /// Over a handle.
    pub fn new(redis: Redis) -> Self {
        Self::named(redis, "script")
    }

    /// The same with keys of another variant, which builds on this one.
    pub(crate) fn named(redis: Redis, name: &'static str) -> Self {
        Self { redis, name }
    }

    pub(crate) fn call(name: &'static str, draft: &Draft) -> Call {
        let keys = Keys::of(name, &draft.room);
        SEND.call()
            .key(keys.seq())
            .key(keys.log())
            .key(keys.sent(&draft.from, &draft.cid))
            .key(keys.unread())
            .arg(draft.from.to_string())
            .arg(draft.cid.as_str())
            .arg(&draft.body)
            .arg(SENT_TTL_MS)
            .arg(LOG_MAX)
    }

    /// The first call of a batch carries the source. So no call of a pipeline meets a node that lacks the script: the first ones would
    /// be refused, and a later one might be stored before them if someone loads it meanwhile.
    fn with_source(&self, draft: &Draft) -> redis::Cmd {
        let keys = Keys::of(self.name, &draft.room);
        let mut eval = redis::cmd("EVAL");
        eval.arg(SEND.source).arg(SEND.keys.len());
        eval.arg(keys.seq()).arg(keys.log()).arg(keys.sent(&draft.from, &draft.cid)).arg(keys.unread());
        eval.arg(draft.from.to_string()).arg(draft.cid.as_str()).arg(&draft.body);
        eval.arg(SENT_TTL_MS).arg(LOG_MAX);
        eval
    }

    /// Sends without looking at the size of the batch.
    pub(crate) async fn send_unbounded(&self, drafts: &[Draft]) -> LabResult<Vec<Sent>> {
        let Some((first, others)) = drafts.split_first() else { return Ok(Vec::new()) };
        let mut pipe = redis::pipe();
        pipe.add_command(self.with_source(first));
        for draft in others {
            pipe.add_command(Self::call(self.name, draft).by_sha());
        }
        let replies: Vec<Reply> = pipe.query_async(&mut self.redis.clone()).await?;
        Ok(replies.into_iter().map(sent).collect())
    }
}

#[async_trait]
impl SendPath for Script {
    async fn send(&self, room: &RoomId, from: &UserId, cid: &ClientMsgId, body: &str) -> LabResult<Sent> {
        check_body(body)?;
        let draft = Draft { room: *room, from: *from, cid: cid.clone(), body: body.to_owned() };
        let reply: Reply = Self::call(self.name, &draft).run(&mut self.redis.clone()).await?;
        Ok(sent(reply))
    }

    async fn send_many(&self, drafts: &[Draft]) -> LabResult<Vec<Sent>> {
        check_batch(drafts)?;
        self.send_unbounded(drafts).await
    }

    async fn read(&self, room: &RoomId, after: u64, limit: usize) -> LabResult<Vec<(u64, String)>> {
        read_stream(&self.redis, Keys::of(self.name, room).log(), after, limit).await
    }

    async fn unread(&self, room: &RoomId) -> LabResult<u64> {
        counter(&self.redis, &Keys::of(self.name, room).unread()).await
    }
}
