//! The frames of the native WebSocket protocol, version 1 (docs/PROTOCOL.md).
//!
//! One JSON object a text frame, its type in `t`. Server and load generator share these types.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ClientMsgId, MessageId, RoomId, SessionId, UserId},
    message::{Epoch, Message, MessageKind, Position, Seq},
};

/// The version that a client names in `hello` and in the subprotocol [`SUBPROTOCOL`].
pub const VERSION: u32 = 1;
/// The WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "chatlab.v1";
/// The largest frame a client may send, in bytes.
pub const MAX_FRAME_BYTES: usize = 16 * 1024;
/// How long a client may take from the upgrade to `hello`, in milliseconds.
pub const HELLO_TIMEOUT_MS: u64 = 5_000;
/// The most members that one `who` looks at.
pub const MAX_WHO: usize = 200;
/// How long a user counts as typing without saying so again, in milliseconds.
pub const TYPING_TTL_MS: u64 = 6_000;

/// The client's own number for a request; the answer carries it again.
pub type RequestId = u64;

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum ClientFrame {
    /// The first frame: who is there.
    Hello {
        /// The protocol's version, [`VERSION`].
        v: u32,
        /// The access token from `POST /v1/login`.
        token: String,
    },
    /// Asks for [`ServerFrame::Pong`].
    Ping {
        /// Request number.
        id: RequestId,
    },
    /// Makes a room and its maker the first member; answered by `ok` with the room.
    Create {
        /// Request number.
        id: RequestId,
        /// 1 to 80 characters.
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
    /// Sends a message; answered by `ack`. Safe to repeat with the same `cid`.
    Send {
        /// Request number.
        id: RequestId,
        /// Which room; it must have been joined on this connection.
        room: RoomId,
        /// The client's name for the message.
        cid: ClientMsgId,
        /// What it is.
        #[serde(default)]
        kind: MessageKind,
        /// The text.
        body: String,
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
        /// 1 to [`crate::message::MAX_PAGE`]; 50 when missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
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
        /// How many members are looked at, 1 to [`MAX_WHO`], which is also meant when it is missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    },
    /// Says that this user is writing, or no longer; answered by `ok`. Holds for [`TYPING_TTL_MS`], so say it again
    /// while it goes on.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum ServerFrame {
    /// Answers `hello`.
    Welcome {
        /// The protocol's version.
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
    /// Answers `send`: the message is stored.
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
    },
    /// Answers `history`.
    Page {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
        /// Oldest first.
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
    /// wait to be written, only the newest is. Without news for [`TYPING_TTL_MS`] they are not writing any more.
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
        resume: Vec<ResumeRoom>,
    },
}

/// One room's part of a resume token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeRoom {
    /// Which room.
    pub room: RoomId,
    /// The position delivered last.
    pub after: Position,
}

/// Stable error codes, the same in WebSocket frames and HTTP bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not JSON, or not an object with a known shape.
    BadFrame,
    /// The type in `t` is not known.
    UnknownType,
    /// A field is missing, of the wrong type, or out of its bounds.
    Invalid,
    /// A frame or body is over its bound.
    TooLarge,
    /// No `hello` yet, or a second one.
    BadState,
    /// `hello` named a version the server does not speak.
    BadVersion,
    /// The token is missing, forged or for nobody.
    Unauthorized,
    /// The token's time is over: log in again.
    TokenExpired,
    /// The login session was ended.
    SessionRevoked,
    /// Known, but not allowed.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// It exists already.
    Conflict,
    /// Too many requests; try again later.
    RateLimited,
    /// The client reads too slowly.
    SlowConsumer,
    /// Nothing was heard for two heartbeats.
    HeartbeatTimeout,
    /// No `hello` came in time.
    HelloTimeout,
    /// The server is stopping; connect again, to another one.
    GoingAway,
    /// Redis or the archive is out of reach.
    Unavailable,
    /// A fault of the server's own.
    Internal,
}

impl ErrorCode {
    /// Whether the same request may succeed when it is tried again.
    pub fn retryable(self) -> bool {
        matches!(
            self,
            Self::RateLimited
                | Self::SlowConsumer
                | Self::HeartbeatTimeout
                | Self::HelloTimeout
                | Self::GoingAway
                | Self::Unavailable
                | Self::Internal
        )
    }

    /// The WebSocket close code that goes with it (RFC 6455 §7.4; 4000 and up are ours).
    pub fn close_code(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::TooLarge => 1009,
            Self::Unavailable | Self::Internal => 1011,
            Self::BadFrame | Self::UnknownType | Self::Invalid => 4000,
            Self::Unauthorized => 4001,
            Self::TokenExpired => 4002,
            Self::SessionRevoked => 4003,
            Self::HelloTimeout => 4004,
            Self::BadState => 4005,
            Self::BadVersion => 4006,
            Self::HeartbeatTimeout => 4007,
            Self::SlowConsumer => 4008,
            Self::Forbidden | Self::NotFound | Self::Conflict => 4009,
            Self::RateLimited => 4029,
        }
    }
}
