//! What an operator asks about: all users, all rooms, and who is banned.

use async_trait::async_trait;
use chatlab_kit::{
    ids::{RoomId, UserId},
    wire::{Role, RoomInfo},
};

use super::ArchiveError;

/// A user, without what only the log-in needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserEntry {
    /// Who.
    pub user: UserId,
    /// As typed at the registration.
    pub name: String,
    /// Milliseconds since 1970.
    pub created_ms: i64,
}

/// A room with what is counted of it.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomEntry {
    /// Its settings, as seen by nobody in it.
    pub info: RoomInfo,
    /// The name of who made it.
    pub maker: String,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// How many members it has.
    pub members: u64,
    /// How many users are banned from it.
    pub bans: u64,
}

/// A ban from a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BanEntry {
    /// Who is banned.
    pub user: UserId,
    /// Their name.
    pub name: String,
    /// Who banned them, and that one's name; none for the operator.
    pub by: Option<(UserId, String)>,
    /// Milliseconds since 1970.
    pub at_ms: i64,
}

/// The port: all there is, page by page. Every method is one transaction.
#[async_trait]
pub trait Registry: Send + Sync {
    /// Users by name in lower case, at most `limit` of those after that name in any case.
    async fn users(&self, start_after: Option<&str>, limit: u32) -> Result<Vec<UserEntry>, ArchiveError>;

    /// The user of that id.
    async fn user(&self, user: &UserId) -> Result<Option<UserEntry>, ArchiveError>;

    /// Rooms that have not ended by id, at most `limit` of those after `start_after`.
    async fn all_rooms(
        &self,
        start_after: Option<&RoomId>,
        limit: u32,
    ) -> Result<Vec<RoomEntry>, ArchiveError>;

    /// A room; none when there is no such room, or it has ended.
    async fn room_entry(&self, room: &RoomId) -> Result<Option<RoomEntry>, ArchiveError>;

    /// Rooms that a user is a member of and their role there, by the room's id, at most `limit` of those after `start_after`.
    async fn memberships(
        &self,
        user: &UserId,
        start_after: Option<&RoomId>,
        limit: u32,
    ) -> Result<Vec<(RoomInfo, Role)>, ArchiveError>;

    /// Bans from a room by the banned user's id, at most `limit` of those after `start_after`.
    async fn bans(
        &self,
        room: &RoomId,
        start_after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<BanEntry>, ArchiveError>;
}
