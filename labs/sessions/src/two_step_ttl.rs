//! Flawed: the value and its expiry are two commands.
//!
//! A client that dies between `SET` and `PEXPIREAT` leaves a session that never ends and that nobody lists.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{SessionId, UserId},
    keys,
    redis::Redis,
};
use redis::AsyncCommands;

use crate::{
    Policy, Rotation, Session, Sessions, check_device,
    stored::{Stored, client_ms, id_of, newest_first, rotate_in_steps},
};

fn session_key(id: &SessionId) -> String {
    keys::user_lab(&id.user, "two_step_ttl", &id.secret())
}

fn index_key(user: &UserId) -> String {
    keys::user_lab(user, "two_step_ttl", "sessions")
}

/// `SET`, then `PEXPIREAT`.
#[derive(Debug, Clone)]
pub struct TwoStepTtl {
    redis: Redis,
    policy: Policy,
}

impl TwoStepTtl {
    /// Keeps sessions in `redis` for as long as `policy` says, if nothing goes wrong.
    pub fn new(redis: Redis, policy: Policy) -> Self {
        Self { redis, policy }
    }

    async fn index(&self, id: &SessionId, expires_ms: u64) -> LabResult<()> {
        let mut redis = self.redis.clone();
        let index = index_key(&id.user);
        let () = redis.zadd(&index, id.secret(), expires_ms).await?;
        let () =
            redis::cmd("PEXPIRE").arg(&index).arg(self.policy.absolute_ms).query_async(&mut redis).await?;
        Ok(())
    }
}

#[async_trait]
impl Sessions for TwoStepTtl {
    async fn create(&self, user: &UserId, device: &str) -> LabResult<Session> {
        check_device(device)?;
        let mut redis = self.redis.clone();
        let (id, created_ms) = (SessionId::new(*user), client_ms());
        let ends_ms = created_ms + self.policy.absolute_ms;
        let expires_ms = ends_ms.min(created_ms + self.policy.idle_ms);
        let stored = Stored { device: device.to_owned(), created_ms, ends_ms, refresh: 0 };
        let json = serde_json::to_string(&stored).unwrap_or_default();
        let () = redis::cmd("SET").arg(session_key(&id)).arg(json).query_async(&mut redis).await?;
        let () =
            redis::cmd("PEXPIREAT").arg(session_key(&id)).arg(expires_ms).query_async(&mut redis).await?;
        self.index(&id, expires_ms).await?;
        Ok(stored.session(id, expires_ms))
    }

    async fn touch(&self, id: &SessionId) -> LabResult<Option<Session>> {
        let mut redis = self.redis.clone();
        let key = session_key(id);
        let json: Option<String> = redis.get(&key).await?;
        let Some(json) = json else { return Ok(None) };
        let stored = Stored::parse(&key, &json)?;
        let expires_ms = stored.ends_ms.min(client_ms() + self.policy.idle_ms);
        let there: bool = redis::cmd("PEXPIREAT").arg(&key).arg(expires_ms).query_async(&mut redis).await?;
        if !there {
            return Ok(None);
        }
        self.index(id, expires_ms).await?;
        Ok(Some(stored.session(id.clone(), expires_ms)))
    }

    async fn rotate(&self, id: &SessionId, token: u64) -> LabResult<Rotation> {
        rotate_in_steps(&self.redis, &session_key(id), token).await
    }

    async fn list(&self, user: &UserId) -> LabResult<Vec<Session>> {
        let mut redis = self.redis.clone();
        let index = index_key(user);
        let live: Vec<(String, u64)> = redis.zrangebyscore_withscores(&index, client_ms(), "+inf").await?;
        let mut sessions = Vec::with_capacity(live.len());
        for (secret, expires_ms) in live {
            let id = id_of(user, &secret, &index)?;
            let key = session_key(&id);
            let json: Option<String> = redis.get(&key).await?;
            if let Some(json) = json {
                sessions.push(Stored::parse(&key, &json)?.session(id, expires_ms));
            }
        }
        Ok(newest_first(sessions))
    }

    async fn revoke(&self, id: &SessionId) -> LabResult<bool> {
        let mut redis = self.redis.clone();
        let live: bool = redis.del(session_key(id)).await?;
        let () = redis.zrem(index_key(&id.user), id.secret()).await?;
        Ok(live)
    }

    async fn revoke_all(&self, user: &UserId) -> LabResult<u64> {
        let mut ended = 0;
        for session in self.list(user).await? {
            ended += u64::from(self.revoke(&session.id).await?);
        }
        Ok(ended)
    }
}
