//! The steps of a history, and what the port answers to them.

use std::fmt;

use chatlab_kit::{
    LabResult,
    check::After,
    ids::{SessionId, UserId},
};

use crate::{Rotation, Session, Sessions};

/// One step. Sessions are named by number, so that a step means the same when others are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Log in: from here on session `s`.
    Login { s: u32, device: String },
    /// Log in some more times, without names.
    Logins { count: usize },
    /// Use session `s`.
    Touch { s: u32 },
    /// Exchange the refresh token of session `s`: the good one, or one from `older` exchanges ago.
    Rotate { s: u32, older: u64 },
    /// Show the user's sessions.
    List,
    /// End session `s`.
    Revoke { s: u32 },
    /// End all.
    RevokeAll,
    /// Let some time pass, in milliseconds at pace 1.
    Pause { ms: u64 },
    /// Wait until `s` is certainly over, unless it is used meanwhile.
    IdleOut { s: u32 },
    /// Use `s` again and again until it is older than any session may be.
    AgeOut { s: u32 },
    /// The step in a client that crashes after `commands` commands.
    Crash { step: Box<Self>, commands: u64 },
    /// Two clients: `first` is held after `commands` commands until `second` is done.
    Race { first: Box<Self>, commands: u64, second: Box<Self> },
    /// Wait until every session is certainly over; then nothing may be left in Redis.
    Leftovers,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Login { s, device } => write!(f, "log in as s{s} on {device:?}"),
            Self::Logins { count } => write!(f, "log in {count} more times"),
            Self::Touch { s } => write!(f, "touch s{s}"),
            Self::Rotate { s, older: 0 } => write!(f, "exchange the refresh token of s{s}"),
            Self::Rotate { s, older } => write!(f, "exchange a token of s{s} from {older} exchanges ago"),
            Self::List => write!(f, "list"),
            Self::Revoke { s } => write!(f, "revoke s{s}"),
            Self::RevokeAll => write!(f, "revoke all"),
            Self::Pause { ms } => write!(f, "wait {ms} ms"),
            Self::IdleOut { s } => write!(f, "leave s{s} alone for its idle time"),
            Self::AgeOut { s } => write!(f, "keep using s{s} until it is too old"),
            Self::Crash { step, commands } => write!(f, "{step}, crash {}", After(*commands)),
            Self::Race { first, commands, second } => {
                write!(f, "{first}, and {} of it {second}", After(*commands))
            }
            Self::Leftovers => write!(f, "wait until all is over, then look what is left"),
        }
    }
}

/// A call of the port.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    Create(String),
    Touch(SessionId),
    Rotate(SessionId, u64),
    List,
    Revoke(SessionId),
    RevokeAll,
}

/// What it answered.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Created(Session),
    Touched(Option<Session>),
    Rotated(Rotation),
    Listed(Vec<Session>),
    Revoked(bool),
    RevokedAll(u64),
}

impl Call {
    pub(crate) async fn send(&self, port: &dyn Sessions, user: &UserId) -> LabResult<Answer> {
        Ok(match self {
            Self::Create(device) => Answer::Created(port.create(user, device).await?),
            Self::Touch(id) => Answer::Touched(port.touch(id).await?),
            Self::Rotate(id, token) => Answer::Rotated(port.rotate(id, *token).await?),
            Self::List => Answer::Listed(port.list(user).await?),
            Self::Revoke(id) => Answer::Revoked(port.revoke(id).await?),
            Self::RevokeAll => Answer::RevokedAll(port.revoke_all(user).await?),
        })
    }

    /// The method's name.
    pub(crate) fn verb(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Touch(_) => "touch",
            Self::Rotate(..) => "rotate",
            Self::List => "list",
            Self::Revoke(_) => "revoke",
            Self::RevokeAll => "revoke_all",
        }
    }

    /// The most round trips that it may take once its scripts are loaded. What runs at every request gets one; a page
    /// that people open now and then gets two.
    pub(crate) fn budget(verb: &str) -> u64 {
        if matches!(verb, "list" | "revoke_all") { 2 } else { 1 }
    }
}
