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

    /// A send whose lateness is not the generator's.
    pub fn sent_late(&mut self, now_ns: u64) {
        self.tick(now_ns);
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::*;

    const S: u64 = INTERVAL_NS;

    fn blocks(from: &Receiver<Message>) -> Vec<Block> {
        let block = |message| match message {
            Message::Block(block) => Some(block),
            Message::Begin | Message::End => None,
        };
        from.try_iter().filter_map(block).collect()
    }

    #[test]
    fn seconds_are_handed_over_one_by_one_also_those_without_anything() {
        let (to, from) = sync_channel(16);
        let start = Arc::new(AtomicU64::new(NOT_BEGUN));
        let mut live = Live::new(3, to, start.clone()).unwrap();
        live.tick(99 * S);
        start.store(100 * S, Relaxed);
        live.tick(99 * S);
        assert!(blocks(&from).is_empty(), "nothing before the window");
        live.sent(100 * S, 5_000);
        live.done(Stage::Delivery, 100 * S + S / 2, 7_000, 6_000);
        live.error();
        for second in 101..104 {
            live.tick(second * S);
        }
        let seen = blocks(&from);
        assert!(seen.iter().map(|b| (b.source, b.from_s, b.to_s)).eq([(3, 0, 1), (3, 1, 2), (3, 2, 3)]));
        assert_eq!((seen[0].sent, seen[0].errors), (1, 1));
        let histograms = seen[0].histograms.as_ref().unwrap();
        assert_eq!((histograms.response[1].count(), histograms.response[0].count()), (1, 0));
        assert!(seen[1].histograms.is_none(), "an idle second costs no memory");
        drop(live);
        assert!(blocks(&from)[0].last);
    }

    #[test]
    fn a_writer_that_falls_behind_makes_the_interval_longer_and_loses_nothing() {
        let (to, from) = sync_channel(1);
        let mut live = Live::new(0, to, Arc::new(AtomicU64::new(0))).unwrap();
        for second in 0..5 {
            live.sent(second * S + 1, 1_000);
        }
        let first = blocks(&from);
        live.tick(5 * S);
        let rest = blocks(&from);
        assert_eq!((first.len(), first[0].from_s, first[0].to_s, first[0].sent), (1, 0, 1, 1));
        assert_eq!((rest.len(), rest[0].from_s, rest[0].to_s, rest[0].sent), (1, 1, 5, 4));
        assert_eq!(rest[0].histograms.as_ref().unwrap().pacing.count(), 4);
    }
}
