//! Alternative for Redis 7.4 and newer: one HASH for each user with a field for each session, and every field expires by itself.
//!
//! One key a user and no index: the server's own expiry is the truth. An older server has no `HPEXPIREAT`; there the
//! variant is skipped.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{SessionId, UserId},
    keys,
    lua::{Call, Script},
    redis::Redis,
};

use crate::{
    MAX_SESSIONS, Policy, Rotation, Session, Sessions, check_device,
    stored::{Stored, id_of, newest_first},
};

const KEYS: &[&str] = &["sessions"];

pub(crate) static CREATE: Script = Script::new(
    "sessions/field_create",
    include_str!("../../../lua/sessions/field_create.lua"),
    KEYS,
    &["secret", "device", "idle_ms", "absolute_ms", "max_sessions"],
);
pub(crate) static TOUCH: Script = Script::new(
    "sessions/field_touch",
    include_str!("../../../lua/sessions/field_touch.lua"),
    KEYS,
    &["secret", "idle_ms"],
);
pub(crate) static ROTATE: Script = Script::new(
    "sessions/field_rotate",
    include_str!("../../../lua/sessions/field_rotate.lua"),
    KEYS,
    &["secret", "token", "idle_ms"],
);
pub(crate) static LIST: Script =
    Script::new("sessions/field_list", include_str!("../../../lua/sessions/field_list.lua"), KEYS, &[]);
pub(crate) static REVOKE: Script = Script::new(
    "sessions/field_revoke",
    include_str!("../../../lua/sessions/field_revoke.lua"),
    KEYS,
    &["secret"],
);
pub(crate) static REVOKE_ALL: Script = Script::new(
    "sessions/field_revoke_all",
    include_str!("../../../lua/sessions/field_revoke_all.lua"),
    KEYS,
    &[],
);

/// A call with the user's key.
pub(crate) fn call(script: &'static Script, user: &UserId) -> Call {
    script.call().key(sessions_key(user))
}

fn sessions_key(user: &UserId) -> String {
    keys::user_lab(user, "hash_field_ttl", "sessions")
}

/// Sessions as fields of one HASH a user, each with its own expiry.
#[derive(Debug, Clone)]
pub struct HashFieldTtl {
    redis: Redis,
    policy: Policy,
}

impl HashFieldTtl {
    /// Keeps sessions in `redis` for as long as `policy` says.
    pub fn new(redis: Redis, policy: Policy) -> Self {
        Self { redis, policy }
    }
}

#[async_trait]
impl Sessions for HashFieldTtl {
    async fn create(&self, user: &UserId, device: &str) -> LabResult<Session> {
        check_device(device)?;
        let id = SessionId::new(*user);
        let (created_ms, expires_ms): (u64, u64) = call(&CREATE, user)
            .arg(id.secret())
            .arg(device)
            .arg(self.policy.idle_ms)
            .arg(self.policy.absolute_ms)
            .arg(MAX_SESSIONS)
            .run(&mut self.redis.clone())
            .await?;
        Ok(Session { id, device: device.to_owned(), created_ms, expires_ms })
    }

    async fn touch(&self, id: &SessionId) -> LabResult<Option<Session>> {
        let live: Option<(String, u64)> = call(&TOUCH, &id.user)
            .arg(id.secret())
            .arg(self.policy.idle_ms)
            .run(&mut self.redis.clone())
            .await?;
        live.map(|(json, expires_ms)| {
            Ok(Stored::parse(&sessions_key(&id.user), &json)?.session(id.clone(), expires_ms))
        })
        .transpose()
    }

    async fn rotate(&self, id: &SessionId, token: u64) -> LabResult<Rotation> {
        let answer = call(&ROTATE, &id.user)
            .arg(id.secret())
            .arg(token)
            .arg(self.policy.idle_ms)
            .run(&mut self.redis.clone())
            .await?;
        Ok(Rotation::of(answer))
    }

    async fn list(&self, user: &UserId) -> LabResult<Vec<Session>> {
        let key = sessions_key(user);
        let live: Vec<(String, u64, String)> = call(&LIST, user).run(&mut self.redis.clone()).await?;
        let sessions = live.into_iter().map(|(secret, expires_ms, json)| {
            Ok(Stored::parse(&key, &json)?.session(id_of(user, &secret, &key)?, expires_ms))
        });
        Ok(newest_first(sessions.collect::<LabResult<_>>()?))
    }

    async fn revoke(&self, id: &SessionId) -> LabResult<bool> {
        call(&REVOKE, &id.user).arg(id.secret()).run(&mut self.redis.clone()).await
    }

    async fn revoke_all(&self, user: &UserId) -> LabResult<u64> {
        call(&REVOKE_ALL, user).run(&mut self.redis.clone()).await
    }
}
