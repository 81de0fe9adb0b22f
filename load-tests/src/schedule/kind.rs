//! The kinds of schedule, how a scenario writes them, and their bounds.
//!
//! `schedule = "poisson"` for those that have no parameters, a table for the others:
//!
//! ```toml
//! [schedule]
//! kind = "staircase"
//! steps = [{ rate = 100.0, secs = 10.0 }, { rate = 200.0, secs = 10.0 }]
//! ```

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{MAX_CONCURRENCY, MAX_RATE_PER_S, MAX_SECS, NANOS_PER_S, ScheduleError, Trace};

/// The most steps of a staircase.
pub const MAX_STEPS: usize = 1_000;
/// The most arrivals of one burst.
pub const MAX_BURST: u32 = 1_000_000;
/// The longest period of bursts, in milliseconds.
pub const MAX_PERIOD_MS: u64 = 3_600_000;

/// How arrivals are spread over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ScheduleKind {
    /// Equal gaps; the clients take turns, in a shuffled order.
    Constant,
    /// Independent clients without memory: exponential gaps, the client drawn for each.
    #[default]
    Poisson,
    /// Many within a short time, then nothing.
    Burst(Burst),
    /// A rate that changes in a straight line over the whole schedule.
    Ramp(Ramp),
    /// Steps, one after another.
    Staircase(Staircase),
    /// What a trace recorded.
    Replay(Trace),
}

/// How arrivals are spread around a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// Evenly; the clients take turns.
    Constant,
    /// Independently of each other; the client is drawn for each.
    #[default]
    Poisson,
}

/// On and off: every period a burst. The first begins at a seeded place within the first period.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// Arrivals of one burst.
    pub size: u32,
    /// From the beginning of one burst to the next, in milliseconds.
    pub period_ms: u64,
    /// How long one burst lasts, in milliseconds; 0 is all at once.
    #[serde(default)]
    pub width_ms: u64,
    /// How arrivals are spread within the width.
    #[serde(default)]
    pub spread: Spread,
}

/// From one rate to another, in arrivals a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    /// The rate at the beginning; may be 0.
    pub from: f64,
    /// The rate at the end; may be 0.
    pub to: f64,
    /// How arrivals are spread around the rate.
    #[serde(default)]
    pub spread: Spread,
}

/// One step of a staircase.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Arrivals a second; 0 is a pause.
    pub rate: f64,
    /// How long, in seconds.
    pub secs: f64,
}

/// Rates one after another. What is left of the schedule after the last step keeps its rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Staircase {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// How arrivals are spread around the rate.
    #[serde(default)]
    pub spread: Spread,
}

/// What a scenario says about its load: a kind of schedule, or the closed loop by its name.
#[derive(Clone, Debug, PartialEq)]
pub enum LoadKind {
    /// Open loop.
    Open(ScheduleKind),
    /// Closed loop; see [`super::Load::Closed`].
    Closed {
        /// Requests at once.
        concurrency: u32,
    },
}

/// The table form of all of them.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Table {
    Constant {},
    Poisson {},
    Burst(Burst),
    Ramp(Ramp),
    Staircase(Staircase),
    Replay(Trace),
    Closed { concurrency: u32 },
}

fn wrong(field: &'static str, why: impl Into<String>) -> ScheduleError {
    ScheduleError::Field { field, why: why.into() }
}

fn check_rate(field: &'static str, rate: f64) -> Result<(), ScheduleError> {
    if (0.0..=MAX_RATE_PER_S).contains(&rate) {
        Ok(())
    } else {
        Err(wrong(field, format!("must be 0 to {MAX_RATE_PER_S} a second")))
    }
}

impl ScheduleKind {
    /// The mean rate of a kind that has rates of its own, in arrivals a second; none for the others.
    pub fn own_rate(&self, duration_ns: u64) -> Option<f64> {
        let secs = (duration_ns as f64 / NANOS_PER_S).max(1e-9);
        match self {
            Self::Constant | Self::Poisson => None,
            Self::Burst(burst) => Some(f64::from(burst.size) * 1000.0 / burst.period_ms.max(1) as f64),
            Self::Ramp(ramp) => Some(f64::midpoint(ramp.from, ramp.to)),
            Self::Staircase(stairs) => {
                let (mut left, mut sum) = (secs, 0.0);
                for (nth, step) in stairs.steps.iter().enumerate() {
                    let last = nth + 1 == stairs.steps.len();
                    let here = if last { left } else { step.secs.min(left) };
                    sum += here * step.rate;
                    left -= here;
                }
                Some(sum / secs)
            }
            Self::Replay(trace) => Some(trace.within(duration_ns).len() as f64 / secs),
        }
    }

