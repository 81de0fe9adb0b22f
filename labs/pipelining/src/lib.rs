//! Lab: pipelining. The send path of a chat message in as few round trips as its promises allow, and many messages in one.

mod by_sender;
mod checks;
#[cfg(feature = "exercise")]
mod exercise;
mod experiments;
mod function;
mod history;
mod lab;
mod memory;
mod multi_blind;
mod pipeline;
mod races;
mod script;
mod sequential;
mod stored;
mod unbounded_batch;
mod variants;
mod watch;
mod workload;
mod world;

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    ids::{ClientMsgId, RoomId, UserId},
};

pub use by_sender::BySender;
#[cfg(feature = "exercise")]
pub use exercise::Exercise;
pub use function::Function;
pub use lab::{LAB, PipeliningLab};
pub use multi_blind::MultiBlind;
pub use pipeline::Pipeline;
pub use script::Script;
pub use sequential::Sequential;
pub use unbounded_batch::UnboundedBatch;
pub use variants::build;
pub use watch::Watch;

/// The longest message body, in bytes.
pub const MAX_BODY_BYTES: usize = 4096;
/// The most messages of one [`SendPath::send_many`].
pub const MAX_BATCH: usize = 1_000;
/// The most messages of one [`SendPath::read`].
pub const MAX_READ: usize = 2_000;
/// How long a sent message's client id is remembered, in milliseconds. A retry within this time never makes a second copy.
pub const SENT_TTL_MS: u64 = 10 * 60 * 1000;
/// About how many messages of a room stay.
pub const LOG_MAX: u64 = 10_000;

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Where to.
    pub room: RoomId,
    /// Who sends it.
    pub from: UserId,
    /// The sender's own name for it: a retry has the same one.
    pub cid: ClientMsgId,
    /// The text, at most [`MAX_BODY_BYTES`].
    pub body: String,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its number in the room; the first attempt's, for a retry.
    pub seq: u64,
    /// True when an earlier attempt had stored it.
    pub duplicate: bool,
}

/// The port: what the server asks of the send path. To send is to recognise a retry by the client's id, to take the room's next
/// number, to store the message, and to count it for the notifier.
///
/// **All or nothing.** All four of these happen, or none, wherever a client crashes. A sender that got no answer sends again, with
/// the same client id, and then all is as if it had been sent once.
///
/// **No copy, no gap.** A retry within [`SENT_TTL_MS`] gets the first number and changes nothing. Numbers are 1, 2, 3, … in the order in
/// which the messages were stored; who has read up to n and then reads n + 2 knows that something was lost.
///
/// **Cheap.** A send is at most two round trips, whatever else is sent at the same time, when nobody interferes; a batch is no more than
/// that. That two senders meet is not their problem: nobody gets an error for it.
///
/// **Bounded.** A batch has one room and at most [`MAX_BATCH`] messages. It is answered when it is stored: who sends the next one after
/// the answer never has more than one batch under way, and that is the back-pressure ([`send_all`]). A batch is no transaction: after a
/// crash the first so many of its messages are there, each of them whole.
#[async_trait]
pub trait SendPath: Send + Sync {
    /// Sends one message.
    ///
    /// # Errors
    /// [`LabError::Bound`] for a body over [`MAX_BODY_BYTES`].
    async fn send(&self, room: &RoomId, from: &UserId, cid: &ClientMsgId, body: &str) -> LabResult<Sent>;

    /// Sends messages of one room in their order; the answers are in the same order.
    ///
    /// # Errors
    /// [`LabError::Bound`] for more than [`MAX_BATCH`], for more than one room and for a body over [`MAX_BODY_BYTES`]; nothing is
    /// sent then.
    async fn send_many(&self, drafts: &[Draft]) -> LabResult<Vec<Sent>>;

    /// The messages after number `after`, oldest first, at most `limit` and never more than [`MAX_READ`]: their numbers and bodies.
    ///
    /// # Errors
    /// [`LabError::Corrupt`] for what no variant stores.
    async fn read(&self, room: &RoomId, after: u64, limit: usize) -> LabResult<Vec<(u64, String)>>;

    /// How many messages of the room were counted for the notifier.
    ///
    /// # Errors
    /// When Redis does not answer.
    async fn unread(&self, room: &RoomId) -> LabResult<u64>;
}

/// Sends any number of messages of one room in batches of `size`, each after the answer to the one before: no more than one batch waits
/// anywhere, however many there are.
///
/// # Errors
/// [`LabError::Bound`] for a size of 0 or over [`MAX_BATCH`]; those of the variant. What was answered before the error is stored.
pub async fn send_all(path: &dyn SendPath, drafts: &[Draft], size: usize) -> LabResult<Vec<Sent>> {
    if size == 0 || size > MAX_BATCH {
        return Err(LabError::Bound {
            what: "the size of a batch (at least 1 message)",
            bound: MAX_BATCH as u64,
        });
    }
    let mut sent = Vec::with_capacity(drafts.len());
    for batch in drafts.chunks(size) {
        sent.extend(path.send_many(batch).await?);
    }
    Ok(sent)
}
