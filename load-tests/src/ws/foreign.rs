//! Connections to a server that is not ours, by a dialect.
//!
//! Such a server gives no sequences. What is sent gets one here: of its room, from 1, in the order of sending. By it the ledger
//! finds what was lost and what came twice. Order is promised between two messages of one sender at the most, so that reordered
//! is what comes after a later one of the same sender.

mod socket;

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use serde_json::Value;
use tokio::{sync::mpsc::UnboundedReceiver, time::timeout};
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{
        client::IntoClientRequest,
        http::{HeaderValue, Uri, header},
    },
};

use self::socket::{Socket, close, next_text, write};
use super::{
    conn::{Context, connect},
    shared::{Due, Shared, add, take},
    state::State,
};
use crate::{
    client::socket_config,
    dialect::{Dialect, Frame, Framing, Ready, socketio},
    ledger::Seen,
    payload::{BadPayload, Payload},
    plan::Plan,
    recorder::Instants,
};

/// All sequences are of this run.
const EPOCH: &str = "sent";
/// The most frames that are looked at for the answer to one of ours while a connection is opened.
const OPENING_FRAMES_MAX: usize = 10_000;

/// What all connections to such a server share.
#[derive(Debug)]
pub(super) struct Foreign {
    dialect: Dialect,
    ready: Ready,
    /// The last sequence of each room.
    sequences: Vec<AtomicU64>,
    /// Who sent each message.
    senders: Vec<AtomicU32>,
}

impl Foreign {
    /// Of a plan with a dialect.
    pub fn of(plan: &Plan, messages: u64) -> Result<Option<Self>, String> {
        let Some(dialect) = &plan.dialect else { return Ok(None) };
        Ok(Some(Self {
            ready: dialect.ready()?,
            dialect: (**dialect).clone(),
            sequences: plan.rooms.iter().map(|_| AtomicU64::new(0)).collect(),
            senders: (0..messages).map(|_| AtomicU32::new(0)).collect(),
        }))
    }

    /// How many of a room's connections a message of one of them reaches.
    pub fn reached(&self, subscribers: u32) -> u32 {
        if self.dialect.echo { subscribers } else { subscribers.saturating_sub(1) }
    }

    fn waits_for_acks(&self) -> bool {
        self.dialect.acks || self.dialect.ack.is_some()
    }
}

/// A room of a connection.
struct Seat {
    room: u16,
    subscription: usize,
    /// The last message of each sender.
    last: HashMap<u32, u32>,
}

struct Foreigner<'a> {
    shared: &'a Shared,
    foreign: &'a Foreign,
    state: &'a Rc<RefCell<State>>,
    index: usize,
    seats: Vec<Seat>,
    /// Sends that this connection's peer has not acknowledged.
    unanswered: u64,
}

/// Lives until the queue's other end is dropped or the connection breaks.
pub(super) async fn live(context: Context, mut queue: UnboundedReceiver<Due>) {
    let Context { shared, state, gate, index } = &context;
    let Some(foreign) = &shared.foreign else { return };
    let mut me = Foreigner { shared, foreign, state, index: *index, seats: Vec::new(), unanswered: 0 };
    let limit = Duration::from_millis(shared.plan.connect_ms);
    let opened = match gate.acquire().await {
        Ok(_permit) => {
            timeout(limit, Box::pin(me.open())).await.unwrap_or_else(|_| Err("connect_timeout".into()))
        }
        Err(_) => return,
    };
    let mut socket = match opened {
        Ok(socket) => socket,
        Err(kind) => {
            state.borrow_mut().error(&kind);
            add(&shared.counters.failed, 1);
            return;
        }
    };
    add(&shared.counters.ready, 1);
    match me.drive(&mut socket, &mut queue).await {
        Ok(()) => close(&mut socket).await,
        Err(kind) => {
            let mut state = state.borrow_mut();
            state.error(&kind);
            state.disconnects += 1;
            // What will never be answered must not hold the in-flight cap.
            queue.close();
            while queue.try_recv().is_ok() {
                state.unsent += 1;
                take(&shared.counters.in_flight, 1);
            }
            if foreign.waits_for_acks() {
                take(&shared.counters.in_flight, me.unanswered);
            }
        }
    }
}

