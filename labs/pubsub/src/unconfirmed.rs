//! Flawed: `subscribe` returns before the server knows of it.
//!
//! The subscription is on its way when the caller goes on, and reads the history, and misses what is published between the
//! two: it is in neither.

use async_trait::async_trait;
use bytes::Bytes;
use chatlab_kit::{LabResult, ids::RoomId, redis::Redis, subscribe::Health};

use crate::{FEED_QUEUE, Fanout, Feeds, Subscription, classic, raw};

/// One classic subscription a feed, not waited for.
#[derive(Debug, Clone)]
pub struct Unconfirmed {
    redis: Redis,
    feeds: Feeds,
}

impl Unconfirmed {
    /// Publishes through `redis`; each feed gets a connection of its own.
    pub fn new(redis: Redis) -> Self {
        Self { redis, feeds: Feeds::default() }
    }
}

#[async_trait]
impl Fanout for Unconfirmed {
    async fn subscribe(&self, room: &RoomId) -> LabResult<Subscription> {
        let (redis, channel) = (self.redis.clone(), classic::channel(room));
        let mut feed = self.feeds.open();
        Ok(Subscription::fed_by(FEED_QUEUE, |mut feeder| async move {
            let mut messages = raw::subscribed_again(&redis, &channel).await;
            loop {
                feed.set_live(true);
                raw::forward(&mut messages, &mut feeder).await;
                feed.set_live(false);
                messages = raw::subscribed_again(&redis, &channel).await;
                feeder.offer_gap();
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
