//! One generator thread: its share of the connections on a single-threaded runtime, with a
//! ledger and histograms of its own that nobody else touches.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc, time::Instant};

use chatlab_kit::wire::ServerFrame;
use tokio::{
    runtime::Builder,
    sync::{Semaphore, mpsc::UnboundedReceiver},
    task::LocalSet,
};

use super::{
    LoadError, churn,
    conn::{Context, live},
    foreign, poll,
    shared::{Due, Shared, Slot, add, take},
};
use crate::{
    eye::Eye,
    ledger::{Ledger, Seen},
    payload::{BadPayload, Delivery, Payload, quick_parse, slow_parse},
    recorder::{Instants, LAG_TICK, Latency, Recorder},
    recording::Live,
};

/// The most kinds of error that are told apart; the rest is counted as `other`.
const MAX_ERROR_KINDS: usize = 64;

/// The rooms of one connection.
#[derive(Debug, Default)]
pub(super) struct Member {
    rooms: Vec<Membership>,
    /// What comes to it is nobody's delivery.
    deaf: bool,
}

#[derive(Debug)]
struct Membership {
    room: u16,
    id: Box<str>,
    subscription: usize,
}

impl Member {
    pub fn add(&mut self, room: u16, id: &str, subscription: usize) {
        self.rooms.push(Membership { room, id: id.into(), subscription });
    }

    /// The same for a connection that is there to send.
    pub fn only_sends(&mut self, room: u16, id: &str) {
        self.deaf = true;
        self.add(room, id, usize::MAX);
    }

    /// The room that the connection sends to.
    pub fn home(&self) -> Option<u16> {
        self.rooms.first().map(|m| m.room)
    }
}

/// What a thread has recorded.
#[derive(Debug)]
pub(super) struct State {
    pub ledger: Ledger,
    pub recorder: Recorder,
    pub errors: BTreeMap<String, u64>,
    /// Error frames, and frames that could not be understood.
    pub error_frames: u64,
    pub disconnects: u64,
    pub unsent: u64,
    pub sent_measured: u64,
    pub acked_measured: u64,
    pub delivered_measured: u64,
    /// Frames that the quick parser left to the JSON parser.
    pub slow_frames: u64,
    pub presence_frames: u64,
    /// Frames to the connections that come and go.
    pub churn_frames: u64,
    pub reopen: Latency,
    pub reopen_failures: u64,
    eye: Arc<Eye>,
    /// Looks at a room's history by those who ask, and those of them in which nothing was new.
    pub polls: u64,
    pub empty_polls: u64,
}

impl State {
    pub fn new(rooms: usize, live: Option<Live>, eye: Arc<Eye>) -> Result<Self, LoadError> {
        Ok(Self {
            ledger: Ledger::new(rooms),
            recorder: Recorder::with_live(live)?,
            errors: BTreeMap::new(),
            error_frames: 0,
            disconnects: 0,
            unsent: 0,
            sent_measured: 0,
            acked_measured: 0,
            delivered_measured: 0,
            slow_frames: 0,
            presence_frames: 0,
            churn_frames: 0,
            reopen: Latency::new()?,
            reopen_failures: 0,
            eye,
            polls: 0,
            empty_polls: 0,
        })
    }

    pub fn error(&mut self, kind: &str) {
        self.recorder.error();
        self.eye.error();
        let known = self.errors.contains_key(kind) || self.errors.len() < MAX_ERROR_KINDS;
        let kind = if known { kind } else { "other" };
        *self.errors.entry(kind.to_owned()).or_default() += 1;
    }

    pub fn note_sent(&mut self, shared: &Shared, number: u32, intended_ns: u64, now_ns: u64) {
        if number >= shared.first_measured {
            self.sent_measured += 1;
            self.recorder.sent(intended_ns, now_ns);
        }
    }

    /// Takes in one text frame; true when it answers a send.
    pub fn receive(&mut self, shared: &Shared, member: &Member, text: &str) -> bool {
        if let Some(delivery) = quick_parse(text) {
            self.deliver(shared, member, &delivery);
            return false;
        }
        self.slow_frames += 1;
        match slow_parse(text) {
            Ok(ServerFrame::Message(m)) => {
                let (room, epoch, body) = (m.draft.room.to_string(), &m.epoch.0, &m.draft.body);
                self.deliver(shared, member, &Delivery { epoch, seq: m.seq, room: &room, body });
                false
            }
            Ok(ServerFrame::Ack { id, room, epoch, seq, .. }) => {
                self.acknowledge(shared, member, id, &room.to_string(), &epoch.0, seq)
            }
            Ok(ServerFrame::Error { id, code, .. }) => {
                self.error_frames += 1;
                self.error(&format!("error frame: {code:?}"));
                self.refused(shared, id)
            }
            Ok(ServerFrame::Bye { code, .. }) => {
                self.error(&format!("bye: {code:?}"));
                false
            }
            Ok(ServerFrame::Presence { .. }) => {
                self.presence_frames += 1;
                false
            }
            Ok(ServerFrame::Left { .. } | ServerFrame::Ok { .. } | ServerFrame::Pong { .. }) => false,
            Ok(_) => {
                self.error_frames += 1;
                self.error("unexpected frame");
                false
            }
            Err(_) => {
                self.error_frames += 1;
                self.error("frame not understood");
                false
            }
        }
    }

