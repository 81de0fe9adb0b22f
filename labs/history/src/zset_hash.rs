//! Reference: a ZSET of message ids by sequence, and a HASH from id to envelope.
//!
//! The ZSET gives order, cursors and verification of a position in O(log N); the HASH lets a
//! message be edited without touching the order. Equal texts stay two messages, because the ZSET's
//! members are ids. `HINCRBY` gives the sequence inside the same script that stores the message,
//! so there is never a number without a message.

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    ids::{MessageId, RoomId},
    keys::RoomKeys,
    lua::Script,
    message::{Draft, Envelope, Epoch, MAX_BODY_BYTES, MAX_PAGE, Message, Position, Seq},
    redis::Redis,
};

use crate::{Announce, Appended, DEDUP_TTL_MS, HOT_MESSAGES, History, SINCE_MAX, STREAM_MAX, Since};

/// The topic of the outbox that new messages go to.
pub const TOPIC: &str = "message.created";

static APPEND: Script = Script::new(
    "history/append",
    include_str!("../../../lua/history/append.lua"),
    &["meta", "log", "msg", "sent", "events", "live"],
    &["new_epoch", "id", "json", "sent_ttl_ms", "hot_max", "stream_max", "publish"],
);
static HEAD: Script =
    Script::new("history/head", include_str!("../../../lua/history/head.lua"), &["meta", "log"], &[]);
static PAGE: Script = Script::new(
    "history/page",
    include_str!("../../../lua/history/page.lua"),
    &["log", "msg"],
    &["before", "limit"],
);
static SINCE: Script = Script::new(
    "history/since",
    include_str!("../../../lua/history/since.lua"),
    &["meta", "log", "msg"],
    &["epoch", "seq", "id", "limit"],
);

/// Every script of this variant.
pub fn scripts() -> [&'static Script; 4] {
    [&APPEND, &HEAD, &PAGE, &SINCE]
}

/// Message history on ZSET and HASH.
#[derive(Clone)]
pub struct ZsetHash {
    redis: Redis,
    announce: Announce,
    hot_messages: u64,
}

impl ZsetHash {
    /// Keeps [`HOT_MESSAGES`] a room.
    pub fn new(redis: Redis, announce: Announce) -> Self {
        Self { redis, announce, hot_messages: HOT_MESSAGES }
    }

    /// Keeps only the newest `messages` of each room.
    pub fn keeping(self, messages: u64) -> Self {
        Self { hot_messages: messages, ..self }
    }
}

fn corrupt(key: String, why: &dyn std::fmt::Display) -> LabError {
    LabError::Corrupt { key, why: why.to_string() }
}

fn position(key: &str, epoch: String, seq: Seq, id: &str) -> LabResult<Position> {
    let id = match id {
        "" => None,
        text => Some(text.parse().map_err(|e| corrupt(key.to_owned(), &e))?),
    };
    Ok(Position { epoch: Epoch(epoch), seq, id })
}

fn messages(key: &str, envelopes: &[Option<Vec<u8>>]) -> LabResult<Vec<Message>> {
    envelopes
        .iter()
        .map(|bytes| {
            let bytes =
                bytes.as_deref().ok_or_else(|| corrupt(key.to_owned(), &"an id without a message"))?;
            Envelope::parse(bytes).and_then(|e| e.message()).map_err(|e| corrupt(key.to_owned(), &e))
        })
        .collect()
}

#[async_trait]
impl History for ZsetHash {
    async fn append(&self, draft: &Draft) -> LabResult<Appended> {
        if draft.body.len() > MAX_BODY_BYTES {
            return Err(LabError::Bound { what: "the message body", bound: MAX_BODY_BYTES as u64 });
        }
        let keys = RoomKeys::new(&draft.room);
        let json = serde_json::to_string(draft).map_err(|e| LabError::Other(e.to_string()))?;
        let call = APPEND
            .call()
            .key(keys.meta())
            .key(keys.log())
            .key(keys.msg())
            .key(keys.sent(&draft.from, &draft.cid))
            .key(keys.events(TOPIC))
            .key(keys.live())
            .arg(draft.id.0.as_simple().to_string())
            .arg(draft.id.to_string())
            .arg(json)
            .arg(DEDUP_TTL_MS)
            .arg(self.hot_messages)
            .arg(STREAM_MAX)
            .arg(match self.announce {
                Announce::Sharded => "SPUBLISH",
                Announce::Classic => "PUBLISH",
            });
        let (epoch, seq, id, ts, duplicate): (String, Seq, String, u64, bool) =
            call.run(&mut self.redis.clone()).await?;
        let id: MessageId = id.parse().map_err(|e| corrupt(keys.sent(&draft.from, &draft.cid), &e))?;
        Ok(Appended { epoch: Epoch(epoch), seq, id, ts, duplicate })
    }

    async fn head(&self, room: &RoomId) -> LabResult<Position> {
        let keys = RoomKeys::new(room);
        let call = HEAD.call().key(keys.meta()).key(keys.log());
        let (epoch, seq, id): (String, Seq, String) = call.run(&mut self.redis.clone()).await?;
        position(&keys.log(), epoch, seq, &id)
    }

    async fn page(&self, room: &RoomId, before: Option<Seq>, limit: usize) -> LabResult<Vec<Message>> {
        if limit > MAX_PAGE {
            return Err(LabError::Bound { what: "the page", bound: MAX_PAGE as u64 });
        }
        let keys = RoomKeys::new(room);
        let before = before.map(|seq| seq.to_string()).unwrap_or_default();
        let call = PAGE.call().key(keys.log()).key(keys.msg()).arg(before).arg(limit);
        let mut envelopes: Vec<Option<Vec<u8>>> = call.run(&mut self.redis.clone()).await?;
        envelopes.reverse();
        messages(&keys.msg(), &envelopes)
    }

    async fn since(&self, room: &RoomId, after: &Position) -> LabResult<Since> {
        let keys = RoomKeys::new(room);
        let id = after.id.map(|id| id.to_string()).unwrap_or_default();
        let call = SINCE
            .call()
            .key(keys.meta())
            .key(keys.log())
            .key(keys.msg())
            .arg(&after.epoch.0)
            .arg(after.seq)
            .arg(id)
            .arg(SINCE_MAX);
        let reply: redis::Value = call.run(&mut self.redis.clone()).await?;
        let wrong = |e: redis::ParsingError| corrupt(keys.meta(), &e);
        if let Ok((verdict, epoch, seq, id)) =
            redis::from_redis_value_ref::<(String, String, Seq, String)>(&reply)
            && verdict == "resync"
        {
            return Ok(Since::Resync { head: position(&keys.log(), epoch, seq, &id)? });
        }
        let (_, more, envelopes): (String, bool, Vec<Option<Vec<u8>>>) =
            redis::from_redis_value(reply).map_err(wrong)?;
        Ok(Since::Continued { messages: messages(&keys.msg(), &envelopes)?, more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_bodies_and_bindings_of_the_scripts_agree() {
        for script in scripts() {
            script.verify().unwrap();
        }
    }
}
