//! Reference: sharded pub/sub (`SSUBSCRIBE`, `SPUBLISH`).
//!
//! A room's channel carries the room's hash tag, so it lives on the node that holds the room's keys,
//! and a message travels to that shard only. A classic `PUBLISH` would go over the cluster bus to
//! every node.

use async_trait::async_trait;
use bytes::Bytes;
use chatlab_kit::{
    LabResult,
    ids::RoomId,
    keys::RoomKeys,
    redis::Redis,
    subscribe::{ChannelKind, Health, Subscription, Subscriptions},
};

use crate::Fanout;

/// Live fan-out over sharded channels, one a room.
#[derive(Clone)]
pub struct Sharded {
    redis: Redis,
    subscriptions: Subscriptions,
}

impl Sharded {
    /// Publishes through `redis` and listens through `subscriptions`.
    pub fn new(redis: Redis, subscriptions: Subscriptions) -> Self {
        Self { redis, subscriptions }
    }
}

#[async_trait]
impl Fanout for Sharded {
    async fn subscribe(&self, room: &RoomId) -> LabResult<Subscription> {
        self.subscriptions.subscribe(ChannelKind::Sharded, &RoomKeys::new(room).live()).await
    }

    async fn notify(&self, room: &RoomId, payload: Bytes) -> LabResult<()> {
        let mut redis = self.redis.clone();
        let channel = RoomKeys::new(room).live();
        Ok(::redis::cmd("SPUBLISH").arg(channel).arg(payload.as_ref()).query_async(&mut redis).await?)
    }

    fn health(&self) -> Health {
        self.subscriptions.health()
    }
}