    /// What is sent before it: a kind and its rate.
    pub(super) fn before(&self, rate_per_s: f64) -> (Self, f64) {
        let of = |spread| match spread {
            Spread::Constant => Self::Constant,
            Spread::Poisson => Self::Poisson,
        };
        match self {
            Self::Constant | Self::Poisson | Self::Burst(_) => (self.clone(), rate_per_s),
            // A ramp from nothing, or a pause, would warm up nothing.
            Self::Ramp(ramp) if ramp.from > 0.0 => (of(ramp.spread), ramp.from),
            Self::Ramp(ramp) => (of(ramp.spread), rate_per_s),
            Self::Staircase(stairs) => {
                let first = stairs.steps.iter().map(|step| step.rate).find(|rate| *rate > 0.0);
                (of(stairs.spread), first.unwrap_or(rate_per_s))
            }
            Self::Replay(_) => (Self::Poisson, rate_per_s),
        }
    }

    /// Checks the parameters against their bounds and the schedule's length.
    ///
    /// # Errors
    /// [`ScheduleError::Field`] names the field.
    pub fn check(&self, duration_ns: u64) -> Result<(), ScheduleError> {
        if duration_ns > MAX_SECS * 1_000_000_000 {
            return Err(wrong("secs", format!("must be at most {MAX_SECS}")));
        }
        match self {
            Self::Constant | Self::Poisson => Ok(()),
            Self::Burst(burst) => burst.check(),
            Self::Ramp(ramp) => {
                check_rate("from", ramp.from)?;
                check_rate("to", ramp.to)?;
                if ramp.from + ramp.to > 0.0 { Ok(()) } else { Err(wrong("to", "and from are both 0")) }
            }
            Self::Staircase(stairs) => stairs.check(duration_ns),
            Self::Replay(trace) => trace.check(),
        }
    }
}

impl Burst {
    fn check(&self) -> Result<(), ScheduleError> {
        if !(1..=MAX_BURST).contains(&self.size) {
            return Err(wrong("size", format!("must be 1 to {MAX_BURST}")));
        }
        if !(1..=MAX_PERIOD_MS).contains(&self.period_ms) {
            return Err(wrong("period_ms", format!("must be 1 to {MAX_PERIOD_MS}")));
        }
        if self.width_ms > self.period_ms {
            return Err(wrong("width_ms", "must not be longer than period_ms"));
        }
        check_rate("size", f64::from(self.size) * 1000.0 / self.period_ms as f64)
    }
}

impl Staircase {
    fn check(&self, duration_ns: u64) -> Result<(), ScheduleError> {
        if !(1..=MAX_STEPS).contains(&self.steps.len()) {
            return Err(wrong("steps", format!("must be 1 to {MAX_STEPS}")));
        }
        for step in &self.steps {
            check_rate("steps.rate", step.rate)?;
            if !(step.secs > 0.0 && step.secs <= MAX_SECS as f64) {
                return Err(wrong("steps.secs", format!("must be over 0 and at most {MAX_SECS}")));
            }
        }
        if self.steps.iter().all(|step| step.rate == 0.0) {
            return Err(wrong("steps.rate", "is 0 in all of them"));
        }
        let (steps_s, window_s) =
            (self.steps.iter().map(|step| step.secs).sum::<f64>(), duration_ns as f64 / NANOS_PER_S);
        // Steps that would never be reached must not be left out silently.
        if steps_s > window_s + 1e-6 {
            return Err(wrong("steps", format!("last {steps_s} s, and the window is {window_s} s")));
        }
        Ok(())
    }
}

impl LoadKind {
    /// The kind of schedule; none for a closed loop.
    pub fn open(&self) -> Option<&ScheduleKind> {
        match self {
            Self::Open(kind) => Some(kind),
            Self::Closed { .. } => None,
        }
    }

