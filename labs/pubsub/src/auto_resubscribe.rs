//! Flawed: subscribes again after a cut, and says nothing about it.
//!
//! Many client libraries do just this, as a service: messages come again, those of the meantime never do, and the reader
//! believes that it has everything.

use async_trait::async_trait;
use bytes::Bytes;
use chatlab_kit::{LabResult, ids::RoomId, redis::Redis, subscribe::Health};

use crate::{FEED_QUEUE, Fanout, Feeds, Subscription, classic, raw};

/// One classic subscription a feed, renewed in silence.
#[derive(Debug, Clone)]
pub struct AutoResubscribe {
    redis: Redis,
    feeds: Feeds,
}

impl AutoResubscribe {
    /// Publishes through `redis`; each feed gets a connection of its own.
    pub fn new(redis: Redis) -> Self {
        Self { redis, feeds: Feeds::default() }
    }
}

#[async_trait]
impl Fanout for AutoResubscribe {
    async fn subscribe(&self, room: &RoomId) -> LabResult<Subscription> {
        let (redis, channel) = (self.redis.clone(), classic::channel(room));
        let mut messages = raw::subscribed(&redis, &channel).await?;
        let mut feed = self.feeds.open();
        Ok(Subscription::fed_by(FEED_QUEUE, |mut feeder| async move {
            loop {
                feed.set_live(true);
                raw::forward(&mut messages, &mut feeder).await;
                feed.set_live(false);
                messages = raw::subscribed_again(&redis, &channel).await;
                // Here the reader would have to be told.
            }
        }))
    }

    async fn notify(&self, room: &RoomId, payload: Bytes) -> LabResult<()> {
        classic::publish(&self.redis, &classic::channel(room), &payload).await
    }

    fn health(&self) -> Health {
        self.feeds.health()
    }
}
