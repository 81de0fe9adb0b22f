//! The steps of which histories are made.

use std::fmt;

/// One step. Groups are numbered; a step about a group that has not joined does nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Appends so many events, each by an actor of its own.
    Append {
        /// How many.
        events: usize,
    },
    /// Appends an event that no consumer can work.
    Poison,
    /// A group joins.
    Join {
        /// Which.
        group: usize,
    },
    /// A consumer takes so many and works them.
    Work {
        /// Of which group.
        group: usize,
        /// At most.
        count: usize,
    },
    /// A consumer takes so many and dies.
    Hold {
        /// Of which group.
        group: usize,
        /// At most.
        count: usize,
    },
    /// A consumer takes and works events, and crashes after so many commands.
    Crash {
        /// Of which group.
        group: usize,
        /// How many commands still go through.
        commands: u64,
    },
    /// Another consumer asks before and after the dead one's time is over.
    TakeOver {
        /// Of which group.
        group: usize,
    },
    /// A consumer takes and works until nothing is left, waiting for what is held.
    Finish {
        /// Of which group.
        group: usize,
    },
    /// Trims the log.
    Trim,
    /// Erases an event that nobody holds.
    Erase {
        /// Which, counted round.
        nth: usize,
    },
    /// Asks how far the group is behind.
    Lag {
        /// Which.
        group: usize,
    },
    /// Reads the whole log.
    Replay,
    /// An append, and what it cost.
    Budget,
}

/// How a group is called.
pub(crate) fn group_name(group: usize) -> String {
    format!("g{group}")
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append { events } => write!(f, "append {events}"),
            Self::Poison => f.write_str("append one that no consumer can work"),
            Self::Join { group } => write!(f, "g{group} joins"),
            Self::Work { group, count } => write!(f, "g{group} takes and works {count}"),
            Self::Hold { group, count } => write!(f, "g{group}: a consumer takes {count} and dies"),
            Self::Crash { group, commands } => {
                write!(f, "g{group}: a consumer takes, works, and crashes after command {commands}")
            }
            Self::TakeOver { group } => write!(f, "g{group}: another consumer takes over"),
            Self::Finish { group } => write!(f, "g{group} works all that is left"),
            Self::Trim => f.write_str("trim"),
            Self::Erase { nth } => write!(f, "erase event {nth}"),
            Self::Lag { group } => write!(f, "lag of g{group}"),
            Self::Replay => f.write_str("replay all"),
            Self::Budget => f.write_str("append one, and count round trips"),
        }
    }
}
