//! Flawed: a touch reads the session, then writes it back.
//!
//! A session that is revoked between the two comes back to life: the thief who is being thrown out wins by clicking.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{SessionId, UserId},
    keys,
    redis::Redis,
};

use crate::{
    Policy, Rotation, Session, Sessions, check_device,
    stored::{Stored, client_ms, id_of, newest_first, rotate_in_steps},
};

fn session_key(id: &SessionId) -> String {
    keys::user_lab(&id.user, "read_then_write", &id.secret())
}

fn index_key(user: &UserId) -> String {
    keys::user_lab(user, "read_then_write", "sessions")
}

/// `GET`, then `SET … PXAT`.
#[derive(Debug, Clone)]
pub struct ReadThenWrite {
    redis: Redis,
    policy: Policy,
}

impl ReadThenWrite {
    /// Keeps sessions in `redis` for as long as `policy` says, unless two clients meet.
    pub fn new(redis: Redis, policy: Policy) -> Self {
        Self { redis, policy }
    }

    async fn write(&self, id: &SessionId, stored: &Stored) -> LabResult<u64> {
        let expires_ms = stored.ends_ms.min(client_ms() + self.policy.idle_ms);
        let json = serde_json::to_string(stored).unwrap_or_default();
        let mut pipe = redis::pipe();
        pipe.atomic();
        pipe.cmd("SET").arg(session_key(id)).arg(json).arg("PXAT").arg(expires_ms).ignore();
        pipe.cmd("ZADD").arg(index_key(&id.user)).arg(expires_ms).arg(id.secret()).ignore();
        pipe.cmd("PEXPIRE").arg(index_key(&id.user)).arg(self.policy.idle_ms).ignore();
        let () = pipe.query_async(&mut self.redis.clone()).await?;
        Ok(expires_ms)
    }
}

#[async_trait]
impl Sessions for ReadThenWrite {
    async fn create(&self, user: &UserId, device: &str) -> LabResult<Session> {
        check_device(device)?;
        let (id, created_ms) = (SessionId::new(*user), client_ms());
        let ends_ms = created_ms + self.policy.absolute_ms;
        let stored = Stored { device: device.to_owned(), created_ms, ends_ms, refresh: 0 };
        let expires_ms = self.write(&id, &stored).await?;
        Ok(stored.session(id, expires_ms))
    }

    async fn touch(&self, id: &SessionId) -> LabResult<Option<Session>> {
        let key = session_key(id);
        let json: Option<String> = redis::cmd("GET").arg(&key).query_async(&mut self.redis.clone()).await?;
        let Some(json) = json else { return Ok(None) };
        let stored = Stored::parse(&key, &json)?;
        let expires_ms = self.write(id, &stored).await?;
        Ok(Some(stored.session(id.clone(), expires_ms)))
    }

    async fn rotate(&self, id: &SessionId, token: u64) -> LabResult<Rotation> {
        rotate_in_steps(&self.redis, &session_key(id), token).await
    }

    async fn list(&self, user: &UserId) -> LabResult<Vec<Session>> {
        let mut redis = self.redis.clone();
        let index = index_key(user);
        let mut live = redis::cmd("ZRANGE");
        live.arg(&index).arg(format!("({}", client_ms())).arg("+inf").arg("BYSCORE").arg("WITHSCORES");
        let live: Vec<(String, u64)> = live.query_async(&mut redis).await?;
        let mut sessions = Vec::with_capacity(live.len());
        for (secret, expires_ms) in live {
            let id = id_of(user, &secret, &index)?;
            let key = session_key(&id);
            let json: Option<String> = redis::cmd("GET").arg(&key).query_async(&mut redis).await?;
            if let Some(json) = json {
                sessions.push(Stored::parse(&key, &json)?.session(id, expires_ms));
            }
        }
        Ok(newest_first(sessions))
    }

    async fn revoke(&self, id: &SessionId) -> LabResult<bool> {
        let mut pipe = redis::pipe();
        pipe.atomic();
        pipe.cmd("DEL").arg(session_key(id));
        pipe.cmd("ZREM").arg(index_key(&id.user)).arg(id.secret()).ignore();
        let (live,): (bool,) = pipe.query_async(&mut self.redis.clone()).await?;
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
