//! What the services ask of the archive: accounts, rooms and memberships that outlive Redis.

mod addresses;
mod directory;
mod mail;
mod profiles;
mod registry;

use async_trait::async_trait;
use chatlab_kit::{
    ids::{MessageId, RoomId, UserId},
    message::{Message, Seq},
};

pub use addresses::{AddressBook, AddressRange, RangeVerdict};
pub use chatlab_kit::wire::{MemberEntry, Role, RoomInfo, RoomKind};
pub use directory::{Directory, Finding, Found, RoomChange};
pub use mail::{Confirmed, Letter, Mailbox, Mailboxes, Post, PostError, Proposal};
pub use profiles::{
    Befriended, FriendBounds, FriendRecord, ProfileChange, ProfileRecord, Profiles, Sent, StatusRecord,
};
pub use registry::{BanEntry, Registry, RoomEntry, UserEntry};

/// Why the archive could not do it.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// There is one of that name already.
    #[error("it exists already")]
    Conflict,
    /// It is about somebody or something that there is not.
    #[error("there is no such user or room")]
    Unknown,
    /// The database is out of reach, busy for too long, or refused.
    #[error("archive: {0}")]
    Unavailable(String),
    /// What is stored is not what this code wrote.
    #[error("corrupt row: {0}")]
    Corrupt(String),
}

/// A registered user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// Who.
    pub id: UserId,
    /// As typed at the registration; unique whatever the case.
    pub name: String,
    /// A PHC string (`$argon2id$…`).
    pub password_hash: String,
    /// Milliseconds since 1970.
    pub created_ms: i64,
}

/// A room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRecord {
    /// Which.
    pub id: RoomId,
    /// 1 to 80 characters; not unique.
    pub name: String,
    /// What it is.
    pub kind: RoomKind,
    /// Its maker.
    pub created_by: UserId,
    /// Milliseconds since 1970.
    pub created_ms: i64,
}

/// How a user stands to a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// There is no such room, or it has ended.
    NoRoom,
    /// The room exists, the user is not in it, and may come in.
    Outside,
    /// The room exists, the user is not in it, and only others can let them in.
    Uninvited,
    /// A direct chat of theirs in which one blocks the other.
    Shut,
    /// The room exists, and the user must not be in it.
    Banned,
    /// The user is a member, of this role.
    Member(Role),
}

/// Something that has to be accounted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// The event's id; the same one is kept once.
    pub event: String,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// By whom, where that is known.
    pub user: Option<UserId>,
    /// What.
    pub action: String,
    /// More about it, for people.
    pub detail: String,
}

/// The port: users, rooms and members, and what the event streams leave behind. Every method is one transaction.
#[async_trait]
pub trait Archive: AddressBook + Directory + Finding + Mailboxes + Profiles + Registry {
    /// Adds a user; [`ArchiveError::Conflict`] when the name is taken in any case.
    async fn add_user(&self, user: &UserRecord) -> Result<(), ArchiveError>;

    /// Adds users, all or none; [`ArchiveError::Conflict`] when a name is taken.
    async fn add_users(&self, users: &[UserRecord]) -> Result<(), ArchiveError>;

    /// The user of that name, in any case.
    async fn user_by_name(&self, name: &str) -> Result<Option<UserRecord>, ArchiveError>;

    /// Adds a room with its maker as its owner.
    async fn add_room(&self, room: &RoomRecord) -> Result<(), ArchiveError>;

    /// How `user` stands to `room`.
    async fn standing(&self, room: &RoomId, user: &UserId) -> Result<Standing, ArchiveError>;

    /// Makes `user` a member, unless they are banned; false when they were one, or are banned.
    async fn add_member(
        &self,
        room: &RoomId,
        user: &UserId,
        role: Role,
        joined_ms: i64,
    ) -> Result<bool, ArchiveError>;

    /// Ends a membership of a group, whatever the role; false when there was none.
    async fn remove_member(&self, room: &RoomId, user: &UserId) -> Result<bool, ArchiveError>;

    /// Gives a member another role than `now`; false when that is not their role.
    async fn set_role(
        &self,
        room: &RoomId,
        user: &UserId,
        now: Role,
        role: Role,
    ) -> Result<bool, ArchiveError>;

    /// Ends the membership of who has that role; false when that is not their role.
    async fn expel(&self, room: &RoomId, user: &UserId, now: Role) -> Result<bool, ArchiveError>;

    /// Bans a user, by another one or (`None`) the operator, and ends the membership of who has that role, `None` for who is no member; false, and no ban, when that is not so.
    /// [`ArchiveError::Unknown`] when there is no such user.
    async fn ban(
        &self,
        room: &RoomId,
        user: &UserId,
        now: Option<Role>,
        (by, at_ms): (Option<&UserId>, i64),
    ) -> Result<bool, ArchiveError>;

    /// Ends a ban; false when there was none.
    async fn unban(&self, room: &RoomId, user: &UserId) -> Result<bool, ArchiveError>;

    /// Members of a room by id with their names and roles, at most `limit` of those after `start_after`.
    async fn roster(
        &self,
        room: &RoomId,
        start_after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<MemberEntry>, ArchiveError>;

    /// Rooms that a user is a member of, at most `limit` of them.
    async fn rooms_of(&self, user: &UserId, limit: u32) -> Result<Vec<RoomId>, ArchiveError>;

    /// Members of a room by id, at most `limit` of those after `start_after`.
    async fn members(
        &self,
        room: &RoomId,
        start_after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<UserId>, ArchiveError>;

    /// Keeps messages. One that is kept already stays as it is, but for what changes it, whichever of the two comes first: an edited
    /// message has its newest text, a deleted one and its edits have none.
    async fn add_messages(&self, messages: &[Message]) -> Result<(), ArchiveError>;

    /// Of some messages those that are kept, in whatever order.
    async fn kept(&self, ids: &[MessageId]) -> Result<Vec<MessageId>, ArchiveError>;

    /// A message of a room as it is now, and the ids of its edits; none when it is not kept.
    async fn message(
        &self,
        room: &RoomId,
        id: &MessageId,
    ) -> Result<Option<(Message, Vec<MessageId>)>, ArchiveError>;

    /// The pins of a room, the newest `limit` of them, the first pin first: which messages, and the sequences of their pins.
    async fn pins(&self, room: &RoomId, limit: u32) -> Result<Vec<(MessageId, Seq)>, ArchiveError>;

    /// Up to `limit` messages of a room with a sequence below `before` (the newest without it), oldest first.
    async fn messages_before(
        &self,
        room: &RoomId,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<Vec<Message>, ArchiveError>;

    /// The highest sequence of a room that is kept; 0 without any.
    async fn last_seq(&self, room: &RoomId) -> Result<Seq, ArchiveError>;

    /// Keeps records. One that is kept already stays as it is.
    async fn add_audit(&self, records: &[AuditRecord]) -> Result<(), ArchiveError>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<(), ArchiveError>;
}
