//! Alternative: classic pub/sub (`SUBSCRIBE`, `PUBLISH`).
//!
//! On one node the same as [`sharded`](crate::sharded). A cluster carries every message over its bus to every node, whether
//! somebody listens there or not: any node will do for subscribing, and no node is spared.

use async_trait::async_trait;
use bytes::Bytes;
use chatlab_kit::{
    LabResult,
    ids::RoomId,
    keys::RoomKeys,
    redis::Redis,
    subscribe::{ChannelKind, Health},
};

use crate::{Fanout, Subscription, listener::Listener};

/// Live fan-out over classic channels, one a room.
#[derive(Clone)]
pub struct Classic {
    redis: Redis,
    listener: Listener,
}

impl Classic {
    /// Publishes through `redis`; connects for listening when somebody first subscribes.
    pub fn new(redis: Redis) -> Self {
        let listener = Listener::lazy(redis.config().clone());
        Self { redis, listener }
    }
}

/// A room's classic channel. Of the same name as the sharded one it would still be another channel.
pub(crate) fn channel(room: &RoomId) -> String {
    RoomKeys::new(room).lab("classic", "live")
}

/// `PUBLISH`, as all variants on classic channels do it.
pub(crate) async fn publish(redis: &Redis, channel: &str, payload: &Bytes) -> LabResult<()> {
    let mut redis = redis.clone();
    Ok(::redis::cmd("PUBLISH").arg(channel).arg(payload.as_ref()).query_async(&mut redis).await?)
}

#[async_trait]
impl Fanout for Classic {
    async fn subscribe(&self, room: &RoomId) -> LabResult<Subscription> {
        self.listener.subscribe(ChannelKind::Classic, &channel(room)).await
    }

    async fn notify(&self, room: &RoomId, payload: Bytes) -> LabResult<()> {
        publish(&self.redis, &channel(room), &payload).await
    }

    fn health(&self) -> Health {
        self.listener.health()
    }
}