    /// Whether it has a rate of its own (or, in a closed loop, none at all), so that `rate` must be left out.
    pub fn has_own_rate(&self) -> bool {
        self.open().is_none_or(|kind| kind.own_rate(1).is_some())
    }

    /// Checks a closed loop's bounds; those of schedules need a duration.
    ///
    /// # Errors
    /// [`ScheduleError::Field`] names the field.
    pub fn check(&self) -> Result<(), ScheduleError> {
        match self {
            Self::Closed { concurrency } if !(1..=MAX_CONCURRENCY).contains(concurrency) => {
                Err(wrong("concurrency", format!("must be 1 to {MAX_CONCURRENCY}")))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for ScheduleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant => f.pad("constant"),
            Self::Poisson => f.pad("poisson"),
            Self::Burst(Burst { size, period_ms, width_ms, .. }) => {
                write!(f, "burst of {size} in {width_ms} ms every {period_ms} ms")
            }
            Self::Ramp(Ramp { from, to, .. }) => write!(f, "ramp from {from} to {to}"),
            Self::Staircase(stairs) => write!(f, "staircase of {} steps", stairs.steps.len()),
            Self::Replay(trace) => write!(f, "replay of {}", trace.file.display()),
        }
    }
}

impl fmt::Display for LoadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(kind) => kind.fmt(f),
            Self::Closed { concurrency } => write!(f, "closed loop, {concurrency} at once"),
        }
    }
}

impl From<Table> for LoadKind {
    fn from(table: Table) -> Self {
        Self::Open(match table {
            Table::Constant {} => ScheduleKind::Constant,
            Table::Poisson {} => ScheduleKind::Poisson,
            Table::Burst(burst) => ScheduleKind::Burst(burst),
            Table::Ramp(ramp) => ScheduleKind::Ramp(ramp),
            Table::Staircase(stairs) => ScheduleKind::Staircase(stairs),
            Table::Replay(trace) => ScheduleKind::Replay(trace),
            Table::Closed { concurrency } => return Self::Closed { concurrency },
        })
    }
}

impl Serialize for ScheduleKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Constant => serializer.serialize_str("constant"),
            Self::Poisson => serializer.serialize_str("poisson"),
            Self::Burst(burst) => Table::Burst(*burst).serialize(serializer),
            Self::Ramp(ramp) => Table::Ramp(*ramp).serialize(serializer),
            Self::Staircase(stairs) => Table::Staircase(stairs.clone()).serialize(serializer),
            Self::Replay(trace) => Table::Replay(trace.clone()).serialize(serializer),
        }
    }
}

impl Serialize for LoadKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Open(kind) => kind.serialize(serializer),
            Self::Closed { concurrency } => Table::Closed { concurrency: *concurrency }.serialize(serializer),
        }
    }
}

/// Reads a name or a table. Not an untagged enum: its errors would not name the field.
struct NameOrTable;

impl<'de> Visitor<'de> for NameOrTable {
    type Value = LoadKind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a schedule, or a table with its kind")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<LoadKind, E> {
        match name {
            "constant" => Ok(LoadKind::Open(ScheduleKind::Constant)),
            "poisson" => Ok(LoadKind::Open(ScheduleKind::Poisson)),
            "burst" | "ramp" | "staircase" | "replay" | "closed" => Err(E::custom(format!(
                "the schedule `{name}` has parameters: write a table, [schedule] with kind = \"{name}\""
            ))),
            _ => Err(E::custom(format!(
                "unknown schedule `{name}`: constant or poisson, or a table with kind = burst, ramp, staircase, replay or closed"
            ))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LoadKind, A::Error> {
        Table::deserialize(MapAccessDeserializer::new(map)).map(Into::into)
    }
}

impl<'de> Deserialize<'de> for LoadKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrTable)
    }
}

impl<'de> Deserialize<'de> for ScheduleKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match LoadKind::deserialize(deserializer)? {
            LoadKind::Open(kind) => Ok(kind),
            LoadKind::Closed { .. } => Err(D::Error::custom("a closed loop is no schedule")),
        }
    }
}
