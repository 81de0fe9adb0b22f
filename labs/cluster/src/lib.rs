//! Lab: a cluster. Rooms spread over six nodes: what belongs together in one slot, what does not belong together
//! far apart, and what an acknowledgement is worth when a node dies.

mod checks;
mod computed_keys;
#[cfg(feature = "exercise")]
mod exercise;
mod experiments;
mod history;
mod id_prefix;
mod lab;
mod model;
mod multi_two_rooms;
mod nodes;
mod one_key;
mod partitions;
mod remove_first;
mod replica_reads;
pub mod replication;
mod room_tags;
mod seq_then_log;
mod sixteen_tags;
mod trace;
mod untagged;
mod variants;
mod wait_ignored;
mod workload;
mod world;

use async_trait::async_trait;
use chatlab_kit::{LabError, LabResult, ids::RoomId};

pub use computed_keys::ComputedKeys;
#[cfg(feature = "exercise")]
pub use exercise::Exercise;
pub use lab::{ClusterLab, LAB};
pub use multi_two_rooms::MultiTwoRooms;
pub use nodes::NodeHandles;
pub use one_key::OneKey;
pub use partitions::{Partitions, RoomKeyNames};
pub use remove_first::RemoveFirst;
pub use replica_reads::ReplicaReads;
pub use seq_then_log::SeqThenLog;
pub use variants::build;
pub use wait_ignored::WaitIgnored;

/// The longest message, in bytes.
pub const MAX_TEXT_BYTES: usize = 4_000;
/// A room keeps this many of its newest messages.
pub const MAX_MESSAGES: u64 = 1_000;
/// The most messages that one read gives.
pub const MAX_READ: u32 = 100;
/// The most rooms that `heads` is asked about at once.
pub const MAX_ROOMS: usize = 1_000;
/// How long a retried `move_message` is recognised, in milliseconds.
pub const MOVE_RETRY_MS: u64 = 60 * 60 * 1_000;

/// A message of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its place in the room, from 1.
    pub seq: u64,
    /// What was said.
    pub text: String,
}

/// A room at one instant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The newest sequence that was given out; 0 in an empty room.
    pub seq: u64,
    /// The messages among the newest sequences, oldest first. What was moved elsewhere is missing.
    pub messages: Vec<Message>,
}

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Everything acknowledged before the read began.
    Latest,
    /// At least up to this sequence, which the reader has seen already. A replica may answer if it has got that far.
    AtLeast(u64),
}

/// The answer to a write that asked for replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The message's sequence: it is stored on the master, whatever else.
    pub seq: u64,
    /// Whether as many replicas as were asked for have confirmed it.
    pub replicated: bool,
}

/// The port: what a chat server asks of rooms that are spread over a cluster.
#[async_trait]
pub trait Rooms: Send + Sync {
    /// The names of the keys that every room has, computed from its id alone. Each contains the room's id, and all of them,
    /// like any other key that belongs to the room, lie in one slot.
    ///
    /// # Errors
    /// [`LabError::Unfinished`] in an exercise.
    fn keys(&self, room: &RoomId) -> LabResult<Vec<String>>;

    /// Adds a message: gives out the next sequence and stores the text, both or neither. One round trip.
    async fn append(&self, room: &RoomId, text: &str) -> LabResult<u64>;

    /// Adds a message and waits until `replicas` replicas have it, for at most `wait_ms`. When fewer have, the message is
    /// stored all the same, and the receipt says that it is not replicated.
    async fn append_replicated(
        &self,
        room: &RoomId,
        text: &str,
        replicas: u32,
        wait_ms: u64,
    ) -> LabResult<Receipt>;

    /// The newest sequence and the messages among the `count` newest sequences, of one instant.
    async fn read(&self, room: &RoomId, count: u32, freshness: Freshness) -> LabResult<View>;

    /// The newest sequence of each room, in order: the numbers beside a user's rooms. At most one round trip for each
    /// master, however many rooms.
    async fn heads(&self, rooms: &[RoomId]) -> LabResult<Vec<u64>>;

    /// Moves a message to another room, which may be on another node: no transaction spans the two. Called again (its first
    /// client died) it completes what was begun. At no moment is the message in neither room; in the end it is in `to`
    /// once. Answers with its sequence there; none when `from` never had it.
    async fn move_message(&self, from: &RoomId, seq: u64, to: &RoomId) -> LabResult<Option<u64>>;
}

/// Refuses what exceeds its bound.
fn check_bounds(text: &str) -> LabResult<()> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(LabError::Bound { what: "message text", bound: MAX_TEXT_BYTES as u64 });
    }
    Ok(())
}
