//! Flawed: a LIST a room, trimmed, and read by position.
//!
//! A position in a list says where, not what. When `LTRIM` takes the oldest away, everything moves to the left: the reader's
//! place is past the end, and stays there.

use async_trait::async_trait;
use bytes::Bytes;
use chatlab_kit::{LabResult, ids::RoomId, keys::RoomKeys, redis::Redis, subscribe::Health};

use crate::{FEED_QUEUE, Fanout, Feeds, KEEP, KEEP_TTL_MS, Subscription, polling::INTERVAL};

/// A list a room, and a number a reader.
#[derive(Debug, Clone)]
pub struct ListOffset {
    redis: Redis,
    feeds: Feeds,
}

impl ListOffset {
    /// Asks every [`INTERVAL`], through `redis`.
    pub fn new(redis: Redis) -> Self {
        Self { redis, feeds: Feeds::default() }
    }
}

fn key(room: &RoomId) -> String {
    RoomKeys::new(room).lab("list_offset", "list")
}

#[async_trait]
impl Fanout for ListOffset {
    async fn subscribe(&self, room: &RoomId) -> LabResult<Subscription> {
        let (mut redis, key) = (self.redis.clone(), key(room));
        let mut offset: usize = redis::cmd("LLEN").arg(&key).query_async(&mut redis).await?;
        let mut feed = self.feeds.open();
        Ok(Subscription::fed_by(FEED_QUEUE, |mut feeder| async move {
            loop {
                let read: redis::RedisResult<Vec<Vec<u8>>> =
                    redis::cmd("LRANGE").arg(&key).arg(offset).arg(-1).query_async(&mut redis).await;
                feed.set_live(read.is_ok());
                for payload in read.unwrap_or_default() {
                    offset += 1;
                    feeder.send(payload.into()).await;
                }
                // The pace of this variant's polls.
                tokio::time::sleep(INTERVAL).await;
            }
        }))
    }

    async fn notify(&self, room: &RoomId, payload: Bytes) -> LabResult<()> {
        let key = key(room);
        let mut pipe = redis::pipe();
        pipe.atomic();
        pipe.cmd("RPUSH").arg(&key).arg(payload.as_ref()).ignore();
        pipe.cmd("LTRIM").arg(&key).arg(format!("-{KEEP}")).arg(-1).ignore();
        pipe.cmd("PEXPIRE").arg(&key).arg(KEEP_TTL_MS).ignore();
        Ok(pipe.query_async(&mut self.redis.clone()).await?)
    }

    fn health(&self) -> Health {
        self.feeds.health()
    }
}
