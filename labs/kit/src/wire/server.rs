//! What the server sends.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AckLevel, ErrorCode, FriendEntry, Leader, MAX_BLOCKS, MAX_FRIEND_REQUESTS, MAX_FRIENDS, MAX_LEADERS,
    MAX_MARKS, MAX_ROOMS_PAGE, MAX_ROOMS_PER_CONN, MAX_STATUS_TEXT, MAX_WHO, Profile, RequestId, Role,
    RoomInfo, Status, StatusEntry, VERSION,
};
use crate::{
    ids::{ClientMsgId, MessageId, RoomId, SessionId, UserId},
    message::{Epoch, MAX_PAGE, Message, PINS_MAX, Position, Seq},
};

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
    /// Answers `create`, `join`, `direct`, `leave`, `end`, `typing`, `settings`, `add`, `role`, `remove` and `unban`.
    Ok {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
        /// After `create`, `join` and `direct`: where the room's history stands. Everything after it follows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        head: Option<Position>,
    },
    /// Answers `send`, `forward`, `edit`, `delete`, `pin` and `react`: the message is stored, and as safe as `level` says. Later requests may have been answered before.
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
    /// Answers `pins`.
    Pins {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
        /// As they are now, the first pin first.
        #[schemars(length(max = PINS_MAX))]
        messages: Vec<Message>,
    },
    /// Answers `search` and `thread`.
    Found {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
        /// As they are now.
        #[schemars(length(max = MAX_PAGE))]
        messages: Vec<Message>,
        /// `cursor` for the next page; none at the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<u64>,
    },
    /// Answers `rooms`.
    Rooms {
        /// Request number.
        id: RequestId,
        /// By id, so those that were made first come first.
        #[schemars(length(max = MAX_ROOMS_PAGE))]
        rooms: Vec<RoomInfo>,
        /// `start_after` for the next page; none at the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<RoomId>,
    },
    /// Answers `block` and `blocks`.
    Blocks {
        /// Request number.
        id: RequestId,
        /// Whom one blocks, by id.
        #[schemars(length(max = MAX_BLOCKS))]
        users: Vec<UserId>,
    },
    /// Answers `profile` and `set_profile`.
    Profile {
        /// Request number.
        id: RequestId,
        /// As the one who asked sees them.
        profile: Profile,
    },
    /// Answers `friend` and `friends`.
    Friends {
        /// Request number.
        id: RequestId,
        /// By id.
        #[schemars(length(max = MAX_FRIENDS + MAX_FRIEND_REQUESTS))]
        friends: Vec<FriendEntry>,
    },
    /// Answers `leaders`.
    Leaders {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
        /// Who has sent most comes first.
        #[schemars(length(max = MAX_LEADERS))]
        leaders: Vec<Leader>,
    },
    /// Answers `mark`.
    Marks {
        /// Request number.
        id: RequestId,
        /// The rooms that were asked about, in that order.
        #[schemars(length(max = MAX_MARKS))]
        rooms: Vec<RoomMarks>,
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
    /// A member of a joined room came online (their first connection), went offline (their last), or changed their status; who turned invisible is
    /// told of as who went offline.
    /// Beside the order of messages; of several that wait to be written, only the newest is.
    Presence {
        /// Which room.
        room: RoomId,
        /// Who.
        user: UserId,
        /// Whether they have a connection, and do not hide it.
        online: bool,
        /// Their status; none when they are not online.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<Status>,
        /// What they say beside it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        #[schemars(length(max = MAX_STATUS_TEXT))]
        status_text: String,
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
    /// How far a member of a joined room has read it, and what has come to a device of theirs. Beside the order of messages; at most once
    /// a second for a user and room, and of several that wait to be written, only the newest is.
    Receipt {
        /// Which room.
        room: RoomId,
        /// Who.
        user: UserId,
        /// Everything up to this sequence was read; 0 when nothing was.
        read: Seq,
        /// Everything up to this sequence has come to a device.
        delivered: Seq,
    },
    /// Answers `who`.
    Who {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
        /// Of the members in this page, those with a connection who are not invisible, by id.
        #[schemars(length(max = MAX_WHO))]
        online: Vec<UserId>,
        /// Of those, who is not simply `available`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(max = MAX_WHO))]
        statuses: Vec<StatusEntry>,
        /// `start_after` for the next page; none at the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<UserId>,
    },
    /// Answers `members`.
    Members {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
        /// By id.
        #[schemars(length(max = MAX_WHO))]
        members: Vec<MemberEntry>,
        /// `start_after` for the next page; none at the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<UserId>,
    },
    /// A member of a joined room has another role. Beside the order of messages.
    Role {
        /// Which room.
        room: RoomId,
        /// Who.
        user: UserId,
        /// The new one.
        role: Role,
    },
    /// A joined room has other settings. Beside the order of messages.
    Settings(RoomInfo),
    /// One is a member of a room by somebody else's doing, who added one or opened a direct chat. At most once: `rooms` has all.
    Added(RoomInfo),
    /// Somebody is something else to one than before, by their doing: asks to be a friend, has accepted, or is none any more. At most once:
    /// `friends` has all.
    Friend(FriendEntry),
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

/// A member of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemberEntry {
    /// Who.
    pub user: UserId,
    /// As typed at the registration.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

/// One room's part of a resume token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResumeRoom {
    /// Which room.
    pub room: RoomId,
    /// The position delivered last.
    pub after: Position,
}

/// How far a user is in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoomMarks {
    /// Which room.
    pub room: RoomId,
    /// Its last sequence.
    pub head: Seq,
    /// Everything up to this sequence was read; 0 when nothing was.
    pub read: Seq,
    /// Everything up to this sequence has come to a device; at least what was read.
    pub delivered: Seq,
    /// How many texts came after `read`, of those that Redis keeps: what changes, pins or reacts to a message is none.
    pub unread: u64,
}
