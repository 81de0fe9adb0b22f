//! The answers to `send`: at once, or when the message is as safe as was asked for.

use std::sync::Arc;

use chatlab_history::Appended;
use chatlab_kit::{
    ids::{ClientMsgId, RoomId},
    wire::{AckLevel, RequestId, ServerFrame},
};
use tracing::Instrument;

use crate::{
    gateway::{Gateway, fault},
    service::hub::{Connection, WaitPlace},
};

/// A message that was stored, and what its sender waits for.
pub(super) struct Sent {
    pub(super) id: RequestId,
    pub(super) room: RoomId,
    pub(super) cid: ClientMsgId,
    pub(super) stored: Appended,
    pub(super) wanted: AckLevel,
}

impl Sent {
    /// The answer when the message is so safe.
    pub(super) fn ack(self, level: AckLevel) -> ServerFrame {
        let Self { id, room, cid, stored, wanted } = self;
        let Appended { epoch, seq, id: msg, ts, duplicate: dup } = stored;
        let wanted = (wanted != level).then_some(wanted);
        ServerFrame::Ack { id, room, cid, epoch, seq, msg, ts, dup, level, wanted }
    }
}

/// Waits for the level beside the connection's next requests, which are answered meanwhile. Ends by itself in the bounds of the
/// levels, also when the connection is gone.
pub(super) fn later(
    gateway: &Gateway,
    connection: &Arc<Connection>,
    sent: Sent,
    place: WaitPlace,
    request: fault::RequestId,
) {
    let (levels, outbox) = (gateway.levels.clone(), connection.outbox.clone());
    let waiting = async move {
        let answer = match levels.reach(&sent.room, &sent.stored, sent.wanted).await {
            Ok(level) => sent.ack(level),
            Err(error) => fault::frame_of(&error, Some(sent.id), &request),
        };
        // Before the answer: who has it may send one more.
        drop(place);
        super::push(&outbox, &answer);
    };
    tokio::spawn(waiting.in_current_span());
}
