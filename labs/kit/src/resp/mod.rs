//! The protocol of Redis, RESP2 and RESP3, as the proxy and the typist read it: in whatever pieces it arrives, within bounds.

mod encode;
mod scan;
mod show;

pub(crate) use encode::{command, encode};
pub(crate) use scan::{Limits, Scanner};
pub(crate) use show::{as_redis_cli, one_line};

/// One value off the wire.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    /// Nothing; the byte that announced it: `$` and `*` with the length -1, or `_`.
    Nil(u8),
    /// `+OK`
    Simple(Text),
    /// `-ERR …`, or RESP3's long error.
    Error(Text),
    /// `:1`
    Int(i64),
    /// RESP3's `,1.5`, `#t` and `(123`: the byte that announced it, and what followed.
    Scalar(u8, Vec<u8>),
    /// `$3`
    Bulk(Text),
    /// RESP3's `=7`, with its three letters and colon.
    Verbatim(Text),
    /// `*`, `~`, `>` or `%`, and what it contains; a map's keys and values alternate.
    Items(Kind, Items),
}

/// What a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Array,
    Set,
    Push,
    Map,
    Attribute,
}

/// Bytes, perhaps cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    /// The first ones.
    pub(crate) bytes: Vec<u8>,
    /// How many there were.
    pub(crate) len: usize,
}

/// Values, perhaps cut.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Items {
    /// The first ones.
    pub(crate) items: Vec<Reply>,
    /// How many there were; of a map, keys and values together.
    pub(crate) len: usize,
}

impl Reply {
    pub(crate) fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// The items of an array or a push.
    pub(crate) fn list(&self) -> Option<&[Self]> {
        match self {
            Self::Items(Kind::Array | Kind::Push, items) => Some(&items.items),
            _ => None,
        }
    }

    /// The bytes of a string of any kind.
    pub(crate) fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(text) | Self::Error(text) | Self::Bulk(text) | Self::Verbatim(text) => {
                Some(&text.bytes)
            }
            _ => None,
        }
    }
}

impl Kind {
    pub(crate) fn sigil(self) -> u8 {
        match self {
            Self::Array => b'*',
            Self::Set => b'~',
            Self::Push => b'>',
            Self::Map => b'%',
            Self::Attribute => b'|',
        }
    }
}
