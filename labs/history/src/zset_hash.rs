//! Reference: a ZSET of message ids by sequence, and a HASH from id to envelope.
//!
//! The ZSET gives order, cursors and verification of a position in O(log N); the HASH lets a
//! message be edited without touching the order. Equal texts stay two messages, because the ZSET's
//! members are ids. `HINCRBY` gives the sequence inside the same script that stores the message,
//! so there is never a number without a message.

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
    Alter, Altered, Announce, Appended, EDITS_MAX, History, Marked, Marks, PINS_MAX, Pinned, Policy,
    REACTIONS_MAX, Since, TOPIC, Unaltered,
    stored::{
        AppendReply, altered, append_args, appended, change_args, check_limit, corrupt, fresh_epoch, message,
        messages, position, since, since_args,
    },
};

pub(crate) static APPEND: Script = Script::new(
    "history/append",
    include_str!("../../../lua/history/append.lua"),
    &["meta", "log", "msg", "sent", "events", "live"],
    &["new_epoch", "id", "json", "sent_ttl_ms", "hot_max", "stream_max", "publish"],
);
pub(crate) static HEAD: Script =
    Script::new("history/head", include_str!("../../../lua/history/head.lua"), &["meta", "log"], &[]);
pub(crate) static PAGE: Script = Script::new(
    "history/page",
    include_str!("../../../lua/history/page.lua"),
    &["log", "msg"],
    &["before", "limit"],
);
pub(crate) static SINCE: Script = Script::new(
    "history/since",
    include_str!("../../../lua/history/since.lua"),
    &["meta", "log", "msg"],
    &["epoch", "seq", "id", "limit"],
);

pub(crate) static CHANGE: Script = Script::new(
    "history/change",
    include_str!("../../../lua/history/change.lua"),
    &["msg"],
    &["id", "what", "by", "body"],
);

pub(crate) static FENCE: Script = Script::new(
    "history/fence",
    include_str!("../../../lua/history/fence.lua"),
    &["meta", "log", "pins"],
    &["epoch", "seq", "id", "new_epoch"],
);

pub(crate) static ALTER: Script = Script::new(
    "history/alter",
    include_str!("../../../lua/history/alter.lua"),
    &["meta", "log", "msg", "sent", "events", "live", "pins", "changes"],
    &[
        "new_epoch",
        "id",
        "json",
        "sent_ttl_ms",
        "hot_max",
        "stream_max",
        "publish",
        "about",
        "what",
        "by",
        "others",
        "body",
        "edits_max",
        "pins_max",
        "reactions_max",
        "older",
    ],
);

pub(crate) static PINS: Script =
    Script::new("history/pins", include_str!("../../../lua/history/pins.lua"), &["pins", "msg"], &[]);

pub(crate) static REPIN: Script =
    Script::new("history/repin", include_str!("../../../lua/history/repin.lua"), &["pins"], &["listed"]);

pub(crate) static MARK: Script = Script::new(
    "history/mark",
    include_str!("../../../lua/history/mark.lua"),
    &["meta", "log", "changes", "marks"],
    &["user", "read", "delivered"],
);

/// Every script of this variant.
pub fn scripts() -> [&'static Script; 10] {
    [&APPEND, &HEAD, &PAGE, &SINCE, &CHANGE, &FENCE, &ALTER, &PINS, &REPIN, &MARK]
}

/// A call of `script` with its keys; only an append has a sender.
pub(crate) fn call(script: &'static Script, room: &RoomId, sent: Option<(&UserId, &ClientMsgId)>) -> Call {
    let keys = RoomKeys::new(room);
    script.keys.iter().fold(script.call(), |call, name| {
        call.key(match (*name, sent) {
            ("log", _) => keys.log(),
            ("msg", _) => keys.msg(),
            ("sent", Some((from, cid))) => keys.sent(from, cid),
            ("events", _) => keys.events(TOPIC),
            ("live", _) => keys.live(),
            ("pins", _) => keys.pins(),
            ("changes", _) => keys.changes(),
            ("marks", _) => keys.marks(),
            _ => keys.meta(),
        })
    })
}

