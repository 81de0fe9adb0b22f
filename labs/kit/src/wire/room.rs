//! What a room is, as its members see it.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Avatar, MAX_ROOM_NAME};
use crate::ids::{RoomId, UserId};

/// The pauses of slow mode that there are, in seconds; 0 is none.
pub const SLOW_S: [u32; 8] = [0, 5, 10, 30, 60, 300, 900, 3_600];
/// The longest time that a direct chat can be made for, in seconds: a week.
pub const DIRECT_MAX_S: u32 = 7 * 24 * 3_600;

/// What a room is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoomKind {
    /// Of many, who have roles.
    Group,
    /// Of two, for good.
    Direct,
}

impl RoomKind {
    /// As in JSON, and as stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Direct => "direct",
        }
    }
}

/// A text that is no kind of room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no kind of room: group or direct")]
pub struct NoRoomKind(pub String);

impl FromStr for RoomKind {
    type Err = NoRoomKind;

    fn from_str(text: &str) -> Result<Self, NoRoomKind> {
        let found = [Self::Group, Self::Direct].into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| NoRoomKind(text.to_owned()))
    }
}

/// A room and its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoomInfo {
    /// Which room.
    pub room: RoomId,
    /// What it is.
    pub kind: RoomKind,
    /// Empty for a direct chat.
    #[schemars(length(max = MAX_ROOM_NAME))]
    pub name: String,
    /// A picture; none for a direct chat, which looks as the other user does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<Avatar>,
    /// Only moderators and higher write.
    pub read_only: bool,
    /// A member may write once in so many seconds; 0 without a pause. Moderators and higher are not held up.
    pub slow_s: u32,
    /// Nobody joins by themselves: moderators and higher add members.
    pub invited: bool,
    /// The other one of a direct chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<UserId>,
    /// When a direct chat ends, in milliseconds since 1970; none for what does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_ms: Option<u64>,
}
