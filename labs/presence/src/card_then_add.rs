//! Flawed: count, then add; remove, then count.
//!
//! Two devices that connect at the same time both count nobody, and both tell that the user came online; two that leave both
//! count nobody left.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{ConnectionId, UserId},
    keys,
    redis::Redis,
};
use redis::AsyncCommands;

use crate::{Presence, batch::existing, check_asked};

fn key(user: &UserId) -> String {
    keys::user_lab(user, "card_then_add", "conns")
}

/// A SET a user, changed in two steps.
#[derive(Debug, Clone)]
pub struct CardThenAdd {
    redis: Redis,
}

impl CardThenAdd {
    /// Presence in `redis`.
    pub fn new(redis: Redis) -> Self {
        Self { redis }
    }
}

#[async_trait]
impl Presence for CardThenAdd {
    async fn connect(&self, user: &UserId, conn: &ConnectionId) -> LabResult<bool> {
        let mut redis = self.redis.clone();
        let before: u64 = redis.scard(key(user)).await?;
        let () = redis.sadd(key(user), conn.to_string()).await?;
        Ok(before == 0)
    }

    async fn disconnect(&self, user: &UserId, conn: &ConnectionId) -> LabResult<bool> {
        let mut redis = self.redis.clone();
        let () = redis.srem(key(user), conn.to_string()).await?;
        let left: u64 = redis.scard(key(user)).await?;
        Ok(left == 0)
    }

    async fn refresh(&self) -> LabResult<()> {
        Ok(())
    }

    async fn reap(&self) -> LabResult<Vec<UserId>> {
        Ok(Vec::new())
    }

    async fn online(&self, users: &[UserId]) -> LabResult<Vec<bool>> {
        check_asked(users)?;
        existing(&self.redis, users.iter().map(key)).await
    }

    async fn devices(&self, user: &UserId) -> LabResult<u64> {
        Ok(redis::cmd("SCARD").arg(key(user)).query_async(&mut self.redis.clone()).await?)
    }
}
