//! When each message is due: absolute, seeded, known before the run.
//!
//! A pure function of its parameters, so that a run can be repeated and its schedule named by a
//! hash. Nothing here looks at a clock; a late generator does not move an arrival.
//!
//! | kind | arrivals |
//! | --- | --- |
//! | `constant` | equal gaps |
//! | `poisson` | independent clients without memory |
//! | `burst` | on and off: so many every period, at once or within a width |
//! | `ramp` | a rate that rises or falls in a straight line |
//! | `staircase` | steps, each with its rate and its length |
//! | `replay` | read from a recorded trace |
//!
//! Clients are de-phased: the client is drawn for each arrival, or all take turns in a shuffled order. A closed loop, where
//! an answer makes room for the next request, is no schedule; it is [`Load::Closed`], for ceilings only.

mod arrivals;
mod kind;
#[cfg(test)]
mod tests;
mod trace;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::{
    arrivals::Arrivals,
    kind::{Burst, LoadKind, Ramp, ScheduleKind, Spread, Staircase, Step},
    trace::{Trace, TraceArrival},
};

/// The highest rate, in arrivals a second.
pub const MAX_RATE_PER_S: f64 = 1e6;
/// The most requests at once in a closed loop.
pub const MAX_CONCURRENCY: u32 = 65_536;
/// The longest schedule, in seconds: a day.
pub const MAX_SECS: u64 = 86_400;

const NANOS_PER_S: f64 = 1e9;

/// One due message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When, in nanoseconds after the schedule's start.
    pub at_ns: u64,
    /// Which client sends it, from 0.
    pub client: u32,
}

/// The parameters that decide every arrival.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// How arrivals are spread.
    pub kind: ScheduleKind,
    /// Arrivals a second, of all clients together; the mean, where the kind has rates of its own.
    pub rate_per_s: f64,
    /// How long, in nanoseconds.
    pub duration_ns: u64,
    /// How many clients send.
    pub clients: u32,
    /// The same seed gives the same arrivals.
    pub seed: u64,
}

/// A schedule that can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The rate is not a positive number up to a million a second.
    #[error("the rate must be over 0 and at most 1000000 a second")]
    Rate,
    /// Nobody sends.
    #[error("there must be at least one client")]
    Clients,
    /// A field of one of the kinds is out of its bounds.
    #[error("schedule.{field} {why}")]
    Field {
        /// Which one.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A trace that can't be read.
    #[error("the trace {file}{}: {why}", line.map_or(String::new(), |line| format!(", line {line}")))]
    Trace {
        /// The file.
        file: String,
        /// Counted from 1; none when it is about the whole file.
        line: Option<usize>,
        /// What is wrong.
        why: String,
    },
}

/// What decides when the next request goes out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Load {
    /// The clock: latency runs from the intended instant.
    Open(Schedule),
    /// The answers. For ceilings only: whenever the target stands still, so does the load, and the latency is service time,
    /// not response time.
    Closed {
        /// Requests at once; an answer makes room for the next.
        concurrency: u32,
        /// How long, in nanoseconds.
        duration_ns: u64,
    },
}

impl Load {
    /// For results: `poisson`, or `closed loop, 50 at once`.
    pub fn label(&self) -> String {
        match self {
            Self::Open(schedule) => schedule.kind.to_string(),
            Self::Closed { concurrency, .. } => LoadKind::Closed { concurrency: *concurrency }.to_string(),
        }
    }

    /// How long, in nanoseconds.
    pub fn duration_ns(&self) -> u64 {
        match self {
            Self::Open(Schedule { duration_ns, .. }) | Self::Closed { duration_ns, .. } => *duration_ns,
        }
    }

    /// Checks a load that came from elsewhere.
    ///
    /// # Errors
    /// [`ScheduleError`] says which parameter is out of its bounds.
    pub fn check(&self) -> Result<(), ScheduleError> {
        match self {
            Self::Open(schedule) => schedule.check(),
            Self::Closed { concurrency, .. } => LoadKind::Closed { concurrency: *concurrency }.check(),
        }
    }
}

impl Schedule {
    /// Checks the parameters. `rate_per_s` is not looked at by kinds that have rates of their own.
    ///
    /// # Errors
    /// [`ScheduleError`] says which one is out of its bounds.
    pub fn new(
        kind: ScheduleKind,
        rate_per_s: f64,
        duration_ns: u64,
        clients: u32,
        seed: u64,
    ) -> Result<Self, ScheduleError> {
        let rate_per_s = kind.own_rate(duration_ns).unwrap_or(rate_per_s);
        let schedule = Self { kind, rate_per_s, duration_ns, clients, seed };
        schedule.check()?;
        Ok(schedule)
    }

    /// Checks a schedule that came from elsewhere, such as a plan's JSON.
    ///
    /// # Errors
    /// As [`Schedule::new`].
    pub fn check(&self) -> Result<(), ScheduleError> {
        self.kind.check(self.duration_ns)?;
        if self.kind.own_rate(self.duration_ns).is_none()
            && !(self.rate_per_s > 0.0 && self.rate_per_s <= MAX_RATE_PER_S)
        {
            return Err(ScheduleError::Rate);
        }
        if self.clients == 0 {
            return Err(ScheduleError::Clients);
        }
        Ok(())
    }

    /// What comes before it, so long, and is not measured: other arrivals than the schedule's own, at the rate with which
    /// the schedule begins.
    pub fn warm_up(&self, ms: u64) -> Self {
        let (kind, rate_per_s) = self.kind.before(self.rate_per_s);
        Self {
            kind,
            rate_per_s,
            duration_ns: ms * 1_000_000,
            clients: self.clients,
            seed: self.seed ^ 0x5EED_CAFE,
        }
    }

    /// The arrivals, in order of time.
    pub fn arrivals(&self) -> Arrivals<'_> {
        Arrivals::new(self)
    }

    /// How many arrivals there are.
    pub fn count(&self) -> u64 {
        self.arrivals().count() as u64
    }

    /// How many arrivals are due in each second.
    pub fn due_by_second(&self) -> Vec<u64> {
        self.due_by_second_of(|_| true)
    }

    /// The same of some clients' arrivals.
    pub fn due_by_second_of(&self, mine: impl Fn(u32) -> bool) -> Vec<u64> {
        let mut due = vec![0; self.duration_ns.div_ceil(1_000_000_000).min(MAX_SECS) as usize];
        for arrival in self.arrivals().filter(|arrival| mine(arrival.client)) {
            if let Some(second) = due.get_mut((arrival.at_ns / 1_000_000_000) as usize) {
                *second += 1;
            }
        }
        due
    }

    /// SHA-256 of all arrivals, in hexadecimal: names the schedule in a result, whatever decided it.
    pub fn hash(&self) -> String {
        let mut sha = Sha256::new();
        for Arrival { at_ns, client } in self.arrivals() {
            sha.update(at_ns.to_le_bytes());
            sha.update(client.to_le_bytes());
        }
        sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
