//! Flawed: a subscriber that does not notice that it was cut off.
//!
//! The loop over messages ends when the connection does, and nobody is told: for its reader a dead feed and a quiet room
//! look the same. Programs that call `SUBSCRIBE` once, at the start, are like this.

use async_trait::async_trait;
use bytes::Bytes;
use chatlab_kit::{LabResult, ids::RoomId, redis::Redis, subscribe::Health};

use crate::{FEED_QUEUE, Fanout, Feeds, Subscription, classic, raw};

/// One classic subscription a feed, made once.
#[derive(Debug, Clone)]
pub struct FireAndForget {
    redis: Redis,
    feeds: Feeds,
}

impl FireAndForget {
    /// Publishes through `redis`; each feed gets a connection of its own.
    pub fn new(redis: Redis) -> Self {
        Self { redis, feeds: Feeds::default() }
    }
}

#[async_trait]
impl Fanout for FireAndForget {
    async fn subscribe(&self, room: &RoomId) -> LabResult<Subscription> {
        let mut messages = raw::subscribed(&self.redis, &classic::channel(room)).await?;
        let mut feed = self.feeds.open();
        Ok(Subscription::fed_by(FEED_QUEUE, |mut feeder| async move {
            feed.set_live(true);
            raw::forward(&mut messages, &mut feeder).await;
            // The connection is gone, and this waits for messages that nobody sends.
            std::future::pending::<()>().await;
        }))
    }

    async fn notify(&self, room: &RoomId, payload: Bytes) -> LabResult<()> {
        classic::publish(&self.redis, &classic::channel(room), &payload).await
    }

    fn health(&self) -> Health {
        self.feeds.health()
    }
}
