//! Exercise: your own sessions. Written by you, checked by `chatlab check sessions`.
//!
//! Start with `create` and `touch`: `create_then_visible` and `idle_session_expires` need nothing else.
//! Then `list`, `revoke`, `revoke_all`, and `rotate`. After each step run the check: it says which invariant breaks, shows the shortest
//! history that breaks it, and the commands that your code sent.
//!
//! Things to decide:
//!
//! - Where does a session live: a HASH, a STRING of JSON, a field of one HASH a user? What deletes it when it runs out?
//! - How does `list` find a user's sessions without `KEYS` or `SCAN`? What happens to that index when a session expires?
//! - What does a client that dies between two of your commands leave behind? (`redis::pipe().atomic()` is MULTI/EXEC; a Lua
//!   script, [`chatlab_kit::lua::Script`], may also read before it writes.)
//! - Another client may revoke the session between your read and your write.
//!
//! Keys: build them with [`keys::user_lab`], which puts all keys of a user into one hash slot. Time: ask Redis (`TIME`), not the
//! machine that runs this code.

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    ids::{SessionId, UserId},
    keys,
    redis::Redis,
};

use crate::{Policy, Rotation, Session, Sessions};

/// Your variant.
#[derive(Debug, Clone)]
pub struct Exercise {
    redis: Redis,
    policy: Policy,
}

impl Exercise {
    /// Keeps sessions in `redis` for as long as `policy` says.
    pub fn new(redis: Redis, policy: Policy) -> Self {
        Self { redis, policy }
    }
}

/// Where a session is.
fn session_key(id: &SessionId) -> String {
    keys::user_lab(&id.user, "exercise", &id.secret())
}

#[async_trait]
impl Sessions for Exercise {
    async fn create(&self, user: &UserId, device: &str) -> LabResult<Session> {
        // 1. A new id: `SessionId::new(*user)`. Its `secret()` names the session among its user's.
        // 2. Store `device` and the login time, with an expiry, in one step:
        //    `redis::cmd("SET").arg(key).arg(value).arg("PX").arg(self.policy.idle_ms).query_async(&mut self.redis.clone()).await?`
        // 3. Remember the session in the user's index. In the same step.
        let _ = (&self.redis, self.policy.idle_ms, session_key(&SessionId::new(*user)), device);
        Err(LabError::Unfinished("create"))
    }

    async fn touch(&self, _id: &SessionId) -> LabResult<Option<Session>> {
        // `GETEX key PX ms` reads and moves the expiry in one command. What does it do about `self.policy.absolute_ms`?
        Err(LabError::Unfinished("touch"))
    }

    async fn rotate(&self, _id: &SessionId, _token: u64) -> LabResult<Rotation> {
        // The number of the token that is good now lives beside the session: 0, then 1, 2, …
        // The same number: count on, and the session was used. Another one: somebody has had it before, end the session.
        // Two clients may come with the same token at once: comparing and counting on are one step, or both get the next.
        Err(LabError::Unfinished("rotate"))
    }

    async fn list(&self, _user: &UserId) -> LabResult<Vec<Session>> {
        // Only the live ones, the newest login first.
        Err(LabError::Unfinished("list"))
    }

    async fn revoke(&self, _id: &SessionId) -> LabResult<bool> {
        Err(LabError::Unfinished("revoke"))
    }

    async fn revoke_all(&self, _user: &UserId) -> LabResult<u64> {
        // All or nothing, also when this client dies halfway.
        Err(LabError::Unfinished("revoke_all"))
    }
}
