//! The one table of keys. Every key that chatlab writes is built here, and described here.
//!
//! Keys that one script touches together share a hash tag: `{pN}` for what belongs to a room
//! ([`crate::slots::Partition`]), `{u:ID}` for what belongs to a user.

use crate::{
    ids::{ClientMsgId, InstanceId, RoomId, SessionId, UserId},
    slots::Partition,
};

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct KeyRow {
    /// The pattern, with capitals for what varies.
    pub pattern: &'static str,
    /// The Redis type, or `channel`.
    pub kind: &'static str,
    /// How long it lives.
    pub ttl: &'static str,
    /// What bounds its size or number.
    pub bound: &'static str,
    /// The lab that owns it.
    pub owner: &'static str,
    /// What it holds.
    pub holds: &'static str,
}

const fn row(
    pattern: &'static str,
    kind: &'static str,
    ttl: &'static str,
    bound: &'static str,
    owner: &'static str,
    holds: &'static str,
) -> KeyRow {
    KeyRow { pattern, kind, ttl, bound, owner, holds }
}

/// All keys.
pub const TABLE: &[KeyRow] = &[
    row("{u:UID}:session:SECRET", "hash", "idle time", "sessions a user", "sessions", "one login session"),
    row("{u:UID}:sessions", "zset", "idle time", "sessions a user", "sessions", "session secrets by expiry"),
    row(
        "rate:SUBJECT",
        "string",
        "until paid for",
        "16 digits",
        "ratelimit",
        "when all takes of a subject are paid for, in µs",
    ),
    row(
        "{u:UID}:presence",
        "hash",
        "none; reaped",
        "the user's connections",
        "presence",
        "connection to lease",
    ),
    row(
        "{i:LEASE}:connections",
        "set",
        "none; reaped",
        "the instance's connections",
        "presence",
        "`UID CID` of each connection under a lease",
    ),
    row(
        "{presence:TAG}:leases",
        "zset",
        "none; reaped",
        "instances",
        "presence",
        "leases by the time they run out",
    ),
    row(
        "{presence:TAG}:dead",
        "zset",
        "none; reaped",
        "instances",
        "presence",
        "leases that ran out, by the time at which another reaper may take over",
    ),
    row(
        "{u:UID}:lab:VARIANT:NAME",
        "any",
        "by variant",
        "by variant",
        "all",
        "what the variants of a lab keep for a user that the server does not run by default",
    ),
    row("{pN}:room:RID:lab:VARIANT:NAME", "any", "by variant", "by variant", "all", "the same for a room"),
    row("{lab:TAG}:VARIANT:NAME", "any", "by variant", "by variant", "all", "the same for neither"),
    row(
        "lab:VARIANT:NAME",
        "any",
        "by variant",
        "by variant",
        "all",
        "the same without a tag: each key lies in a slot of its own",
    ),
    row("{pN}:room:RID:meta", "hash", "none", "2 fields", "history", "`epoch`, `seq`"),
    row("{pN}:room:RID:log", "zset", "none", "HOT_MESSAGES", "history", "message ids by sequence"),
    row("{pN}:room:RID:msg", "hash", "none", "HOT_MESSAGES", "history", "message id to envelope"),
    row(
        "{pN}:room:RID:changes",
        "zset",
        "none",
        "HOT_MESSAGES",
        "history",
        "the sequences of what is about other messages: they are never unread",
    ),
    row("{pN}:room:RID:marks", "hash", "none", "members", "history", "user to `READ DELIVERED`, sequences"),
    row(
        "{pN}:room:RID:pins",
        "zset",
        "none",
        "PINS_MAX",
        "history",
        "pinned message ids by their pin's sequence",
    ),
    row(
        "{pN}:room:RID:sent:UID:CID",
        "string",
        "DEDUP_TTL_MS",
        "send rate",
        "history",
        "`EPOCH SEQ ID TS` of a sent message",
    ),
    row(
        "{pN}:events:message.created",
        "stream",
        "until all groups have it",
        "STREAM_MAX",
        "history",
        "the outbox of a partition: new messages",
    ),
    row(
        "{pN}:events:TOPIC",
        "stream",
        "until all groups have it",
        "OUTBOX_MAX",
        "audit",
        "the outbox of a partition: another topic",
    ),
    row(
        "{pN}:dead:TOPIC:GROUP",
        "stream",
        "none",
        "DEAD_MAX",
        "audit",
        "entries that a group could not work, with the error",
    ),
    row(
        "{pN}:mark:INSTANCE",
        "string",
        "MARK_TTL_MS",
        "one a partition and instance; removed at once",
        "cluster",
        "a write for WAIT to wait for",
    ),
    row(
        "{pN}:room:RID:live",
        "channel",
        "-",
        "-",
        "pubsub",
        "a room's live envelopes and notices; of the nil id: log-ins that ended",
    ),
    row(
        "chatlab:probe:INSTANCE:N",
        "channel",
        "-",
        "one a master and instance",
        "kit",
        "whether subscriptions deliver; untagged, so that each master owns one",
    ),
];

