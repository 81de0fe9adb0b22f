//! The server's outbox: topics as streams, one a partition, read by groups.
//!
//! What [`StreamGroups`](crate::StreamGroups) teaches on one topic, at work: an event is appended in the slot of what it is about (a new
//! message even by the script that stores the message), each group has it once at a time, and nothing goes before every group
//! is done with it. The work itself is outside Redis here, so it happens at least once, and must be idempotent.

use async_trait::async_trait;
use chatlab_kit::{LabError, LabResult, keys, lua::Script, redis::Redis, slots::Partition};

use crate::{DEAD_MAX, EventId, TAKE_MAX, bounded, corrupt, stream_groups::parse_id};

pub(crate) static EMIT: Script =
    Script::new("audit/emit", include_str!("../../../lua/audit/emit.lua"), &["events"], &["max", "payload"]);
pub(crate) static OUTBOX_TAKE: Script = Script::new(
    "audit/outbox_take",
    include_str!("../../../lua/audit/outbox_take.lua"),
    &["events"],
    &["group", "consumer", "count", "idle_ms"],
);
pub(crate) static OUTBOX_DONE: Script = Script::new(
    "audit/outbox_done",
    include_str!("../../../lua/audit/outbox_done.lua"),
    &["events"],
    &["group", "ids", "kept_ms"],
);
pub(crate) static OUTBOX_BURY: Script = Script::new(
    "audit/outbox_bury",
    include_str!("../../../lua/audit/outbox_bury.lua"),
    &["events", "dead"],
    &["group", "id", "error", "dead_max"],
);
pub(crate) static OUTBOX_LAG: Script =
    Script::new("audit/outbox_lag", include_str!("../../../lua/audit/outbox_lag.lua"), &["events"], &[]);

/// Every script of the outbox.
pub fn scripts() -> [&'static Script; 5] {
    [&EMIT, &OUTBOX_TAKE, &OUTBOX_DONE, &OUTBOX_BURY, &OUTBOX_LAG]
}

/// The most entries of one topic in one partition; an append beyond that is refused until the groups have caught up.
pub const OUTBOX_MAX: u64 = 100_000;
/// The longest payload, in bytes.
pub const PAYLOAD_MAX_BYTES: usize = 64 * 1024;
/// The longest error that is kept with a dead letter, in bytes.
const ERROR_MAX_BYTES: usize = 512;

/// When a consumer counts as dead, and how long what is done stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxPolicy {
    /// What was not acknowledged for so many milliseconds, by Redis' clock, is given to whoever asks next.
    pub idle_ms: u64,
    /// How long an entry that all groups are done with stays for replays, in milliseconds. Nodes of a stream go as a whole, so
    /// some stay longer.
    pub kept_ms: u64,
}

impl Default for OutboxPolicy {
    /// A consumer is dead after 30 s; entries stay for 60 s.
    fn default() -> Self {
        Self { idle_ms: 30_000, kept_ms: 60_000 }
    }
}

/// An entry in the hands of a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id within topic and partition.
    pub id: EventId,
    /// How many times the group has had it delivered, this time included.
    pub deliveries: u64,
    /// The event, as it was appended.
    pub payload: Vec<u8>,
}

/// An entry that a group gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buried {
    /// The id that it had.
    pub id: EventId,
    /// Why.
    pub error: String,
    /// The event, as it was appended.
    pub payload: Vec<u8>,
}

/// One group of a topic in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLag {
    /// The group.
    pub group: String,
    /// Entries that no consumer of the group has had.
    pub undelivered: u64,
    /// Entries that a consumer has and did not acknowledge.
    pub pending: u64,
    /// The age of the oldest of both, in milliseconds by Redis' clock; 0 without any.
    pub oldest_ms: u64,
}

/// A topic in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicLag {
    /// Entries that the stream holds.
    pub length: u64,
    /// Its groups.
    pub groups: Vec<GroupLag>,
}

