//! How far a client was written to: the resume token.

use std::sync::Arc;

use chatlab_kit::{
    ids::RoomId,
    wire::{ErrorCode, ResumeRoom},
};
use smallvec::SmallVec;

use crate::service::hub::{
    frame::{Frame, Mark},
    outbox::{Closing, Outbox},
};

/// For each room the last frame that moved its position, without copying one for each delivery. Few rooms, most of the time one, and
/// never more than a connection may listen to: a list.
#[derive(Default)]
pub struct Written(SmallVec<[(RoomId, Arc<Frame>); 1]>);

impl Written {
    /// A frame was written to the owner of `outbox`.
    pub fn remember(&mut self, frame: Arc<Frame>, outbox: &Outbox) {
        match &frame.mark {
            Mark::At(room, _) => match self.0.iter_mut().find(|(of, _)| of == room) {
                Some((_, last)) => *last = frame,
                None => self.0.push((*room, frame)),
            },
            Mark::Gone(room) => self.0.retain(|(of, _)| of != room),
            Mark::Left(room, user) if outbox.owner.get() == Some(user) => {
                self.0.retain(|(of, _)| of != room);
            }
            Mark::None | Mark::Left(..) | Mark::Presence(..) | Mark::Typing(..) | Mark::Receipt(..) => {}
        }
    }

    /// The last words to the owner of `outbox`.
    pub fn goodbye(&self, closing: Closing, outbox: &Outbox) -> Goodbye {
        let resume = self
            .0
            .iter()
            .filter_map(|(room, frame)| Some(ResumeRoom { room: *room, after: frame.position()?.clone() }))
            .collect();
        let Closing { code, message, .. } = closing;
        Goodbye { code, message, resume, known: outbox.owner.get().is_some() }
    }
}

/// What a client is told before its connection is closed.
pub struct Goodbye {
    /// Why.
    pub code: ErrorCode,
    /// The same for people.
    pub message: String,
    /// Where to go on.
    pub resume: Vec<ResumeRoom>,
    /// Whether the client had said who it is.
    pub known: bool,
}
