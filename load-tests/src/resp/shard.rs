//! One thread of the lean client: keeps time for its share of the connections, writes what is due in one piece a
//! connection, and reads what has come.
//!
//! The same thread does all of it, because a thread that hands arrivals to another one costs two wake-ups a command. What
//! that loses in punctuality is in the pacing error.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use chatlab_kit::slots::SLOTS;

use super::{
    conn::{Conn, Pending, What},
    listen::Listener,
    nodes::{SlotMap, dial},
    poller::{Poller, Ready, be_punctual},
    shared::{Due, Shared, Window},
    tally::Tally,
};
use crate::{recording::Live, ws::LoadError};

/// The longest wait without anything due: how soon the end of a run is seen.
const IDLE: Duration = Duration::from_millis(2);
/// How long connecting may take at the start.
const CONNECT_BOUND: Duration = Duration::from_secs(5);
/// Marks the token of a listener.
pub(super) const LISTENER: u64 = 1 << 63;

/// One node and this thread's connections to it.
pub(super) struct Node {
    pub address: String,
    pub conns: Vec<Option<Conn>>,
    pub retry_at_ns: u64,
}

pub(super) struct Shard {
    pub shared: Arc<Shared>,
    pub nodes: Vec<Node>,
    pub map: SlotMap,
    pub poller: Poller,
    pub tally: Tally,
    pub listeners: Vec<Listener>,
    /// Closed load: how many commands each client waits for.
    pub outstanding: Vec<usize>,
    /// Closed load: clients that are to send their next batch.
    pub idle: Vec<usize>,
    /// Closed load: the number of the next command.
    next_number: u64,
    pub in_flight: u64,
    pub now_ns: u64,
    pub refresh_at_ns: u64,
    /// Where commands without a slot go, in turn.
    pub any_nodes: Vec<usize>,
    ready: Vec<Ready>,
    /// Connections with something to write.
    pub dirty: Vec<(usize, usize)>,
    /// By channel: the last number that was published.
    published: Vec<u32>,
    number: usize,
    pub closed: bool,
    sent: u64,
    pub answered: u64,
    pub completed: u64,
    pub delivered: u64,
    pub expected: u64,
    /// What of `in_flight` the others know.
    told_in_flight: u64,
}

impl Shard {
    /// Opens this thread's connections. What it measures goes into `live` as well, where there is one.
    pub fn open(shared: Arc<Shared>, number: usize, live: Option<Live>) -> Result<Self, LoadError> {
        let plan = &shared.plan;
        let clients = (number..plan.conns).step_by(plan.threads).len();
        let channels = plan.commands.channels;
        let slots = if plan.is_cluster() { usize::from(SLOTS) } else { 0 };
        let map = shared.map.clone();
        let any_nodes = map.owners();
        let mut shard = Self {
            nodes: Vec::new(),
            poller: Poller::new().map_err(LoadError::Runtime)?,
            tally: Tally::new(channels, slots)?,
            listeners: Vec::new(),
            outstanding: vec![0; clients],
            idle: Vec::new(),
            // Other numbers than other threads'; a thread has fewer than 2^40 commands.
            next_number: (number as u64) << 40,
            ready: Vec::new(),
            in_flight: 0,
            now_ns: shared.now_ns(),
            refresh_at_ns: 0,
            any_nodes,
            dirty: Vec::new(),
            published: vec![0; channels],
            number,
            closed: shared.schedules().is_none(),
            sent: 0,
            answered: 0,
            completed: 0,
            delivered: 0,
            expected: 0,
            told_in_flight: 0,
            map,
            shared,
        };
        if let Some(live) = live {
            shard.tally.recorder.set_live(live);
        }
        shard.know_nodes();
        let failed = |e| LoadError::NoConnection(format!("{e}"));
        for node in shard.any_nodes.clone() {
            for client in 0..clients {
                shard.connect(node, client, CONNECT_BOUND).map_err(failed)?;
            }
        }
        shard.listen(number).map_err(failed)?;
        Ok(shard)
    }

    /// A place for every node that the map names.
    pub fn know_nodes(&mut self) {
        let clients = self.outstanding.len();
        for address in self.map.nodes().iter().skip(self.nodes.len()) {
            let conns = std::iter::repeat_with(|| None).take(clients).collect();
            self.nodes.push(Node { address: address.clone(), conns, retry_at_ns: 0 });
        }
    }

    pub fn connect(&mut self, node: usize, client: usize, bound: Duration) -> std::io::Result<()> {
        let place = &mut self.nodes[node];
        let conn = dial(&place.address, bound).and_then(Conn::new)?;
        self.poller.add(&conn.stream, token(node, client))?;
        place.conns[client] = Some(conn);
        Ok(())
    }

    /// Runs until it is told to stop.
    pub fn run(mut self) -> Tally {
        be_punctual();
        let shared = self.shared.clone();
        match shared.schedules() {
            Some((warm_up, schedule)) => {
                let warm_start_ns = shared.warm_start_ns.load(Relaxed);
                let due = shared.share(self.number, &warm_up, (0, warm_start_ns, false));
                self.run_open(due, shared.latest_window().give_up_ns, |shared| shared.window().is_some());
                let Some(window) = shared.window() else { return self.tally };
                let due = shared.share(self.number, &schedule, (warm_up.count(), window.start_ns, true));
                self.run_open(due, window.give_up_ns, Shared::stopped);
            }
            None => self.run_closed(),
        }
        self.settle();
        self.tally
    }

