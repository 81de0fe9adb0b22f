//! The frames of the native WebSocket protocol, version 1 (docs/PROTOCOL.md).
//!
//! One JSON object a text frame, its type in `t`. Server and load generator share these types.

mod code;
pub mod schema;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ids::{ClientMsgId, MessageId, RoomId, SessionId, UserId},
    message::{Epoch, MAX_BODY_BYTES, MAX_PAGE, Message, MessageKind, Position, Seq},
};

pub use code::ErrorCode;

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
/// The most members that one `who` looks at.
pub const MAX_WHO: usize = 200;
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

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum ClientFrame {
    /// The first frame: who is there.
    Hello {
        /// The protocol's version.
        #[schemars(extend("const" = VERSION))]
        v: u32,
        /// The access token from `POST /v1/login`.
        token: String,
    },
    /// Asks for `pong`.
    Ping {
        /// Request number.
        id: RequestId,
    },
    /// Makes a room and its maker the first member; answered by `ok` with the room.
    Create {
        /// Request number.
        id: RequestId,
        /// Without control characters.
        #[schemars(length(min = 1, max = MAX_ROOM_NAME))]
        name: String,
    },
    /// Becomes a member, and listens to the room on this connection. With `after`, everything
    /// since that position comes first, or `resync` when it can't be verified.
    Join {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
        /// The last position this client saw.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Position>,
    },
    /// Ends the membership, on all the user's connections.
    Leave {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
    },
    /// Sends a message; answered by `ack` once it is as safe as `level` says. Safe to repeat with the same `cid`.
    Send {
        /// Request number.
        id: RequestId,
        /// Which room; it must have been joined on this connection.
        room: RoomId,
        /// The client's name for the message, unique for the sender in the room.
        cid: ClientMsgId,
        /// What it is; only `text` can be sent.
        #[serde(default)]
        #[schemars(extend("const" = MessageKind::Text))]
        kind: MessageKind,
        /// The text.
        #[schemars(length(min = 1, max = MAX_BODY_BYTES), extend("x-max-bytes" = MAX_BODY_BYTES))]
        body: String,
        /// How safe it is to be before `ack` comes; `memory` when missing.
        #[serde(default, skip_serializing_if = "AckLevel::is_memory")]
        level: AckLevel,
    },
    /// Replaces the text of a message of one's own; answered as `send` is. All listeners get a message of the kind `edit`.
    Edit {
        /// Request number.
        id: RequestId,
        /// Which room; it must have been joined on this connection.
        room: RoomId,
        /// The client's own name for the change, as for a message: the same one again changes nothing more.
        cid: ClientMsgId,
        /// Which message.
        msg: MessageId,
        /// The new text, in bytes of UTF-8.
        #[schemars(length(min = 1, max = MAX_BODY_BYTES), extend("x-max-bytes" = MAX_BODY_BYTES))]
        body: String,
        /// As for `send`.
        #[serde(default, skip_serializing_if = "AckLevel::is_memory")]
        level: AckLevel,
    },
    /// Takes the text out of a message, of one's own or, by the room's owner, of anybody's; answered as `send` is. All listeners get a
    /// message of the kind `delete`.
    Delete {
        /// Request number.
        id: RequestId,
        /// Which room; it must have been joined on this connection.
        room: RoomId,
        /// The client's own name for the change, as for a message: the same one again changes nothing more.
        cid: ClientMsgId,
        /// Which message.
        msg: MessageId,
        /// As for `send`.
        #[serde(default, skip_serializing_if = "AckLevel::is_memory")]
        level: AckLevel,
    },
    /// Asks for a page of older messages, newest last; answered by `page`.
    History {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
        /// Only messages with a lower sequence; none for the newest page.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Seq>,
        /// How many; 50 when missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1, max = MAX_PAGE))]
        limit: Option<u32>,
    },
    /// Asks which members of a room are online, a page of members at a time; answered by `who`.
    Who {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
        /// `next` of the page before; none for the first page.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        start_after: Option<UserId>,
        /// How many members are looked at; as many as may be when missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1, max = MAX_WHO))]
        limit: Option<u32>,
    },
    /// Says that this user is writing, or no longer; answered by `ok`. Holds for 6 s, so say it again while it goes on.
    Typing {
        /// Request number.
        id: RequestId,
        /// Which room; it must have been joined on this connection.
        room: RoomId,
        /// Whether they are writing.
        on: bool,
    },
}

