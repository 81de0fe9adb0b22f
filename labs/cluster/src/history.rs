//! The steps of a check's history, and what they come to at the port.

use std::fmt;

use chatlab_kit::LabResult;
use chatlab_kit::ids::RoomId;

use crate::{Freshness, Receipt, Rooms, View};

/// One step of a history. Rooms are numbers from 0; `r1` in reports is room 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Append {
        room: usize,
        text: String,
    },
    Replicated {
        room: usize,
        text: String,
        replicas: u32,
        wait_ms: u64,
    },
    /// All messages, by another client than the one that writes.
    Read {
        room: usize,
        /// Whether a view is enough that has what was seen so far.
        seen: bool,
    },
    /// Of all rooms.
    Heads,
    Move {
        from: usize,
        seq: u64,
        to: usize,
    },
    /// The client dies after so many commands.
    Crash {
        step: Box<Step>,
        commands: u64,
    },
    /// The second happens between two commands of the first.
    Race {
        first: Box<Step>,
        commands: u64,
        second: Box<Step>,
    },
    /// Where so many rooms would be.
    Spread {
        rooms: Vec<RoomId>,
    },
    /// What is stored, and whether anybody was told of it.
    Declared,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append { room, text } => write!(f, "append to r{}: {text:?}", room + 1),
            Self::Replicated { room, text, replicas, .. } => {
                write!(f, "append to r{}: {text:?}, on {replicas} replicas", room + 1)
            }
            Self::Read { room, seen: false } => write!(f, "another client reads r{}", room + 1),
            Self::Read { room, seen: true } => {
                write!(f, "another client reads r{}, at least what was seen", room + 1)
            }
            Self::Heads => write!(f, "the heads of all rooms"),
            Self::Move { from, seq, to } => write!(f, "move message {seq} of r{} to r{}", from + 1, to + 1),
            Self::Crash { step, commands } => write!(f, "{step}, and crash after {commands} commands"),
            Self::Race { first, commands, second } => {
                write!(f, "{first}; after {commands} of its commands: {second}")
            }
            Self::Spread { rooms } => write!(f, "where {} rooms would lie", rooms.len()),
            Self::Declared => write!(f, "which keys are stored"),
        }
    }
}

/// One call of the port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Append { room: usize, text: String },
    Replicated { room: usize, text: String, replicas: u32, wait_ms: u64 },
    Read { room: usize, freshness: Freshness },
    Heads,
    Move { from: usize, seq: u64, to: usize },
}

/// What a call answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Seq(u64),
    Receipt(Receipt),
    View(View),
    Heads(Vec<u64>),
    Moved(Option<u64>),
}

/// How many messages a history reads: more than any history has.
pub(crate) const READ_COUNT: u32 = 100;

impl Call {
    pub(crate) const fn verb(&self) -> &'static str {
        match self {
            Self::Append { .. } => "append",
            Self::Replicated { .. } => "append_replicated",
            Self::Read { .. } => "read",
            Self::Heads => "heads",
            Self::Move { .. } => "move_message",
        }
    }

    pub(crate) async fn send(&self, rooms: &dyn Rooms, ids: &[RoomId]) -> LabResult<Answer> {
        Ok(match self {
            Self::Append { room, text } => Answer::Seq(rooms.append(&ids[*room], text).await?),
            Self::Replicated { room, text, replicas, wait_ms } => {
                Answer::Receipt(rooms.append_replicated(&ids[*room], text, *replicas, *wait_ms).await?)
            }
            Self::Read { room, freshness } => {
                Answer::View(rooms.read(&ids[*room], READ_COUNT, *freshness).await?)
            }
            Self::Heads => Answer::Heads(rooms.heads(ids).await?),
            Self::Move { from, seq, to } => {
                Answer::Moved(rooms.move_message(&ids[*from], *seq, &ids[*to]).await?)
            }
        })
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seq(seq) => write!(f, "{seq}"),
            Self::Receipt(Receipt { seq, replicated }) => {
                write!(f, "{seq}, {}", if *replicated { "replicated" } else { "not replicated" })
            }
            Self::View(view) => {
                write!(f, "newest is {}:", view.seq)?;
                for message in &view.messages {
                    write!(f, " {} {:?}", message.seq, message.text)?;
                }
                Ok(())
            }
            Self::Heads(heads) => {
                let known: Vec<_> = heads.iter().take(4).collect();
                write!(f, "{known:?}{}", if heads.len() > 4 { " …" } else { "" })
            }
            Self::Moved(None) => write!(f, "no such message"),
            Self::Moved(Some(seq)) => write!(f, "is {seq} there"),
        }
    }
}
