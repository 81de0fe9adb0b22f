//! What every key is: its type, life and bound, and who owns it.

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
        "# Keys\n\nGenerated from `labs/kit/src/keys/table.rs`; a test compares the two.\n\n\
         | key | type | TTL | bound | lab | holds |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for KeyRow { pattern, kind, ttl, bound, owner, holds } in TABLE {
        out.push_str(&format!("| `{pattern}` | {kind} | {ttl} | {bound} | {owner} | {holds} |\n"));
    }
    out
}
