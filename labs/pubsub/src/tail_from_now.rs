//! Flawed: follows the stream from `$`, which is "from now on", whenever that is.
//!
//! Between two reads, and for as long as the connection is away, "now" moves on, and the entries of the meantime are behind
//! it: stored, and never read.

use async_trait::async_trait;
use bytes::Bytes;
use chatlab_kit::{LabResult, ids::RoomId, redis::Redis, subscribe::Health};

use crate::{
    FEED_QUEUE, Fanout, Feeds, Subscription,
    stream_tail::{self, REPLY_MS, RETRY},
};

/// The stream of [`StreamTail`](crate::StreamTail), read without a memory.
#[derive(Debug, Clone)]
pub struct TailFromNow {
    redis: Redis,
    feeds: Feeds,
}

impl TailFromNow {
    /// Appends through `redis`; each feed gets a connection of its own.
    pub fn new(redis: Redis) -> Self {
        Self { redis, feeds: Feeds::default() }
    }
}

#[async_trait]
impl Fanout for TailFromNow {
    async fn subscribe(&self, room: &RoomId) -> LabResult<Subscription> {
        let key = stream_tail::stream_key(room);
        let mut redis = self.redis.on_own_connection(REPLY_MS).await?;
        let mut feed = self.feeds.open();
        Ok(Subscription::fed_by(FEED_QUEUE, |mut feeder| async move {
            loop {
                let read = stream_tail::read(&mut redis, &key, "$").await;
                feed.set_live(read.is_ok());
                match read {
                    Ok(entries) => {
                        for entry in entries {
                            feeder.send(entry.payload).await;
                        }
                    }
                    // The pace of attempts while the server does not answer.
                    Err(_) => tokio::time::sleep(RETRY).await,
                }
            }
        }))
    }

    async fn notify(&self, room: &RoomId, payload: Bytes) -> LabResult<()> {
        stream_tail::append(&self.redis, room, &payload).await
    }

    fn health(&self) -> Health {
        self.feeds.health()
    }
}
