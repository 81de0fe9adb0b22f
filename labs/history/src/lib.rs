//! Lab: ordered message history. Idempotent append, gap-free sequence, pages, verified resume, edits in place.
//!
//! The reference is [`zset_hash`]; every other variant is built by name with [`build`].

mod checks;
mod edit_reappends;
#[cfg(feature = "exercise")]
mod exercise;
mod experiments;
mod hard_delete;
mod lab;
mod list;
mod model;
mod no_dedup;
mod offset_pages;
mod rank_trim;
mod resume_by_seq;
mod scripted;
mod seq_hash;
mod steps;
mod stored;
mod stream;
mod twist;
mod two_step_append;
mod variants;
mod whole_list;
mod workload;
mod world;
pub mod zset_hash;
mod zset_json;

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{MessageId, RoomId, UserId},
    message::{Draft, Epoch, Message, Position, Seq},
};

pub use chatlab_kit::message::{PINS_MAX, REACTIONS_MAX};
#[cfg(feature = "exercise")]
pub use exercise::Exercise;
pub use lab::{HistoryLab, LAB};
pub use variants::build;
pub use zset_hash::ZsetHash;

/// The topic of the outbox that new messages go to.
pub const TOPIC: &str = "message.created";
/// The newest messages of a room that stay in Redis; older ones are the archive's.
pub const HOT_MESSAGES: u64 = 10_000;
/// How long a sent message's client id is remembered, in milliseconds. A retry within this time
/// never makes a second copy; a later one may.
pub const DEDUP_TTL_MS: u64 = 10 * 60 * 1000;
/// The most entries of one event stream (approximately); older ones are trimmed.
pub const STREAM_MAX: u64 = 100_000;
/// How often one message can be edited.
pub const EDITS_MAX: usize = 100;
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

/// How a variant is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How messages are announced.
    pub announce: Announce,
    /// How many of a room's newest messages stay, soon after there are more.
    pub hot_messages: u64,
}

impl Default for Policy {
    /// As the server runs it: `SPUBLISH`, [`HOT_MESSAGES`].
    fn default() -> Self {
        Self { announce: Announce::Sharded, hot_messages: HOT_MESSAGES }
    }
}

/// Something that is done to a message, told by a message of its own: an edit, a deletion, a pin, a reaction.
#[derive(Debug, Clone, Copy)]
pub struct Alter<'a> {
    /// What is appended: of a kind that is about another message, and which one.
    pub change: &'a Draft,
    /// Whether its sender may edit and delete what others wrote.
    pub others: bool,
    /// The ids of the message's edits, by somebody who has found it where it is kept for longer: then it need not be here.
    pub older: Option<&'a [MessageId]>,
}

/// What became of an [`Alter`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Altered {
    /// The change is in the room's order, and the message looks as it says.
    Stored(Appended),
    /// Nothing happened.
    Refused(Unaltered),
}

/// Why a message was not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unaltered {
    /// It is not here: it never was, or was trimmed.
    Absent,
    /// It was deleted.
    Gone,
    /// Somebody else wrote it.
    Foreign,
    /// It is no text of a person.
    NoText,
    /// It was edited [`EDITS_MAX`] times.
    TooOften,
    /// It is pinned, or bears that reaction of that user, already.
    Same,
    /// It is not pinned, or bears no such reaction of that user.
    None,
    /// The room has [`PINS_MAX`] pins, or the message [`REACTIONS_MAX`] reactions.
    Full,
    /// The pins of the room are not known here: [list](History::repin) them first.
    Unlisted,
    /// This variant keeps no order of changes.
    Unordered,
}

/// A pinned message, and what it is, where it is here.
pub type Pinned = (MessageId, Option<Message>);

/// How far a user is in a room; 0 where nothing was said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// Everything up to this sequence was read.
    pub read: Seq,
    /// Everything up to this sequence has come to a device.
    pub delivered: Seq,
}

