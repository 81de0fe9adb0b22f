//! Flawed: a key a connection that expires, and `KEYS` to find them.
//!
//! Nobody is shown for longer than a lease after a crash. But each question walks over every key of the server, of all users,
//! and nothing else runs meanwhile; and nobody is told when a key expires.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{ConnectionId, UserId},
    keys,
    redis::Redis,
};
use redis::{Cmd, RedisResult};

use crate::{
    Policy, Presence,
    batch::at_once,
    check_asked,
    local::{Held, Local},
};

fn key((user, conn): &Held) -> String {
    keys::user_lab(user, "keys_listing", &conn.to_string())
}

/// A key a connection.
#[derive(Debug)]
pub struct KeysListing {
    redis: Redis,
    policy: Policy,
    local: Local,
}

impl KeysListing {
    /// Presence in `redis`.
    pub fn new(redis: Redis, policy: Policy) -> Self {
        Self { redis, policy, local: Local::default() }
    }

    async fn count(&self, user: &UserId) -> LabResult<usize> {
        let pattern = keys::user_lab(user, "keys_listing", "*");
        let found: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut self.redis.clone()).await?;
        Ok(found.len())
    }
}

#[async_trait]
impl Presence for KeysListing {
    async fn connect(&self, user: &UserId, conn: &ConnectionId) -> LabResult<bool> {
        let held = (*user, *conn);
        let before = self.count(user).await?;
        let mut set = redis::cmd("SET");
        set.arg(key(&held)).arg("").arg("PX").arg(self.policy.lease_ms);
        let () = set.query_async(&mut self.redis.clone()).await?;
        self.local.opened(user, conn);
        Ok(before == 0)
    }

    async fn disconnect(&self, user: &UserId, conn: &ConnectionId) -> LabResult<bool> {
        self.local.closed(user, conn);
        let there: bool =
            redis::cmd("DEL").arg(key(&(*user, *conn))).query_async(&mut self.redis.clone()).await?;
        Ok(there && self.count(user).await? == 0)
    }

    async fn refresh(&self) -> LabResult<()> {
        let set = |held: &Held| {
            redis::cmd("SET").arg(key(held)).arg("").arg("PX").arg(self.policy.lease_ms).to_owned()
        };
        let cmds: Vec<Cmd> = self.local.all().iter().map(set).collect();
        let answers: Vec<RedisResult<()>> = at_once(&self.redis, &cmds).await?;
        Ok(answers.into_iter().collect::<RedisResult<()>>()?)
    }

    async fn reap(&self) -> LabResult<Vec<UserId>> {
        Ok(Vec::new())
    }

    async fn online(&self, users: &[UserId]) -> LabResult<Vec<bool>> {
        check_asked(users)?;
        let mut online = Vec::with_capacity(users.len());
        for user in users {
            online.push(self.count(user).await? > 0);
        }
        Ok(online)
    }

    async fn devices(&self, user: &UserId) -> LabResult<u64> {
        Ok(self.count(user).await? as u64)
    }
}