/// The table as Markdown, for `docs/KEYS.md`.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Keys\n\nGenerated from `labs/kit/src/keys.rs`; a test compares the two.\n\n\
         | key | type | TTL | bound | lab | holds |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for KeyRow { pattern, kind, ttl, bound, owner, holds } in TABLE {
        out.push_str(&format!("| `{pattern}` | {kind} | {ttl} | {bound} | {owner} | {holds} |\n"));
    }
    out
}

/// A user's hash tag with braces.
pub fn user_tag(user: &UserId) -> String {
    format!("{{u:{user}}}")
}

/// One login session.
pub fn session(id: &SessionId) -> String {
    format!("{}:session:{}", user_tag(&id.user), id.secret())
}

/// A user's sessions by expiry.
pub fn user_sessions(user: &UserId) -> String {
    format!("{}:sessions", user_tag(user))
}

/// What a rate-limited subject has taken.
pub fn rate(subject: &str) -> String {
    format!("rate:{subject}")
}

/// A key of a lab variant that the server does not run by default.
pub fn user_lab(user: &UserId, variant: &str, name: &str) -> String {
    format!("{}:lab:{variant}:{name}", user_tag(user))
}

/// A user's connections, each with the lease that it lives under.
pub fn presence(user: &UserId) -> String {
    format!("{}:presence", user_tag(user))
}

/// The connections under one lease of an instance.
pub fn lease_connections(lease: &InstanceId) -> String {
    format!("{{i:{lease}}}:connections")
}

/// The leases of all instances that share `tag`.
pub fn leases(tag: &str) -> String {
    format!("{{presence:{tag}}}:leases")
}

/// The leases that ran out and whose connections are being closed.
pub fn dead_leases(tag: &str) -> String {
    format!("{{presence:{tag}}}:dead")
}

/// A key of a lab variant that belongs to neither a user nor a room; `tag` decides the slot.
pub fn lab(tag: &str, variant: &str, name: &str) -> String {
    format!("{{lab:{tag}}}:{variant}:{name}")
}

/// A key of a lab variant without a tag: the whole name decides the slot.
pub fn untagged_lab(variant: &str, name: &str) -> String {
    format!("lab:{variant}:{name}")
}

/// What the names of probe channels begin with.
pub const PROBE_PREFIX: &str = "chatlab:probe:";

/// The `n`-th probe channel of a subscription manager. Without a tag: `n` is counted up until the
/// channel belongs to the master that is to be probed.
pub fn probe(instance: impl std::fmt::Display, n: u32) -> String {
    format!("{PROBE_PREFIX}{instance}:{n}")
}

/// A topic's stream in a partition.
pub fn events(partition: Partition, topic: &str) -> String {
    format!("{{{}}}:events:{topic}", partition.tag())
}

/// What a group of a topic could not work, in a partition.
pub fn dead_events(partition: Partition, topic: &str, group: &str) -> String {
    format!("{{{}}}:dead:{topic}:{group}", partition.tag())
}

/// What an instance writes in a partition for `WAIT` to wait for.
pub fn wait_mark(partition: Partition, instance: InstanceId) -> String {
    format!("{{{}}}:mark:{instance}", partition.tag())
}

/// The keys of one room.
#[derive(Debug, Clone)]
pub struct RoomKeys {
    tag: String,
    room: RoomId,
}

