//! What a history consists of.

use std::fmt;

/// One step. Rooms and feeds are named by number, so that a step means the same when others are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Feed `f` listens to a room from here on.
    Subscribe { f: u32, room: u32 },
    /// The same while the server refuses the subscriber's commands, until a moment after the first message.
    SubscribeRefused { f: u32, room: u32 },
    /// Feed `f` is dropped.
    Leave { f: u32 },
    /// So many messages, one after the other.
    Publish { room: u32, count: u64 },
    /// Every feed reads up to the newest message.
    Listen,
    /// All connections of the subscribers are cut, and each room gets so many messages meanwhile.
    Cut { messages: u64 },
    /// So many messages at once, while nobody reads.
    Flood { room: u32, count: u64 },
    /// So many messages, and a count of their round trips.
    Budget { room: u32, count: u64 },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subscribe { f: feed, room } => write!(f, "feed {feed} subscribes to r{room}"),
            Self::SubscribeRefused { f: feed, room } => {
                write!(f, "feed {feed} subscribes to r{room} while the server refuses it; publish 1")
            }
            Self::Leave { f: feed } => write!(f, "feed {feed} is dropped"),
            Self::Publish { room, count } => write!(f, "publish {count} to r{room}"),
            Self::Listen => write!(f, "every feed reads up to the newest message"),
            Self::Cut { messages } => {
                write!(f, "cut the subscribers, publish {messages} to each room meanwhile")
            }
            Self::Flood { room, count } => write!(f, "publish {count} to r{room} while nobody reads"),
            Self::Budget { room, count } => write!(f, "publish {count} to r{room}, count round trips"),
        }
    }
}
