//! A frame that goes to connections: serialised once, shared by all, and what it changes for who gets it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use chatlab_kit::{
    ids::{MessageId, RoomId, UserId},
    message::{Envelope, EnvelopeError, Epoch, Message, Position},
    wire::ServerFrame,
};
use serde::Deserialize;

use crate::service::{ServiceError, ServiceResult};

/// What a queued frame costs besides its text.
pub(super) const FRAME_COST: usize = 64;

/// What a frame changes about the connection's resume token once it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// Nothing.
    None,
    /// The client has seen everything up to here.
    At(RoomId, Position),
    /// The client is no longer in the room.
    Gone(RoomId),
    /// This user is no longer in the room, which one connection of many may be theirs.
    Left(RoomId, UserId),
    /// Nothing; and a newer frame about the same user in the same room takes this one's place.
    Presence(RoomId, UserId),
    /// The same for whether the user is writing.
    Typing(RoomId, UserId),
    /// The same for how far the user has read.
    Receipt(RoomId, UserId),
}

/// A frame, serialised once and shared by all connections that it goes to.
#[derive(Debug)]
pub struct Frame {
    /// The text of the frame.
    pub text: Bytes,
    /// What it changes.
    pub mark: Mark,
    /// The same in another protocol's words, once somebody who speaks that has needed it.
    translated: OnceLock<Option<Bytes>>,
}

impl Frame {
    /// A frame of this text.
    pub fn of(text: impl Into<Bytes>, mark: Mark) -> Self {
        Self { text: text.into(), mark, translated: OnceLock::new() }
    }

    /// A frame of a protocol that has nothing like it in the native words.
    pub fn foreign(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        Self { translated: OnceLock::from(Some(text.clone())), text, mark: Mark::None }
    }

    /// A frame for one connection, or a notice for many.
    pub fn new(frame: &ServerFrame, mark: Mark) -> ServiceResult<Arc<Self>> {
        let text = serde_json::to_vec(frame).map_err(ServiceError::internal)?;
        Ok(Arc::new(Self::of(text, mark)))
    }

    /// A live message out of what was published: spliced, not serialised.
    pub fn live(room: RoomId, envelope: &Envelope<'_>) -> Result<Arc<Self>, EnvelopeError> {
        let at = Position {
            epoch: Epoch(envelope.epoch.to_owned()),
            seq: envelope.seq,
            id: Some(id_of(envelope)?),
        };
        Ok(Arc::new(Self::of(envelope.frame(), Mark::At(room, at))))
    }

    /// A message out of the history.
    pub fn stored(message: Message) -> ServiceResult<Arc<Self>> {
        let (room, at) = (message.draft.room, position_of(&message));
        Self::new(&ServerFrame::Message(message), Mark::At(room, at))
    }

    /// The position that a message frame has.
    pub fn position(&self) -> Option<&Position> {
        match &self.mark {
            Mark::At(_, at) => Some(at),
            _ => None,
        }
    }

    /// The text in another protocol's words, or nothing where that has none. Made by the first connection that needs it and shared
    /// by all: there is one such protocol.
    pub fn translated(&self, translate: impl FnOnce(&[u8]) -> Option<Bytes>) -> Option<Bytes> {
        self.translated.get_or_init(|| translate(&self.text)).clone()
    }

    pub(super) fn cost(&self) -> usize {
        self.text.len() + FRAME_COST
    }
}

/// The place of a message.
pub fn position_of(message: &Message) -> Position {
    Position { epoch: message.epoch.clone(), seq: message.seq, id: Some(message.draft.id) }
}

/// Which message was published.
pub(super) fn id_of(envelope: &Envelope<'_>) -> Result<MessageId, EnvelopeError> {
    #[derive(Deserialize)]
    struct OnlyId {
        id: MessageId,
    }
    let only: OnlyId =
        serde_json::from_str(envelope.json).map_err(|_| EnvelopeError("the JSON has no message id"))?;
    Ok(only.id)
}
