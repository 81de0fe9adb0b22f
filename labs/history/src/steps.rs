//! The steps of a history of a room.

use std::fmt;

use chatlab_kit::check::After;

/// One step. Messages are named by numbers; a step about a message that was left out does nothing.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Appends message `m`.
    Send { m: u32, body: String },
    /// Appends message `m` again, as a client does that got no answer: same sender and client id, new message id.
    Retry { m: u32 },
    /// Another user appends message `m`, and happens to give it the client id of `of`.
    SameCid { m: u32, of: u32 },
    /// Appends so many messages.
    Burst { count: u32 },
    /// Reads head and all pages, and compares the room with what must be there.
    Read,
    /// Walks from the newest message to the oldest in pages of these sizes (the last one again and again), while so many
    /// messages are appended after each page.
    Walk { sizes: Vec<usize>, meanwhile: u32 },
    /// Resumes from message `m`.
    Since { m: u32, how: Resume },
    /// Resumes from before the first message.
    SinceStart,
    /// Replaces the body of `m`.
    Edit { m: u32, body: String },
    /// Deletes `m`.
    Delete { m: u32 },
    /// Edits and deletes a message that never was.
    ChangeNone,
    /// Runs a step whose client crashes after so many commands.
    Crash { step: Box<Step>, commands: u64 },
    /// Holds `first` after so many commands while `second` runs.
    Race { first: Box<Step>, commands: u64, second: Box<Step> },
    /// Looks how much the room keeps.
    Size,
}

/// How a client resumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// With what it saw.
    Right,
    /// With another message's id at that sequence, as after a failover that lost a tail.
    WrongId,
    /// With an epoch that is over.
    WrongEpoch,
    /// With a sequence that is still to come.
    Ahead,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { m, body } => write!(f, "append m{m} {body:?}"),
            Self::Retry { m } => write!(f, "append m{m} once more, same client id"),
            Self::SameCid { m, of } => write!(f, "append m{m} of another user, with the client id of m{of}"),
            Self::Burst { count } => write!(f, "append {count} messages"),
            Self::Read => write!(f, "read the room"),
            Self::Walk { sizes, meanwhile } => {
                write!(f, "walk back in pages of {sizes:?}, with {meanwhile} new messages after each")
            }
            Self::Since { m, how: Resume::Right } => write!(f, "resume after m{m}"),
            Self::Since { m, how: Resume::WrongId } => {
                write!(f, "resume after another message at the sequence of m{m}")
            }
            Self::Since { m, how: Resume::WrongEpoch } => write!(f, "resume after m{m} in another epoch"),
            Self::Since { m, how: Resume::Ahead } => {
                write!(f, "resume with m{m} at a sequence that is still to come")
            }
            Self::SinceStart => write!(f, "resume from before the first message"),
            Self::Edit { m, body } => write!(f, "edit m{m} to {body:?}"),
            Self::Delete { m } => write!(f, "delete m{m}"),
            Self::ChangeNone => write!(f, "edit and delete a message that never was"),
            Self::Crash { step, commands } => write!(f, "{step}, crash {}", After(*commands)),
            Self::Race { first, commands, second } => {
                write!(f, "{first}, and {} of it {second}", After(*commands))
            }
            Self::Size => write!(f, "count what the room keeps"),
        }
    }
}
