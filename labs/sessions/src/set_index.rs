//! Flawed: the user's sessions are listed in a SET that knows nothing of time.
//!
//! A session expires, its member stays: the list shows ghosts, and the set grows with every login.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{SessionId, UserId},
    keys,
    redis::Redis,
};

use crate::{
    Policy, Rotation, Session, Sessions, check_device,
    stored::{Stored, client_ms, newest_first, rotate_in_steps},
};

fn session_key(id: &SessionId) -> String {
    keys::user_lab(&id.user, "set_index", &id.secret())
}

fn index_key(user: &UserId) -> String {
    keys::user_lab(user, "set_index", "sessions")
}

/// A STRING a session that expires, and a SET of all sessions that does not.
#[derive(Debug, Clone)]
pub struct SetIndex {
    redis: Redis,
    policy: Policy,
}

impl SetIndex {
    /// Keeps sessions in `redis` for as long as `policy` says, and their names for good.
    pub fn new(redis: Redis, policy: Policy) -> Self {
        Self { redis, policy }
    }

    fn member(session: &Session) -> String {
        serde_json::to_string(session).unwrap_or_default()
    }
}

#[async_trait]
impl Sessions for SetIndex {
    async fn create(&self, user: &UserId, device: &str) -> LabResult<Session> {
        check_device(device)?;
        let created_ms = client_ms();
        let ends_ms = created_ms + self.policy.absolute_ms;
        let stored = Stored { device: device.to_owned(), created_ms, ends_ms, refresh: 0 };
        let json = serde_json::to_string(&stored).unwrap_or_default();
        let session = stored.session(SessionId::new(*user), ends_ms.min(created_ms + self.policy.idle_ms));
        let mut pipe = redis::pipe();
        pipe.atomic();
        pipe.cmd("SET").arg(session_key(&session.id)).arg(json).arg("PXAT").arg(session.expires_ms).ignore();
        pipe.cmd("SADD").arg(index_key(user)).arg(Self::member(&session)).ignore();
        let () = pipe.query_async(&mut self.redis.clone()).await?;
        Ok(session)
    }

    async fn touch(&self, id: &SessionId) -> LabResult<Option<Session>> {
        let mut redis = self.redis.clone();
        let key = session_key(id);
        let json: Option<String> = redis::cmd("GET").arg(&key).query_async(&mut redis).await?;
        let Some(json) = json else { return Ok(None) };
        let stored = Stored::parse(&key, &json)?;
        let expires_ms = stored.ends_ms.min(client_ms() + self.policy.idle_ms);
        let there: bool = redis::cmd("PEXPIREAT").arg(&key).arg(expires_ms).query_async(&mut redis).await?;
        Ok(there.then(|| stored.session(id.clone(), expires_ms)))
    }

    async fn rotate(&self, id: &SessionId, token: u64) -> LabResult<Rotation> {
        rotate_in_steps(&self.redis, &session_key(id), token).await
    }

    async fn list(&self, user: &UserId) -> LabResult<Vec<Session>> {
        let members: Vec<String> =
            redis::cmd("SMEMBERS").arg(index_key(user)).query_async(&mut self.redis.clone()).await?;
        Ok(newest_first(members.iter().filter_map(|member| serde_json::from_str(member).ok()).collect()))
    }

    async fn revoke(&self, id: &SessionId) -> LabResult<bool> {
        let mut pipe = redis::pipe();
        pipe.atomic();
        pipe.cmd("DEL").arg(session_key(id));
        for session in self.list(&id.user).await?.iter().filter(|session| session.id == *id) {
            pipe.cmd("SREM").arg(index_key(&id.user)).arg(Self::member(session)).ignore();
        }
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
