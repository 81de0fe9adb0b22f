//! Flawed: a SET of connections a user, and nobody's lease.
//!
//! Two devices are told apart, transitions are exact. Then an instance dies: nothing takes its connections out, ever.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{ConnectionId, UserId},
    keys,
    redis::Redis,
};

use crate::{Presence, batch::existing, check_asked};

fn key(user: &UserId) -> String {
    keys::user_lab(user, "set_members", "conns")
}

/// A SET a user.
#[derive(Debug, Clone)]
pub struct SetMembers {
    redis: Redis,
}

impl SetMembers {
    /// Presence in `redis`.
    pub fn new(redis: Redis) -> Self {
        Self { redis }
    }
}

#[async_trait]
impl Presence for SetMembers {
    async fn connect(&self, user: &UserId, conn: &ConnectionId) -> LabResult<bool> {
        let (before, _added): (u64, u64) = redis::pipe()
            .atomic()
            .cmd("SCARD")
            .arg(key(user))
            .cmd("SADD")
            .arg(key(user))
            .arg(conn.to_string())
            .query_async(&mut self.redis.clone())
            .await?;
        Ok(before == 0)
    }

    async fn disconnect(&self, user: &UserId, conn: &ConnectionId) -> LabResult<bool> {
        let (removed, left): (u64, u64) = redis::pipe()
            .atomic()
            .cmd("SREM")
            .arg(key(user))
            .arg(conn.to_string())
            .cmd("SCARD")
            .arg(key(user))
            .query_async(&mut self.redis.clone())
            .await?;
        Ok(removed == 1 && left == 0)
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
