//! Flawed: one SET `online_users` for everybody; any connection that closes takes its user out.
//!
//! Two tabs, one closed: the user is offline for all others, and still there. The SET does not know how many connections
//! there are, so it cannot know which one is the last.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{ConnectionId, UserId},
    keys,
    redis::Redis,
};

use crate::{Presence, check_asked};

/// One SET of users.
#[derive(Debug, Clone)]
pub struct SremAnyClose {
    redis: Redis,
    key: String,
}

impl SremAnyClose {
    /// Presence in `redis`, together with all instances that name the same `space`.
    pub fn new(redis: Redis, space: &str) -> Self {
        Self { redis, key: keys::lab(space, "srem_any_close", "online_users") }
    }

    async fn change(&self, verb: &str, user: &UserId) -> LabResult<bool> {
        Ok(redis::cmd(verb).arg(&self.key).arg(user.to_string()).query_async(&mut self.redis.clone()).await?)
    }
}

#[async_trait]
impl Presence for SremAnyClose {
    async fn connect(&self, user: &UserId, _conn: &ConnectionId) -> LabResult<bool> {
        self.change("SADD", user).await
    }

    async fn disconnect(&self, user: &UserId, _conn: &ConnectionId) -> LabResult<bool> {
        self.change("SREM", user).await
    }

    async fn refresh(&self) -> LabResult<()> {
        Ok(())
    }

    async fn reap(&self) -> LabResult<Vec<UserId>> {
        Ok(Vec::new())
    }

    async fn online(&self, users: &[UserId]) -> LabResult<Vec<bool>> {
        check_asked(users)?;
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let mut ask = redis::cmd("SMISMEMBER");
        ask.arg(&self.key);
        for user in users {
            ask.arg(user.to_string());
        }
        Ok(ask.query_async(&mut self.redis.clone()).await?)
    }

    async fn devices(&self, user: &UserId) -> LabResult<u64> {
        self.change("SISMEMBER", user).await.map(u64::from)
    }
}