/// The port: what the server asks of its outbox. Every operation is about one topic in one partition.
///
/// **Groups are independent**, and one that is new gets everything that is still there. **At least once**: what a consumer had and did
/// not acknowledge is given to another one after [`OutboxPolicy::idle_ms`]. **Nothing unread goes.**
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Appends an event: one round trip.
    ///
    /// # Errors
    /// [`LabError::Bound`] for a payload that is too long, and for a stream of [`OUTBOX_MAX`] entries.
    async fn emit(&self, partition: Partition, topic: &str, payload: &[u8]) -> LabResult<EventId>;

    /// Gives a consumer at most `count` (from 1 to [`TAKE_MAX`]) entries: first those that another one left idle, then new ones.
    ///
    /// # Errors
    /// Those of Redis.
    async fn take(
        &self,
        partition: Partition,
        topic: &str,
        group: &str,
        consumer: &str,
        count: usize,
    ) -> LabResult<Vec<Entry>>;

    /// Acknowledges entries, and trims what every group is done with. How many entries were dropped.
    ///
    /// # Errors
    /// Those of Redis; the entries may be acknowledged or not, and it may be tried again.
    async fn done(&self, partition: Partition, topic: &str, group: &str, ids: &[EventId]) -> LabResult<u64>;

    /// Sets an entry aside that the group cannot work. False when it was done with before.
    ///
    /// # Errors
    /// Those of Redis.
    async fn bury(
        &self,
        partition: Partition,
        topic: &str,
        group: &str,
        id: EventId,
        error: &str,
    ) -> LabResult<bool>;

    /// How far each group is behind.
    ///
    /// # Errors
    /// Those of Redis.
    async fn lag(&self, partition: Partition, topic: &str) -> LabResult<TopicLag>;

    /// At most `count` entries after `after`, oldest first; no group is moved by that. `EventId(0, 0)` for the start.
    ///
    /// # Errors
    /// Those of Redis.
    async fn replay(
        &self,
        partition: Partition,
        topic: &str,
        after: EventId,
        count: usize,
    ) -> LabResult<Vec<(EventId, Vec<u8>)>>;

    /// What a group gave up, oldest first, at most [`DEAD_MAX`].
    ///
    /// # Errors
    /// Those of Redis.
    async fn dead(&self, partition: Partition, topic: &str, group: &str) -> LabResult<Vec<Buried>>;
}

/// The outbox on streams.
#[derive(Debug, Clone)]
pub struct Streams {
    redis: Redis,
    policy: OutboxPolicy,
}

impl Streams {
    /// Under `policy`.
    pub fn new(redis: Redis, policy: OutboxPolicy) -> Self {
        Self { redis, policy }
    }
}

/// An entry as XRANGE answers it, with bytes for values.
type Raw = (String, Vec<Vec<u8>>);

