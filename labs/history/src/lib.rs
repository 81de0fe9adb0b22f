//! Lab: ordered message history. Idempotent append, gap-free sequence, pages, verified resume.
//!
//! This crate has the port and the reference variant; see [`zset_hash`].

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{MessageId, RoomId},
    message::{Draft, Epoch, Message, Position, Seq},
};

pub mod zset_hash;

pub use zset_hash::ZsetHash;

/// The newest messages of a room that stay in Redis; older ones are the archive's.
pub const HOT_MESSAGES: u64 = 10_000;
/// How long a sent message's client id is remembered, in milliseconds. A retry within this time
/// never makes a second copy; a later one may.
pub const DEDUP_TTL_MS: u64 = 10 * 60 * 1000;
/// The most entries of one event stream (approximately); older ones are trimmed.
pub const STREAM_MAX: u64 = 100_000;
/// The most messages one [`History::since`] returns.
pub const SINCE_MAX: usize = 500;

/// What `append` stored, or had stored before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The sequence's run.
    pub epoch: Epoch,
    /// The message's place in its room.
    pub seq: Seq,
    /// The stored message's id: the first attempt's, for a retry.
    pub id: MessageId,
    /// When it was stored, in milliseconds since 1970 by Redis' clock.
    pub ts: u64,
    /// True when an earlier attempt had stored it.
    pub duplicate: bool,
}

/// The answer to a resume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// The position was verified; these follow it, oldest first. `more` when there are others after them.
    Continued {
        /// At most [`SINCE_MAX`].
        messages: Vec<Message>,
        /// Whether to ask again from the last one.
        more: bool,
    },
    /// The position can't be verified, or what followed it is gone: start over from `head`.
    Resync {
        /// Where the room stands.
        head: Position,
    },
}

/// How an appended message is announced to live subscribers, within the same script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announce {
    /// `SPUBLISH`: on a cluster only the shard's nodes see it.
    Sharded,
    /// `PUBLISH`: on a cluster it goes to every node.
    Classic,
}

/// The port: what the server asks of message history.
#[async_trait]
pub trait History: Send + Sync {
    /// In one round trip: recognises a retry by sender and client id, gives the next sequence,
    /// stores, adds to the event stream, announces.
    async fn append(&self, draft: &Draft) -> LabResult<Appended>;

    /// Where the room stands: the last sequence and its message.
    async fn head(&self, room: &RoomId) -> LabResult<Position>;

    /// Up to `limit` messages with a sequence below `before` (the newest without it), oldest first.
    async fn page(&self, room: &RoomId, before: Option<Seq>, limit: usize) -> LabResult<Vec<Message>>;

    /// What came after a position, if the message at that position is the one the client saw.
    async fn since(&self, room: &RoomId, after: &Position) -> LabResult<Since>;
}
