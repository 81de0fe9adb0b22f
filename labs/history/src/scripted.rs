//! A variant whose every step is a script over keys of its own: what [`list`](crate::list), [`stream`](crate::stream) and
//! [`seq_hash`](crate::seq_hash) have in common. They differ in their structure and so in their scripts.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{ClientMsgId, MessageId, RoomId, UserId},
    keys::RoomKeys,
    lua::{Call, Script},
    message::{Change, Draft, Message, Position, Seq},
    redis::Redis,
};

use crate::{
    Appended, History, Policy, Since, TOPIC,
    stored::{
        AppendReply, append_args, appended, change_args, check_limit, message, messages, position, since,
        since_args,
    },
};

/// The scripts of a structure. Each names the keys that it takes.
#[derive(Debug)]
pub(crate) struct Structure {
    pub(crate) name: &'static str,
    pub(crate) append: Script,
    pub(crate) page: Script,
    pub(crate) since: Script,
    pub(crate) change: Script,
}

impl Structure {
    pub(crate) fn scripts(&'static self) -> [&'static Script; 4] {
        [&self.append, &self.page, &self.since, &self.change]
    }

    /// A key of the structure in `room`.
    pub(crate) fn key(&self, room: &RoomId, name: &str) -> String {
        RoomKeys::new(room).lab(self.name, name)
    }

    /// A call of `script` with its keys.
    pub(crate) fn call(
        &self,
        script: &'static Script,
        room: &RoomId,
        sent: Option<(&UserId, &ClientMsgId)>,
    ) -> Call {
        let keys = RoomKeys::new(room);
        script.keys.iter().fold(script.call(), |call, name| {
            call.key(match (*name, sent) {
                ("sent", Some((from, cid))) => keys.lab(self.name, &format!("sent:{from}:{cid}")),
                ("events", _) => keys.events(TOPIC),
                ("live", _) => keys.live(),
                (own, _) => keys.lab(self.name, own),
            })
        })
    }
}

/// Message history on one [`Structure`].
#[derive(Clone)]
pub(crate) struct Scripted {
    pub(crate) redis: Redis,
    policy: Policy,
    pub(crate) structure: &'static Structure,
}

impl Scripted {
    pub(crate) fn new(redis: Redis, policy: Policy, structure: &'static Structure) -> Self {
        Self { redis, policy, structure }
    }

    async fn change(&self, room: &RoomId, call: Call) -> LabResult<Option<Message>> {
        let envelope: Option<Vec<u8>> = call.run(&mut self.redis.clone()).await?;
        envelope.map(|bytes| message(&self.structure.key(room, "log"), &bytes)).transpose()
    }
}

#[async_trait]
impl History for Scripted {
    async fn append(&self, draft: &Draft) -> LabResult<Appended> {
        let s = self.structure;
        let call = s.call(&s.append, &draft.room, Some((&draft.from, &draft.cid)));
        let reply: AppendReply = append_args(call, draft, self.policy)?.run(&mut self.redis.clone()).await?;
        appended(|| s.key(&draft.room, "sent"), reply)
    }

    async fn head(&self, room: &RoomId) -> LabResult<Position> {
        let meta = self.structure.key(room, "meta");
        let (epoch, seq, last): (Option<String>, Option<Seq>, Option<String>) = redis::cmd("HMGET")
            .arg(&meta)
            .arg(&["epoch", "seq", "last"])
            .query_async(&mut self.redis.clone())
            .await?;
        let last = last.unwrap_or_default();
        position(&meta, epoch.unwrap_or_default(), seq.unwrap_or_default(), &last)
    }

    async fn page(&self, room: &RoomId, before: Option<Seq>, limit: usize) -> LabResult<Vec<Message>> {
        check_limit(limit)?;
        let s = self.structure;
        let before = before.map(|seq| seq.to_string()).unwrap_or_default();
        let call = s.call(&s.page, room, None).arg(before).arg(limit);
        let envelopes: Vec<Option<Vec<u8>>> = call.run(&mut self.redis.clone()).await?;
        messages(&s.key(room, "log"), &envelopes)
    }

    async fn since(&self, room: &RoomId, after: &Position) -> LabResult<Since> {
        let s = self.structure;
        let reply: redis::Value =
            since_args(s.call(&s.since, room, None), after).run(&mut self.redis.clone()).await?;
        since(&s.key(room, "log"), reply)
    }

    async fn edit(
        &self,
        room: &RoomId,
        id: &MessageId,
        editor: &UserId,
        body: &str,
    ) -> LabResult<Option<Message>> {
        let s = self.structure;
        let call = s.call(&s.change, room, None);
        self.change(room, change_args(call, id, Change::Edited, Some(editor), body)?).await
    }

    async fn delete(&self, room: &RoomId, id: &MessageId) -> LabResult<Option<Message>> {
        let s = self.structure;
        let call = s.call(&s.change, room, None);
        self.change(room, change_args(call, id, Change::Deleted, None, "")?).await
    }
}

/// The names of an append script's arguments.
pub(crate) const APPEND_ARGS: &[&str] =
    &["new_epoch", "id", "json", "sent_ttl_ms", "hot_max", "stream_max", "publish"];
/// The names of a page script's arguments.
pub(crate) const PAGE_ARGS: &[&str] = &["before", "limit"];
/// The names of a since script's arguments.
pub(crate) const SINCE_ARGS: &[&str] = &["epoch", "seq", "id", "limit"];
/// The names of a change script's arguments.
pub(crate) const CHANGE_ARGS: &[&str] = &["id", "what", "by", "body"];