    pub fn deliver(&mut self, shared: &Shared, member: &Member, delivery: &Delivery<'_>) {
        if member.deaf {
            return;
        }
        let now_ns = shared.now_ns();
        let Some(membership) = member.rooms.iter().find(|m| *m.id == *delivery.room) else {
            self.ledger.counts.misrouted += 1;
            return;
        };
        let seen = self.ledger.deliver(membership.subscription, delivery.epoch, delivery.seq);
        let payload = match Payload::parse(delivery.body.as_bytes()) {
            Ok(payload) if payload.run == shared.run => payload,
            Ok(_) | Err(BadPayload::Foreign) => {
                self.ledger.counts.foreign += 1;
                return;
            }
            Err(BadPayload::Corrupt) => {
                self.ledger.counts.corrupt += 1;
                return;
            }
        };
        let Some(slot) = shared.slots.get(payload.number as usize) else {
            self.ledger.counts.corrupt += 1;
            return;
        };
        if payload.room != membership.room {
            self.ledger.counts.misrouted += 1;
            return;
        }
        if !matches!(seen, Seen::Fresh | Seen::Late) {
            return;
        }
        if !slot.is_seq(delivery.seq) {
            self.ledger.counts.stored_twice += 1;
            return;
        }
        let at = Instants { intended_ns: payload.intended_ns, sent_ns: slot.sent_ns(), done_ns: now_ns };
        self.reached(shared, slot, (payload.room, payload.number), at);
    }

    /// A message has reached one more of its room's subscribers; true for the first one.
    pub fn reached(
        &mut self,
        shared: &Shared,
        slot: &Slot,
        (room, number): (u16, u32),
        at: Instants,
    ) -> bool {
        add(&shared.counters.delivered, 1);
        let reached = slot.reach();
        let Some(third) = shared.third(number, at.intended_ns) else { return reached == 1 };
        self.delivered_measured += 1;
        // Of several generators only the sender knows when a message was sent, and none who of all was the first.
        let alone = shared.plan.share.is_none();
        let at = if alone { at } else { Instants { sent_ns: at.intended_ns, ..at } };
        let latency_ns = at.response_ns();
        self.eye.done_ns(latency_ns);
        let recorder = &mut self.recorder;
        recorder.delivered(third, at);
        if !alone {
            return reached == 1;
        }
        let subscribers = shared.subscribers[usize::from(room)];
        if reached == 1 {
            recorder.first.record_ns(latency_ns);
        }
        if reached == subscribers.div_ceil(2) {
            recorder.median.record_ns(latency_ns);
        }
        if reached == subscribers {
            recorder.last.record_ns(latency_ns);
        }
        reached == 1
    }

    fn acknowledge(
        &mut self,
        shared: &Shared,
        member: &Member,
        id: u64,
        room: &str,
        epoch: &str,
        seq: u64,
    ) -> bool {
        let now_ns = shared.now_ns();
        let number = id.wrapping_sub(1);
        let (Some(slot), Some(home)) = (shared.slots.get(number as usize), member.rooms.first()) else {
            self.error_frames += 1;
            self.error("ack of nothing");
            return false;
        };
        if !slot.mark_answered() {
            self.error_frames += 1;
            self.error("second answer");
            return false;
        }
        if *home.id != *room {
            self.ledger.counts.misrouted += 1;
        }
        if !slot.is_seq(seq) {
            self.ledger.counts.stored_twice += 1;
        }
        self.ledger.acknowledge(u32::from(home.room), epoch, seq);
        self.acknowledged(shared, slot, (home.room, number as u32), now_ns);
        true
    }