/// Where a user's marks are, and what they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marked {
    /// The room's last sequence.
    pub head: Seq,
    /// The marks.
    pub at: Marks,
    /// How many messages that stand for themselves came after the one that was read last, of those that are kept here.
    pub unread: u64,
    /// Whether a mark has moved.
    pub moved: bool,
}

/// The port: what the server asks of message history.
///
/// A message keeps its id and its sequence for good. An edit or a deletion changes it where it is and says so in
/// [`Message::changed`]; pages and [`History::since`] show each message as it is *now*. Two ways lead there. [`History::edit`] and
/// [`History::delete`] change the message and nothing else: whoever has seen it is not told, as `since` answers what came after a
/// position. [`History::alter`] appends a message about the change in the same step, so that everybody is told, in the room's order, live
/// and on a resume; pins and reactions are made by it alone.
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

    /// What somebody has seen is not there: a failover has lost the end of the sequence, and its numbers must not come twice. Begins a new
    /// epoch above `seen`, unless another one has begun since. Where the room stands then; there may be no message at that place.
    ///
    /// Only the reference does it; everything else goes on from where the room stands, and its positions are told apart by their
    /// messages alone.
    async fn fence(&self, room: &RoomId, seen: &Position) -> LabResult<Position> {
        let _ = seen;
        self.head(room).await
    }

    /// Replaces the body of a message in its place; the message as it is now. None when it is not here (never was, or was
    /// trimmed) or was deleted. Who may edit is the caller's to decide.
    async fn edit(
        &self,
        room: &RoomId,
        id: &MessageId,
        editor: &UserId,
        body: &str,
    ) -> LabResult<Option<Message>>;

    /// Leaves a tombstone in a message's place: its body is gone, its sequence stays, so that pages, positions and the
    /// sequence stay whole. The tombstone; the same one again for a message that was deleted before; none when it is not here.
    async fn delete(&self, room: &RoomId, id: &MessageId) -> LabResult<Option<Message>>;

    /// As [`append`](History::append), in one round trip, and changes the message that the draft is about in the same step. Of a
    /// deleted message neither its own text nor that of its edits is left here.
    ///
    /// Only the reference does it.
    async fn alter(&self, alter: Alter<'_>) -> LabResult<Altered> {
        let _ = alter;
        Ok(Altered::Refused(Unaltered::Unordered))
    }

    /// The pinned messages of a room, the first pin first, at most [`PINS_MAX`]. None when they are not known here: Redis lost them, or
    /// nobody asked before.
    ///
    /// Only the reference keeps pins.
    async fn pins(&self, room: &RoomId) -> LabResult<Option<Vec<Pinned>>> {
        let _ = room;
        Ok(Some(Vec::new()))
    }

    /// A message as it is now; none when it is not here.
    ///
    /// Only the reference looks messages up by their ids.
    async fn message(&self, room: &RoomId, id: &MessageId) -> LabResult<Option<Message>> {
        let _ = (room, id);
        Ok(None)
    }

    /// Forgets all of a room that has ended: nothing is to be appended any more.
    ///
    /// Only the reference does it.
    async fn forget(&self, room: &RoomId) -> LabResult<()> {
        let _ = room;
        Ok(())
    }

    /// Puts the pins of a room down as somebody has found them where they are kept for longer: ids, and the sequences of their pins. Does
    /// nothing where they are known.
    async fn repin(&self, room: &RoomId, pins: &[(MessageId, Seq)]) -> LabResult<()> {
        let _ = (room, pins);
        Ok(())
    }

    /// Moves a user's marks in a room forward, at most to the last message, and counts what is unread, in one round trip. Marks of 0 only
    /// count. No message is written for it, and nothing for anybody else: a reader costs the same in a room of ten and of ten thousand.
    ///
    /// None where this variant keeps no marks: only the reference does.
    async fn mark(&self, room: &RoomId, user: &UserId, to: Marks) -> LabResult<Option<Marked>> {
        let _ = (room, user, to);
        Ok(None)
    }

    /// Forgets a user's marks in a room.
    async fn unmark(&self, room: &RoomId, user: &UserId) -> LabResult<()> {
        let _ = (room, user);
        Ok(())
    }
}
