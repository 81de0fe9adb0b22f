//! What all threads of the lean client see.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use super::{
    commands::{Mix, Op},
    keys::{Dice, Keys},
    nodes::SlotMap,
    plan::RespPlan,
};
use crate::{
    eye::Eye,
    schedule::{Arrival, Load, Schedule},
    steady::Pulse,
};

/// From the warm-up on, over all threads.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub sent: AtomicU64,
    pub answered: AtomicU64,
    pub completed: AtomicU64,
    pub delivered: AtomicU64,
    /// Deliveries that acknowledged publishes will make.
    pub expected: AtomicU64,
    pub in_flight: AtomicU64,
}

/// The measured window, in nanoseconds after [`Shared::origin`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub start_ns: u64,
    pub end_ns: u64,
    /// What is due later than that is given up.
    pub give_up_ns: u64,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub plan: RespPlan,
    pub mix: Mix,
    pub keys: Keys,
    /// As it was at the start; each thread keeps its own from then on.
    pub map: SlotMap,
    /// Tells this run's payloads from another's.
    pub run: u32,
    pub origin: Instant,
    pub warm_start_ns: AtomicU64,
    /// 0 as long as it is not known.
    pub window_start_ns: AtomicU64,
    /// The warm-up's responses.
    pub pulse: Pulse,
    pub counters: Counters,
    /// The window's answers or deliveries of an open load, for who watches.
    pub eye: Eye,
    /// The run is over.
    pub stop: AtomicBool,
}

/// One command that is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub intended_ns: u64,
    pub measured: bool,
    pub conn: usize,
    pub op: Op,
    pub key: u64,
    pub dice: Dice,
}

impl Shared {
    /// Nanoseconds since the run's start, on the monotonic clock.
    pub fn now_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    pub fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// The schedule of an open load, and what comes before it.
    pub fn schedules(&self) -> Option<(Schedule, Schedule)> {
        match &self.plan.load {
            Load::Open(schedule) => {
                Some((schedule.warm_up(self.plan.warm_up_ms + self.plan.settle_ms), schedule.clone()))
            }
            Load::Closed { .. } => None,
        }
    }

    /// The window, as soon as it is known.
    pub fn window(&self) -> Option<Window> {
        let start_ns = self.window_start_ns.load(Relaxed);
        (start_ns != 0).then(|| self.window_from(start_ns))
    }

    /// A window that begins at `start_ns`.
    pub fn window_from(&self, start_ns: u64) -> Window {
        let end_ns = start_ns + self.plan.load.duration_ns();
        Window { start_ns, end_ns, give_up_ns: end_ns + self.plan.drain_ms * 1_000_000 }
    }

    /// The window at its latest: after the longest warm-up.
    pub fn latest_window(&self) -> Window {
        let settle_ms = if matches!(self.plan.load, Load::Open(_)) { self.plan.settle_ms } else { 0 };
        let longest_ns = (self.plan.warm_up_ms + settle_ms) * 1_000_000;
        self.window_from(self.warm_start_ns.load(Relaxed) + longest_ns)
    }

    /// Whether an arrival of the warm-up comes too late for it.
    pub fn is_past_warm_up(&self, due: &Due) -> bool {
        !due.measured && self.window().is_some_and(|window| due.intended_ns >= window.start_ns)
    }

    /// The `number`-th command of the run, of the client whose turn it is.
    pub fn command(&self, number: u64, client: usize, intended_ns: u64, measured: bool) -> Due {
        let mut dice = Dice::of(self.plan.seed, number);
        let op = self.mix.draw(&mut dice);
        let (key, conn) = if op.publishes() {
            // A channel has one connection that publishes to it: its messages have an order.
            let channel = dice.below(self.plan.commands.channels.max(1) as u64);
            (channel, channel as usize % self.plan.conns)
        } else {
            (self.keys.draw(&mut dice), client)
        };
        Due { intended_ns, measured, conn, op, key, dice }
    }

    /// A thread's share of a schedule that begins at `start_ns` with command number `first`.
    pub fn share(
        &self,
        thread: usize,
        schedule: &Schedule,
        (first, start_ns, measured): (u64, u64, bool),
    ) -> impl Iterator<Item = Due> {
        (first..)
            .zip(schedule.arrivals())
            .map(move |(number, Arrival { at_ns, client })| {
                self.command(number, client as usize, start_ns + at_ns, measured)
            })
            .filter(move |due| due.conn % self.plan.threads == thread)
    }

    /// Which third of the window something was due in.
    pub fn third(&self, intended_ns: u64) -> usize {
        let into = intended_ns.saturating_sub(self.window_start_ns.load(Relaxed));
        let third = u128::from(into) * 3 / u128::from(self.plan.load.duration_ns().max(1));
        third.min(2) as usize
    }

    /// How many listen to a channel.
    pub fn listeners_of(&self, channel: u64) -> u64 {
        let (listeners, channels) =
            (self.plan.commands.listeners as u64, self.plan.commands.channels.max(1) as u64);
        listeners / channels + u64::from(channel < listeners % channels)
    }
}
