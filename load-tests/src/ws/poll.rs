//! Connections that ask instead of listening: the same chat, received by looking at the history every so often.
//!
//! The protocol has its history on the WebSocket, so that is where it is polled: a request and an answer on a connection that
//! stays open, which is the cheapest polling there is (over HTTP each poll would show its token anew). To be a member one must
//! have joined; a first connection does that, and ends. A connection looks at fixed instants, out of step with the others; a look
//! that takes longer than the pause is followed by the next one at once. What is new in the page counts as delivered when the
//! page has come, which is what its reader knows.

use std::time::Duration;

use chatlab_kit::{
    ids::RoomId,
    message::Message as Stored,
    wire::{ClientFrame, RequestId, ServerFrame},
};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep_until, timeout},
};

use super::{
    conn::{Context, close, greet, join, refusal, reply, send},
    line::Line,
    shared::{Due, add},
    state::Member,
};
use crate::{payload::Delivery, plan::Receive};

/// The most pages of one look at one room: whoever is further behind has lost messages.
const MAX_PAGES: usize = 50;

/// One who asks.
struct Poller {
    socket: Line,
    member: Member,
    rooms: Vec<Seen>,
    next_id: RequestId,
}

struct Seen {
    room: RoomId,
    /// Messages up to this sequence are known.
    seq: u64,
}

/// Lives until the queue's other end is dropped or the connection breaks.
pub(super) async fn live(context: Context, receive: Receive, mut queue: UnboundedReceiver<Due>) {
    let Context { shared, state, gate, index } = &context;
    let limit = Duration::from_millis(shared.plan.connect_ms);
    let opened = match gate.acquire().await {
        Ok(_permit) => {
            timeout(limit, Box::pin(open(&context))).await.unwrap_or_else(|_| Err("connect_timeout".into()))
        }
        Err(_) => return,
    };
    let mut poller = match opened {
        Ok(poller) => poller,
        Err(kind) => {
            state.borrow_mut().error(&kind);
            add(&shared.counters.failed, 1);
            return;
        }
    };
    add(&shared.counters.ready, 1);
    let every = Duration::from_millis(receive.every_ms);
    let mut due = Instant::now() + every.mul_f64(*index as f64 / shared.plan.all_conns() as f64);
    let ended = loop {
        tokio::select! {
            biased;
            told = queue.recv() => if told.is_none() { break Ok(()) },
            () = sleep_until(due) => {
                let look = timeout(limit, Box::pin(look(&context, &mut poller, receive.page)));
                if let Err(kind) = look.await.unwrap_or_else(|_| Err("poll_timeout".into())) {
                    break Err(kind);
                }
                due += every;
                if due < Instant::now() {
                    due = Instant::now();
                }
            },
            frame = poller.socket.text() => if let Err(kind) = frame { break Err(kind) },
        }
    };
    match ended {
        Ok(()) => close(&mut poller.socket).await,
        Err(kind) => {
            let mut state = state.borrow_mut();
            state.error(&kind);
            state.disconnects += 1;
        }
    }
}

async fn open(context: &Context) -> Result<Poller, String> {
    let Context { shared, state, index, .. } = context;
    let token = &shared.plan.tokens[*index];
    let mut joining = greet(shared, *index, token).await?;
    let (mut member, mut rooms) = (Member::default(), Vec::new());
    for room in shared.plan.rooms_of(*index) {
        let id = shared.plan.rooms[room];
        let head = join(&mut joining, id).await?;
        let (epoch, seq) = head.as_ref().map_or((None, 0), |head| (Some(head.epoch.0.as_str()), head.seq));
        let subscription = state.borrow_mut().ledger.subscribe(room as u32, epoch, seq);
        member.add(room as u16, subscription);
        rooms.push(Seen { room: id, seq });
    }
    close(&mut joining).await;
    Ok(Poller { socket: greet(shared, *index, token).await?, member, rooms, next_id: 1 })
}

/// Asks for what is new in each room.
async fn look(context: &Context, poller: &mut Poller, page: u32) -> Result<(), String> {
    let Context { shared, state, .. } = context;
    for nth in 0..poller.rooms.len() {
        let fresh = fresh(poller, nth, page).await?;
        let mut state = state.borrow_mut();
        state.polls += 1;
        state.empty_polls += u64::from(fresh.is_empty());
        let Poller { member, rooms, .. } = &mut *poller;
        let seen = &mut rooms[nth];
        let room = seen.room.to_string();
        for message in &fresh {
            let (body, id) = (&message.draft.body, message.draft.id.to_string());
            let (epoch, seq) = (&message.epoch.0, message.seq);
            let delivery = Delivery { epoch, seq, room: &room, id: &id, body };
            state.deliver(shared, member, &delivery);
            seen.seq = seen.seq.max(message.seq);
        }
    }
    Ok(())
}

/// What is new in a room, oldest first: as many pages as it takes.
async fn fresh(poller: &mut Poller, nth: usize, limit: u32) -> Result<Vec<Stored>, String> {
    let Seen { room, seq } = poller.rooms[nth];
    let (mut fresh, mut before) = (Vec::new(), None);
    for _ in 0..MAX_PAGES {
        let id = poller.next_id;
        poller.next_id += 1;
        send(&mut poller.socket, &ClientFrame::History { id, room, before, limit: Some(limit) }).await?;
        let (messages, next) = match reply(&mut poller.socket).await? {
            ServerFrame::Page { messages, next, .. } => (messages, next),
            other => return Err(refusal("history", &other)),
        };
        let reached = messages.first().is_none_or(|oldest| oldest.seq <= seq + 1);
        fresh.splice(0..0, messages.into_iter().filter(|message| message.seq > seq));
        match next {
            Some(older) if !reached => before = Some(older),
            _ => return Ok(fresh),
        }
    }
    Err(format!("more than {MAX_PAGES} pages behind"))
}