impl Foreigner<'_> {
    async fn open(&mut self) -> Result<Socket, String> {
        let (shared, foreign) = (self.shared, self.foreign);
        let user = format!("u{}", self.index);
        let token = shared.plan.tokens.get(self.index).map_or("", String::as_str);
        let who: &[(&str, &dyn std::fmt::Display)] = &[("user", &user), ("token", &token)];
        let server = shared.plan.server_of(self.index);
        let url = with_path(&shared.plan.ws_urls[server], foreign.ready.path.as_ref().map(|p| p.fill(who)));
        let mut request = url?.into_client_request().map_err(|e| format!("upgrade: {e}"))?;
        if let Some(name) = &foreign.dialect.subprotocol {
            let value = HeaderValue::from_str(name).map_err(|e| format!("subprotocol: {e}"))?;
            request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, value);
        }
        let stream = connect(shared, self.index, shared.targets[server]).await?;
        let (mut socket, _) = client_async_with_config(request, stream, Some(socket_config()))
            .await
            .map_err(|e| format!("upgrade: {e}"))?;
        if foreign.dialect.framing == Framing::Socketio {
            self.until(&mut socket, "open", |frame| *frame == Frame::Opened).await?;
            let auth = foreign.ready.auth.fill(who);
            write(&mut socket, socketio::connect(&auth)).await?;
            self.until(&mut socket, "connect", |frame| *frame == Frame::Connected).await?;
        }
        for template in &foreign.ready.open {
            let text = template.fill(who);
            write(&mut socket, foreign.dialect.framing.message(&text, None)).await?;
        }
        for room in shared.plan.rooms_of(self.index) {
            self.join(&mut socket, &user, room).await?;
        }
        Ok(socket)
    }

    async fn join(&mut self, socket: &mut Socket, user: &str, room: usize) -> Result<(), String> {
        let (foreign, name) = (self.foreign, format!("r{room}"));
        for template in &foreign.ready.join {
            let text = template.fill(&[("user", &user), ("room", &name)]);
            // Messages count from 1: nothing else has this number.
            let number = foreign.dialect.acks.then_some(0);
            write(socket, foreign.dialect.framing.message(&text, number)).await?;
            if number.is_some() {
                self.until(socket, "join", |frame| *frame == Frame::Ack(0)).await?;
            }
        }
        if let Some(joined) = &foreign.dialect.joined {
            let meets = |text: &str| serde_json::from_str(text).is_ok_and(|message| joined.meets(&message));
            self.until(socket, "join", |frame| matches!(frame, Frame::Message(text) if meets(text))).await?;
        }
        // A room has no messages before the first connection's first one: all join before that.
        let subscription = self.state.borrow_mut().ledger.subscribe(room as u32, Some(EPOCH), 0);
        self.seats.push(Seat { room: room as u16, subscription, last: HashMap::new() });
        Ok(())
    }

    /// Reads until a frame is what is waited for.
    async fn until(
        &mut self,
        socket: &mut Socket,
        what: &str,
        is: impl Fn(&Frame<'_>) -> bool,
    ) -> Result<(), String> {
        for _ in 0..OPENING_FRAMES_MAX {
            let Some(text) = next_text(socket).await? else { continue };
            match self.foreign.dialect.framing.read(&text) {
                frame if is(&frame) => return Ok(()),
                Frame::Ping(pong) => write(socket, pong).await?,
                Frame::Refused(why) => return Err(format!("{what} refused: {why}")),
                Frame::Closed => return Err(format!("{what}: closed")),
                _ => {}
            }
        }
        Err(format!("{what}: no answer among {OPENING_FRAMES_MAX} frames"))
    }

    async fn drive(&mut self, socket: &mut Socket, queue: &mut UnboundedReceiver<Due>) -> Result<(), String> {
        loop {
            tokio::select! {
                biased;
                due = queue.recv() => match due {
                    Some(due) => {
                        self.unanswered += 1;
                        let text = self.send(due)?;
                        write(socket, text).await?;
                    }
                    None => return Ok(()),
                },
                text = next_text(socket) => if let Some(text) = text?
                    && let Some(reply) = self.hear(&text)?
                {
                    write(socket, reply).await?;
                },
            }
        }
    }

    /// The frame of an arrival, noted as sent.
    fn send(&mut self, Due { number, intended_ns }: Due) -> Result<String, String> {
        let (shared, foreign) = (self.shared, self.foreign);
        let (Some(seat), Some(slot)) = (self.seats.first_mut(), shared.slots.get(number as usize)) else {
            return Err("no room to send to".into());
        };
        let room = seat.room;
        let body = Payload { run: shared.run, room, number, intended_ns }.body(shared.plan.body_bytes);
        let (user, name, id) = (format!("u{}", self.index), format!("r{room}"), u64::from(number) + 1);
        let text = foreign.ready.send.fill(&[("user", &user), ("room", &name), ("id", &id), ("body", &body)]);
        let seq = foreign.sequences[usize::from(room)].fetch_add(1, Relaxed) + 1;
        foreign.senders[number as usize].store(self.index as u32, Relaxed);
        slot.is_seq(seq);
        let now_ns = shared.now_ns();
        slot.mark_sent(intended_ns, now_ns);
        let mut state = self.state.borrow_mut();
        state.note_sent(shared, number, intended_ns, now_ns);
        if !foreign.dialect.echo {
            // Its own message does not come: as good as received.
            state.ledger.deliver_any_order(seat.subscription, EPOCH, seq);
            state.ledger.counts.delivered -= 1;
        }
        add(&shared.counters.sent, 1);
        Ok(foreign.dialect.framing.message(&text, foreign.dialect.acks.then_some(id)))
    }

    /// Takes in one frame; what is to be answered.
    fn hear(&mut self, text: &str) -> Result<Option<String>, String> {
        match self.foreign.dialect.framing.read(text) {
            Frame::Message(text) => self.message(text),
            Frame::Ack(number) => self.acknowledged(number),
            Frame::Ping(pong) => return Ok(Some(pong)),
            Frame::Closed => return Err("closed".into()),
            Frame::Refused(why) => return Err(format!("refused: {why}")),
            Frame::Unknown => self.strange("frame not understood"),
            Frame::Opened | Frame::Connected | Frame::Nothing => {}
        }
        Ok(None)
    }

    fn strange(&self, kind: &str) {
        let mut state = self.state.borrow_mut();
        state.error_frames += 1;
        state.error(kind);
    }

    fn message(&mut self, text: &str) {
        if let Some(body) = self.foreign.ready.quick.as_ref().and_then(|quick| quick.body(text)) {
            return self.delivered(body);
        }
        let dialect = &self.foreign.dialect;
        let Ok(message) = serde_json::from_str::<Value>(text) else {
            self.strange("frame not understood");
            return;
        };
        let says = |at: &str, is: &Value| message.pointer(at) == Some(is);
        if says(&dialect.delivery.at, &dialect.delivery.is) {
            match message.pointer(&dialect.delivery.body).and_then(Value::as_str) {
                Some(body) => self.delivered(body),
                None => self.strange("delivery without a body"),
            }
        } else if let Some(ack) = &dialect.ack
            && says(&ack.at, &ack.is)
        {
            let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
            match message.pointer(&ack.id).and_then(number) {
                Some(number) => self.acknowledged(number),
                None => self.strange("ack without a number"),
            }
        }
    }

    fn delivered(&mut self, body: &str) {
        let (shared, foreign) = (self.shared, self.foreign);
        let mut state = self.state.borrow_mut();
        let now_ns = shared.now_ns();
        let payload = match Payload::parse(body.as_bytes()) {
            Ok(payload) if payload.run == shared.run => payload,
            Ok(_) | Err(BadPayload::Foreign) => {
                state.ledger.counts.foreign += 1;
                return;
            }
            Err(BadPayload::Corrupt) => {
                state.ledger.counts.corrupt += 1;
                return;
            }
        };
        let Some(slot) = shared.slots.get(payload.number as usize).filter(|slot| slot.seq() > 0) else {
            state.ledger.counts.corrupt += 1;
            return;
        };
        let Some(seat) = self.seats.iter_mut().find(|seat| seat.room == payload.room) else {
            state.ledger.counts.misrouted += 1;
            return;
        };
        if state.ledger.deliver_any_order(seat.subscription, EPOCH, slot.seq()) != Seen::Fresh {
            return;
        }
        let sender = foreign.senders[payload.number as usize].load(Relaxed);
        let last = seat.last.entry(sender).or_insert(payload.number);
        if payload.number < *last {
            state.ledger.counts.reordered += 1;
        }
        *last = payload.number.max(*last);
        let at = Instants { intended_ns: payload.intended_ns, sent_ns: slot.sent_ns(), done_ns: now_ns };
        let first = state.reached(shared, slot, (payload.room, payload.number), at);
        drop(state);
        if first && !foreign.waits_for_acks() {
            self.answered(payload.number);
        }
    }

    fn acknowledged(&mut self, id: u64) {
        match u32::try_from(id.wrapping_sub(1)) {
            Ok(number) if shared_has(self.shared, number) => self.answered(number),
            _ => self.strange("ack of nothing"),
        }
    }

    fn answered(&mut self, number: u32) {
        let shared = self.shared;
        let now_ns = shared.now_ns();
        let slot = &shared.slots[number as usize];
        if !slot.mark_answered() {
            self.strange("second answer");
            return;
        }
        let mut state = self.state.borrow_mut();
        // Whoever it is told by, it is its sender's room.
        let sender = self.foreign.senders[number as usize].load(Relaxed);
        let Some(room) = shared.plan.rooms_of(sender as usize).next() else { return };
        state.ledger.acknowledge(room as u32, EPOCH, slot.seq());
        self.unanswered = self.unanswered.saturating_sub(1);
        state.acknowledged(shared, slot, (room as u16, number), now_ns);
    }
}

fn shared_has(shared: &Shared, number: u32) -> bool {
    shared.slots.get(number as usize).is_some_and(|slot| slot.seq() > 0)
}

/// A target's URL with another path.
fn with_path(url: &str, path: Option<String>) -> Result<Uri, String> {
    let fail = |why: String| format!("{url}: {why}");
    let uri: Uri = url.parse().map_err(|e| fail(format!("{e}")))?;
    let Some(path) = path else { return Ok(uri) };
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(path.parse().map_err(|e| fail(format!("{e}")))?);
    Uri::from_parts(parts).map_err(|e| fail(e.to_string()))
}