    /// Sends what is due until there is nothing more and `over` says so. The warm-up's arrivals end with the warm-up.
    fn run_open(&mut self, due: impl Iterator<Item = Due>, give_up_ns: u64, over: impl Fn(&Shared) -> bool) {
        let mut due = due.peekable();
        let cap = (self.shared.plan.in_flight_cap / self.shared.plan.threads as u64).max(1);
        let mut held_back = false;
        loop {
            self.now_ns = self.shared.now_ns();
            while let Some(next) = due.peek().filter(|next| next.intended_ns <= self.now_ns) {
                if self.shared.is_past_warm_up(next) {
                    return;
                }
                if self.now_ns >= give_up_ns {
                    self.tally.unsent += 1;
                    due.next();
                    continue;
                }
                if self.in_flight >= cap {
                    self.tally.cap_hits += u64::from(!held_back);
                    held_back = true;
                    break;
                }
                held_back = false;
                let next = *next;
                due.next();
                self.start(next);
            }
            let wait = match due.peek() {
                Some(_) if held_back => IDLE,
                Some(next) if self.shared.is_past_warm_up(next) => return,
                Some(next) => Duration::from_nanos(next.intended_ns.saturating_sub(self.now_ns)).min(IDLE),
                None if over(&self.shared) => return,
                None => IDLE,
            };
            self.turn(wait);
        }
    }

    fn run_closed(&mut self) {
        let warm_start_ns = self.shared.warm_start_ns.load(Relaxed);
        std::thread::sleep(Duration::from_nanos(warm_start_ns.saturating_sub(self.shared.now_ns())));
        // A closed loop has a warm-up of a fixed length.
        let window = self.shared.latest_window();
        self.idle = (0..self.outstanding.len()).collect();
        loop {
            self.now_ns = self.shared.now_ns();
            self.refill(window);
            if self.now_ns >= window.end_ns && self.shared.stopped() {
                return;
            }
            self.turn(IDLE);
        }
    }

    /// Closed load: the next batch of whoever has all answers.
    fn refill(&mut self, window: Window) {
        if self.idle.is_empty() || self.now_ns >= window.end_ns {
            return;
        }
        let measured = self.now_ns >= window.start_ns;
        let mut idle = std::mem::take(&mut self.idle);
        for client in idle.drain(..) {
            let conn = client * self.shared.plan.threads + self.number;
            for _ in 0..self.shared.plan.batch() {
                let due = self.shared.command(self.next_number, conn, self.now_ns, measured);
                // Whoever's turn it is publishes: there is no order to keep.
                self.start(Due { conn, ..due });
                self.next_number += 1;
            }
        }
        // Who failed at once is in the new list, and waits for the next turn.
        if self.idle.is_empty() {
            self.idle = idle;
        }
    }

    /// Writes, waits, reads.
    fn turn(&mut self, wait: Duration) {
        self.flush_all();
        self.tell();
        self.tally.recorder.tick(self.now_ns);
        let mut ready = std::mem::take(&mut self.ready);
        if let Err(error) = self.poller.wait(wait, &mut ready) {
            self.tally.error(&format!("poll: {}", error.kind()));
        }
        for ready in ready.drain(..) {
            if ready.token & LISTENER != 0 {
                self.hear((ready.token & !LISTENER) as usize);
                continue;
            }
            let (node, client) = ((ready.token >> 32) as usize, (ready.token & 0xFFFF_FFFF) as usize);
            if ready.writable {
                self.flush(node, client);
            }
            self.read(node, client);
        }
        self.ready = ready;
    }

    fn flush_all(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for (node, client) in dirty.drain(..) {
            self.flush(node, client);
        }
        // What a lost connection made somebody ask for.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
    }

    /// Adds what is new to the counters that everybody sees.
    fn tell(&mut self) {
        let all = &self.shared.counters;
        for (counter, mine) in [
            (&all.sent, &mut self.sent),
            (&all.answered, &mut self.answered),
            (&all.completed, &mut self.completed),
            (&all.expected, &mut self.expected),
            (&all.delivered, &mut self.delivered),
        ] {
            if *mine > 0 {
                counter.fetch_add(std::mem::take(mine), Relaxed);
            }
        }
        if self.in_flight != self.told_in_flight {
            // Wrapping: what one thread takes away is what it added before.
            all.in_flight.fetch_add(self.in_flight.wrapping_sub(self.told_in_flight), Relaxed);
            self.told_in_flight = self.in_flight;
        }
    }

    /// Takes up a command that is due.
    fn start(&mut self, due: Due) {
        let Due { intended_ns, measured, conn, op, key, dice } = due;
        let client = conn / self.shared.plan.threads;
        if measured {
            if !self.closed {
                self.tally.recorder.sent(intended_ns, self.now_ns);
            }
            self.tally.op(op).sent += 1;
        }
        self.sent += 1;
        self.in_flight += 1;
        if self.closed {
            self.outstanding[client] += 1;
        }
        let mut number = 0;
        if let Some(last) = self.published.get_mut(key as usize).filter(|_| op.publishes()) {
            *last += 1;
            number = *last;
        }
        let what = What::Op(op);
        let sent_ns = self.now_ns;
        let pending = Pending { what, redirected: 0, measured, number, key, dice, intended_ns, sent_ns };
        match self.route(op, key, conn) {
            Some(node) => self.place(node, client, pending),
            None => self.fail(client, pending, "no node is known for the slot"),
        }
    }

    /// What has no answer at the end is told as such.
    fn settle(&mut self) {
        self.tell();
        let conns = self.nodes.iter().flat_map(|node| node.conns.iter().flatten());
        for pending in conns.flat_map(|conn| &conn.pending) {
            if let What::Op(op) = pending.what {
                self.tally.ops[op.index()].unanswered += 1;
            }
        }
    }
}

pub(super) fn token(node: usize, client: usize) -> u64 {
    (node as u64) << 32 | client as u64
}
