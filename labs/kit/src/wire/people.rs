//! Users as others see them: their profile, their status, their friends, and what they have achieved.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MAX_ABOUT, MAX_STATUS_TEXT};
use crate::ids::UserId;

/// A picture for who or what has none: a client draws the letters on the colour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Avatar {
    /// The first characters of the first and of the last word of the name, in capitals.
    #[schemars(length(min = 1, max = 8))]
    pub initials: String,
    /// The hue of its colour on the circle, in degrees; the same one for the same id always.
    #[schemars(range(max = 359))]
    pub hue: u16,
}

impl Avatar {
    /// Of a name, and the bytes of an id, of which the last two are random in every kind of UUID that is made here.
    pub fn of(name: &str, id: &[u8; 16]) -> Self {
        let apart = |c: char| c.is_whitespace() || "_.-".contains(c);
        let mut words = name.split(apart).filter_map(|word| word.chars().next());
        let first = words.next();
        // `ß` has two capitals.
        let initials: String =
            first.into_iter().chain(words.next_back()).flat_map(char::to_uppercase).collect();
        let initials = if initials.is_empty() { String::from("?") } else { initials };
        Self { initials, hue: u16::from_be_bytes([id[14], id[15]]) % 360 }
    }
}

/// What users say about whether they are to be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// They are.
    #[default]
    Available,
    /// They would rather not be disturbed.
    Busy,
    /// They are not at their device.
    Away,
    /// They are there and want to look as if they were not. Only they themselves see this one.
    Invisible,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Available, Self::Busy, Self::Away, Self::Invisible];

    /// As in JSON, and as stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Busy => "busy",
            Self::Away => "away",
            Self::Invisible => "invisible",
        }
    }

    /// What others see of it while the user is connected; none when that is hidden.
    pub fn shown(self) -> Option<Self> {
        (self != Self::Invisible).then_some(self)
    }
}

/// A word that is none of those there are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is none of {among}")]
pub struct NoSuchWord {
    word: String,
    among: String,
}

fn one_of<T: Copy, const N: usize>(
    word: &str,
    all: [T; N],
    name: fn(T) -> &'static str,
) -> Result<T, NoSuchWord> {
    let found = all.into_iter().find(|one| name(*one) == word);
    found.ok_or_else(|| NoSuchWord { word: word.to_owned(), among: all.map(name).join(", ") })
}

impl FromStr for Status {
    type Err = NoSuchWord;

    fn from_str(word: &str) -> Result<Self, NoSuchWord> {
        one_of(word, Self::ALL, Self::as_str)
    }
}

/// A user as somebody sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Profile {
    /// Who.
    pub user: UserId,
    /// As typed at the registration.
    pub name: String,
    /// A picture.
    pub avatar: Avatar,
    /// What they say about themselves.
    #[schemars(length(max = MAX_ABOUT))]
    pub about: String,
    /// Their status; none for who is not connected, or invisible. One's own is always there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// What they say beside it, also while they are not connected.
    #[schemars(length(max = MAX_STATUS_TEXT))]
    pub status_text: String,
    /// When they registered, in milliseconds since 1970.
    pub since_ms: u64,
    /// What they have achieved.
    pub badges: Vec<Badge>,
    /// What they are to the one who asks; none for who is no friend, and has not been asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub friend: Option<FriendState>,
}

/// Something that a user has achieved. Stays, once it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Badge {
    /// Has sent a text.
    FirstText,
    /// Has sent 100 texts.
    Texts100,
    /// Has sent 1,000 texts.
    Texts1000,
    /// Has sent 10,000 texts.
    Texts10000,
    /// Has sent texts on 7 days.
    Days7,
    /// Has sent texts on 30 days.
    Days30,
    /// Has been here for 365 days.
    Year,
}

/// What one user is to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FriendState {
    /// A friend.
    Friend,
    /// They have asked, and wait for an answer.
    Asks,
    /// They were asked, and have not answered.
    Asked,
}

impl FriendState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Friend, Self::Asks, Self::Asked];

    /// As in JSON, and as stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Friend => "friend",
            Self::Asks => "asks",
            Self::Asked => "asked",
        }
    }

    /// The same from the other side.
    pub const fn mirrored(self) -> Self {
        match self {
            Self::Friend => Self::Friend,
            Self::Asks => Self::Asked,
            Self::Asked => Self::Asks,
        }
    }
}

impl FromStr for FriendState {
    type Err = NoSuchWord;

    fn from_str(word: &str) -> Result<Self, NoSuchWord> {
        one_of(word, Self::ALL, Self::as_str)
    }
}

/// What is to become of two users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FriendAct {
    /// Asks the other to be a friend; accepts, when they have asked already.
    Request,
    /// Says yes to who has asked.
    Accept,
    /// Says no to who has asked.
    Decline,
    /// Ends a friendship, or takes back what one has asked.
    Remove,
}

/// One who is, or may become, a friend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FriendEntry {
    /// Who.
    pub user: UserId,
    /// As typed at the registration.
    pub name: String,
    /// What they are; none in the notice that they are nothing any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<FriendState>,
    /// The status of a friend; none for who is not connected, or invisible, and for who is no friend yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

/// What somebody who is online says about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusEntry {
    /// Who.
    pub user: UserId,
    /// Their status.
    pub status: Status,
    /// What they say beside it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = MAX_STATUS_TEXT))]
    pub status_text: String,
}

/// A place in a room's list of who writes most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Leader {
    /// From 1 on. Who has sent as many texts as the one before has the same place.
    pub place: u32,
    /// Who.
    pub user: UserId,
    /// As typed at the registration.
    pub name: String,
    /// How many texts.
    pub texts: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initials_are_of_the_first_and_the_last_word() {
        let of = |name: &str| Avatar::of(name, &[0; 16]).initials;
        assert_eq!(
            ["ada", "ada.lovelace", "Tea & two Biscuits", "  ", "ßen", "_x_", "東京 タワー"].map(of),
            ["A", "AL", "TB", "?", "SS", "X", "東タ"]
        );
    }

    #[test]
    fn a_hue_is_on_the_circle_and_of_the_random_part_of_an_id() {
        let hue = |end: [u8; 2]| {
            let mut id = [7; 16];
            id[14..].copy_from_slice(&end);
            Avatar::of("a", &id).hue
        };
        assert_eq!([hue([0, 0]), hue([1, 103]), hue([1, 104]), hue([255, 255])], [0, 359, 0, 65_535 % 360]);
    }

    #[test]
    fn words_are_read_as_they_are_written_and_others_named() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        for state in FriendState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
            assert_eq!(state.mirrored().mirrored(), state);
        }
        let error = "gone".parse::<Status>().unwrap_err().to_string();
        assert_eq!(error, "`gone` is none of available, busy, away, invisible");
    }
}
