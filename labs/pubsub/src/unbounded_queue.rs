//! Flawed: a queue without a bound between the connection and the reader.
//!
//! One reader that hangs, and the process grows until it is killed, and takes everybody with it.

use async_trait::async_trait;
use bytes::Bytes;
use chatlab_kit::{LabResult, ids::RoomId, redis::Redis, subscribe::Health};

use crate::{Fanout, Feeds, Subscription, classic, raw};

/// No bound, in practice.
const EVERYTHING: usize = 1 << 40;

/// One classic subscription a feed, and a queue that takes everything.
#[derive(Debug, Clone)]
pub struct UnboundedQueue {
    redis: Redis,
    feeds: Feeds,
}

impl UnboundedQueue {
    /// Publishes through `redis`; each feed gets a connection of its own.
    pub fn new(redis: Redis) -> Self {
        Self { redis, feeds: Feeds::default() }
    }
}

#[async_trait]
impl Fanout for UnboundedQueue {
    async fn subscribe(&self, room: &RoomId) -> LabResult<Subscription> {
        let (redis, channel) = (self.redis.clone(), classic::channel(room));
        let mut messages = raw::subscribed(&redis, &channel).await?;
        let mut feed = self.feeds.open();
        Ok(Subscription::fed_by(EVERYTHING, |mut feeder| async move {
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
