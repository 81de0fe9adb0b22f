//! What one thread of the lean client counts and measures.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::commands::{Mix, Op};
use crate::{
    lab::Operation,
    ledger::Ledger,
    recorder::{Latency, Recorder, RecorderError},
};

/// The most kinds of error that are told apart; the rest is counted as `other`.
const MAX_ERROR_KINDS: usize = 64;
/// The longest name of a kind of error, in characters.
const MAX_ERROR_CHARS: usize = 100;

/// Answers of a cluster that send a command elsewhere, or nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirects {
    /// `MOVED`: the slot has another owner now. Followed.
    pub moved: u64,
    /// `ASK`: the slot is on its way and this key has gone already. Followed with `ASKING`.
    pub ask: u64,
    /// `TRYAGAIN`: the keys of one command are on both sides. Not repeated: an error.
    pub tryagain: u64,
    /// `CLUSTERDOWN`: nobody serves the slot. Not repeated: an error.
    pub clusterdown: u64,
    /// How often the whole table of slots was asked for again.
    pub refreshed: u64,
}

impl Redirects {
    /// Commands that were sent again.
    pub fn resent(&self) -> u64 {
        self.moved + self.ask
    }
}

/// One kind of command.
#[derive(Clone, Debug)]
pub(super) struct OneTally {
    pub sent: u64,
    pub completed: u64,
    pub failed: u64,
    /// From the first one on, with warm-up and what was sent again.
    pub on_wire: u64,
    /// Of them, the ones whose answer never came.
    pub unanswered: u64,
    pub response: Latency,
    pub service: Latency,
}

/// Everything of one thread, and after [`Tally::merge`] of all.
#[derive(Debug)]
pub(super) struct Tally {
    /// By [`Op::index`].
    pub ops: Vec<OneTally>,
    /// In a closed loop nothing is recorded here while it runs: it would cost a tenth of what a thread can do.
    pub recorder: Recorder,
    pub delivered_measured: u64,
    pub errors: BTreeMap<String, u64>,
    pub failures: u64,
    pub redirects: Redirects,
    pub ledger: Ledger,
    /// Commands by slot; empty where there is no cluster.
    pub slots: Vec<u64>,
    pub cap_hits: u64,
    pub unsent: u64,
    pub disconnects: u64,
    pub connect_failures: u64,
}

impl Tally {
    pub fn new(channels: usize, slots: usize) -> Result<Self, RecorderError> {
        let empty = Latency::new()?;
        let one = OneTally {
            sent: 0,
            completed: 0,
            failed: 0,
            on_wire: 0,
            unanswered: 0,
            response: empty.clone(),
            service: empty,
        };
        Ok(Self {
            ops: vec![one; Op::ALL.len()],
            recorder: Recorder::new()?,
            delivered_measured: 0,
            errors: BTreeMap::new(),
            failures: 0,
            redirects: Redirects::default(),
            ledger: Ledger::new(channels),
            slots: vec![0; slots],
            cap_hits: 0,
            unsent: 0,
            disconnects: 0,
            connect_failures: 0,
        })
    }

    /// Counts an error by its kind.
    pub fn error(&mut self, kind: &str) {
        let kind: String = kind.chars().take(MAX_ERROR_CHARS).collect();
        let known = self.errors.contains_key(&kind) || self.errors.len() < MAX_ERROR_KINDS;
        *self.errors.entry(if known { kind } else { "other".into() }).or_default() += 1;
    }

    pub fn op(&mut self, op: Op) -> &mut OneTally {
        &mut self.ops[op.index()]
    }

    /// Takes over another thread's.
    pub fn merge(&mut self, other: Self) {
        for (mine, theirs) in self.ops.iter_mut().zip(other.ops) {
            mine.sent += theirs.sent;
            mine.completed += theirs.completed;
            mine.failed += theirs.failed;
            mine.on_wire += theirs.on_wire;
            mine.unanswered += theirs.unanswered;
            mine.response.merge(&theirs.response);
            mine.service.merge(&theirs.service);
        }
        self.recorder.merge(&other.recorder);
        self.delivered_measured += other.delivered_measured;
        for (kind, n) in other.errors {
            *self.errors.entry(kind).or_default() += n;
        }
        self.failures += other.failures;
        let (mine, theirs) = (&mut self.redirects, other.redirects);
        mine.moved += theirs.moved;
        mine.ask += theirs.ask;
        mine.tryagain += theirs.tryagain;
        mine.clusterdown += theirs.clusterdown;
        mine.refreshed += theirs.refreshed;
        self.ledger.merge(other.ledger);
        self.slots.iter_mut().zip(other.slots).for_each(|(mine, theirs)| *mine += theirs);
        self.cap_hits += other.cap_hits;
        self.unsent += other.unsent;
        self.disconnects += other.disconnects;
        self.connect_failures += other.connect_failures;
    }

    /// The histograms as a result has them; what is left of them here is empty.
    pub fn take_recorder(&mut self, listens: bool, closed: bool) -> Result<Recorder, RecorderError> {
        let mut recorder = std::mem::replace(&mut self.recorder, Recorder::new()?);
        if closed {
            for one in &self.ops {
                recorder.ack.merge(&one.response);
                recorder.ack_service.merge(&one.service);
                recorder.delivery[0].merge(&one.response);
            }
        }
        if listens {
            // A payload says when it was due, and not when it was sent.
            recorder.delivery_service = Latency::new()?;
        }
        Ok(recorder)
    }

    /// Each kind of command by itself.
    pub fn operations(
        &self,
        mix: &Mix,
        weights: &BTreeMap<Op, u32>,
    ) -> Result<Vec<Operation>, RecorderError> {
        mix.ops()
            .map(|op| {
                let one = &self.ops[op.index()];
                Ok(Operation {
                    name: op.name().to_owned(),
                    weight: weights.get(&op).copied().unwrap_or(0),
                    sent: one.sent,
                    completed: one.completed,
                    failed: one.failed,
                    statuses: BTreeMap::new(),
                    response: one.response.summary()?,
                    service: one.service.summary()?,
                })
            })
            .collect()
    }
}
