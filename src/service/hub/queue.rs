//! The frames of one connection's outbox, in two parts: messages and answers in order, and beside them who is online and
//! who is writing.

use std::{collections::BTreeMap, sync::Arc};

use chatlab_kit::ids::{RoomId, UserId};
use smallvec::SmallVec;

use super::{
    frame::{Frame, Mark},
    outbox::Closing,
};

/// The most bytes that are taken out at once, written and flushed together.
pub const MAX_BATCH_BYTES: usize = 64 * 1024;
/// The most bytes of presence, typing and receipts in a batch, behind its messages.
const MAX_BATCH_STATE_BYTES: usize = 16 * 1024;

/// Frames of one connection, in order. Most of the time it is none or one, and that needs no memory elsewhere: of ten thousand idle
/// connections each place in memory is a wait for it.
pub type Batch = SmallVec<[Arc<Frame>; 1]>;

/// What a state is about.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    Presence,
    Typing,
    Receipt,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) queue: Batch,
    /// Beside the order of the others: who is online, who is writing and who has read, the newest of each.
    pub(super) states: BTreeMap<(RoomId, UserId, About), Arc<Frame>>,
    /// Of both.
    pub(super) bytes: usize,
    pub(super) ping: bool,
    /// The transport has something of its own to say.
    pub(super) reply: bool,
    pub(super) closing: Option<Box<Closing>>,
    /// Nothing more will be written: it was said, or the socket is gone.
    pub(super) ended: bool,
    /// Somebody is writing, and will look here again before they end.
    pub(super) writing: bool,
}

impl State {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.states.is_empty()
    }

    /// Whether a writer has something to do.
    pub(super) fn has_step(&self) -> bool {
        !self.is_empty() || self.ping || self.reply || self.closing.is_some() || self.ended
    }

    pub(super) fn add(&mut self, frame: Arc<Frame>) {
        self.bytes += frame.cost();
        let state = match frame.mark {
            Mark::Presence(room, user) => (room, user, About::Presence),
            Mark::Typing(room, user) => (room, user, About::Typing),
            Mark::Receipt(room, user) => (room, user, About::Receipt),
            _ => return self.queue.push(frame),
        };
        if let Some(older) = self.states.insert(state, frame) {
            self.bytes -= older.cost();
        }
    }

    pub(super) fn clear(&mut self) {
        self.queue = Batch::new();
        self.states = BTreeMap::new();
        self.bytes = 0;
    }

    pub(super) fn forget_states(&mut self, room: &RoomId) {
        let bytes = &mut self.bytes;
        self.states.retain(|(of, ..), frame| {
            let stays = of != room;
            if !stays {
                *bytes -= frame.cost();
            }
            stays
        });
    }

    /// Moves what is to be written next; false when there is nothing.
    pub(super) fn take_batch(&mut self, batch: &mut Batch) -> bool {
        let (mut taken, mut count) = (0, 0);
        while taken < MAX_BATCH_BYTES
            && let Some(frame) = self.queue.get(count)
        {
            (taken, count) = (taken + frame.cost(), count + 1);
        }
        batch.extend(self.queue.drain(..count));
        // Some with every batch, so that a stream of messages does not hold them back for ever.
        let mut states = 0;
        while !self.states.is_empty()
            && states < MAX_BATCH_STATE_BYTES
            && let Some((_, frame)) = self.states.pop_first()
        {
            states += frame.cost();
            batch.push(frame);
        }
        self.bytes -= taken + states;
        if self.queue.is_empty() && self.queue.spilled() {
            self.queue = Batch::new();
        }
        taken + states > 0
    }
}
