//! Flawed: all rooms share one channel, and nobody looks which room a message is for.
//!
//! One subscription instead of thousands is tempting. Then every instance gets everything, and here so does every room.

use async_trait::async_trait;
use bytes::Bytes;
use chatlab_kit::{LabResult, ids::RoomId, keys, redis::Redis, subscribe::Health};

use crate::{FEED_QUEUE, Fanout, Feeds, Subscription, classic, raw};

fn channel() -> String {
    keys::lab("pubsub", "one_channel", "live")
}

/// One classic subscription a feed, to the channel of everybody.
#[derive(Debug, Clone)]
pub struct OneChannel {
    redis: Redis,
    feeds: Feeds,
}

impl OneChannel {
    /// Publishes through `redis`; each feed gets a connection of its own.
    pub fn new(redis: Redis) -> Self {
        Self { redis, feeds: Feeds::default() }
    }
}

#[async_trait]
impl Fanout for OneChannel {
    async fn subscribe(&self, _room: &RoomId) -> LabResult<Subscription> {
        let (redis, channel) = (self.redis.clone(), channel());
        let mut messages = raw::subscribed(&redis, &channel).await?;
        let mut feed = self.feeds.open();
        Ok(Subscription::fed_by(FEED_QUEUE, |mut feeder| async move {
            loop {
                feed.set_live(true);
                raw::forward(&mut messages, &mut feeder).await;
                feed.set_live(false);
                messages = raw::subscribed_again(&redis, &channel).await;
                feeder.offer_gap();
            }
        }))
    }

    async fn notify(&self, _room: &RoomId, payload: Bytes) -> LabResult<()> {
        classic::publish(&self.redis, &channel(), &payload).await
    }

    fn health(&self) -> Health {
        self.feeds.health()
    }
}
