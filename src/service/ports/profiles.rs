//! What the services ask of the archive about users as others see them.

use async_trait::async_trait;
use chatlab_kit::{
    ids::{RoomId, UserId},
    wire::{FriendState, Status},
};

use super::ArchiveError;

/// What a user shows, and what it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileRecord {
    /// Who.
    pub id: UserId,
    /// As typed at the registration.
    pub name: String,
    /// What they say about themselves.
    pub about: String,
    /// Whether they are to be had.
    pub standing: StatusRecord,
    /// When they registered, in milliseconds since 1970.
    pub created_ms: i64,
    /// How many texts they have sent.
    pub texts: u64,
    /// On how many days, by UTC.
    pub days: u64,
}

/// A status, and what is said beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusRecord {
    /// The status.
    pub status: Status,
    /// Beside it.
    pub text: String,
}

/// What is to be changed of a profile; the rest stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileChange {
    /// What they say about themselves.
    pub about: Option<String>,
    /// Whether they are to be had.
    pub status: Option<Status>,
    /// What they say beside it.
    pub status_text: Option<String>,
}

/// One who is, or may become, a friend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FriendRecord {
    /// Who.
    pub user: UserId,
    /// As typed at the registration.
    pub name: String,
    /// What they are.
    pub state: FriendState,
}

/// What became of asking somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Befriended {
    /// The other one is this now.
    Now(FriendState),
    /// The other one was this already, and stays so.
    Already(FriendState),
    /// There was no question to be answered.
    Unasked,
    /// There is no such user.
    Nobody,
    /// One of the two blocks the other.
    Apart,
    /// The one who asks has as many as there may be.
    Full,
    /// The other one has as many open questions as there may be.
    Beset,
}

/// Bounds of a user's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FriendBounds {
    /// Friends, with those whom one has asked.
    pub friends: u32,
    /// Those who ask.
    pub requests: u32,
}

/// A user, and how many texts they have sent.
pub type Sent = (UserId, String, u64);

/// The port: profiles, friends, and who writes how much.
#[async_trait]
pub trait Profiles: Send + Sync {
    /// What a user shows; none when there is no such user.
    async fn profile(&self, user: &UserId) -> Result<Option<ProfileRecord>, ArchiveError>;

    /// Changes a profile; what the status was before. None when there is no such user.
    async fn set_profile(
        &self,
        user: &UserId,
        change: &ProfileChange,
    ) -> Result<Option<StatusRecord>, ArchiveError>;

    /// Of some users those whose status is not simply available, or who say something beside it.
    async fn statuses(&self, users: &[UserId]) -> Result<Vec<(UserId, StatusRecord)>, ArchiveError>;

    /// Accepts when a user has asked to be a friend; asks them otherwise, unless this only `answers`.
    async fn befriend(
        &self,
        user: &UserId,
        whom: &UserId,
        answers: bool,
        bounds: FriendBounds,
    ) -> Result<Befriended, ArchiveError>;

    /// Ends what the other one is, when it is one of these; false when it is none.
    async fn unfriend(
        &self,
        user: &UserId,
        whom: &UserId,
        states: &[FriendState],
    ) -> Result<bool, ArchiveError>;

    /// A user's friends and those who may become some, by id, at most `limit` of them.
    async fn friends(&self, user: &UserId, limit: u32) -> Result<Vec<FriendRecord>, ArchiveError>;

    /// What `whom` is to a user.
    async fn friend_state(&self, user: &UserId, whom: &UserId) -> Result<Option<FriendState>, ArchiveError>;

    /// Who has sent the most texts to a room since a day (counted from 1970, by UTC), most first, and by id where that is equal.
    async fn leaders(&self, room: &RoomId, since_day: i64, limit: u32) -> Result<Vec<Sent>, ArchiveError>;
}
