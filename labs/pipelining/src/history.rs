//! The steps of which histories are made.

use std::fmt;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A new message by one of three senders.
    Send {
        /// Which sender.
        who: usize,
    },
    /// One that was sent before, again.
    Retry {
        /// How many back.
        back: usize,
    },
    /// New messages of all senders in turn, some of them twice.
    Batch {
        /// How many.
        count: usize,
        /// Whether the first is one that was sent before, and the last the same as the one before it.
        repeats: bool,
    },
    /// A message by a client that crashes after so many commands; then a retry by another.
    Crash {
        /// How many still go through.
        commands: u64,
    },
    /// A message whose so many-th reply is lost; then a retry.
    LostReply {
        /// Which, counted from 0.
        reply: u64,
    },
    /// Two clients at the same moment, in every order of their commands.
    Race {
        /// Whether both send the same message.
        same: bool,
    },
    /// One message more than a batch may have, and a batch of two rooms.
    TooMuch,
    /// What a send, a retry and a batch cost.
    Budget,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { who } => write!(f, "sender {} sends", who + 1),
            Self::Retry { back: 0 } => f.write_str("the last message is sent again"),
            Self::Retry { back } => write!(f, "the message {back} before the last is sent again"),
            Self::Batch { count, repeats: false } => write!(f, "a batch of {count}"),
            Self::Batch { count, repeats: true } => write!(f, "a batch of {count} and two retries"),
            Self::Crash { commands: 0 } => f.write_str("a send, crashing before its first command; a retry"),
            Self::Crash { commands } => write!(f, "a send, crashing after command {commands}; a retry"),
            Self::LostReply { reply } => write!(f, "a send whose reply {} is lost; a retry", reply + 1),
            Self::Race { same: true } => f.write_str("two clients send the same message"),
            Self::Race { same: false } => f.write_str("two clients send"),
            Self::TooMuch => f.write_str("a batch that is too large, and one of two rooms"),
            Self::Budget => f.write_str("sends, retries and batches, and what they cost"),
        }
    }
}
