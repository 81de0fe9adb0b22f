//! Lab: login sessions. Many devices a user, expiry when idle and at the latest after a while,
//! one revoked, all revoked.

mod checks;
#[cfg(feature = "exercise")]
mod exercise;
mod experiments;
mod hash_field_ttl;
mod hash_index;
mod history;
mod judge;
mod judge_rotation;
mod lab;
mod model;
mod races;
mod read_then_write;
mod refuse_old_token;
mod set_index;
mod sliding_forever;
mod stored;
mod string_index;
mod two_step_ttl;
mod user_hash;
mod variants;
mod workload;
mod world;

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    ids::{SessionId, UserId},
};
use serde::{Deserialize, Serialize};

#[cfg(feature = "exercise")]
pub use exercise::Exercise;
pub use hash_field_ttl::HashFieldTtl;
pub use hash_index::HashIndex;
pub use lab::{LAB, SessionsLab};
pub use read_then_write::ReadThenWrite;
pub use refuse_old_token::RefuseOldToken;
pub use set_index::SetIndex;
pub use sliding_forever::SlidingForever;
pub use string_index::StringIndex;
pub use two_step_ttl::TwoStepTtl;
pub use user_hash::UserHash;
pub use variants::build;

/// The longest device name, in bytes.
pub const MAX_DEVICE_BYTES: usize = 80;
/// The most live sessions a user may have; one more ends the oldest.
pub const MAX_SESSIONS: usize = 32;

/// How long sessions live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// A session unused for this long is over, in milliseconds.
    pub idle_ms: u64,
    /// A session is over this long after the login however much it is used, in milliseconds.
    pub absolute_ms: u64,
}

impl Default for Policy {
    /// A week idle, thirty days in all.
    fn default() -> Self {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        Self { idle_ms: 7 * DAY_MS, absolute_ms: 30 * DAY_MS }
    }
}

/// A live login session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id; the user is part of it.
    pub id: SessionId,
    /// What the user logged in with, such as `Firefox on Linux`.
    pub device: String,
    /// When the user logged in, in milliseconds since 1970 by Redis' clock.
    pub created_ms: u64,
    /// When it ends if it is not used again, in milliseconds since 1970 by Redis' clock.
    pub expires_ms: u64,
}

/// What became of a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// It was good: from now on the token of this number is.
    Next(u64),
    /// It was exchanged before, so two people have had it: the session is over.
    Stolen,
    /// There is no live session.
    Over,
}

impl Rotation {
    /// What the scripts answer: the next number, -1 when the session had to end, nil when it is not live.
    fn of(answer: Option<i64>) -> Self {
        match answer {
            None => Self::Over,
            Some(next) => u64::try_from(next).map_or(Self::Stolen, Self::Next),
        }
    }
}

/// The port: what the server asks of login sessions.
///
/// Every operation is atomic: a client that dies in the middle of one leaves the sessions as they
/// were before or as they are after it.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Starts a session. Over [`MAX_SESSIONS`] the one that would end first is ended.
    async fn create(&self, user: &UserId, device: &str) -> LabResult<Session>;

    /// The session if it is live, and moves its idle expiry on (never past the absolute one).
    /// A session that was revoked or ran out stays so.
    async fn touch(&self, id: &SessionId) -> LabResult<Option<Session>>;

    /// Exchanges the session's refresh token for the next one, and counts as a use. Tokens are numbered; a new session's
    /// is 0 (the server signs the number, nobody can make one up). Each is exchanged once: whoever comes with an older
    /// one, or a second one with the same, ends the session.
    async fn rotate(&self, id: &SessionId, token: u64) -> LabResult<Rotation>;

    /// All live sessions of a user, the newest login first.
    async fn list(&self, user: &UserId) -> LabResult<Vec<Session>>;

    /// Ends one session; false when it was not live.
    async fn revoke(&self, id: &SessionId) -> LabResult<bool>;

    /// Ends all sessions of a user; how many were live.
    async fn revoke_all(&self, user: &UserId) -> LabResult<u64>;
}

/// Refuses a device name that is too long.
fn check_device(device: &str) -> LabResult<()> {
    if device.len() > MAX_DEVICE_BYTES {
        return Err(LabError::Bound { what: "device name", bound: MAX_DEVICE_BYTES as u64 });
    }
    Ok(())
}