/// Message history on ZSET and HASH.
#[derive(Clone)]
pub struct ZsetHash {
    pub(crate) redis: Redis,
    policy: Policy,
}

impl ZsetHash {
    /// Keeps [`HOT_MESSAGES`](crate::HOT_MESSAGES) a room.
    pub fn new(redis: Redis, announce: Announce) -> Self {
        Self::with(redis, Policy { announce, ..Policy::default() })
    }

    /// As `policy` says.
    pub fn with(redis: Redis, policy: Policy) -> Self {
        Self { redis, policy }
    }

    /// Keeps only the newest `messages` of each room.
    pub fn keeping(self, messages: u64) -> Self {
        Self { policy: Policy { hot_messages: messages, ..self.policy }, ..self }
    }

    /// Appends; a retry is recognised by `cid`, whatever the draft's own is.
    pub(crate) async fn append_as(&self, draft: &Draft, cid: &ClientMsgId) -> LabResult<Appended> {
        let call = call(&APPEND, &draft.room, Some((&draft.from, cid)));
        let reply: AppendReply = append_args(call, draft, self.policy)?.run(&mut self.redis.clone()).await?;
        appended(|| RoomKeys::new(&draft.room).sent(&draft.from, cid), reply)
    }

    async fn change(&self, room: &RoomId, call: Call) -> LabResult<Option<Message>> {
        let envelope: Option<Vec<u8>> = call.run(&mut self.redis.clone()).await?;
        envelope.map(|bytes| message(&RoomKeys::new(room).msg(), &bytes)).transpose()
    }
}

#[async_trait]
impl History for ZsetHash {
    async fn append(&self, draft: &Draft) -> LabResult<Appended> {
        self.append_as(draft, &draft.cid).await
    }

    async fn head(&self, room: &RoomId) -> LabResult<Position> {
        let (epoch, seq, id): (String, Seq, String) =
            call(&HEAD, room, None).run(&mut self.redis.clone()).await?;
        position(&RoomKeys::new(room).log(), epoch, seq, &id)
    }

    async fn page(&self, room: &RoomId, before: Option<Seq>, limit: usize) -> LabResult<Vec<Message>> {
        check_limit(limit)?;
        let before = before.map(|seq| seq.to_string()).unwrap_or_default();
        let mut envelopes: Vec<Option<Vec<u8>>> =
            call(&PAGE, room, None).arg(before).arg(limit).run(&mut self.redis.clone()).await?;
        envelopes.reverse();
        messages(&RoomKeys::new(room).msg(), &envelopes)
    }

    async fn since(&self, room: &RoomId, after: &Position) -> LabResult<Since> {
        let reply: redis::Value =
            since_args(call(&SINCE, room, None), after).run(&mut self.redis.clone()).await?;
        since(&RoomKeys::new(room).log(), reply)
    }

    async fn fence(&self, room: &RoomId, seen: &Position) -> LabResult<Position> {
        let id = seen.id.map(|id| id.to_string()).unwrap_or_default();
        let call = call(&FENCE, room, None).arg(&seen.epoch.0).arg(seen.seq).arg(id).arg(fresh_epoch());
        let (epoch, seq, id): (String, Seq, String) = call.run(&mut self.redis.clone()).await?;
        position(&RoomKeys::new(room).log(), epoch, seq, &id)
    }

    async fn edit(
        &self,
        room: &RoomId,
        id: &MessageId,
        editor: &UserId,
        body: &str,
    ) -> LabResult<Option<Message>> {
        let call = change_args(call(&CHANGE, room, None), id, Change::Edited, Some(editor), body)?;
        self.change(room, call).await
    }

    async fn delete(&self, room: &RoomId, id: &MessageId) -> LabResult<Option<Message>> {
        self.change(room, change_args(call(&CHANGE, room, None), id, Change::Deleted, None, "")?).await
    }

