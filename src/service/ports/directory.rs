//! What the services ask about rooms as such, and about who blocks whom.

use async_trait::async_trait;
use chatlab_kit::{
    ids::{MessageId, RoomId, UserId},
    message::{Message, Seq},
    wire::RoomInfo,
};

use super::ArchiveError;

/// Settings to change; none stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomChange {
    /// The name.
    pub name: Option<String>,
    /// Whether only moderators and higher write.
    pub read_only: Option<bool>,
    /// In how many seconds a member may write once.
    pub slow_s: Option<u32>,
    /// Whether nobody joins by themselves.
    pub invited: Option<bool>,
}

/// The port: rooms with their settings, direct chats, and blocks. Every method is one transaction unless it says otherwise.
#[async_trait]
pub trait Directory: Send + Sync {
    /// A room as `viewer` sees it; none when there is no such room, or it has ended.
    async fn room(&self, room: &RoomId, viewer: Option<&UserId>) -> Result<Option<RoomInfo>, ArchiveError>;

    /// Rooms that a user is a member of, by id, at most `limit` of those after `start_after`.
    async fn room_list(
        &self,
        user: &UserId,
        start_after: Option<&RoomId>,
        limit: u32,
    ) -> Result<Vec<RoomInfo>, ArchiveError>;

    /// Changes settings of a room; false when there is no such group.
    async fn set_room(&self, room: &RoomId, change: &RoomChange) -> Result<bool, ArchiveError>;

    /// The direct chat of two users, or a new one by the id `new` that ends at `ends_ms`; and whether it is new.
    /// [`ArchiveError::Unknown`] when there is no such user.
    async fn direct(
        &self,
        by: &UserId,
        with: &UserId,
        new: RoomId,
        ends_ms: Option<i64>,
    ) -> Result<(RoomId, bool), ArchiveError>;

    /// The direct chat of two users, if they have one.
    async fn direct_of(&self, one: &UserId, other: &UserId) -> Result<Option<RoomId>, ArchiveError>;

    /// Ends a direct chat now; false when it is none, or has ended.
    async fn end_room(&self, room: &RoomId) -> Result<bool, ArchiveError>;

    /// Rooms that had ended by `by_ms`, the longest ago first, and their members.
    async fn ended_rooms(&self, by_ms: i64, limit: u32) -> Result<Vec<(RoomId, Vec<UserId>)>, ArchiveError>;

    /// Removes a room and all that was said there, in several transactions.
    async fn remove_room(&self, room: &RoomId) -> Result<(), ArchiveError>;

    /// Blocks a user, who is no friend any more; false when `most` are blocked already. [`ArchiveError::Unknown`] when there is no such user.
    async fn block(&self, user: &UserId, whom: &UserId, most: u32) -> Result<bool, ArchiveError>;

    /// Blocks a user no longer; false when they were not blocked.
    async fn unblock(&self, user: &UserId, whom: &UserId) -> Result<bool, ArchiveError>;

    /// Whom a user blocks, by id, at most `limit` of them.
    async fn blocks(&self, user: &UserId, limit: u32) -> Result<Vec<UserId>, ArchiveError>;

    /// Those `among` some users who block one, by id.
    async fn blockers(&self, of: &UserId, among: &[UserId]) -> Result<Vec<UserId>, ArchiveError>;
}

/// A message that was found, and the cursor from which those after it are found.
pub type Found = (u64, Message);

/// The port: messages by what is in them.
#[async_trait]
pub trait Finding: Send + Sync {
    /// Messages of a room with all these words, the newest first; the last word may be the beginning of one.
    async fn search(
        &self,
        room: &RoomId,
        words: &[String],
        cursor: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Found>, ArchiveError>;

    /// Messages of a room that answer one, with a sequence above `after`, oldest first.
    async fn replies(
        &self,
        room: &RoomId,
        to: &MessageId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<Message>, ArchiveError>;
}
