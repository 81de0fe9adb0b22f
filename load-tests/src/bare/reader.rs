//! The process that reads: one thread, all sockets.

use std::{
    io::{self, Read},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{frame::Frame, plan::Orders};
use crate::{
    eye::Eye,
    faults::monotonic_ns,
    ledger::Totals,
    recorder::{Instants, Recorder},
    resp::poller::{Poller, Ready, be_punctual},
};

/// The longest wait without anything to read: how soon the end is seen.
const IDLE: Duration = Duration::from_millis(50);
/// How much is read at once, in bytes.
const BUFFER: usize = 64 * 1024;

/// What the thread that reads and the one that watches share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Bursts of which something was read, bursts that were read whole, frames.
    pub counters: [AtomicU64; 3],
    pub eye: Eye,
    pub stop: AtomicBool,
}

/// When what is measured: on the clock of [`monotonic_ns`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// What all recorded instants are counted from.
    pub origin_ns: u64,
    pub start_ns: u64,
    pub duration_ns: u64,
    /// The window's first burst.
    pub first: u32,
}

/// What was read.
pub(super) struct Tally {
    pub recorder: Recorder,
    pub by_socket: Vec<u64>,
    /// Of the window: bursts read whole, frames.
    pub bursts: u64,
    pub frames: u64,
    /// Sockets that broke, or were closed by the writer.
    pub broken: u64,
    /// `reordered`, `corrupt` and `misrouted`; what is lost only the writer's count tells.
    pub totals: Totals,
}

struct Socket {
    /// None when it is closed.
    stream: Option<TcpStream>,
    /// The beginning of a frame.
    rest: Vec<u8>,
    last: Option<u32>,
}

pub(super) struct Reader {
    shared: Arc<Shared>,
    orders: Orders,
    window: Window,
    sockets: Vec<Socket>,
    /// How many sockets read each burst.
    reached: Vec<u16>,
    buffer: Vec<u8>,
    tally: Tally,
}

impl Reader {
    /// Of sockets in the order of their numbers; `bursts` are those of the whole run.
    pub fn new(
        (shared, orders): (Arc<Shared>, Orders),
        window: Window,
        bursts: usize,
        streams: Vec<TcpStream>,
        recorder: Recorder,
    ) -> Self {
        let socket = |stream| Socket { stream: Some(stream), rest: Vec::new(), last: None };
        let sockets: Vec<_> = streams.into_iter().map(socket).collect();
        let tally = Tally {
            recorder,
            by_socket: vec![0; sockets.len()],
            bursts: 0,
            frames: 0,
            broken: 0,
            totals: Totals::default(),
        };
        let (reached, buffer) = (vec![0; bursts], vec![0; BUFFER]);
        Self { shared, orders, window, sockets, reached, buffer, tally }
    }

    /// Reads until it is told to stop.
    pub fn run(mut self) -> io::Result<Tally> {
        be_punctual();
        let mut poller = Poller::new()?;
        for (token, socket) in self.sockets.iter().enumerate() {
            if let Some(stream) = &socket.stream {
                stream.set_nonblocking(true)?;
                poller.add(stream, token as u64)?;
            }
        }
        let mut ready: Vec<Ready> = Vec::new();
        while !self.shared.stop.load(Relaxed) {
            poller.wait(IDLE, &mut ready)?;
            for one in ready.drain(..) {
                self.read(&mut poller, one.token as usize);
            }
            self.tally.recorder.tick(monotonic_ns().saturating_sub(self.window.origin_ns));
        }
        Ok(self.tally)
    }

    /// Reads once, and takes in every frame that is whole.
    fn read(&mut self, poller: &mut Poller, at: usize) {
        let Some(socket) = self.sockets.get_mut(at) else { return };
        let Some(stream) = &mut socket.stream else { return };
        let n = match stream.read(&mut self.buffer) {
            Ok(n) if n > 0 => n,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return;
            }
            // The writer closes only after the reader: what is missing then is in its count.
            _ => {
                socket.stream = None;
                poller.remove(at as u64);
                self.tally.broken += 1;
                return;
            }
        };
        let done_ns = monotonic_ns();
        let bytes = self.orders.bytes;
        let buffer = std::mem::take(&mut self.buffer);
        let mut rest = std::mem::take(&mut socket.rest);
        let mut read = buffer.get(..n).unwrap_or_default();
        if !rest.is_empty() {
            let (more, after) = read.split_at((bytes - rest.len()).min(read.len()));
            rest.extend_from_slice(more);
            read = after;
            if rest.len() == bytes {
                self.take(at, &rest, done_ns);
                rest.clear();
            }
        }
        let frames = read.chunks_exact(bytes);
        rest.extend_from_slice(frames.remainder());
        for frame in frames {
            self.take(at, frame, done_ns);
        }
        self.sockets[at].rest = rest;
        self.buffer = buffer;
    }

    /// One frame.
    fn take(&mut self, at: usize, frame: &[u8], done_ns: u64) {
        let room = at % self.orders.rooms;
        let read =
            Frame::of(frame).and_then(|frame| Some((frame, self.reached.get_mut(frame.number as usize)?)));
        let Some((frame, reached)) = read else {
            self.tally.totals.corrupt += 1;
            return;
        };
        if frame.room as usize != room {
            self.tally.totals.misrouted += 1;
            return;
        }
        let last = &mut self.sockets[at].last;
        if last.is_some_and(|last| frame.number <= last) {
            self.tally.totals.reordered += 1;
        }
        *last = Some(frame.number);
        *reached += 1;
        let (reached, members) = (usize::from(*reached), self.orders.members(room));
        self.tally.by_socket[at] += 1;
        let [begun, whole, frames] = &self.shared.counters;
        frames.fetch_add(1, Relaxed);
        begun.fetch_add(u64::from(reached == 1), Relaxed);
        whole.fetch_add(u64::from(reached == members), Relaxed);
        if frame.number >= self.window.first {
            self.measured(frame, (reached, members), done_ns);
        }
    }

    fn measured(&mut self, frame: Frame, (reached, members): (usize, usize), done_ns: u64) {
        let Window { origin_ns, start_ns, duration_ns, .. } = self.window;
        let [intended_ns, sent_ns, done_ns] =
            [frame.intended_ns, frame.sent_ns, done_ns].map(|ns| ns.saturating_sub(origin_ns));
        let at = Instants { intended_ns, sent_ns, done_ns };
        let into = frame.intended_ns.saturating_sub(start_ns);
        let third = u128::from(into) * 3 / u128::from(duration_ns.max(1));
        let latency_ns = at.response_ns();
        self.shared.eye.done_ns(latency_ns);
        let tally = &mut self.tally;
        tally.frames += 1;
        tally.recorder.delivered(third as usize, at);
        if reached == 1 {
            tally.recorder.sent(intended_ns, sent_ns);
            tally.recorder.first.record_ns(latency_ns);
        }
        if reached == members.div_ceil(2) {
            tally.recorder.median.record_ns(latency_ns);
        }
        if reached == members {
            tally.recorder.last.record_ns(latency_ns);
            tally.bursts += 1;
        }
    }
}
