//! What a connection that comes and goes knows of its rooms: where each stands in the ledger, and what was seen of it last.

use std::cell::RefCell;

use chatlab_kit::{
    ids::RoomId,
    message::{Epoch, Position},
    wire::{ClientFrame, ServerFrame},
};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::{
    conn::{join, refusal, send},
    line::Line,
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
    line: &mut Line,
    room: usize,
) -> Result<Seat, String> {
    let id = shared.plan.rooms[room];
    let nothing = Position { epoch: Epoch(String::new()), seq: 0, id: None };
    let at = join(line, id).await?.unwrap_or(nothing);
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
    line: &mut Line,
    state: &RefCell<State>,
    seats: &mut [Seat],
    nth: usize,
) -> Result<(), String> {
    // Nothing was seen of a room without messages: there is nothing to go on from.
    let after = Some(seats[nth].at.clone()).filter(|at| at.id.is_some());
    send(line, &ClientFrame::Join { id: 0, room: seats[nth].room, after }).await?;
    loop {
        let text = line.next_text().await?;
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
pub(super) async fn seen(line: Option<&mut Line>) -> Result<Option<Utf8Bytes>, String> {
    match line {
        Some(line) => line.text().await,
        None => std::future::pending().await,
    }
}