/// What the server sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum ServerFrame {
    /// Answers `hello`.
    Welcome {
        /// The protocol's version.
        #[schemars(extend("const" = VERSION))]
        v: u32,
        /// Who the token says is there.
        user: UserId,
        /// Which login session.
        session: SessionId,
        /// The server pings this often, in milliseconds; a connection silent for twice as long is closed.
        heartbeat_ms: u64,
        /// The largest frame the server takes, in bytes.
        max_frame: usize,
    },
    /// Answers `ping`.
    Pong {
        /// Request number.
        id: RequestId,
    },
    /// Answers `create`, `join`, `leave` and `typing`.
    Ok {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
        /// After `create` and `join`: where the room's history stands. Everything after it follows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        head: Option<Position>,
    },
    /// Answers `send`, `edit` and `delete`: the message is stored, and as safe as `level` says. Later requests may have been answered before.
    Ack {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
        /// The client's name for the message.
        cid: ClientMsgId,
        /// The sequence's run.
        epoch: Epoch,
        /// Its place.
        seq: Seq,
        /// Its id.
        msg: MessageId,
        /// Milliseconds since 1970 by Redis' clock.
        ts: u64,
        /// True when an earlier attempt had already stored it.
        dup: bool,
        /// How safe it is known to be.
        #[serde(default)]
        level: AckLevel,
        /// What was asked for, when that was not reached in time. Sending again with the same `cid` waits once more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wanted: Option<AckLevel>,
    },
    /// Answers `history`.
    Page {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
        /// Oldest first.
        #[schemars(length(max = MAX_PAGE))]
        messages: Vec<Message>,
        /// `before` for the next, older page; none when there is nothing older.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<Seq>,
    },
    /// A message in a joined room.
    Message(Message),
    /// The position given in `join` can't be continued: forget it, read history, go on from `head`.
    Resync {
        /// Which room.
        room: RoomId,
        /// Where the room stands now.
        head: Position,
    },
    /// A user's membership ended; when it is one's own, the room is silent from here on.
    Left {
        /// Which room.
        room: RoomId,
        /// Who left.
        user: UserId,
    },
    /// A member of a joined room came online (their first connection) or went offline (their last).
    /// Beside the order of messages; of several that wait to be written, only the newest is.
    Presence {
        /// Which room.
        room: RoomId,
        /// Who.
        user: UserId,
        /// Whether they have a connection.
        online: bool,
    },
    /// Another user of a joined room is writing, or no longer. Beside the order of messages, never stored; of several that
    /// wait to be written, only the newest is. Without news for 6 s they are not writing any more.
    Typing {
        /// Which room.
        room: RoomId,
        /// Who.
        user: UserId,
        /// Whether they are writing.
        on: bool,
    },
    /// Answers `who`.
    Who {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
        /// Of the members in this page, those with a connection, by id.
        #[schemars(length(max = MAX_WHO))]
        online: Vec<UserId>,
        /// `start_after` for the next page; none at the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<UserId>,
    },
    /// A request could not be done, or a frame not understood.
    Error {
        /// Request number, where one could be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        /// A stable code.
        code: ErrorCode,
        /// For people; may change.
        message: String,
        /// Whether the same request may succeed later.
        retryable: bool,
    },
    /// The last frame before the server closes: where to go on from.
    Bye {
        /// Why, as a stable code.
        code: ErrorCode,
        /// For people.
        message: String,
        /// The position delivered last, a room each: give it as `after` when joining again.
        #[schemars(length(max = MAX_ROOMS_PER_CONN))]
        resume: Vec<ResumeRoom>,
    },
}

/// One room's part of a resume token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResumeRoom {
    /// Which room.
    pub room: RoomId,
    /// The position delivered last.
    pub after: Position,
}
