//! Flawed: a ZSET whose members are the messages themselves, as JSON.
//!
//! A set has each member once. Somebody writes "ok" twice: the second `ZADD` finds the member and moves its score. One of the
//! two is gone, and the other has changed its place. (A time stamp within the member makes it rarer, not impossible.)

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{RoomId, UserId},
    keys::RoomKeys,
    message::{Draft, Message, MessageKind, Seq},
};
use serde::{Deserialize, Serialize};

use crate::{
    Appended, History, ZsetHash,
    stored::{check_limit, corrupt, messages},
    twist::Twist,
};

/// ZSET of JSON for what readers see; the rest is the reference's.
pub(crate) struct ZsetJson(pub(crate) ZsetHash);

/// What is said, and by whom.
#[derive(Serialize, Deserialize)]
struct Said {
    from: UserId,
    kind: MessageKind,
    body: String,
}

fn key(room: &RoomId) -> String {
    RoomKeys::new(room).lab("zset_json", "log")
}

#[async_trait]
impl Twist for ZsetJson {
    fn sound(&self) -> &dyn History {
        &self.0
    }

    async fn append(&self, draft: &Draft) -> LabResult<Appended> {
        let appended = self.0.append(draft).await?;
        let said = Said { from: draft.from, kind: draft.kind, body: draft.body.clone() };
        let _: u64 = redis::cmd("ZADD")
            .arg(key(&draft.room))
            .arg(appended.seq)
            .arg(serde_json::to_string(&said).unwrap_or_default())
            .query_async(&mut self.0.redis.clone())
            .await?;
        Ok(appended)
    }

    async fn page(&self, room: &RoomId, before: Option<Seq>, limit: usize) -> LabResult<Vec<Message>> {
        check_limit(limit)?;
        let below = before.map_or_else(|| "+inf".to_owned(), |seq| format!("({seq}"));
        let mut redis = self.0.redis.clone();
        let said: Vec<(String, Seq)> = redis::cmd("ZRANGE")
            .arg(key(room))
            .arg(below)
            .arg("-inf")
            .arg("BYSCORE")
            .arg("REV")
            .arg("LIMIT")
            .arg(0)
            .arg(limit)
            .arg("WITHSCORES")
            .query_async(&mut redis)
            .await?;
        let mut page = Vec::with_capacity(said.len());
        for (json, seq) in said.into_iter().rev() {
            // Id and time of the message that has this number.
            let keys = RoomKeys::new(room);
            let ids: Vec<String> = redis::cmd("ZRANGE")
                .arg(keys.log())
                .arg(seq)
                .arg(seq)
                .arg("BYSCORE")
                .query_async(&mut redis)
                .await?;
            let envelopes: Vec<Option<Vec<u8>>> = match ids.first() {
                Some(id) => redis::cmd("HMGET").arg(keys.msg()).arg(id).query_async(&mut redis).await?,
                None => continue,
            };
            let said: Said = serde_json::from_str(&json).map_err(|e| corrupt(key(room), &e))?;
            for message in messages(&keys.msg(), &envelopes)? {
                let draft = Draft {
                    from: said.from,
                    kind: said.kind,
                    body: said.body.clone(),
                    ..message.draft.clone()
                };
                page.push(Message { draft, ..message });
            }
        }
        Ok(page)
    }
}
