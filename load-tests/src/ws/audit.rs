//! The exact fate of each message, kept only in runs with faults: who received it, by number, whatever sequence it had.
//!
//! The ledger of ordinary runs goes by room and sequence, which a failover may issue twice. Here every delivery sets a bit for
//! its message and subscriber. Shared by all threads: atomics only, but for the names of epochs, which seldom change.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use super::shared::{Shared, Slot};
use crate::{
    faults::{
        Class, Note,
        account::{Answer, Record},
    },
    plan::{Plan, PlanError},
};

/// The most memory that the bits and marks of one run may take.
const MAX_AUDIT_BYTES: u64 = 1 << 30;
/// The most notes of one thread; what comes after them is counted by kind only.
const MAX_NOTES: usize = 200_000;
/// The most `resync` of one thread that are kept to excuse a loss.
const MAX_RESYNCS: usize = 200_000;

const ACKED: u8 = 1;
const REFUSED: u8 = 2;

/// One message's answers: 32 bytes.
#[derive(Debug, Default)]
struct Mark {
    answered_ns: AtomicU64,
    last_ns: AtomicU64,
    epoch: AtomicU32,
    tries: AtomicU32,
    answer: AtomicU8,
}

/// All messages of a run.
#[derive(Debug)]
pub(super) struct Audit {
    marks: Vec<Mark>,
    /// A bit a subscriber, `words` a message.
    reached: Vec<AtomicU64>,
    words: usize,
    /// The place of each connection among its rooms' subscribers, `per_conn` a connection.
    ordinals: Vec<u32>,
    per_conn: usize,
    /// Each room's epochs, numbered from 1 as they are met.
    epochs: Mutex<HashMap<u16, Vec<Box<str>>>>,
}

impl Audit {
    /// Empty, for so many messages of a plan.
    pub fn new(plan: &Plan, messages: u64) -> Result<Self, PlanError> {
        let mut counts = vec![0_u32; plan.rooms.len()];
        let per_conn = plan.rooms_per_conn.min(plan.rooms.len());
        let mut ordinals = Vec::with_capacity(plan.tokens.len() * per_conn);
        for conn in 0..plan.tokens.len() {
            for room in plan.rooms_of(conn) {
                ordinals.push(counts[room]);
                counts[room] += 1;
            }
        }
        let words = counts.iter().max().map_or(1, |most| most.div_ceil(64).max(1)) as usize;
        let bytes = messages.saturating_mul(words as u64 * 8 + size_of::<Mark>() as u64);
        if bytes > MAX_AUDIT_BYTES {
            let why = format!(
                "with faults each message is accounted for: {bytes} bytes are too many, lower --secs"
            );
            return Err(PlanError(why));
        }
        let messages = messages as usize;
        Ok(Self {
            marks: (0..messages).map(|_| Mark::default()).collect(),
            reached: (0..messages * words).map(|_| AtomicU64::new(0)).collect(),
            words,
            ordinals,
            per_conn,
            epochs: Mutex::default(),
        })
    }

    /// The place of a connection among the subscribers of its `nth` room.
    pub fn ordinal(&self, conn: usize, nth: usize) -> u32 {
        self.ordinals[conn * self.per_conn + nth]
    }

    /// Notes an attempt.
    pub fn tried(&self, number: u32) {
        self.marks[number as usize].tries.fetch_add(1, Relaxed);
    }

    /// Notes the answer that counts.
    pub fn answered(&self, number: u32, acked: bool, now_ns: u64) {
        let mark = &self.marks[number as usize];
        mark.answered_ns.store(now_ns, Relaxed);
        mark.answer.store(if acked { ACKED } else { REFUSED }, Relaxed);
    }

    /// Notes a delivery; false when this subscriber had it already.
    pub fn reach(&self, number: u32, ordinal: u32, now_ns: u64) -> bool {
        let word = number as usize * self.words + ordinal as usize / 64;
        let bit = 1_u64 << (ordinal % 64);
        let fresh = self.reached[word].fetch_or(bit, Relaxed) & bit == 0;
        if fresh {
            self.marks[number as usize].last_ns.fetch_max(now_ns, Relaxed);
        }
        fresh
    }

