//! What the threads of a generator share: atomics only, so that no thread waits for another.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use super::{audit::Audit, foreign::Foreign};
use crate::{eye::Eye, plan::Plan, steady::Pulse};

/// An arrival, handed from the pacer to the connection that sends it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub number: u32,
    pub intended_ns: u64,
}

const SENT: u8 = 1;
const ANSWERED: u8 = 2;

/// One message's life: 32 bytes, allocated for the whole schedule before the run.
#[derive(Debug, Default)]
pub(super) struct Slot {
    intended_ns: AtomicU64,
    sent_ns: AtomicU64,
    seq: AtomicU64,
    subscribers_reached: AtomicU32,
    state: AtomicU8,
}

impl Slot {
    pub fn mark_sent(&self, intended_ns: u64, now_ns: u64) {
        self.intended_ns.store(intended_ns, Relaxed);
        self.sent_ns.store(now_ns, Relaxed);
        self.state.store(SENT, Relaxed);
    }

    /// True for the first answer to a message that was sent.
    pub fn mark_answered(&self) -> bool {
        self.state.swap(ANSWERED, Relaxed) == SENT
    }

    pub fn intended_ns(&self) -> u64 {
        self.intended_ns.load(Relaxed)
    }

    pub fn sent_ns(&self) -> u64 {
        self.sent_ns.load(Relaxed)
    }

    /// The sequence that the message was stored under; 0 when none is known.
    pub fn seq(&self) -> u64 {
        self.seq.load(Relaxed)
    }

    /// False when the message is known under another sequence: it was stored twice.
    pub fn is_seq(&self, seq: u64) -> bool {
        match self.seq.compare_exchange(0, seq, Relaxed, Relaxed) {
            Ok(_) => true,
            Err(known) => known == seq,
        }
    }

    /// How many subscribers the message has reached with this one.
    pub fn reach(&self) -> u32 {
        self.subscribers_reached.fetch_add(1, Relaxed) + 1
    }
}

/// Counters that the coordinator reads while the run goes on.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub ready: AtomicU64,
    pub failed: AtomicU64,
    /// Sends handed to a connection and not yet answered.
    pub in_flight: AtomicU64,
    pub sent: AtomicU64,
    pub acked: AtomicU64,
    pub delivered: AtomicU64,
    /// What the acks so far oblige the server to deliver.
    pub expected: AtomicU64,
    /// Connections that stopped reading and do not have everything again.
    pub behind: AtomicU64,
}

pub(super) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

pub(super) fn take(counter: &AtomicU64, n: u64) {
    counter.fetch_sub(n, Relaxed);
}

pub(super) fn get(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

/// Everything that does not belong to one thread.
#[derive(Debug)]
pub(super) struct Shared {
    pub plan: Plan,
    /// The rooms' ids, as they stand in frames.
    pub rooms: Vec<String>,
    pub targets: Vec<SocketAddr>,
    pub source_addresses: usize,
    pub run: u32,
    pub origin: Instant,
    /// The same instant on the clock that all processes share.
    pub origin_ns: u64,
    /// Only in a run with faults.
    pub audit: Option<Audit>,
    /// Messages with a lower number are warm-up.
    pub first_measured: u32,
    /// 0 as long as it is not known.
    pub window_start_ns: AtomicU64,
    /// The warm-up's responses.
    pub pulse: Pulse,
    /// The window's deliveries, for who watches.
    pub eye: Arc<Eye>,
    pub slots: Vec<Slot>,
    pub subscribers: Vec<u32>,
    /// Where the server is not ours.
    pub foreign: Option<Foreign>,
    pub counters: Counters,
}

impl Shared {
    /// Nanoseconds since the run's start, on the monotonic clock.
    pub fn now_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    /// Whether room `room` of the plan has this id.
    pub fn is_room(&self, room: u16, id: &str) -> bool {
        self.rooms.get(usize::from(room)).is_some_and(|known| known == id)
    }

    /// Whether the window has begun and its last arrival is still due.
    pub fn in_window(&self, now_ns: u64) -> bool {
        let start_ns = get(&self.window_start_ns);
        start_ns != 0 && (start_ns..start_ns + self.plan.schedule.duration_ns).contains(&now_ns)
    }

    /// Which third of the window a measured message was due in; none for the warm-up.
    pub fn third(&self, number: u32, intended_ns: u64) -> Option<usize> {
        if number < self.first_measured {
            return None;
        }
        let into = intended_ns.saturating_sub(get(&self.window_start_ns));
        let third = into as u128 * 3 / u128::from(self.plan.schedule.duration_ns.max(1));
        Some(third.min(2) as usize)
    }
}