fn field(fields: &[Vec<u8>], name: &str) -> Vec<u8> {
    let pair = fields.chunks_exact(2).find(|pair| pair[0] == name.as_bytes());
    pair.map(|pair| pair[1].clone()).unwrap_or_default()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[async_trait]
impl Outbox for Streams {
    async fn emit(&self, partition: Partition, topic: &str, payload: &[u8]) -> LabResult<EventId> {
        if payload.len() > PAYLOAD_MAX_BYTES {
            return Err(LabError::Bound { what: "the bytes of an event", bound: PAYLOAD_MAX_BYTES as u64 });
        }
        let key = keys::events(partition, topic);
        let call = EMIT.call().key(&key).arg(OUTBOX_MAX).arg(payload);
        let id: String = call.run(&mut self.redis.clone()).await?;
        match id.as_str() {
            "" => Err(LabError::Bound {
                what: "the entries of an outbox (a group is behind)",
                bound: OUTBOX_MAX,
            }),
            id => parse_id(&key, id),
        }
    }

    async fn take(
        &self,
        partition: Partition,
        topic: &str,
        group: &str,
        consumer: &str,
        count: usize,
    ) -> LabResult<Vec<Entry>> {
        let key = keys::events(partition, topic);
        let call = OUTBOX_TAKE.call().key(&key).arg(group).arg(consumer);
        let call = call.arg(bounded(count)).arg(self.policy.idle_ms);
        let flat: Vec<Vec<u8>> = call.run(&mut self.redis.clone()).await?;
        let entries = flat.chunks_exact(3).map(|row| {
            let deliveries = text(&row[1]).parse().map_err(|_| corrupt(&key, "deliveries is no number"))?;
            Ok(Entry { id: parse_id(&key, &text(&row[0]))?, deliveries, payload: row[2].clone() })
        });
        entries.collect()
    }

    async fn done(&self, partition: Partition, topic: &str, group: &str, ids: &[EventId]) -> LabResult<u64> {
        let mut dropped = 0;
        for ids in ids.chunks(TAKE_MAX) {
            let ids: Vec<String> = ids.iter().map(EventId::to_string).collect();
            let call = OUTBOX_DONE.call().key(keys::events(partition, topic)).arg(group).arg(ids.join(" "));
            let (_, gone): (u64, u64) = call.arg(self.policy.kept_ms).run(&mut self.redis.clone()).await?;
            dropped += gone;
        }
        Ok(dropped)
    }

    async fn bury(
        &self,
        partition: Partition,
        topic: &str,
        group: &str,
        id: EventId,
        error: &str,
    ) -> LabResult<bool> {
        let mut end = error.len().min(ERROR_MAX_BYTES);
        while !error.is_char_boundary(end) {
            end -= 1;
        }
        let dead = keys::dead_events(partition, topic, group);
        let call = OUTBOX_BURY.call().key(keys::events(partition, topic)).key(dead).arg(group);
        call.arg(id.to_string()).arg(&error[..end]).arg(DEAD_MAX).run(&mut self.redis.clone()).await
    }

    async fn lag(&self, partition: Partition, topic: &str) -> LabResult<TopicLag> {
        let key = keys::events(partition, topic);
        let flat: Vec<String> = OUTBOX_LAG.call().key(&key).run(&mut self.redis.clone()).await?;
        let number =
            |text: &String| text.parse().map_err(|_| corrupt(&key, format!("`{text}` is no number")));
        let [length, groups @ ..] = flat.as_slice() else { return Ok(TopicLag::default()) };
        let groups = groups.chunks_exact(4).map(|row| {
            Ok(GroupLag {
                group: row[0].clone(),
                undelivered: number(&row[1])?,
                pending: number(&row[2])?,
                oldest_ms: number(&row[3])?,
            })
        });
        Ok(TopicLag { length: number(length)?, groups: groups.collect::<LabResult<_>>()? })
    }

    async fn replay(
        &self,
        partition: Partition,
        topic: &str,
        after: EventId,
        count: usize,
    ) -> LabResult<Vec<(EventId, Vec<u8>)>> {
        let key = keys::events(partition, topic);
        let mut range = redis::cmd("XRANGE");
        range.arg(&key).arg(format!("({after}")).arg("+").arg("COUNT").arg(bounded(count));
        let entries: Vec<Raw> = range.query_async(&mut self.redis.clone()).await?;
        // The first field, whatever its name: a message's is its envelope.
        let payload = |fields: &[Vec<u8>]| fields.get(1).cloned().unwrap_or_default();
        entries.iter().map(|(id, fields)| Ok((parse_id(&key, id)?, payload(fields)))).collect()
    }

    async fn dead(&self, partition: Partition, topic: &str, group: &str) -> LabResult<Vec<Buried>> {
        let key = keys::dead_events(partition, topic, group);
        let mut range = redis::cmd("XRANGE");
        range.arg(&key).arg("-").arg("+").arg("COUNT").arg(DEAD_MAX);
        let entries: Vec<Raw> = range.query_async(&mut self.redis.clone()).await?;
        let buried = entries.iter().map(|(_, fields)| {
            Ok(Buried {
                id: parse_id(&key, &text(&field(fields, "id")))?,
                error: text(&field(fields, "error")),
                payload: field(fields, "payload"),
            })
        });
        buried.collect()
    }
}
