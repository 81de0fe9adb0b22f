//! Flawed: every use gives the session a new lease, and nothing ends that.
//!
//! `GETEX key PX idle` is one command, atomic and fast, and a stolen session that is used once a day lives for good.

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
    keys::user_lab(&id.user, "sliding_forever", &id.secret())
}

fn index_key(user: &UserId) -> String {
    keys::user_lab(user, "sliding_forever", "sessions")
}

/// `SET … PX` and `GETEX … PX`.
#[derive(Debug, Clone)]
pub struct SlidingForever {
    redis: Redis,
    policy: Policy,
}

impl SlidingForever {
    /// Keeps sessions in `redis` for as long as they are used.
    pub fn new(redis: Redis, policy: Policy) -> Self {
        Self { redis, policy }
    }
}

#[async_trait]
impl Sessions for SlidingForever {
    async fn create(&self, user: &UserId, device: &str) -> LabResult<Session> {
        check_device(device)?;
        let (id, created_ms) = (SessionId::new(*user), client_ms());
        let stored = Stored {
            device: device.to_owned(),
            created_ms,
            ends_ms: created_ms + self.policy.absolute_ms,
            refresh: 0,
        };
        let json = serde_json::to_string(&stored).unwrap_or_default();
        let mut pipe = redis::pipe();
        pipe.atomic();
        pipe.cmd("SET").arg(session_key(&id)).arg(json).arg("PX").arg(self.policy.idle_ms).ignore();
        pipe.cmd("ZADD").arg(index_key(user)).arg(created_ms).arg(id.secret()).ignore();
        pipe.cmd("PEXPIRE").arg(index_key(user)).arg(self.policy.idle_ms).ignore();
        let () = pipe.query_async(&mut self.redis.clone()).await?;
        Ok(stored.session(id, created_ms + self.policy.idle_ms))
    }

    async fn touch(&self, id: &SessionId) -> LabResult<Option<Session>> {
        let key = session_key(id);
        let mut pipe = redis::pipe();
        pipe.atomic();
        pipe.cmd("GETEX").arg(&key).arg("PX").arg(self.policy.idle_ms);
        pipe.cmd("PEXPIRE").arg(index_key(&id.user)).arg(self.policy.idle_ms).ignore();
        let (json,): (Option<String>,) = pipe.query_async(&mut self.redis.clone()).await?;
        let expires_ms = client_ms() + self.policy.idle_ms;
        json.map(|json| Ok(Stored::parse(&key, &json)?.session(id.clone(), expires_ms))).transpose()
    }

    async fn rotate(&self, id: &SessionId, token: u64) -> LabResult<Rotation> {
        rotate_in_steps(&self.redis, &session_key(id), token).await
    }

    async fn list(&self, user: &UserId) -> LabResult<Vec<Session>> {
        let mut redis = self.redis.clone();
        let index = index_key(user);
        let secrets: Vec<String> =
            redis::cmd("ZRANGE").arg(&index).arg(0).arg(-1).query_async(&mut redis).await?;
        let mut sessions = Vec::with_capacity(secrets.len());
        for secret in secrets {
            let id = id_of(user, &secret, &index)?;
            let key = session_key(&id);
            let mut pipe = redis::pipe();
            pipe.atomic().cmd("GET").arg(&key).cmd("PEXPIRETIME").arg(&key);
            let (json, expires_ms): (Option<String>, i64) = pipe.query_async(&mut redis).await?;
            if let (Some(json), Ok(expires_ms)) = (json, u64::try_from(expires_ms)) {
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
