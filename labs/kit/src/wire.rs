//! The frames of the native WebSocket protocol, version 1 (docs/PROTOCOL.md).
//!
//! One JSON object a text frame, its type in `t`. Server and load generator share these types.

mod client;
mod code;
mod people;
mod role;
mod room;
pub mod schema;
mod server;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use client::{ClientFrame, MarkRoom};
pub use code::ErrorCode;
pub use people::{
    Avatar, Badge, FriendAct, FriendEntry, FriendState, Leader, NoSuchWord, Profile, Status, StatusEntry,
};
pub use role::{NoRole, Role};
pub use room::{DIRECT_MAX_S, NoRoomKind, RoomInfo, RoomKind, SLOW_S};
pub use server::{MemberEntry, ResumeRoom, RoomMarks, ServerFrame};

/// The version that a client names in `hello` and in the subprotocol [`SUBPROTOCOL`].
pub const VERSION: u32 = 1;
/// The WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "chatlab.v1";
/// The largest frame a client may send, in bytes.
pub const MAX_FRAME_BYTES: usize = 16 * 1024;
/// How long a client may take from the upgrade to `hello`, in milliseconds.
pub const HELLO_TIMEOUT_MS: u64 = 5_000;
/// The longest room name, in characters.
pub const MAX_ROOM_NAME: usize = 80;
/// The most rooms that one connection listens to.
pub const MAX_ROOMS_PER_CONN: usize = 256;
/// The most members that one `who` looks at, and that are in one page of `members`.
pub const MAX_WHO: usize = 200;
/// The most rooms that one `mark` is about.
pub const MAX_MARKS: usize = 100;
/// The most rooms in one page of `rooms`.
pub const MAX_ROOMS_PAGE: usize = 100;
/// The most users that one user blocks.
pub const MAX_BLOCKS: usize = 500;
/// The longest text about oneself, in characters.
pub const MAX_ABOUT: usize = 280;
/// The longest text beside a status, in characters.
pub const MAX_STATUS_TEXT: usize = 80;
/// The most friends of one user, with those whom they have asked.
pub const MAX_FRIENDS: usize = 500;
/// The most users who wait for one's answer to whether they become friends.
pub const MAX_FRIEND_REQUESTS: usize = 100;
/// The most places in one list of who writes most.
pub const MAX_LEADERS: usize = 50;
/// The most days that such a list is about.
pub const MAX_LEADER_DAYS: u32 = 30;
/// The longest query of `search`, in bytes of UTF-8.
pub const MAX_QUERY_BYTES: usize = 200;
/// The most sends of one connection that wait for a level above `memory`; one more is refused before it is stored.
pub const MAX_LEVEL_WAITS: u32 = 128;
/// How long `ack` is held back for the level `replica`, in milliseconds.
pub const REPLICA_WAIT_MS: u64 = 1_000;
/// How long `ack` is held back for the level `archived`, in milliseconds.
pub const ARCHIVED_WAIT_MS: u64 = 5_000;
/// How long a user counts as typing without saying so again, in milliseconds.
pub const TYPING_TTL_MS: u64 = 6_000;
const _: () = assert!(TYPING_TTL_MS == 6_000, "the descriptions of `typing` say 6 s");

/// The client's own number for a request; the answer carries it again.
pub type RequestId = u64;

/// How safe a message is when its sender is told so. Each level costs more time than the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AckLevel {
    /// Stored by one Redis master.
    #[default]
    Memory,
    /// Stored there, and received by at least one replica of that master.
    Replica,
    /// Stored there, and committed to the SQL archive, whatever replicas there are.
    Archived,
}

impl AckLevel {
    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Replica => "replica",
            Self::Archived => "archived",
        }
    }

    /// Whether it is the least one, which needs no word.
    pub fn is_memory(&self) -> bool {
        *self == Self::Memory
    }
}
