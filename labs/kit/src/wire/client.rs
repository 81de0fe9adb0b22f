//! What a client sends.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AckLevel, MAX_MARKS, MAX_ROOM_NAME, MAX_WHO, RequestId, Role, VERSION};
use crate::{
    ids::{ClientMsgId, MessageId, RoomId, UserId},
    message::{MAX_BODY_BYTES, MAX_EMOJI_BYTES, MAX_PAGE, MessageKind, Position, Seq},
};

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
    /// Pins a message in its room, or takes the pin away; answered as `send` is. All listeners get a message of the kind `pin` or `unpin`.
    Pin {
        /// Request number.
        id: RequestId,
        /// Which room; it must have been joined on this connection.
        room: RoomId,
        /// The client's own name for that, as for a message: the same one again changes nothing more.
        cid: ClientMsgId,
        /// Which message.
        msg: MessageId,
        /// Whether it is to be pinned.
        on: bool,
        /// As for `send`.
        #[serde(default, skip_serializing_if = "AckLevel::is_memory")]
        level: AckLevel,
    },
    /// Reacts to a message with an emoji, or takes that back; answered as `send` is. All listeners get a message of the kind `react` or
    /// `unreact`.
    React {
        /// Request number.
        id: RequestId,
        /// Which room; it must have been joined on this connection.
        room: RoomId,
        /// The client's own name for that, as for a message: the same one again changes nothing more.
        cid: ClientMsgId,
        /// Which message.
        msg: MessageId,
        /// One emoji of Unicode.
        #[schemars(length(min = 1, max = MAX_EMOJI_BYTES), extend("x-max-bytes" = MAX_EMOJI_BYTES))]
        emoji: String,
        /// Whether it is to be there.
        on: bool,
        /// As for `send`.
        #[serde(default, skip_serializing_if = "AckLevel::is_memory")]
        level: AckLevel,
    },
    /// Asks for the pinned messages of a room; answered by `pins`.
    Pins {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
    },
    /// Says how far rooms were read and what has come, or asks how much is unread; answered by `marks`. Marks move forward only, and not
    /// past the room's last message. The listeners of a room are told of what moved, by `receipt`.
    Mark {
        /// Request number.
        id: RequestId,
        /// The rooms; each must be one of the user's own.
        #[schemars(length(min = 1, max = MAX_MARKS))]
        rooms: Vec<MarkRoom>,
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
    /// Asks who the members of a room are, a page at a time; answered by `members`.
    Members {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
        /// `next` of the page before; none for the first page.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        start_after: Option<UserId>,
        /// How many; as many as may be when missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1, max = MAX_WHO))]
        limit: Option<u32>,
    },
    /// Gives a member another role; answered by `ok`. By an admin or the owner, to who is below them, and below their own. All listeners are
    /// told, by `role`.
    Role {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
        /// Who gets it.
        user: UserId,
        /// The new role; not `owner`.
        role: Role,
    },
    /// Ends somebody's membership, on all their connections; answered by `ok`. By a moderator or higher, of who is below them. With `ban` they
    /// can't come back, also who never was a member.
    Remove {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
        /// Whose.
        user: UserId,
        /// Whether they are banned; not when missing.
        #[serde(default)]
        ban: bool,
    },
    /// Ends a ban; answered by `ok`. By a moderator or higher.
    Unban {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
        /// Whose.
        user: UserId,
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

/// One room of a `mark`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MarkRoom {
    /// Which room.
    pub room: RoomId,
    /// Everything up to this sequence was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Seq>,
    /// Everything up to this sequence has come to a device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered: Option<Seq>,
}