    async fn alter(&self, alter: Alter<'_>) -> LabResult<Altered> {
        let draft = alter.change;
        let Some(about) = draft.about.filter(|_| draft.kind.is_about_another()) else {
            return Ok(Altered::Refused(Unaltered::Absent));
        };
        // Found elsewhere, if only without edits, is not the same as not looked for.
        let older = alter
            .older
            .map(|edits| edits.iter().fold("-".to_owned(), |listed, edit| format!("{listed}{edit} ")));
        let call = call(&ALTER, &draft.room, Some((&draft.from, &draft.cid)));
        let reply: redis::Value = append_args(call, draft, self.policy)?
            .arg(about.to_string())
            .arg(draft.kind.as_str())
            .arg(draft.from.to_string())
            .arg(u8::from(alter.others))
            .arg(&draft.body)
            .arg(EDITS_MAX)
            .arg(PINS_MAX)
            .arg(REACTIONS_MAX)
            .arg(older.unwrap_or_default())
            .run(&mut self.redis.clone())
            .await?;
        altered(&|| RoomKeys::new(&draft.room).sent(&draft.from, &draft.cid), reply)
    }

    async fn pins(&self, room: &RoomId) -> LabResult<Option<Vec<Pinned>>> {
        let keys = RoomKeys::new(room);
        let (known, ids, envelopes): (bool, Vec<String>, Vec<Option<Vec<u8>>>) =
            call(&PINS, room, None).run(&mut self.redis.clone()).await?;
        if !known {
            return Ok(None);
        }
        let pins = ids.iter().zip(envelopes).map(|(id, envelope)| {
            let id = id.parse().map_err(|e| corrupt(keys.pins(), &e))?;
            Ok((id, envelope.map(|bytes| message(&keys.msg(), &bytes)).transpose()?))
        });
        pins.collect::<LabResult<_>>().map(Some)
    }

    async fn message(&self, room: &RoomId, id: &MessageId) -> LabResult<Option<Message>> {
        let msg = RoomKeys::new(room).msg();
        let mut get = redis::cmd("HGET");
        let get = get.arg(&msg).arg(id.to_string());
        let envelope: Option<Vec<u8>> = get.query_async(&mut self.redis.clone()).await?;
        envelope.map(|bytes| message(&msg, &bytes)).transpose()
    }

    async fn forget(&self, room: &RoomId) -> LabResult<()> {
        let keys = RoomKeys::new(room);
        let mut unlink = redis::cmd("UNLINK");
        // What remembers a sender's own ids goes by itself.
        for key in [keys.meta(), keys.log(), keys.msg(), keys.pins(), keys.changes(), keys.marks()] {
            unlink.arg(key);
        }
        Ok(unlink.query_async(&mut self.redis.clone()).await?)
    }

    async fn repin(&self, room: &RoomId, pins: &[(MessageId, Seq)]) -> LabResult<()> {
        let listed: Vec<String> = pins.iter().map(|(id, seq)| format!("{id} {seq}")).collect();
        let _: bool = call(&REPIN, room, None).arg(listed.join(" ")).run(&mut self.redis.clone()).await?;
        Ok(())
    }

    async fn mark(&self, room: &RoomId, user: &UserId, to: Marks) -> LabResult<Option<Marked>> {
        let call = call(&MARK, room, None).arg(user.to_string()).arg(to.read).arg(to.delivered);
        let (head, read, delivered, unread, moved) = call.run(&mut self.redis.clone()).await?;
        Ok(Some(Marked { head, at: Marks { read, delivered }, unread, moved }))
    }

    async fn unmark(&self, room: &RoomId, user: &UserId) -> LabResult<()> {
        let marks = RoomKeys::new(room).marks();
        let mut forget = redis::cmd("HDEL");
        Ok(forget.arg(marks).arg(user.to_string()).query_async(&mut self.redis.clone()).await?)
    }
}
