//! What a connection that comes and goes knows of its rooms: where each stands in the ledger, and what was seen of it last.

use std::cell::RefCell;

use chatlab_kit::{
    ids::RoomId,
    message::{Epoch, Position},
    wire::{ClientFrame, ServerFrame},
};
use futures_util::StreamExt;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::{
    conn::{Socket, join, kind_of, refusal, send},
    shared::Shared,
    state::State,
};
use crate::payload::slow_parse;

/// A room of such a connection.
pub(super) struct Seat {
    pub room: RoomId,
    subscription: usize,
    /// The last position seen.
    pub at: Position,
}

/// Joins a room anew, and opens its account in the ledger.
pub(super) async fn take(
    shared: &Shared,
    state: &RefCell<State>,
    socket: &mut Socket,
    room: usize,
) -> Result<Seat, String> {
    let id = shared.plan.rooms[room];
    let nothing = Position { epoch: Epoch(String::new()), seq: 0, id: None };
    let at = join(socket, id).await?.unwrap_or(nothing);
    let subscription = state.borrow_mut().ledger.subscribe(room as u32, Some(&at.epoch.0), at.seq);
    Ok(Seat { room: id, subscription, at })
}

/// Takes in a frame; true when it was a message for one of the seats.
pub(super) fn note(state: &mut State, seats: &mut [Seat], text: &str) -> bool {
    match slow_parse(text) {
        Ok(ServerFrame::Message(message)) => {
            let Some(seat) = seats.iter_mut().find(|seat| seat.room == message.draft.room) else {
                state.ledger.counts.misrouted += 1;
                return false;
            };
            state.ledger.deliver(seat.subscription, &message.epoch.0, message.seq);
            seat.at = Position { epoch: message.epoch, seq: message.seq, id: Some(message.draft.id) };
            return true;
        }
        // The room's newest 10,000 messages are kept: nobody is away for longer than that.
        Ok(ServerFrame::Resync { .. }) => failed(state, "resume: resync"),
        Ok(ServerFrame::Bye { code, .. }) => state.error(&format!("bye: {code:?}")),
        Ok(ServerFrame::Error { code, .. }) => failed(state, &format!("resume: {code:?}")),
        Ok(_) => {}
        Err(_) => failed(state, "frame not understood"),
    }
    false
}

fn failed(state: &mut State, kind: &str) {
    state.error_frames += 1;
    state.error(kind);
}

/// Joins a room again after what was seen of it.
pub(super) async fn resume(
    socket: &mut Socket,
    state: &RefCell<State>,
    seats: &mut [Seat],
    nth: usize,
) -> Result<(), String> {
    // Nothing was seen of a room without messages: there is nothing to go on from.
    let after = Some(seats[nth].at.clone()).filter(|at| at.id.is_some());
    send(socket, &ClientFrame::Join { id: 0, room: seats[nth].room, after }).await?;
    loop {
        let text = next_text(socket).await?;
        match slow_parse(&text) {
            Ok(ServerFrame::Ok { .. }) => return Ok(()),
            Ok(other @ (ServerFrame::Error { .. } | ServerFrame::Bye { .. })) => {
                return Err(refusal("join", &other));
            }
            // What was missed may overtake the answer, and other rooms are live already.
            _ => {
                note(&mut state.borrow_mut(), seats, &text);
            }
        }
    }
}

/// The text of the next frame, if it has one; never, when there is no connection.
pub(super) async fn seen(socket: Option<&mut Socket>) -> Result<Option<Utf8Bytes>, String> {
    let Some(socket) = socket else { return std::future::pending().await };
    match socket.next().await {
        Some(Ok(Message::Text(text))) => Ok(Some(text)),
        Some(Ok(Message::Close(frame))) => {
            Err(frame.map_or("closed".into(), |f| format!("closed: {}", u16::from(f.code))))
        }
        Some(Ok(_)) => Ok(None),
        Some(Err(e)) => Err(format!("socket: {}", kind_of(&e))),
        None => Err("closed without a close frame".into()),
    }
}

/// The text of the next frame that has one.
pub(super) async fn next_text(socket: &mut Socket) -> Result<Utf8Bytes, String> {
    loop {
        if let Some(text) = seen(Some(&mut *socket)).await? {
            return Ok(text);
        }
    }
}