    /// Notes the place that a message was stored at; false when it is known under another one.
    pub fn place(&self, number: u32, slot: &Slot, epoch: u32, seq: u64) -> bool {
        let known = match self.marks[number as usize].epoch.compare_exchange(0, epoch, Relaxed, Relaxed) {
            Ok(_) => true,
            Err(known) => known == epoch,
        };
        slot.is_seq(seq) && known
    }

    /// The number of a room's epoch.
    pub fn epoch(&self, room: u16, name: &str) -> u32 {
        let mut rooms = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        let epochs = rooms.entry(room).or_default();
        let at = epochs.iter().position(|known| **known == *name).unwrap_or_else(|| {
            epochs.push(name.into());
            epochs.len() - 1
        });
        at as u32 + 1
    }

    /// How often a room got another epoch.
    pub fn epoch_changes(&self) -> u64 {
        let rooms = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.values().map(|epochs| epochs.len().saturating_sub(1) as u64).sum()
    }

    /// What is known of a message at the end. `resyncs` are its room's.
    pub fn record(
        &self,
        shared: &Shared,
        number: u32,
        (room, due_ns): (u16, u64),
        resyncs: &[Resync],
    ) -> Record {
        let mark = &self.marks[number as usize];
        let bits = &self.reached[number as usize * self.words..][..self.words];
        let reached = bits.iter().map(|word| word.load(Relaxed).count_ones()).sum();
        let subscribers = shared.subscribers[usize::from(room)];
        let (epoch, seq) = (mark.epoch.load(Relaxed), shared.slots[number as usize].seq());
        let answered_ns = mark.answered_ns.load(Relaxed);
        let missing = |ordinal: u32| bits[ordinal as usize / 64].load(Relaxed) & (1 << (ordinal % 64)) == 0;
        let told = |ordinal: u32| {
            let covers = |r: &&Resync| match r.epoch == epoch {
                true => seq <= r.seq,
                false => answered_ns <= r.at_ns,
            };
            resyncs.iter().filter(|r| r.ordinal == ordinal).any(|r| covers(&r))
        };
        let excused = match resyncs.is_empty() || reached == subscribers {
            true => 0,
            false => (0..subscribers).filter(|ordinal| missing(*ordinal) && told(*ordinal)).count() as u32,
        };
        Record {
            room: u32::from(room),
            due_ns,
            tries: mark.tries.load(Relaxed),
            answer: match mark.answer.load(Relaxed) {
                ACKED => Answer::Acked,
                REFUSED => Answer::Refused,
                _ => Answer::None,
            },
            answered_ns,
            last_ns: mark.last_ns.load(Relaxed),
            subscribers,
            reached,
            excused,
            stored: None,
        }
    }
}

/// A subscriber was told to read a room's history and go on from a head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resync {
    pub room: u16,
    pub ordinal: u32,
    pub at_ns: u64,
    pub epoch: u32,
    pub seq: u64,
}

/// One thread's notes.
#[derive(Debug)]
pub(super) struct Notes {
    origin: Instant,
    pub notes: Vec<Note>,
    pub resyncs: Vec<Resync>,
    pub resyncs_told: u64,
    pub dup_acks: u64,
    pub resumed: u64,
    pub not_resumed: u64,
}

impl Notes {
    /// Empty; times count from `origin`.
    pub fn new(origin: Instant) -> Self {
        Self {
            origin,
            notes: Vec::new(),
            resyncs: Vec::new(),
            resyncs_told: 0,
            dup_acks: 0,
            resumed: 0,
            not_resumed: 0,
        }
    }

    /// Something went wrong now.
    pub fn note(&mut self, class: Class, kind: &str) {
        if self.notes.len() < MAX_NOTES {
            let at_ns = self.origin.elapsed().as_nanos() as u64;
            self.notes.push(Note { at_ns, class, kind: kind.to_owned() });
        }
    }

    pub fn resync(&mut self, resync: Resync) {
        self.resyncs_told += 1;
        if self.resyncs.len() < MAX_RESYNCS {
            self.resyncs.push(resync);
        }
    }

    /// Takes over another thread's.
    pub fn merge(&mut self, other: Self) {
        self.notes.extend(other.notes);
        self.resyncs.extend(other.resyncs);
        self.resyncs_told += other.resyncs_told;
        self.dup_acks += other.dup_acks;
        self.resumed += other.resumed;
        self.not_resumed += other.not_resumed;
    }
}