    /// A message is acknowledged: it must reach all of its room.
    pub fn acknowledged(&mut self, shared: &Shared, slot: &Slot, (room, number): (u16, u32), now_ns: u64) {
        let counters = &shared.counters;
        add(&counters.expected, u64::from(shared.subscribers[usize::from(room)]));
        add(&counters.acked, 1);
        take(&counters.in_flight, 1);
        if number >= shared.first_measured {
            self.acked_measured += 1;
            let at = Instants { intended_ns: slot.intended_ns(), sent_ns: slot.sent_ns(), done_ns: now_ns };
            self.recorder.acked(at);
        } else {
            shared.pulse.record_ns(now_ns.saturating_sub(slot.intended_ns()));
        }
    }

    /// Deliveries by third, for a result of several generators, and forgets what they can't tell: see [`crate::crew`].
    pub fn take_thirds(&mut self) -> Result<[String; 3], LoadError> {
        self.recorder.delivery_service = Latency::new()?;
        let [first, second, last] = &self.recorder.delivery;
        Ok([first.summary()?.hdr_v2, second.summary()?.hdr_v2, last.summary()?.hdr_v2])
    }

    fn refused(&mut self, shared: &Shared, id: Option<u64>) -> bool {
        let slot = id.and_then(|id| shared.slots.get(id.wrapping_sub(1) as usize));
        let answered = slot.is_some_and(super::shared::Slot::mark_answered);
        if answered {
            take(&shared.counters.in_flight, 1);
        }
        answered
    }

    /// Takes over another thread's record.
    pub fn merge(&mut self, other: Self) {
        self.ledger.merge(other.ledger);
        self.recorder.merge(&other.recorder);
        for (kind, n) in other.errors {
            *self.errors.entry(kind).or_default() += n;
        }
        self.error_frames += other.error_frames;
        self.disconnects += other.disconnects;
        self.unsent += other.unsent;
        self.sent_measured += other.sent_measured;
        self.acked_measured += other.acked_measured;
        self.delivered_measured += other.delivered_measured;
        self.slow_frames += other.slow_frames;
        self.presence_frames += other.presence_frames;
        self.churn_frames += other.churn_frames;
        self.reopen.merge(&other.reopen);
        self.reopen_failures += other.reopen_failures;
        self.polls += other.polls;
        self.empty_polls += other.empty_polls;
    }
}

/// A thread's connections: their numbers and queues.
pub(super) type Share = Vec<(usize, UnboundedReceiver<Due>)>;

/// The thread's body: lives until the last of its connections ends.
pub(super) fn run(shared: &Arc<Shared>, share: Share, recording: Option<Live>) -> Result<State, LoadError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(LoadError::Runtime)?;
    let state = Rc::new(RefCell::new(State::new(shared.plan.rooms.len(), recording, shared.eye.clone())?));
    let gate = Rc::new(Semaphore::new(shared.plan.connect_concurrency.div_ceil(shared.plan.threads)));
    let local = LocalSet::new();
    let tasks: Vec<_> = share
        .into_iter()
        .map(|(index, queue)| {
            let (shared, state, gate) = (Arc::clone(shared), Rc::clone(&state), Rc::clone(&gate));
            let churns = index >= shared.plan.tokens.len();
            let context = Context { shared, state, gate, index };
            let foreign = context.shared.foreign.is_some();
            let asks = context.shared.plan.polls(index);
            match asks {
                _ if foreign => local.spawn_local(foreign::live(context, queue)),
                _ if churns => local.spawn_local(churn::live(context, queue)),
                Some(receive) => local.spawn_local(poll::live(context, receive, queue)),
                None => local.spawn_local(live(context, queue)),
            }
        })
        .collect();
    let ticking = local.spawn_local(tick(Arc::clone(shared), Rc::clone(&state)));
    local.block_on(&runtime, async {
        for task in tasks {
            // A task that panicked leaves its connection unaccounted for: that is no result.
            task.await.map_err(|e| LoadError::Thread(e.to_string()))?;
        }
        ticking.abort();
        // Aborted as it is, this is no error; what it held is free then.
        let _ = ticking.await;
        Ok::<_, LoadError>(())
    })?;
    drop(local);
    let state = Rc::try_unwrap(state).map_err(|_| LoadError::Thread("state still in use".into()))?;
    Ok(state.into_inner())
}

/// Looks how late the thread is, and ends the seconds of the recording in which nothing happens.
async fn tick(shared: Arc<Shared>, state: Rc<RefCell<State>>) {
    let mut due = Instant::now();
    loop {
        due += LAG_TICK;
        // Ticks that were missed are not left out: each of them was late.
        tokio::time::sleep_until(due.into()).await;
        let now_ns = shared.now_ns();
        let recorder = &mut state.borrow_mut().recorder;
        if shared.in_window(now_ns) {
            recorder.runtime_lag.record_ns(due.elapsed().as_nanos() as u64);
        }
        recorder.tick(now_ns);
    }
}