impl RoomKeys {
    /// The keys of `room`.
    pub fn new(room: &RoomId) -> Self {
        Self { tag: Partition::of(room).tag(), room: *room }
    }

    fn key(&self, name: &str) -> String {
        format!("{{{}}}:room:{}:{name}", self.tag, self.room)
    }

    /// Epoch and last sequence.
    pub fn meta(&self) -> String {
        self.key("meta")
    }

    /// Message ids by sequence.
    pub fn log(&self) -> String {
        self.key("log")
    }

    /// Message id to envelope.
    pub fn msg(&self) -> String {
        self.key("msg")
    }

    /// The sequences of what is about other messages.
    pub fn changes(&self) -> String {
        self.key("changes")
    }

    /// How far each member is.
    pub fn marks(&self) -> String {
        self.key("marks")
    }

    /// The pinned messages.
    pub fn pins(&self) -> String {
        self.key("pins")
    }

    /// Remembers a sent message by its sender's own id.
    pub fn sent(&self, user: &UserId, cid: &ClientMsgId) -> String {
        self.key(&format!("sent:{user}:{cid}"))
    }

    /// The room's channel.
    pub fn live(&self) -> String {
        self.key("live")
    }

    /// A key of a lab variant that the server does not run by default.
    pub fn lab(&self, variant: &str, name: &str) -> String {
        self.key(&format!("lab:{variant}:{name}"))
    }

    /// The event stream of the room's partition.
    pub fn events(&self, topic: &str) -> String {
        format!("{{{}}}:events:{topic}", self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::slot;

    #[test]
    fn what_belongs_together_shares_a_slot() {
        let room = RoomId::new();
        let user = UserId::new();
        let keys = RoomKeys::new(&room);
        let all = [
            keys.meta(),
            keys.log(),
            keys.msg(),
            keys.pins(),
            keys.changes(),
            keys.marks(),
            keys.live(),
            keys.sent(&user, &"c".parse().unwrap()),
            keys.events("message.created"),
        ];
        assert!(all.iter().all(|k| slot(k.as_bytes()) == Partition::of(&room).slot()), "{all:?}");
        let session = SessionId::new(user);
        assert_eq!(slot(self::session(&session).as_bytes()), slot(user_sessions(&user).as_bytes()));
    }

    #[test]
    fn every_constructor_has_its_row_in_the_table() {
        let (room, user) = (RoomId::new(), UserId::new());
        let keys = RoomKeys::new(&room);
        let session = SessionId::new(user);
        let cid: ClientMsgId = "CIDX".parse().unwrap();
        let lease = InstanceId::new();
        for key in [
            keys.meta(),
            keys.log(),
            keys.msg(),
            keys.pins(),
            keys.changes(),
            keys.marks(),
            keys.live(),
            keys.sent(&user, &cid),
            keys.events("message.created"),
            events(Partition::of(&room), "TOPIC"),
            dead_events(Partition::of(&room), "TOPIC", "GROUP"),
            wait_mark(Partition::of(&room), lease).replace(&lease.to_string(), "INSTANCE"),
            self::session(&session),
            user_sessions(&user),
            rate("SUBJECT"),
            presence(&user),
            lease_connections(&lease),
            leases("TAG"),
            dead_leases("TAG"),
            user_lab(&user, "VARIANT", "NAME"),
            keys.lab("VARIANT", "NAME"),
            lab("TAG", "VARIANT", "NAME"),
            untagged_lab("VARIANT", "NAME"),
            probe("INSTANCE", 7).replace(":7", ":N"),
        ] {
            let pattern = key
                .replace(&Partition::of(&room).tag(), "pN")
                .replace(&room.to_string(), "RID")
                .replace(&session.secret(), "SECRET")
                .replace(&user.to_string(), "UID")
                .replace(&lease.to_string(), "LEASE")
                .replace("CIDX", "CID");
            assert!(TABLE.iter().any(|row| row.pattern == pattern), "no row for {pattern}");
        }
    }

    #[test]
    fn the_document_shows_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/KEYS.md");
        if std::env::var_os("CHATLAB_BLESS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text == markdown(), "docs/KEYS.md is out of date: run this test with CHATLAB_BLESS=1");
    }
}
