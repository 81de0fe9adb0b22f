//! Lab: audit. An event log that several groups of consumers read, each event worked once, none lost, memory bounded.

mod ack_first;
mod checks;
mod dedup_marks;
#[cfg(feature = "exercise")]
mod exercise;
mod experiments;
mod group_from_dollar;
mod history;
mod lab;
mod lag_by_length;
mod lag_by_xinfo;
mod maxlen_trim;
mod no_claim;
pub mod outbox;
mod over;
mod retry_forever;
mod stream_groups;
mod variants;
mod work_twice;
mod workload;
mod world;
mod zset_cursor;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use chatlab_kit::{LabError, LabResult};
use serde::{Deserialize, Serialize};

pub use ack_first::AckFirst;
pub use dedup_marks::{DedupMarks, MARKS_MAX};
#[cfg(feature = "exercise")]
pub use exercise::Exercise;
pub use group_from_dollar::GroupFromDollar;
pub use lab::{AuditLab, LAB};
pub use lag_by_length::LagByLength;
pub use lag_by_xinfo::LagByXinfo;
pub use maxlen_trim::MaxlenTrim;
pub use no_claim::NoClaim;
pub use retry_forever::retry_forever;
pub use stream_groups::StreamGroups;
pub use variants::build;
pub use work_twice::WorkTwice;
pub use zset_cursor::ZsetCursor;

/// The longest name of a topic, a group, a consumer or an actor, in bytes.
pub const NAME_MAX_BYTES: usize = 128;
/// The longest text of an event, in bytes.
pub const TEXT_MAX_BYTES: usize = 4096;
/// The most events of a topic that are kept; an append beyond that is refused until a trim makes room.
pub const LOG_MAX: usize = 1_000_000;
/// The most events of one take or one page of a replay.
pub const TAKE_MAX: usize = 100;
/// The most dead letters of a group that are kept: of more, the latest.
pub const DEAD_MAX: usize = 1000;

/// Names an event within its topic. Later events have greater ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct EventId(pub u64, pub u64);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// Something that somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Who did it.
    pub actor: String,
    /// What was done, such as `room.joined`.
    pub action: String,
    /// To what, and all else.
    pub text: String,
}

/// An event in the hands of a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The event's id.
    pub id: EventId,
    /// The event.
    pub event: Event,
    /// How many times the group has had it delivered, this time included.
    pub deliveries: u64,
}

/// An event that a group gave up after [`Policy::max_deliveries`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The id that the event had.
    pub id: EventId,
    /// The event.
    pub event: Event,
    /// How many times it was delivered in vain.
    pub deliveries: u64,
}

/// How far a group is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    /// Events in the log that no consumer of the group has had.
    pub undelivered: u64,
    /// Events that a consumer has had and that are neither worked nor given up.
    pub pending: u64,
}

/// When a consumer counts as dead, and an event as poison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// A delivery that was not worked for so many milliseconds, by Redis' clock, is given to whoever asks next.
    pub idle_ms: u64,
    /// After so many deliveries an event becomes a dead letter.
    pub max_deliveries: u64,
}

/// The port: what the server asks of an audit log. Every operation is about one topic; all keys of a topic share a slot.
///
/// **Groups are independent.** Each group gets each event. Within a group each event has one consumer at a time.
///
/// **Worked once.** A consumer may die between any two commands. What it held is given to another one after
/// [`Policy::idle_ms`], and the work of an event is done once all the same. An event that nobody can work is set aside after
/// [`Policy::max_deliveries`], and does not delay others.
///
/// **Nothing unread goes.** [`AuditLog::trim`] drops only what every group has worked or given up, and all of that.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Appends an event: one round trip.
    ///
    /// # Errors
    /// [`LabError::Bound`] for an event or a name that is too long, and for a log of [`LOG_MAX`] events.
    async fn append(&self, topic: &str, event: &Event) -> LabResult<EventId>;

    /// Adds a group, which gets everything that the log still holds. A group that is there stays as it is.
    ///
    /// # Errors
    /// Those of Redis.
    async fn join(&self, topic: &str, group: &str) -> LabResult<()>;

    /// Gives a consumer at most `count` (from 1 to [`TAKE_MAX`]) events: first those that another one left idle, then new ones.
    ///
    /// # Errors
    /// An error of Redis for a group that never joined.
    async fn take(&self, topic: &str, group: &str, consumer: &str, count: usize) -> LabResult<Vec<Delivery>>;

    /// Does the work of a delivery, that is, counts it for its actor, and never gives it to anybody in the group again. False
    /// when that had been done before, or was given up.
    ///
    /// # Errors
    /// Those of Redis; the delivery may then be worked or not, and it may be tried again.
    async fn work(&self, topic: &str, group: &str, delivery: &Delivery) -> LabResult<bool>;

    /// What the group's work has come to: actor to events worked.
    ///
    /// # Errors
    /// Those of Redis.
    async fn totals(&self, topic: &str, group: &str) -> LabResult<BTreeMap<String, u64>>;

    /// What the group gave up, oldest first, at most [`DEAD_MAX`].
    ///
    /// # Errors
    /// Those of Redis.
    async fn dead(&self, topic: &str, group: &str) -> LabResult<Vec<DeadLetter>>;

    /// How far the group is behind. An event that was erased while a consumer held it may count until its holder is idle.
    ///
    /// # Errors
    /// An error of Redis for a group that never joined.
    async fn lag(&self, topic: &str, group: &str) -> LabResult<Lag>;

    /// At most `count` events after `after`, as they are in the log; no group is moved by that. `EventId(0, 0)` for the start.
    ///
    /// # Errors
    /// Those of Redis.
    async fn replay(&self, topic: &str, after: EventId, count: usize) -> LabResult<Vec<(EventId, Event)>>;

    /// Erases one event, because the law says so: it is neither replayed nor delivered any more. False when it is not there.
    ///
    /// # Errors
    /// Those of Redis.
    async fn erase(&self, topic: &str, id: EventId) -> LabResult<bool>;

    /// Drops what no group needs any more; returns how many events. In a topic without groups nothing goes.
    ///
    /// # Errors
    /// Those of Redis.
    async fn trim(&self, topic: &str) -> LabResult<u64>;
}

/// Refuses names that are empty or too long.
fn check_names(names: &[&str]) -> LabResult<()> {
    if names.iter().any(|name| name.is_empty() || name.len() > NAME_MAX_BYTES) {
        return Err(LabError::Bound {
            what: "the length of a name (at least 1 byte)",
            bound: NAME_MAX_BYTES as u64,
        });
    }
    Ok(())
}

/// Refuses what is too long for an event.
fn check_event(topic: &str, event: &Event) -> LabResult<()> {
    check_names(&[topic, &event.actor, &event.action])?;
    if event.text.len() > TEXT_MAX_BYTES {
        return Err(LabError::Bound { what: "the text of an event", bound: TEXT_MAX_BYTES as u64 });
    }
    Ok(())
}

/// A count within its bounds.
fn bounded(count: usize) -> usize {
    count.clamp(1, TAKE_MAX)
}

/// What an append to a full log answers.
fn full() -> LabError {
    LabError::Bound {
        what: "the events of a topic (trim, or find the group that is behind)",
        bound: LOG_MAX as u64,
    }
}

/// What a reply that nobody here wrote answers.
fn corrupt(key: &str, why: impl Into<String>) -> LabError {
    LabError::Corrupt { key: key.to_owned(), why: why.into() }
}
