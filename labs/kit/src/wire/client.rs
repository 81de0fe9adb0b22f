//! What a client sends.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AckLevel, DIRECT_MAX_S, FriendAct, MAX_ABOUT, MAX_LEADER_DAYS, MAX_LEADERS, MAX_MARKS, MAX_QUERY_BYTES,
    MAX_ROOM_NAME, MAX_ROOMS_PAGE, MAX_STATUS_TEXT, MAX_WHO, RequestId, Role, Status, VERSION,
};
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
        /// The message of the room that it answers. That there is one is not checked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<MessageId>,
        /// How safe it is to be before `ack` comes; `memory` when missing.
        #[serde(default, skip_serializing_if = "AckLevel::is_memory")]
        level: AckLevel,
    },
    /// Sends the text of a message of another room, or of the same one, as one's own that says who wrote it; answered as `send` is.
    Forward {
        /// Request number.
        id: RequestId,
        /// Where to; it must have been joined on this connection.
        room: RoomId,
        /// The client's name for the message, unique for the sender in the room.
        cid: ClientMsgId,
        /// Where from: a room of the user's own.
        from: RoomId,
        /// Which message; a text that was not deleted.
        msg: MessageId,
        /// As for `send`.
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
    /// Looks for messages of a room by words of their texts, the newest first; answered by `found`. All words must be in it; the last one may
    /// be the beginning of one. Finds what the archive has: a message that was acknowledged at the level `archived` for certain.
    Search {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
        /// The words, in bytes of UTF-8.
        #[schemars(length(min = 1, max = MAX_QUERY_BYTES), extend("x-max-bytes" = MAX_QUERY_BYTES))]
        query: String,
        /// `next` of the page before; none for the first page.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cursor: Option<u64>,
        /// How many; 50 when missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1, max = MAX_PAGE))]
        limit: Option<u32>,
    },
    /// Asks for the messages that answer one, the oldest first; answered by `found`. Of what the archive has, as for `search`.
    Thread {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
        /// The message that they answer.
        msg: MessageId,
        /// `next` of the page before; none for the first page.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cursor: Option<u64>,
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
    /// Makes somebody a member; answered by `ok`. By a moderator or higher. All their connections are told, by `added`.
    Add {
        /// Request number.
        id: RequestId,
        /// Which room; no direct chat.
        room: RoomId,
        /// Whom. Not who is banned, nor who blocks the one who asks.
        user: UserId,
    },
    /// Changes settings of a room; answered by `ok`. By an admin or the owner. All listeners are told, by `settings`.
    Settings {
        /// Request number.
        id: RequestId,
        /// Which room; no direct chat.
        room: RoomId,
        /// Another name, without control characters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = MAX_ROOM_NAME))]
        name: Option<String>,
        /// Whether only moderators and higher write.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        read_only: Option<bool>,
        /// In how many seconds a member may write once: 0 (no pause), 5, 10, 30, 60, 300, 900 or 3600.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slow_s: Option<u32>,
        /// Whether nobody joins by themselves.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        invited: Option<bool>,
    },
    /// Opens the direct chat with another user and listens to it: the one that there is, or a new one; answered by `ok` with the room. Of a
    /// new one the other is told, by `added`.
    Direct {
        /// Request number.
        id: RequestId,
        /// With whom.
        user: UserId,
        /// After how many seconds a new one ends by itself; never when missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1, max = DIRECT_MAX_S))]
        for_s: Option<u32>,
    },
    /// Ends a direct chat, by either of the two; answered by `ok`. Both get `left`, and nobody can read it any more.
    End {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
    },
    /// Asks for the rooms that one is a member of, a page at a time; answered by `rooms`.
    Rooms {
        /// Request number.
        id: RequestId,
        /// `next` of the page before; none for the first page.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        start_after: Option<RoomId>,
        /// How many; as many as may be when missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1, max = MAX_ROOMS_PAGE))]
        limit: Option<u32>,
    },
    /// Blocks a user, or no longer; answered by `blocks`. The two have no direct chat then: both get `left` in the one that they had. Who is
    /// blocked cannot add the other to a room, and does not see them in `who`.
    Block {
        /// Request number.
        id: RequestId,
        /// Whom.
        user: UserId,
        /// Whether they are blocked.
        on: bool,
    },
    /// Asks whom one blocks; answered by `blocks`.
    Blocks {
        /// Request number.
        id: RequestId,
    },
    /// Asks for what a user shows of themselves; answered by `profile`. Not of who blocks the one who asks.
    Profile {
        /// Request number.
        id: RequestId,
        /// Whose; one's own when missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<UserId>,
    },
    /// Changes what one shows of oneself; answered by `profile`. The listeners of one's rooms are told of another status, by `presence`.
    SetProfile {
        /// Request number.
        id: RequestId,
        /// What one says about oneself; of control characters only line breaks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = MAX_ABOUT))]
        about: Option<String>,
        /// Whether one is to be had. Holds until it is changed, for all connections.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<Status>,
        /// What one says beside it, without control characters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = MAX_STATUS_TEXT))]
        status_text: Option<String>,
    },
    /// Asks somebody to be a friend, answers who has asked, or ends it; answered by `friends`. The other is told, by `friend`.
    Friend {
        /// Request number.
        id: RequestId,
        /// Whom it is about. Not who blocks the one who asks, nor whom they block.
        user: UserId,
        /// What is to become of the two.
        act: FriendAct,
    },
    /// Asks for one's friends, those whom one has asked and those who ask; answered by `friends`.
    Friends {
        /// Request number.
        id: RequestId,
    },
    /// Asks who has sent the most texts to a room of one's own lately; answered by `leaders`. Of what the archive has, as for `search`.
    Leaders {
        /// Request number.
        id: RequestId,
        /// Which room.
        room: RoomId,
        /// On how many days, today being the last of them, by UTC; 7 when missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1, max = MAX_LEADER_DAYS))]
        days: Option<u32>,
        /// How many; 10 when missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1, max = MAX_LEADERS))]
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
