//! Alternative: a STREAM a room, followed with `XREAD BLOCK` from the last entry that was seen.
//!
//! A subscriber that was cut off reads on where it was: nothing is lost within the [`KEEP`] newest entries. Beyond them it
//! sees that numbers are missing, and says so. The price: each message is stored, and each feed blocks a connection of its own.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chatlab_kit::{
    LabError, LabResult, ids::RoomId, keys::RoomKeys, lua::Script, redis::Redis, subscribe::Health,
};
use redis::{
    FromRedisValue,
    streams::{StreamId, StreamRangeReply, StreamReadReply},
};

use crate::{FEED_QUEUE, Fanout, Feeder, Feeds, KEEP, KEEP_TTL_MS, Subscription, feed::Feed};

pub(crate) static APPEND: Script = Script::new(
    "pubsub/append",
    include_str!("../../../lua/pubsub/append.lua"),
    &["stream", "count"],
    &["payload", "keep", "ttl_ms"],
);

/// How long one `XREAD` waits for an entry, in milliseconds.
pub(crate) const BLOCK_MS: u64 = 2_000;
/// The longest wait for its reply: a connection that says nothing for so long is given up.
pub(crate) const REPLY_MS: u64 = 2 * BLOCK_MS;
/// The most entries of one `XREAD`.
pub(crate) const BATCH: usize = 100;
/// The pause before a new connection is tried.
pub(crate) const RETRY: Duration = Duration::from_millis(20);

/// A stream a room and a tail a subscriber.
#[derive(Debug, Clone)]
pub struct StreamTail {
    redis: Redis,
    feeds: Feeds,
}

impl StreamTail {
    /// Appends through `redis`; each feed gets a connection of its own.
    pub fn new(redis: Redis) -> Self {
        Self { redis, feeds: Feeds::default() }
    }
}

/// A room's stream.
pub(crate) fn stream_key(room: &RoomId) -> String {
    RoomKeys::new(room).lab("stream_tail", "stream")
}

/// The number of the stream's newest entry.
pub(crate) fn count_key(room: &RoomId) -> String {
    RoomKeys::new(room).lab("stream_tail", "count")
}

/// Appends, and trims, in one round trip.
pub(crate) async fn append(redis: &Redis, room: &RoomId, payload: &Bytes) -> LabResult<()> {
    let call = APPEND.call().key(stream_key(room)).key(count_key(room));
    let call = call.arg(payload.as_ref()).arg(KEEP).arg(KEEP_TTL_MS);
    call.run::<u64>(&mut redis.clone()).await.map(drop)
}

/// An entry.
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) number: u64,
    pub(crate) payload: Bytes,
}

impl Entry {
    fn read(entry: StreamId, key: &str) -> LabResult<Self> {
        let missing = |field: &str| LabError::Corrupt {
            key: key.to_owned(),
            why: format!("entry {} has no {field}", entry.id),
        };
        let number = entry.get("n").ok_or_else(|| missing("n"))?;
        let payload: Vec<u8> = entry.get("p").ok_or_else(|| missing("p"))?;
        Ok(Self { id: entry.id, number, payload: payload.into() })
    }
}

/// Entries after `after`; waits for one, for [`BLOCK_MS`].
pub(crate) async fn read(redis: &mut Redis, key: &str, after: &str) -> LabResult<Vec<Entry>> {
    let reply: redis::Value = redis::cmd("XREAD")
        .arg("COUNT")
        .arg(BATCH)
        .arg("BLOCK")
        .arg(BLOCK_MS)
        .arg("STREAMS")
        .arg(key)
        .arg(after)
        .query_async(redis)
        .await?;
    let reply = Option::<StreamReadReply>::from_redis_value(reply).map_err(redis::RedisError::from)?;
    let entries = reply.into_iter().flat_map(|reply| reply.keys).flat_map(|stream| stream.ids);
    entries.map(|entry| Entry::read(entry, key)).collect()
}

/// One tail.
struct Tail {
    redis: Redis,
    key: String,
    /// The last entry seen, and its number.
    seen: (String, u64),
    feed: Feed,
}

impl Tail {
    async fn run(mut self, mut feeder: Feeder) {
        let mut connection: Option<Redis> = None;
        loop {
            let redis = match &mut connection {
                Some(redis) => redis,
                None => match self.redis.on_own_connection(REPLY_MS).await {
                    Ok(redis) => connection.insert(redis),
                    Err(_) => {
                        // The pace of attempts while the server does not answer.
                        tokio::time::sleep(RETRY).await;
                        continue;
                    }
                },
            };
            self.feed.set_live(true);
            match read(redis, &self.key, &self.seen.0).await {
                Ok(entries) => self.pass_on(entries, &mut feeder).await,
                Err(_) => {
                    // Whatever went wrong, `seen` is still true: nothing is lost by asking again.
                    self.feed.set_live(false);
                    connection = None;
                    // The pace of attempts while the server does not answer.
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Waits while the subscriber's queue is full: what it does not take in stays in the stream, until it is trimmed.
    async fn pass_on(&mut self, entries: Vec<Entry>, feeder: &mut Feeder) {
        for Entry { id, number, payload } in entries {
            if number != self.seen.1 + 1 {
                feeder.send_gap().await;
            }
            self.seen = (id, number);
            feeder.send(payload).await;
        }
    }
}

#[async_trait]
impl Fanout for StreamTail {
    async fn subscribe(&self, room: &RoomId) -> LabResult<Subscription> {
        let key = stream_key(room);
        // Not `$`: to the server that means "from when you read this", which is later than now.
        let newest: StreamRangeReply = redis::cmd("XREVRANGE")
            .arg(&key)
            .arg("+")
            .arg("-")
            .arg("COUNT")
            .arg(1)
            .query_async(&mut self.redis.clone())
            .await?;
        let newest = newest.ids.into_iter().next().map(|entry| Entry::read(entry, &key)).transpose()?;
        let seen = newest.map_or_else(|| ("0-0".to_owned(), 0), |entry| (entry.id, entry.number));
        let tail = Tail { redis: self.redis.clone(), key, seen, feed: self.feeds.open() };
        Ok(Subscription::fed_by(FEED_QUEUE, |feeder| tail.run(feeder)))
    }

    async fn notify(&self, room: &RoomId, payload: Bytes) -> LabResult<()> {
        append(&self.redis, room, &payload).await
    }

    fn health(&self) -> Health {
        self.feeds.health()
    }
}
