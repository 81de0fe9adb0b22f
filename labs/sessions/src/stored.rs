//! What the variants with a JSON value store for a session.

use chatlab_kit::{
    LabError, LabResult,
    ids::{SessionId, UserId},
    redis::Redis,
};
use serde::{Deserialize, Serialize};

use crate::{Rotation, Session};

/// A session but for its id, which is in the key or the field, and its expiry, which moves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) device: String,
    pub(crate) created_ms: u64,
    pub(crate) ends_ms: u64,
    /// The number of the refresh token that is good now.
    #[serde(default)]
    pub(crate) refresh: u64,
}

impl Stored {
    /// Reads what was found at `key`.
    pub(crate) fn parse(key: &str, json: &str) -> LabResult<Self> {
        serde_json::from_str(json).map_err(|e| LabError::Corrupt { key: key.to_owned(), why: e.to_string() })
    }

    /// The whole session.
    pub(crate) fn session(self, id: SessionId, expires_ms: u64) -> Session {
        Session { id, device: self.device, created_ms: self.created_ms, expires_ms }
    }
}

/// The id of the session that an index at `key` calls `secret`.
pub(crate) fn id_of(user: &UserId, secret: &str, key: &str) -> LabResult<SessionId> {
    SessionId::from_parts(*user, secret)
        .map_err(|e| LabError::Corrupt { key: key.to_owned(), why: e.to_string() })
}

/// As `Sessions::list` wants them.
pub(crate) fn newest_first(mut sessions: Vec<Session>) -> Vec<Session> {
    sessions.sort_by_key(|session| std::cmp::Reverse(session.created_ms));
    sessions
}

/// How the flawed variants exchange a refresh token: they read, compare and write, and whoever comes between the steps gets
/// the same token.
pub(crate) async fn rotate_in_steps(redis: &Redis, key: &str, token: u64) -> LabResult<Rotation> {
    let mut redis = redis.clone();
    let json: Option<String> = redis::cmd("GET").arg(key).query_async(&mut redis).await?;
    let Some(json) = json else { return Ok(Rotation::Over) };
    let mut stored = Stored::parse(key, &json)?;
    if stored.refresh != token {
        let () = redis::cmd("DEL").arg(key).query_async(&mut redis).await?;
        return Ok(Rotation::Stolen);
    }
    stored.refresh += 1;
    let json = serde_json::to_string(&stored).unwrap_or_default();
    let written: Option<String> =
        redis::cmd("SET").arg(key).arg(json).arg("XX").arg("KEEPTTL").query_async(&mut redis).await?;
    Ok(written.map_or(Rotation::Over, |_| Rotation::Next(stored.refresh)))
}

/// The clock of this machine, where a flawed variant trusts it.
pub(crate) fn client_ms() -> u64 {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_1970.map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}
