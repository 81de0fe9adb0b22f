//! Alternative: a STRING of JSON for each session, and the same ZSET index as the reference.
//!
//! One value instead of fields: it costs a decode on every touch, and a change of one field rewrites the whole.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{SessionId, UserId},
    keys,
    lua::Script,
    redis::Redis,
};

use crate::{
    MAX_SESSIONS, Policy, Rotation, Session, Sessions, check_device,
    hash_index::{LIST, REVOKE, REVOKE_ALL},
    stored::{Stored, id_of, newest_first},
};

pub(crate) static CREATE: Script = Script::new(
    "sessions/string_create",
    include_str!("../../../lua/sessions/string_create.lua"),
    &["session", "sessions"],
    &["secret", "device", "idle_ms", "absolute_ms", "max_sessions"],
);
pub(crate) static TOUCH: Script = Script::new(
    "sessions/string_touch",
    include_str!("../../../lua/sessions/string_touch.lua"),
    &["session", "sessions"],
    &["secret", "idle_ms"],
);
pub(crate) static ROTATE: Script = Script::new(
    "sessions/string_rotate",
    include_str!("../../../lua/sessions/string_rotate.lua"),
    &["session", "sessions"],
    &["secret", "token", "idle_ms"],
);

/// Where a session is.
pub(crate) fn session_key(id: &SessionId) -> String {
    keys::user_lab(&id.user, "string_index", &id.secret())
}

/// Where a user's index is.
pub(crate) fn index_key(user: &UserId) -> String {
    keys::user_lab(user, "string_index", "sessions")
}

/// Sessions in a JSON string each, indexed by a ZSET a user.
#[derive(Debug, Clone)]
pub struct StringIndex {
    redis: Redis,
    policy: Policy,
}

impl StringIndex {
    /// Keeps sessions in `redis` for as long as `policy` says.
    pub fn new(redis: Redis, policy: Policy) -> Self {
        Self { redis, policy }
    }

    /// Frees what has left the index; a failure leaves it to its own expiry.
    async fn forget(&self, user: &UserId, secrets: &[String]) {
        let keys: Vec<String> = secrets
            .iter()
            .filter_map(|s| SessionId::from_parts(*user, s).ok())
            .map(|id| session_key(&id))
            .collect();
        if !keys.is_empty() {
            let _: Result<u64, _> = redis::cmd("UNLINK").arg(keys).query_async(&mut self.redis.clone()).await;
        }
    }
}

#[async_trait]
impl Sessions for StringIndex {
    async fn create(&self, user: &UserId, device: &str) -> LabResult<Session> {
        check_device(device)?;
        let id = SessionId::new(*user);
        let (created_ms, expires_ms, gone): (u64, u64, Vec<String>) = CREATE
            .call()
            .key(session_key(&id))
            .key(index_key(user))
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
        let key = session_key(id);
        let live: Option<(String, u64)> = TOUCH
            .call()
            .key(&key)
            .key(index_key(&id.user))
            .arg(id.secret())
            .arg(self.policy.idle_ms)
            .run(&mut self.redis.clone())
            .await?;
        live.map(|(json, expires_ms)| Ok(Stored::parse(&key, &json)?.session(id.clone(), expires_ms)))
            .transpose()
    }

    async fn rotate(&self, id: &SessionId, token: u64) -> LabResult<Rotation> {
        let answer = ROTATE
            .call()
            .key(session_key(id))
            .key(index_key(&id.user))
            .arg(id.secret())
            .arg(token)
            .arg(self.policy.idle_ms)
            .run(&mut self.redis.clone())
            .await?;
        Ok(Rotation::of(answer))
    }

    async fn list(&self, user: &UserId) -> LabResult<Vec<Session>> {
        let mut redis = self.redis.clone();
        let index = index_key(user);
        let live: Vec<(String, u64)> = LIST.call().key(&index).run(&mut redis).await?;
        if live.is_empty() {
            return Ok(Vec::new());
        }
        let ids =
            live.iter().map(|(secret, _)| id_of(user, secret, &index)).collect::<LabResult<Vec<_>>>()?;
        let keys: Vec<String> = ids.iter().map(session_key).collect();
        let jsons: Vec<Option<String>> = redis::cmd("MGET").arg(&keys).query_async(&mut redis).await?;
        let mut sessions = Vec::with_capacity(ids.len());
        for (((id, (_, expires_ms)), key), json) in ids.into_iter().zip(live).zip(&keys).zip(jsons) {
            if let Some(json) = json {
                sessions.push(Stored::parse(key, &json)?.session(id, expires_ms));
            }
        }
        Ok(newest_first(sessions))
    }

    async fn revoke(&self, id: &SessionId) -> LabResult<bool> {
        REVOKE
            .call()
            .key(session_key(id))
            .key(index_key(&id.user))
            .arg(id.secret())
            .run(&mut self.redis.clone())
            .await
    }

    async fn revoke_all(&self, user: &UserId) -> LabResult<u64> {
        let (live, secrets): (u64, Vec<String>) =
            REVOKE_ALL.call().key(index_key(user)).run(&mut self.redis.clone()).await?;
        self.forget(user, &secrets).await;
        Ok(live)
    }
}
