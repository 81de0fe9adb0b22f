//! Exercise: your own fan-out. Written by you, checked by `chatlab check pubsub`.
//!
//! Start with `notify` and a `subscribe` that works while nobody is cut off: `subscribed_means_subscribed`,
//! `delivers_in_order_once` and `rooms_are_separate` need nothing else. Then the cut: `tells_of_every_gap`.
//!
//! Things to decide:
//!
//! - Publish and forget (`PUBLISH`, `SPUBLISH`), or store and read (a STREAM, a ZSET)? Who then bounds what is stored?
//! - When is a subscription one? `SUBSCRIBE` was sent, or the server has answered?
//! - The connection ends. How does your task notice, who subscribes again, and what does the reader hear of it? What it
//!   missed is gone, or it is in the stream behind the last entry that you saw.
//! - The reader does not read. Where do its messages wait, how many, and what stands in place of the others?
//!
//! Tools: [`Subscription::fed_by`] makes a feed of a task; [`Feeder::offer`](crate::Feeder::offer) and
//! [`Feeder::send`](crate::Feeder::send) fill it, the one for a source that does not wait, the other for one that does.
//! `Redis::on_own_connection` for commands that block; for pub/sub a client of its own:
//! `redis::Client::open(self.redis.config().connection_info(&node)?)?.get_async_pubsub()`, with a node of
//! `self.redis.primaries()`. (`chatlab_kit::subscribe` would do it all. It is the answer, not the exercise.)
//!
//! Keys and channels: build them with [`RoomKeys::lab`], which puts everything of a room into one hash slot.

use async_trait::async_trait;
use bytes::Bytes;
use chatlab_kit::{LabError, LabResult, ids::RoomId, keys::RoomKeys, redis::Redis, subscribe::Health};

use crate::{Fanout, Feeds, Subscription};

/// Your variant.
#[derive(Debug, Clone)]
pub struct Exercise {
    redis: Redis,
    feeds: Feeds,
}

impl Exercise {
    /// Publishes through `redis`.
    pub fn new(redis: Redis) -> Self {
        Self { redis, feeds: Feeds::default() }
    }
}

/// Where a room's messages go.
fn channel(room: &RoomId) -> String {
    RoomKeys::new(room).lab("exercise", "live")
}

#[async_trait]
impl Fanout for Exercise {
    async fn subscribe(&self, _room: &RoomId) -> LabResult<Subscription> {
        // 1. Begin where "now" is: the server's confirmation of SUBSCRIBE, or the id of the newest entry.
        // 2. `Subscription::fed_by(FEED_QUEUE, |mut feeder| async move { … })`: a loop that fills the feed.
        // 3. In the loop: what happens when the connection ends?
        Err(LabError::Unfinished("subscribe"))
    }

    async fn notify(&self, room: &RoomId, payload: Bytes) -> LabResult<()> {
        // One round trip, such as
        // `redis::cmd("PUBLISH").arg(channel(room)).arg(payload.as_ref()).query_async(&mut self.redis.clone()).await?`
        let _ = (&self.redis, channel(room), payload);
        Err(LabError::Unfinished("notify"))
    }

    fn health(&self) -> Health {
        // `self.feeds.open()` in `subscribe`, and `set_live` whenever the connection comes or goes.
        self.feeds.health()
    }
}
