//! A generator thread's side of a recording: the histograms of the second that is going on.
//!
//! They are handed over when the second ends and begun anew, so that a recording of any length needs the same memory. When
//! the writer falls behind, nothing waits for it: the interval becomes longer, and says so.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
    mpsc::{SyncSender, TrySendError},
};

use crate::recorder::{Latency, RecorderError};

/// Nanoseconds of one interval.
pub(super) const INTERVAL_NS: u64 = 1_000_000_000;
/// Stands for a window whose beginning is not known yet.
pub(super) const NOT_BEGUN: u64 = u64::MAX;

/// The histograms of one interval; `ack` and `delivery` by [`Stage`].
#[derive(Clone, Debug)]
pub(super) struct Histograms {
    pub response: [Latency; 2],
    pub service: [Latency; 2],
    pub pacing: Latency,
}

impl Histograms {
    pub fn new() -> Result<Self, RecorderError> {
        let empty = Latency::new()?;
        Ok(Self {
            response: [empty.clone(), empty.clone()],
            service: [empty.clone(), empty.clone()],
            pacing: empty,
        })
    }

    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.response.iter_mut().zip(&other.response) {
            mine.merge(theirs);
        }
        for (mine, theirs) in self.service.iter_mut().zip(&other.service) {
            mine.merge(theirs);
        }
        self.pacing.merge(&other.pacing);
    }
}

/// What a latency ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The server's answer.
    Ack = 0,
    /// The message at a subscriber.
    Delivery = 1,
}

/// What one thread recorded in one interval.
#[derive(Debug)]
pub(super) struct Block {
    pub source: usize,
    /// Seconds after the window's start: the first one, and the one after the last.
    pub from_s: u64,
    pub to_s: u64,
    /// The thread records nothing more.
    pub last: bool,
    pub sent: u64,
    pub errors: u64,
    /// None when there was nothing: an idle second costs no memory.
    pub histograms: Option<Box<Histograms>>,
}

/// What the writer is told.
#[derive(Debug)]
pub(super) enum Message {
    /// The window's beginning is known.
    Begin,
    Block(Block),
    /// Nothing more will come.
    End,
}

/// One thread's record of the current second; see [`super::Recording::source`].
#[derive(Debug)]
pub struct Live {
    to: SyncSender<Message>,
    start_ns: Arc<AtomicU64>,
    template: Histograms,
    block: Block,
    /// The second in which the block is handed over: the next, or later when the writer had no room.
    due_s: u64,
}

impl Live {
    pub(super) fn new(
        source: usize,
        to: SyncSender<Message>,
        start_ns: Arc<AtomicU64>,
    ) -> Result<Self, RecorderError> {
        Ok(Self { to, start_ns, template: Histograms::new()?, block: empty(source, 0), due_s: 1 })
    }

    /// Hands the block over if its second has ended. `now_ns` is on the run's clock; before the window nothing happens.
    pub fn tick(&mut self, now_ns: u64) {
        let start_ns = self.start_ns.load(Relaxed);
        if start_ns == NOT_BEGUN || now_ns < start_ns {
            return;
        }
        let second = (now_ns - start_ns) / INTERVAL_NS;
        if second < self.due_s {
            return;
        }
        let next = empty(self.block.source, second);
        let mut block = std::mem::replace(&mut self.block, next);
        block.to_s = second;
        self.due_s = second + 1;
        if let Err(TrySendError::Full(Message::Block(block))) = self.to.try_send(Message::Block(block)) {
            self.block = block;
        }
    }

    fn histograms(&mut self, now_ns: u64) -> &mut Histograms {
        self.tick(now_ns);
        self.block.histograms.get_or_insert_with(|| Box::new(self.template.clone()))
    }

    /// A send, and how late it was.
    pub fn sent(&mut self, now_ns: u64, pacing_ns: u64) {
        self.histograms(now_ns).pacing.record_ns(pacing_ns);
        self.block.sent += 1;
    }

    /// An answer or a delivery, from the intended instant and from the actual send.
    pub fn done(&mut self, stage: Stage, now_ns: u64, response_ns: u64, service_ns: u64) {
        let histograms = self.histograms(now_ns);
        histograms.response[stage as usize].record_ns(response_ns);
        histograms.service[stage as usize].record_ns(service_ns);
    }

    /// Something that went wrong.
    pub fn error(&mut self) {
        self.block.errors += 1;
    }
}

fn empty(source: usize, from_s: u64) -> Block {
    Block { source, from_s, to_s: from_s + 1, last: false, sent: 0, errors: 0, histograms: None }
}

impl Drop for Live {
    fn drop(&mut self) {
        let mut block = std::mem::replace(&mut self.block, empty(0, 0));
        block.last = true;
        block.to_s = block.to_s.max(self.due_s);
        // The writer is gone only when it failed, and then it says so itself.
        let _ = self.to.send(Message::Block(block));
    }
}
