//! Reference: a HASH for each session, and a ZSET for each user as the index of what is live.
//!
//! The index decides: a session lives while its secret is in the ZSET with a score in the future.
//! The hash only holds what the index has no room for. So every script can declare all of its keys, also those
//! that end sessions which the caller cannot name beforehand: they take the entry out of the index, and the
//! hash, which means nothing without it, is removed afterwards or expires by itself.

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    ids::{SessionId, UserId},
    keys,
    lua::Script,
    redis::Redis,
};

use crate::{MAX_SESSIONS, Policy, Rotation, Session, Sessions, check_device};

pub(crate) static CREATE: Script = Script::new(
    "sessions/create",
    include_str!("../../../lua/sessions/create.lua"),
    &["session", "sessions"],
    &["secret", "device", "idle_ms", "absolute_ms", "max_sessions"],
);
pub(crate) static TOUCH: Script = Script::new(
    "sessions/touch",
    include_str!("../../../lua/sessions/touch.lua"),
    &["session", "sessions"],
    &["secret", "idle_ms"],
);
pub(crate) static ROTATE: Script = Script::new(
    "sessions/rotate",
    include_str!("../../../lua/sessions/rotate.lua"),
    &["session", "sessions"],
    &["secret", "token", "idle_ms"],
);
pub(crate) static LIST: Script =
    Script::new("sessions/list", include_str!("../../../lua/sessions/list.lua"), &["sessions"], &[]);
pub(crate) static REVOKE: Script = Script::new(
    "sessions/revoke",
    include_str!("../../../lua/sessions/revoke.lua"),
    &["session", "sessions"],
    &["secret"],
);
pub(crate) static REVOKE_ALL: Script = Script::new(
    "sessions/revoke_all",
    include_str!("../../../lua/sessions/revoke_all.lua"),
    &["sessions"],
    &[],
);

/// Sessions in a HASH each, indexed by a ZSET a user.
#[derive(Debug, Clone)]
pub struct HashIndex {
    redis: Redis,
    policy: Policy,
}

impl HashIndex {
    /// Keeps sessions in `redis` for as long as `policy` says.
    pub fn new(redis: Redis, policy: Policy) -> Self {
        Self { redis, policy }
    }

    /// Frees the hashes of sessions that have left the index. A failure changes nothing for anyone:
    /// they are no sessions any more and expire by themselves.
    async fn forget(&self, user: &UserId, secrets: &[String]) {
        let keys: Vec<String> = secrets
            .iter()
            .filter_map(|secret| SessionId::from_parts(*user, secret).ok())
            .map(|id| keys::session(&id))
            .collect();
        if !keys.is_empty() {
            let mut redis = self.redis.clone();
            let _: Result<u64, _> = redis::cmd("UNLINK").arg(keys).query_async(&mut redis).await;
        }
    }
}

#[async_trait]
impl Sessions for HashIndex {
    async fn create(&self, user: &UserId, device: &str) -> LabResult<Session> {
        check_device(device)?;
        let id = SessionId::new(*user);
        let (created_ms, expires_ms, gone): (u64, u64, Vec<String>) = CREATE
            .call()
            .key(keys::session(&id))
            .key(keys::user_sessions(user))
            .arg(id.secret())
            .arg(device)
            .arg(self.policy.idle_ms)
            .arg(self.policy.absolute_ms)
            .arg(MAX_SESSIONS)
            .run(&mut self.redis.clone())
            .await?;
        self.forget(user, &gone).await;
        Ok(Session { id, device: device.to_owned(), created_ms, expires_ms })
    }

    async fn touch(&self, id: &SessionId) -> LabResult<Option<Session>> {
        let live: Option<(String, u64, u64)> = TOUCH
            .call()
            .key(keys::session(id))
            .key(keys::user_sessions(&id.user))
            .arg(id.secret())
            .arg(self.policy.idle_ms)
            .run(&mut self.redis.clone())
            .await?;
        Ok(live.map(|(device, created_ms, expires_ms)| Session {
            id: id.clone(),
            device,
            created_ms,
            expires_ms,
        }))
    }

    async fn rotate(&self, id: &SessionId, token: u64) -> LabResult<Rotation> {
        let answer = ROTATE
            .call()
            .key(keys::session(id))
            .key(keys::user_sessions(&id.user))
            .arg(id.secret())
            .arg(token)
            .arg(self.policy.idle_ms)
            .run(&mut self.redis.clone())
            .await?;
        Ok(Rotation::of(answer))
    }

    async fn list(&self, user: &UserId) -> LabResult<Vec<Session>> {
        let mut redis = self.redis.clone();
        let index_key = keys::user_sessions(user);
        let live: Vec<(String, u64)> = LIST.call().key(&index_key).run(&mut redis).await?;
        if live.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipe = redis::pipe();
        let mut ids = Vec::with_capacity(live.len());
        for (secret, expires_ms) in live {
            let id = SessionId::from_parts(*user, &secret)
                .map_err(|e| LabError::Corrupt { key: index_key.clone(), why: e.to_string() })?;
            pipe.cmd("HMGET").arg(keys::session(&id)).arg("device").arg("created_ms");
            ids.push((id, expires_ms));
        }
        // Device and login time never change, so reading them a moment later shows nothing newer; a
        // session that ended in between has no hash any more and is left out.
        let payloads: Vec<(Option<String>, Option<u64>)> = pipe.query_async(&mut redis).await?;
        let mut sessions: Vec<Session> = ids
            .into_iter()
            .zip(payloads)
            .filter_map(|((id, expires_ms), (device, created_ms))| {
                Some(Session { id, device: device?, created_ms: created_ms?, expires_ms })
            })
            .collect();
        sessions.sort_by_key(|session| std::cmp::Reverse(session.created_ms));
        Ok(sessions)
    }

    async fn revoke(&self, id: &SessionId) -> LabResult<bool> {
        REVOKE
            .call()
            .key(keys::session(id))
            .key(keys::user_sessions(&id.user))
            .arg(id.secret())
            .run(&mut self.redis.clone())
            .await
    }

    async fn revoke_all(&self, user: &UserId) -> LabResult<u64> {
        let (live, secrets): (u64, Vec<String>) =
            REVOKE_ALL.call().key(keys::user_sessions(user)).run(&mut self.redis.clone()).await?;
        self.forget(user, &secrets).await;
        Ok(live)
    }
}
