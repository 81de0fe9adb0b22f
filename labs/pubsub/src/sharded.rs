//! Reference: sharded pub/sub (`SSUBSCRIBE`, `SPUBLISH`).
//!
//! A room's channel carries the room's hash tag, so it lives on the node that holds the room's keys,
//! and a message travels to that shard only. A classic `PUBLISH` would go over the cluster bus to
//! every node.
//!
//! What makes it whole is not in the commands: [`chatlab_kit::subscribe`] keeps its own list of channels on connections of
//! its own, believes in a subscription only when the server has confirmed it, asks again after a lost connection and after
//! a slot has moved, and puts a gap into every feed that was away meanwhile.

use async_trait::async_trait;
use bytes::Bytes;
use chatlab_kit::{
    LabResult,
    ids::RoomId,
    keys::RoomKeys,
    redis::Redis,
    subscribe::{ChannelKind, Health, Subscriptions},
};

use crate::{Fanout, Subscription, listener::Listener};

/// Live fan-out over sharded channels, one a room.
#[derive(Clone)]
pub struct Sharded {
    redis: Redis,
    listener: Listener,
}

impl Sharded {
    /// Publishes through `redis` and listens through `subscriptions`.
    pub fn new(redis: Redis, subscriptions: Subscriptions) -> Self {
        let listener = Listener::shared(redis.config().clone(), subscriptions);
        Self { redis, listener }
    }

    /// Publishes through `redis`; connects for listening when somebody first subscribes.
    pub fn lazy(redis: Redis) -> Self {
        let listener = Listener::lazy(redis.config().clone());
        Self { redis, listener }
    }
}

#[async_trait]
impl Fanout for Sharded {
    async fn subscribe(&self, room: &RoomId) -> LabResult<Subscription> {
        self.listener.subscribe(ChannelKind::Sharded, &RoomKeys::new(room).live()).await
    }

    async fn notify(&self, room: &RoomId, payload: Bytes) -> LabResult<()> {
        let mut redis = self.redis.clone();
        let channel = RoomKeys::new(room).live();
        Ok(::redis::cmd("SPUBLISH").arg(channel).arg(payload.as_ref()).query_async(&mut redis).await?)
    }

    fn health(&self) -> Health {
        self.listener.health()
    }
}
