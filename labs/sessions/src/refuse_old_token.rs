//! Flawed: an old refresh token is refused, and that is all.
//!
//! A thief who exchanges the stolen token first has the session from then on; its owner is refused, logs in again, and the
//! thief stays. That a token comes a second time is the only sign of a theft that the server ever gets.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{SessionId, UserId},
    redis::Redis,
};

use crate::{Policy, Rotation, Session, Sessions, StringIndex, stored::Stored, string_index::session_key};

/// As `string_index`, but for what it does about a token that was exchanged before.
#[derive(Debug, Clone)]
pub struct RefuseOldToken {
    redis: Redis,
    sessions: StringIndex,
}

impl RefuseOldToken {
    /// Keeps sessions in `redis` for as long as `policy` says, also those of thieves.
    pub fn new(redis: Redis, policy: Policy) -> Self {
        Self { sessions: StringIndex::new(redis.clone(), policy), redis }
    }
}

#[async_trait]
impl Sessions for RefuseOldToken {
    async fn create(&self, user: &UserId, device: &str) -> LabResult<Session> {
        self.sessions.create(user, device).await
    }

    async fn touch(&self, id: &SessionId) -> LabResult<Option<Session>> {
        self.sessions.touch(id).await
    }

    async fn rotate(&self, id: &SessionId, token: u64) -> LabResult<Rotation> {
        let key = session_key(id);
        let json: Option<String> = redis::cmd("GET").arg(&key).query_async(&mut self.redis.clone()).await?;
        match json {
            Some(json) if Stored::parse(&key, &json)?.refresh == token => {
                self.sessions.rotate(id, token).await
            }
            _ => Ok(Rotation::Over),
        }
    }

    async fn list(&self, user: &UserId) -> LabResult<Vec<Session>> {
        self.sessions.list(user).await
    }

    async fn revoke(&self, id: &SessionId) -> LabResult<bool> {
        self.sessions.revoke(id).await
    }

    async fn revoke_all(&self, user: &UserId) -> LabResult<u64> {
        self.sessions.revoke_all(user).await
    }
}
