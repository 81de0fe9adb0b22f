//! What is written, when, and what the two processes say to each other.
//!
//! The reader opens a control connection first, on which lines of JSON go: `Orders`, then `ACCEPTED` back when all sockets
//! are there, then `Begin`, and at the end `Written` back. Each other connection begins with its number, in four bytes.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Write},
    path::PathBuf,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::MIN_BYTES;
use crate::{
    plan::PlanError, preflight::CONNECTIONS_PER_ADDRESS, scenario::Scenario, schedule::Schedule,
    verdict::Limits,
};

/// The most sockets: as many as one source address gives.
pub const MAX_SOCKETS: usize = CONNECTIONS_PER_ADDRESS;
/// The longest frame, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
/// What the writer says when it has all sockets.
pub(super) const ACCEPTED: &str = "accepted";
/// The longest that opening all sockets may take, in milliseconds.
pub(super) const CONNECT_MS: u64 = 30_000;
/// The longest line that either side takes, in bytes: the count of each of [`MAX_SOCKETS`] sockets fits into it.
const MAX_LINE: u64 = 1 << 20;

/// One run: what the reader's process is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BarePlan {
    /// The scenario's name.
    pub scenario: String,
    /// Where the writer listens, `HOST:PORT`.
    pub writer: String,
    /// Its process.
    pub writer_pid: u32,
    /// Sockets.
    pub sockets: usize,
    /// Rooms; sockets go round them.
    pub rooms: usize,
    /// The length of a frame, in bytes.
    pub bytes: usize,
    /// When each burst of the window is due; its client says in which room.
    pub schedule: Schedule,
    /// How long bursts are written before the window, in milliseconds.
    pub warm_up_ms: u64,
    /// The longest wait after the window, in milliseconds.
    pub drain_ms: u64,
    /// The folder that the run is recorded in; see [`crate::recording`].
    #[serde(default)]
    pub record: Option<PathBuf>,
    /// Where the verdict draws its lines.
    pub limits: Limits,
    /// What else is to be known from the result.
    pub labels: BTreeMap<String, String>,
}

impl BarePlan {
    /// The plan of a scenario for a writer that listens.
    ///
    /// # Errors
    /// [`PlanError`] names what is out of its bounds.
    pub fn new(
        scenario: &Scenario,
        (writer, writer_pid): (String, u32),
        labels: BTreeMap<String, String>,
    ) -> Result<Self, PlanError> {
        let plan = Self {
            scenario: scenario.name.clone(),
            writer,
            writer_pid,
            sockets: scenario.conns,
            rooms: scenario.rooms,
            bytes: scenario.body_bytes,
            schedule: scenario.open_load(scenario.conns as u32).map_err(PlanError)?,
            warm_up_ms: scenario.warm_up_ms,
            drain_ms: scenario.drain_ms,
            record: None,
            limits: scenario.limits,
            labels,
        };
        plan.check()?;
        Ok(plan)
    }

    /// Checks what the types can't say.
    ///
    /// # Errors
    /// [`PlanError`] names the field.
    pub fn check(&self) -> Result<(), PlanError> {
        self.orders().check().map_err(PlanError)
    }

    /// The longest that a run can take, in milliseconds.
    pub fn longest_ms(&self) -> u64 {
        CONNECT_MS + self.warm_up_ms + self.schedule.duration_ns / 1_000_000 + 2 * self.drain_ms
    }

    /// What the writer is told of it.
    pub(super) fn orders(&self) -> Orders {
        Orders {
            sockets: self.sockets,
            rooms: self.rooms,
            bytes: self.bytes,
            schedule: self.schedule.clone(),
            warm_up_ms: self.warm_up_ms,
            drain_ms: self.drain_ms,
        }
    }
}

/// What the writer is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Orders {
    pub sockets: usize,
    pub rooms: usize,
    pub bytes: usize,
    pub schedule: Schedule,
    pub warm_up_ms: u64,
    pub drain_ms: u64,
}

