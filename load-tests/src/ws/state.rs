//! What one generator thread knows: the ledger, histograms and counts that each frame changes. Nobody else touches them.

use std::{collections::BTreeMap, sync::Arc};

use chatlab_kit::{
    message::{Epoch, Position},
    wire::ServerFrame,
};

use smallvec::SmallVec;

use super::{
    LoadError,
    audit::Notes,
    shared::{Shared, Slot, add, take},
};
use crate::{
    eye::Eye,
    faults::Class,
    ledger::{Ledger, Seen},
    payload::{BadPayload, Delivery, Payload, quick_parse, slow_parse},
    recorder::{Instants, Latency, Recorder},
    recording::Live,
    result::SlowReader,
};

/// The most kinds of error that are told apart; the rest is counted as `other`.
const MAX_ERROR_KINDS: usize = 64;

/// The rooms of one connection: one nearly always, and that is not a place in memory of its own to wait for.
#[derive(Debug, Default)]
pub(super) struct Member {
    pub rooms: SmallVec<[Membership; 1]>,
    /// What comes to it is nobody's delivery.
    deaf: bool,
}

/// One room of a connection. The fields after `subscription` are kept in runs with faults only.
#[derive(Debug)]
pub(super) struct Membership {
    pub room: u16,
    subscription: usize,
    /// The connection's place among the room's subscribers.
    pub ordinal: u32,
    /// After which it must go on when it joins again.
    pub at: Position,
    /// The number of the epoch of `at`.
    pub epoch: u32,
}

/// What a frame turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// No answer to a send.
    Nothing,
    /// The first ack of a message.
    Acked(u32),
    /// An error for a message, and whether the same may work later. Without faults it is for good.
    Refused { number: u32, again: bool },
}

impl Member {
    pub fn add(&mut self, room: u16, subscription: usize) {
        self.join(room, subscription, 0, None);
    }

    /// A room in a run with faults: the connection's place among its subscribers, and where the room stands.
    pub fn join(&mut self, room: u16, subscription: usize, ordinal: u32, head: Option<Position>) {
        let at = head.unwrap_or_else(|| Position { epoch: Epoch(String::new()), seq: 0, id: None });
        self.rooms.push(Membership { room, subscription, ordinal, at, epoch: 0 });
    }

    /// The same for a connection that is there to send.
    pub fn only_sends(&mut self, room: u16) {
        self.deaf = true;
        self.add(room, usize::MAX);
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
    /// What became of the connections that stopped reading.
    pub slow: Vec<SlowReader>,
    /// Only in runs with faults.
    pub notes: Option<Box<Notes>>,
}

impl State {
    pub fn new(shared: &Shared, live: Option<Live>) -> Result<Self, LoadError> {
        Ok(Self {
            notes: shared.audit.is_some().then(|| Box::new(Notes::new(shared.origin))),
            ledger: Ledger::new(shared.plan.rooms.len()),
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
            eye: shared.eye.clone(),
            polls: 0,
            empty_polls: 0,
            slow: Vec::new(),
        })
    }

    pub fn error(&mut self, kind: &str) {
        self.error_of(Class::Other, kind);
    }

    /// An error frame, or a frame that could not be understood.
    fn frame_error(&mut self, kind: &str) {
        self.error_frames += 1;
        self.error_of(Class::Frame, kind);
    }

    /// A connection broke.
    pub fn disconnected(&mut self, kind: &str) {
        self.disconnects += 1;
        self.error_of(Class::Disconnect, kind);
    }

    fn error_of(&mut self, class: Class, kind: &str) {
        if let Some(notes) = &mut self.notes {
            notes.note(class, kind);
        }
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

    /// Takes in one text frame.
    pub fn receive(&mut self, shared: &Shared, member: &mut Member, text: &str) -> Heard {
        if let Some(delivery) = quick_parse(text) {
            self.deliver(shared, member, &delivery);
            return Heard::Nothing;
        }
        self.slow_frames += 1;
        match slow_parse(text) {
            Ok(ServerFrame::Message(m)) => {
                let (room, epoch, body) = (m.draft.room.to_string(), &m.epoch.0, &m.draft.body);
                let id = m.draft.id.to_string();
                self.deliver(shared, member, &Delivery { epoch, seq: m.seq, room: &room, id: &id, body });
                return Heard::Nothing;
            }
            Ok(ServerFrame::Ack { id, room, epoch, seq, dup, .. }) => {
                return self.acknowledge(shared, member, (id, &room.to_string()), (&epoch.0, seq), dup);
            }
            Ok(ServerFrame::Error { id, code, .. }) => {
                self.frame_error(&format!("error frame: {code:?}"));
                return self.refused(shared, id, code.retryable());
            }
            Ok(ServerFrame::Bye { code, .. }) => self.error(&format!("bye: {code:?}")),
            Ok(ServerFrame::Presence { .. }) => self.presence_frames += 1,
            Ok(
                ServerFrame::Left { .. }
                | ServerFrame::Typing { .. }
                | ServerFrame::Ok { .. }
                | ServerFrame::Pong { .. },
            ) => {}
            Ok(ServerFrame::Resync { room, head }) if shared.audit.is_some() => {
                self.resync(shared, member, room, head);
            }
            Ok(_) => self.frame_error("unexpected frame"),
            Err(_) => self.frame_error("frame not understood"),
        }
        Heard::Nothing
    }

    pub fn deliver(&mut self, shared: &Shared, member: &mut Member, delivery: &Delivery<'_>) {
        if let Some(audit) = &shared.audit {
            return self.deliver_audited(shared, audit, member, delivery);
        }
        if member.deaf {
            return;
        }
        let now_ns = shared.now_ns();
        let Some(membership) = member.rooms.iter().find(|m| shared.is_room(m.room, delivery.room)) else {
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
        (id, room): (u64, &str),
        (epoch, seq): (&str, u64),
        dup: bool,
    ) -> Heard {
        let now_ns = shared.now_ns();
        let number = id.wrapping_sub(1);
        let (Some(slot), Some(home)) = (shared.slots.get(number as usize), member.rooms.first()) else {
            self.frame_error("ack of nothing");
            return Heard::Nothing;
        };
        if !slot.mark_answered() {
            self.frame_error("second answer");
            return Heard::Nothing;
        }
        if !shared.is_room(home.room, room) {
            self.ledger.counts.misrouted += 1;
        }
        let number = number as u32;
        match &shared.audit {
            Some(audit) => self.acknowledge_audited(shared, audit, (number, home.room), (epoch, seq), dup),
            None => {
                if !slot.is_seq(seq) {
                    self.ledger.counts.stored_twice += 1;
                }
                self.ledger.acknowledge(u32::from(home.room), epoch, seq);
            }
        }
        self.acknowledged(shared, slot, (home.room, number), now_ns);
        Heard::Acked(number)
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

    fn refused(&mut self, shared: &Shared, id: Option<u64>, again: bool) -> Heard {
        let Some(id) = id else { return Heard::Nothing };
        if shared.audit.is_some() {
            return self.refused_audited(shared, id, again);
        }
        let number = id.wrapping_sub(1);
        if !shared.slots.get(number as usize).is_some_and(Slot::mark_answered) {
            return Heard::Nothing;
        }
        take(&shared.counters.in_flight, 1);
        Heard::Refused { number: number as u32, again: false }
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
        self.slow.extend(other.slow);
        if let (Some(mine), Some(theirs)) = (&mut self.notes, other.notes) {
            mine.merge(*theirs);
        }
    }
}
