//! Flawed: a number a user, INCR and DECR.
//!
//! Nothing is smaller, and both answers are exact while all goes well. But a number forgets what it counts: nobody can find out
//! which of its connections died, so after one crash it is wrong for good, and stays for good.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{ConnectionId, UserId},
    keys,
    redis::Redis,
};
use redis::{AsyncCommands, Cmd, RedisResult};

use crate::{Presence, batch::at_once, check_asked};

fn key(user: &UserId) -> String {
    keys::user_lab(user, "counter", "devices")
}

/// A number a user.
#[derive(Debug, Clone)]
pub struct Counter {
    redis: Redis,
}

impl Counter {
    /// Presence in `redis`.
    pub fn new(redis: Redis) -> Self {
        Self { redis }
    }
}

#[async_trait]
impl Presence for Counter {
    async fn connect(&self, user: &UserId, _conn: &ConnectionId) -> LabResult<bool> {
        let devices: i64 = self.redis.clone().incr(key(user), 1).await?;
        Ok(devices == 1)
    }

    async fn disconnect(&self, user: &UserId, _conn: &ConnectionId) -> LabResult<bool> {
        let devices: i64 = self.redis.clone().decr(key(user), 1).await?;
        Ok(devices == 0)
    }

    async fn refresh(&self) -> LabResult<()> {
        Ok(())
    }

    async fn reap(&self) -> LabResult<Vec<UserId>> {
        Ok(Vec::new())
    }

    async fn online(&self, users: &[UserId]) -> LabResult<Vec<bool>> {
        check_asked(users)?;
        let cmds: Vec<Cmd> = users.iter().map(|user| redis::cmd("GET").arg(key(user)).to_owned()).collect();
        let devices: RedisResult<Vec<Option<i64>>> = at_once(&self.redis, &cmds).await?.into_iter().collect();
        let devices = devices?;
        Ok(devices.into_iter().map(|devices| devices.unwrap_or(0) > 0).collect())
    }

    async fn devices(&self, user: &UserId) -> LabResult<u64> {
        let devices: Option<i64> = self.redis.clone().get(key(user)).await?;
        Ok(u64::try_from(devices.unwrap_or(0)).unwrap_or(0))
    }
}