impl Orders {
    /// Checks bounds; both sides do.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=MAX_SOCKETS).contains(&self.sockets) {
            return Err(format!("there must be 1 to {MAX_SOCKETS} sockets"));
        }
        if !(1..=self.sockets).contains(&self.rooms) {
            return Err("there must be at least one room and a socket for each".into());
        }
        if !(MIN_BYTES..=MAX_BYTES).contains(&self.bytes) {
            return Err(format!("a frame has {MIN_BYTES} to {MAX_BYTES} bytes"));
        }
        self.schedule.check().map_err(|e| e.to_string())?;
        // Numbers are carried in 32 bits.
        match u32::try_from(self.warm_up().count() + self.schedule.count()) {
            Ok(_) => Ok(()),
            Err(_) => Err("more than 4 billion bursts".into()),
        }
    }

    /// What comes before the window.
    pub fn warm_up(&self) -> Schedule {
        self.schedule.warm_up(self.warm_up_ms)
    }

    /// The room of a burst.
    pub fn room_of(&self, client: u32) -> usize {
        client as usize % self.rooms
    }

    /// How many sockets a room has.
    pub fn members(&self, room: usize) -> usize {
        self.sockets.saturating_sub(room).div_ceil(self.rooms)
    }
}

/// When the warm-up's first burst is due, on the clock of [`crate::faults::monotonic_ns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begin {
    pub begin_ns: u64,
}

/// What the writer did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Written {
    /// Frames, to each socket, from the warm-up on.
    pub by_socket: Vec<u64>,
    /// Of the window: bursts, and frames.
    pub bursts: u64,
    pub frames: u64,
    /// Bursts of the whole run that were not written, because it was over first.
    pub unwritten: u64,
    /// Calls of the window: more than frames when the kernel took part of one.
    pub calls: u64,
    /// CPU time between the window's first and last write, of the thread that writes and of its process, in nanoseconds.
    pub thread_ns: u64,
    pub process_ns: u64,
    /// How long that was, in nanoseconds.
    pub wall_ns: u64,
}

/// What only a bare loop tells, in its result.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bare {
    /// The length of a frame, in bytes.
    pub bytes: usize,
    /// Frames that were written in the window.
    pub writes: u64,
    /// System calls that did it.
    pub calls: u64,
    /// Frames that were read of these.
    pub reads: u64,
    /// CPU time of the thread that writes, a write, in microseconds, by its own clock: without the kernel's rounding to ticks.
    pub thread_us: Option<f64>,
    /// The same of its whole process.
    pub process_us: Option<f64>,
    /// The thread's share of one core.
    pub thread_cores: Option<f64>,
}

impl Bare {
    pub(super) fn of(written: &Written, bytes: usize, reads: u64) -> Self {
        let each = |ns: u64| (written.frames > 0).then(|| ns as f64 / 1000.0 / written.frames as f64);
        Self {
            bytes,
            writes: written.frames,
            calls: written.calls,
            reads,
            thread_us: each(written.thread_ns),
            process_us: each(written.process_ns),
            thread_cores: (written.wall_ns > 0).then(|| written.thread_ns as f64 / written.wall_ns as f64),
        }
    }
}

/// Writes one line.
pub(super) fn say(to: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    to.write_all(&text)
}

/// Reads one line.
pub(super) fn hear<T: DeserializeOwned>(from: &mut impl BufRead) -> io::Result<T> {
    let mut line = String::new();
    io::Read::take(from, MAX_LINE).read_line(&mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&line)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_bounds_is_named() {
        let scenario = Scenario::find("bare-writes").unwrap();
        let plan = BarePlan::new(&scenario, ("127.0.0.1:1".into(), 1), BTreeMap::new()).unwrap();
        assert_eq!((plan.sockets, plan.rooms, plan.bytes, plan.orders().members(9)), (1000, 10, 200, 100));
        for (change, named) in [
            (BarePlan { sockets: 0, ..plan.clone() }, "sockets"),
            (BarePlan { sockets: MAX_SOCKETS + 1, ..plan.clone() }, "sockets"),
            (BarePlan { rooms: 1001, ..plan.clone() }, "room"),
            (BarePlan { bytes: MIN_BYTES - 1, ..plan.clone() }, "bytes"),
            (BarePlan { bytes: MAX_BYTES + 1, ..plan }, "bytes"),
        ] {
            assert!(change.check().unwrap_err().to_string().contains(named));
        }
    }

    #[test]
    fn a_line_that_does_not_come_or_is_none_is_an_error() {
        let mut line = Vec::new();
        say(&mut line, &Begin { begin_ns: 7 }).unwrap();
        assert_eq!(hear::<Begin>(&mut line.as_slice()).unwrap(), Begin { begin_ns: 7 });
        assert!(hear::<Begin>(&mut &b""[..]).is_err());
        assert!(hear::<Begin>(&mut &b"{\"begin_ns\"\n"[..]).is_err());
    }
}
