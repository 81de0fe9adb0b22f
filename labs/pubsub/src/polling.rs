//! Alternative: a ZSET a room, asked for what is new every few milliseconds.
//!
//! No connection is held, nothing can be cut off: a poll that fails is asked again. The price is paid in time (half an
//! interval on average) and in commands that find nothing.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chatlab_kit::{
    LabError, LabResult, ids::RoomId, keys::RoomKeys, lua::Script, redis::Redis, subscribe::Health,
};

use crate::{FEED_QUEUE, Fanout, Feeder, Feeds, KEEP, KEEP_TTL_MS, Subscription, feed::Feed};

pub(crate) static STORE: Script = Script::new(
    "pubsub/store",
    include_str!("../../../lua/pubsub/store.lua"),
    &["log", "count"],
    &["payload", "keep", "ttl_ms"],
);

/// The pause between two polls of the variant `polling`.
pub const INTERVAL: Duration = Duration::from_millis(10);
/// The most members of one poll.
const BATCH: usize = 100;

/// A sorted set a room, scored by number.
#[derive(Debug, Clone)]
pub struct Polling {
    redis: Redis,
    interval: Duration,
    feeds: Feeds,
}

impl Polling {
    /// Asks every `interval`, through `redis`.
    pub fn new(redis: Redis, interval: Duration) -> Self {
        Self { redis, interval, feeds: Feeds::default() }
    }
}

/// A room's newest payloads by number.
pub(crate) fn log_key(room: &RoomId) -> String {
    RoomKeys::new(room).lab("polling", "log")
}

/// The number of the newest one.
pub(crate) fn count_key(room: &RoomId) -> String {
    RoomKeys::new(room).lab("polling", "count")
}

/// One subscriber.
struct Poller {
    redis: Redis,
    room: RoomId,
    interval: Duration,
    seen: u64,
    feed: Feed,
}

impl Poller {
    async fn run(mut self, mut feeder: Feeder) {
        loop {
            let polled = self.poll().await;
            self.feed.set_live(polled.is_ok());
            let full = match polled {
                Ok((count, members)) => self.pass_on(count, members, &mut feeder).await,
                Err(_) => false,
            };
            if !full {
                // The pace of this variant's polls.
                tokio::time::sleep(self.interval).await;
            }
        }
    }

    /// The newest number, and the members after the last one seen.
    async fn poll(&mut self) -> LabResult<(u64, Vec<String>)> {
        let mut pipe = redis::pipe();
        pipe.atomic();
        pipe.cmd("GET").arg(count_key(&self.room));
        pipe.cmd("ZRANGE").arg(log_key(&self.room)).arg(format!("({}", self.seen)).arg("+inf");
        pipe.arg("BYSCORE").arg("LIMIT").arg(0).arg(BATCH);
        let (count, members): (Option<u64>, Vec<String>) = pipe.query_async(&mut self.redis).await?;
        Ok((count.unwrap_or(0), members))
    }

    /// `true` when there may be more at once.
    async fn pass_on(&mut self, count: u64, members: Vec<String>, feeder: &mut Feeder) -> bool {
        if count < self.seen {
            // The room was quiet for so long that it was forgotten, and counts from 1 again.
            self.seen = 0;
            feeder.send_gap().await;
            return true;
        }
        let full = members.len() == BATCH;
        for member in members {
            let Some((number, payload)) = member.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            if number != self.seen + 1 {
                feeder.send_gap().await;
            }
            self.seen = number;
            feeder.send(Bytes::copy_from_slice(payload.as_bytes())).await;
        }
        full
    }
}

#[async_trait]
impl Fanout for Polling {
    async fn subscribe(&self, room: &RoomId) -> LabResult<Subscription> {
        let seen: Option<u64> =
            redis::cmd("GET").arg(count_key(room)).query_async(&mut self.redis.clone()).await?;
        let poller = Poller {
            redis: self.redis.clone(),
            room: *room,
            interval: self.interval,
            seen: seen.unwrap_or(0),
            feed: self.feeds.open(),
        };
        Ok(Subscription::fed_by(FEED_QUEUE, |feeder| poller.run(feeder)))
    }

    async fn notify(&self, room: &RoomId, payload: Bytes) -> LabResult<()> {
        let text = std::str::from_utf8(&payload)
            .map_err(|_| LabError::Other("`polling` carries text only".into()))?;
        let call = STORE.call().key(log_key(room)).key(count_key(room));
        call.arg(text).arg(KEEP).arg(KEEP_TTL_MS).run::<u64>(&mut self.redis.clone()).await.map(drop)
    }

    fn health(&self) -> Health {
        self.feeds.health()
    }
}
