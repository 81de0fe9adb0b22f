//! Flawed: leases as they should be, and a reaper that looks, tells, and only then removes.
//!
//! Two instances that reap at the same time read the same list, and both tell. An instance that was paused finds its lease
//! taken and makes a new one, but the connections it holds are not in it.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::server_ms,
    ids::{ConnectionId, InstanceId, UserId},
    keys,
    redis::Redis,
};
use redis::AsyncCommands;

use crate::{
    Policy, Presence,
    batch::existing,
    check_asked,
    local::{parse_row, row},
};

const NAME: &str = "told_by_all";

fn key(user: &UserId) -> String {
    keys::user_lab(user, NAME, "conns")
}

/// Leases, reaped by whoever looks.
#[derive(Debug, Clone)]
pub struct ToldByAll {
    redis: Redis,
    instance: InstanceId,
    policy: Policy,
    space: String,
}

impl ToldByAll {
    /// Presence of `instance` in `redis`, together with all that name the same `space`.
    pub fn new(redis: Redis, instance: InstanceId, policy: Policy, space: &str) -> Self {
        Self { redis, instance, policy, space: space.to_owned() }
    }

    fn leases(&self) -> String {
        keys::lab(&self.space, NAME, "leases")
    }

    fn index(&self, instance: &str) -> String {
        keys::lab(&self.space, NAME, &format!("conns:{instance}"))
    }
}

#[async_trait]
impl Presence for ToldByAll {
    async fn connect(&self, user: &UserId, conn: &ConnectionId) -> LabResult<bool> {
        let mut redis = self.redis.clone();
        let now_ms = server_ms(&mut redis, &self.leases()).await?;
        let () = redis::pipe()
            .atomic()
            .cmd("ZADD")
            .arg(self.leases())
            .arg("NX")
            .arg(now_ms + self.policy.lease_ms)
            .arg(self.instance.to_string())
            .ignore()
            .cmd("SADD")
            .arg(self.index(&self.instance.to_string()))
            .arg(row(&(*user, *conn)))
            .ignore()
            .query_async(&mut redis)
            .await?;
        let (before, _): (u64, u64) = redis::pipe()
            .atomic()
            .cmd("SCARD")
            .arg(key(user))
            .cmd("SADD")
            .arg(key(user))
            .arg(conn.to_string())
            .query_async(&mut redis)
            .await?;
        Ok(before == 0)
    }

    async fn disconnect(&self, user: &UserId, conn: &ConnectionId) -> LabResult<bool> {
        let mut redis = self.redis.clone();
        let (removed, left): (u64, u64) = redis::pipe()
            .atomic()
            .cmd("SREM")
            .arg(key(user))
            .arg(conn.to_string())
            .cmd("SCARD")
            .arg(key(user))
            .query_async(&mut redis)
            .await?;
        let () = redis.srem(self.index(&self.instance.to_string()), row(&(*user, *conn))).await?;
        Ok(removed == 1 && left == 0)
    }

    async fn refresh(&self) -> LabResult<()> {
        let mut redis = self.redis.clone();
        let until_ms = server_ms(&mut redis, &self.leases()).await? + self.policy.lease_ms;
        Ok(redis.zadd(self.leases(), self.instance.to_string(), until_ms).await?)
    }

    async fn reap(&self) -> LabResult<Vec<UserId>> {
        let mut redis = self.redis.clone();
        let over_ms = server_ms(&mut redis, &self.leases()).await? - self.policy.margin_ms();
        let dead: Vec<String> = redis.zrangebyscore(self.leases(), "-inf", over_ms).await?;
        let mut gone = Vec::new();
        for instance in dead {
            let rows: Vec<String> = redis.smembers(self.index(&instance)).await?;
            for line in rows {
                let (user, conn) = parse_row(&self.index(&instance), &line)?;
                let () = redis.srem(key(&user), conn.to_string()).await?;
                // Empty: but who emptied it?
                let left: u64 = redis.scard(key(&user)).await?;
                if left == 0 && !gone.contains(&user) {
                    gone.push(user);
                }
            }
            let () = redis.del(self.index(&instance)).await?;
            let () = redis.zrem(self.leases(), instance).await?;
        }
        Ok(gone)
    }

    async fn online(&self, users: &[UserId]) -> LabResult<Vec<bool>> {
        check_asked(users)?;
        existing(&self.redis, users.iter().map(key)).await
    }

    async fn devices(&self, user: &UserId) -> LabResult<u64> {
        Ok(self.redis.clone().scard(key(user)).await?)
    }
}
