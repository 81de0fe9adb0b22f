//! The steps of which histories are made.

use std::fmt;

/// One step. Percentages are of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// From now on another subject, which has never taken anything.
    Fresh,
    /// So many takes at the same moment, spread over three clients.
    Burst {
        /// How many.
        takes: u32,
    },
    /// As many takes as there are permits, over and over for so long, by three clients.
    Hammer {
        /// How long.
        percent: u64,
    },
    /// Nothing for so long.
    Pause {
        /// How long.
        percent: u64,
    },
    /// Nothing until two windows after the last take.
    Rest,
    /// So many takes at an even pace of half of the permits a window.
    Steady {
        /// How many.
        takes: u32,
    },
    /// Takes until one is refused, and then on until the promised time is over.
    Refusal,
    /// One take after the other until one is refused.
    Countdown,
    /// A take by a client that crashes after so many commands.
    Crash {
        /// How many still go through.
        commands: u64,
    },
    /// Looks at what is kept of the subject.
    Leftovers,
    /// Two clients take the last permit, in every order of their commands.
    LastPermit,
    /// Two takes of a subject, and what each cost.
    Budget,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fresh => f.write_str("a fresh subject"),
            Self::Burst { takes: 1 } => f.write_str("1 take"),
            Self::Burst { takes } => write!(f, "{takes} takes at once"),
            Self::Hammer { percent } => write!(f, "asks all the time for {percent} % of a window"),
            Self::Pause { percent } => write!(f, "waits {percent} % of a window"),
            Self::Rest => f.write_str("takes nothing for two windows"),
            Self::Steady { takes } => write!(f, "{takes} takes, evenly, half the permits a window"),
            Self::Refusal => f.write_str("is refused, and asks until the promised time is over"),
            Self::Countdown => f.write_str("takes until one is refused"),
            Self::Crash { commands: 0 } => f.write_str("a take, crashing before its first command"),
            Self::Crash { commands } => write!(f, "a take, crashing after command {commands}"),
            Self::Leftovers => f.write_str("what is kept of the subject?"),
            Self::LastPermit => f.write_str("two clients take the last permit"),
            Self::Budget => f.write_str("a first take and a second one"),
        }
    }
}
