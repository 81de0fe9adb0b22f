//! Connections that come and go: a user each, who listens, closes when it is due, and opens again.
//!
//! One by one they close in good order, and are on the server's account only: what is delivered to them is not in the ledger,
//! because what comes while one of them is away is nobody's loss. In a storm they break all together, without a goodbye, and
//! resume: then they are in the ledger, and what came while they were away must come to them after it, once and in order.
//! Measured is how long it takes from the due instant until the rooms are joined again.

use std::{cell::RefCell, time::Duration};

use chatlab_kit::{
    ids::RoomId,
    message::{Epoch, Position},
    wire::{ClientFrame, ServerFrame},
};
use futures_util::StreamExt;
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::{
    TICK,
    conn::{Context, Socket, close, greet, join, kind_of, refusal, send},
    shared::{Due, Shared, add, get},
    state::State,
};
use crate::payload::slow_parse;

/// Lives until the queue's other end is dropped.
pub(super) async fn live(context: Context, mut queue: UnboundedReceiver<Due>) {
    let Context { shared, state, gate, index } = &context;
    let me = index - shared.plan.tokens.len();
    let opened = match gate.acquire().await {
        Ok(_permit) => open(shared, state, *index, Vec::new()).await,
        Err(_) => return,
    };
    let (mut socket, mut seats) = match opened {
        Ok((socket, seats)) => (Some(socket), seats),
        Err(kind) => {
            state.borrow_mut().error(&kind);
            add(&shared.counters.failed, 1);
            return;
        }
    };
    add(&shared.counters.ready, 1);
    let mut nth = 0;
    loop {
        let next = next_due(shared, me, nth);
        // Before the window is known, look again soon.
        let wake = next.unwrap_or_else(|| Instant::now() + TICK);
        tokio::select! {
            biased;
            ended = queue.recv() => if ended.is_none() { break },
            () = sleep_until(wake) => if let Some(due) = next {
                nth += 1;
                if let Some(mut old) = socket.take()
                    && shared.plan.churn.storm.is_none()
                {
                    close(&mut old).await;
                }
                (socket, seats) = reopen(shared, state, *index, (due, seats)).await;
            },
            seen = seen(socket.as_mut()) => match seen {
                Ok(text) => {
                    let mut state = state.borrow_mut();
                    state.churn_frames += 1;
                    if let (Some(text), true) = (text, shared.plan.churn.storm.is_some()) {
                        note(&mut state, &mut seats, &text);
                    }
                }
                Err(kind) => {
                    socket = None;
                    state.borrow_mut().disconnected(&kind);
                }
            },
        }
    }
    if let Some(mut socket) = socket {
        close(&mut socket).await;
    }
}

/// When connection `me` is to go for the `nth` time; far away once the window is over, none before it is known.
fn next_due(shared: &Shared, me: usize, nth: u64) -> Option<Instant> {
    let window_ns = get(&shared.window_start_ns);
    if window_ns == 0 {
        return None;
    }
    let due_ns = shared.plan.churn.due_ns(me, nth);
    let over = due_ns >= shared.plan.schedule.duration_ns;
    // Only the end of the run comes after that.
    let far = Duration::from_secs(86_400);
    let origin = Instant::from_std(shared.origin);
    Some(if over { Instant::now() + far } else { origin + Duration::from_nanos(window_ns + due_ns) })
}

/// A room of a connection in a storm: where it stands in the ledger, and what it saw last.
struct Seat {
    room: RoomId,
    subscription: usize,
    at: Position,
}

/// Takes in a frame of a connection in a storm.
fn note(state: &mut State, seats: &mut [Seat], text: &str) {
    match slow_parse(text) {
        Ok(ServerFrame::Message(message)) => {
            let Some(seat) = seats.iter_mut().find(|seat| seat.room == message.draft.room) else {
                state.ledger.counts.misrouted += 1;
                return;
            };
            state.ledger.deliver(seat.subscription, &message.epoch.0, message.seq);
            seat.at = Position { epoch: message.epoch, seq: message.seq, id: Some(message.draft.id) };
        }
        // The room's newest 10,000 messages are kept: a storm is shorter than that.
        Ok(ServerFrame::Resync { .. }) => failed(state, "resume: resync"),
        Ok(ServerFrame::Bye { code, .. }) => state.error(&format!("bye: {code:?}")),
        Ok(ServerFrame::Error { code, .. }) => failed(state, &format!("resume: {code:?}")),
        Ok(_) => {}
        Err(_) => failed(state, "frame not understood"),
    }
}

fn failed(state: &mut State, kind: &str) {
    state.error_frames += 1;
    state.error(kind);
}

async fn reopen(
    shared: &Shared,
    state: &RefCell<State>,
    index: usize,
    (due, seats): (Instant, Vec<Seat>),
) -> (Option<Socket>, Vec<Seat>) {
    let opened = open(shared, state, index, seats).await;
    let mut state = state.borrow_mut();
    match opened {
        Ok((socket, seats)) => {
            let late = Instant::now().saturating_duration_since(due);
            state.reopen.record_ns(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX));
            (Some(socket), seats)
        }
        Err(kind) => {
            state.error(&format!("reopen: {kind}"));
            state.reopen_failures += 1;
            (None, Vec::new())
        }
    }
}

/// Opens, and joins all rooms: anew, or after what the seats saw last.
async fn open(
    shared: &Shared,
    state: &RefCell<State>,
    index: usize,
    seats: Vec<Seat>,
) -> Result<(Socket, Vec<Seat>), String> {
    let opening = async {
        let token = &shared.plan.churn.tokens[index - shared.plan.tokens.len()];
        let mut socket = greet(shared, index, token).await?;
        let mut seats = seats;
        for nth in 0..seats.len() {
            resume(&mut socket, state, &mut seats, nth).await?;
        }
        if !seats.is_empty() {
            return Ok((socket, seats));
        }
        for room in shared.plan.rooms_of(index) {
            let id = shared.plan.rooms[room];
            let head = join(&mut socket, id).await?;
            if shared.plan.churn.storm.is_some() {
                let nothing = Position { epoch: Epoch(String::new()), seq: 0, id: None };
                let at = head.unwrap_or(nothing);
                let mut state = state.borrow_mut();
                let subscription = state.ledger.subscribe(room as u32, Some(&at.epoch.0), at.seq);
                seats.push(Seat { room: id, subscription, at });
            }
        }
        Ok((socket, seats))
    };
    timeout(Duration::from_millis(shared.plan.connect_ms), Box::pin(opening))
        .await
        .unwrap_or_else(|_| Err("connect_timeout".into()))
}

/// Joins a room again after what was seen of it.
async fn resume(
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
            _ => note(&mut state.borrow_mut(), seats, &text),
        }
    }
}

/// The text of the next frame, if it has one; never, when there is no connection.
async fn seen(socket: Option<&mut Socket>) -> Result<Option<Utf8Bytes>, String> {
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

async fn next_text(socket: &mut Socket) -> Result<Utf8Bytes, String> {
    loop {
        if let Some(text) = seen(Some(&mut *socket)).await? {
            return Ok(text);
        }
    }
}
