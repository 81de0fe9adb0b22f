//! The knee: the highest rate at which the 99th percentile stays within an objective.
//!
//! 1. **Bracket**: from a first rate, doubled while it is kept (or halved while it is not), until one rate is kept and one is
//!    not.
//! 2. **Bisect** on a logarithmic scale until both are nearer than [`Options::resolution`].
//! 3. **Repeat at the edge**: the lower one must be kept, and the upper one not, by a majority of [`Options::repeats`] runs.
//!    What does not hold moves the edge, and the edge is repeated there.
//! 4. **From above**: the same servers get more than they can bear, and then the lower rate again, without a restart. A
//!    server that does not come back in [`Options::recoveries`] runs holds its overload: then lower and lower rates are tried
//!    to see where it lets go (metastable failure: N. Bronson et al., Metastable failures in distributed systems, HotOS 2021).
//!
//! A probe that is `GENERATOR_BOUND` says nothing about the server: the search goes no higher, and the knee is then
//! "at least". Every probe is in the result, and there are at most [`Options::max_probes`].

mod beside;
mod search;
mod show;
#[cfg(test)]
mod systems;

use serde::{Deserialize, Serialize};

pub use beside::{Beside, Turns};
pub use search::Search;
pub use show::terminal;
pub(crate) use show::{headline, way_back};

use crate::{result::RunResult, verdict::Kind};

/// The version of [`Knee`]'s JSON.
pub const SCHEMA: u32 = 1;
/// The highest rate that is ever tried, a second; scenarios allow no more.
pub const MAX_RATE: f64 = 1e6;

/// What is searched and how far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// The 99th percentile of the response time that must be kept, in milliseconds.
    pub objective_ms: f64,
    /// The first rate, a second.
    pub from: f64,
    /// No rate below this is tried.
    pub least: f64,
    /// No rate over this is tried.
    pub most: f64,
    /// When to stop halving the bracket: 0.05 is when the upper rate is at most 5 % over the lower one.
    pub resolution: f64,
    /// Runs at each side of the edge; a majority decides.
    pub repeats: usize,
    /// How far over the edge the overload is: 1.5 is half more.
    pub overload: f64,
    /// Runs that a server has to recover.
    pub recoveries: usize,
    /// Bounds the whole search.
    pub max_probes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            objective_ms: 50.0,
            from: 100.0,
            least: 1.0,
            most: MAX_RATE,
            resolution: 0.05,
            repeats: 3,
            overload: 1.5,
            recoveries: 3,
            max_probes: 40,
        }
    }
}

impl Options {
    /// Checks bounds.
    ///
    /// # Errors
    /// One sentence that names the field.
    pub fn check(&self) -> Result<(), String> {
        let finite = [self.objective_ms, self.from, self.least, self.most, self.resolution, self.overload];
        if finite.iter().any(|v| !v.is_finite() || *v <= 0.0) {
            return Err("objective, rates, resolution and overload must be over 0".into());
        }
        if !(self.least <= self.from && self.from <= self.most && self.most <= MAX_RATE) {
            return Err(format!("rates must be: least ≤ from ≤ most ≤ {MAX_RATE}"));
        }
        if !(0.005..=1.0).contains(&self.resolution) || !(1.05..=10.0).contains(&self.overload) {
            return Err("resolution must be 0.005 to 1, overload 1.05 to 10".into());
        }
        if self.repeats == 0 || self.repeats.is_multiple_of(2) {
            return Err("repeats must be odd, so that a majority decides".into());
        }
        if !(1..=20).contains(&self.recoveries) || !(8..=200).contains(&self.max_probes) {
            return Err("recoveries must be 1 to 20, max_probes 8 to 200".into());
        }
        Ok(())
    }
}

/// Why a rate is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// To find one rate that is kept and one that is not.
    Bracket,
    /// To halve the bracket.
    Bisect,
    /// To be sure of the edge.
    Edge,
    /// To overload the servers on purpose; not judged.
    Overload,
    /// To see whether they recover at the edge.
    Recovery,
    /// To see where they let go of the overload.
    Descent,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Bracket => "bracket",
            Self::Bisect => "bisect",
            Self::Edge => "edge",
            Self::Overload => "overload",
            Self::Recovery => "recovery",
            Self::Descent => "descent",
        })
    }
}

/// One rate to be tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// Messages (operations) a second.
    pub rate: f64,
    /// Why.
    pub why: Why,
    /// Whether the servers of the probe before go on as they are; else they are started anew.
    pub same_servers: bool,
}

/// What a probe says about its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// `VALID`, and the 99th percentile is within the objective.
    Kept,
    /// The objective is missed, or the server could not keep up, or something broke.
    Missed,
    /// `GENERATOR_BOUND`: nothing about the server.
    Generator,
    /// Too few samples for a 99th percentile, and the maximum is over the objective.
    TooFew,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Kept => "kept",
            Self::Missed => "missed",
            Self::Generator => "generator",
            Self::TooFew => "too few",
        })
    }
}

/// What a probe's run gave, as far as the search is concerned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The run's verdict.
    pub kind: Kind,
    /// Response time, 99th percentile, in microseconds; none with too few samples.
    pub p99_us: Option<u64>,
    /// The highest, in microseconds.
    pub max_us: Option<u64>,
    /// Answers a second, by the clock.
    pub achieved_per_s: f64,
    /// Deliveries a second, by the clock; none where nothing is delivered, or in results that are older than this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_per_s: Option<f64>,
    /// CPU time of the servers a delivery (a call), in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_us: Option<f64>,
    /// The same of the generator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator_us: Option<f64>,
    /// Resident memory of the servers, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_rss_bytes: Option<u64>,
}

impl Seen {
    /// Without what it cost.
    pub fn new(kind: Kind, p99_us: Option<u64>, max_us: Option<u64>, achieved_per_s: f64) -> Self {
        Self {
            kind,
            p99_us,
            max_us,
            achieved_per_s,
            delivered_per_s: None,
            server_us: None,
            generator_us: None,
            server_rss_bytes: None,
        }
    }

    /// Of a run: deliveries of a chat run, all operations of a lab's.
    pub fn of(result: &RunResult) -> Self {
        let lab = result.config.is_operations();
        let summary = if lab { &result.latency.ack } else { &result.latency.delivery };
        let achieved_per_s = if lab { result.delivered_per_s } else { result.acked_per_s };
        let server = result.resources.server;
        Self {
            delivered_per_s: (!lab).then_some(result.delivered_per_s),
            server_us: server.and_then(|used| used.us_per_delivery),
            generator_us: result.resources.generator.and_then(|used| used.us_per_delivery),
            server_rss_bytes: server.map(|used| used.rss_bytes),
            ..Self::new(result.verdict.kind, summary.p99_us, summary.max_us, achieved_per_s)
        }
    }

    /// What it says, given the objective in milliseconds.
    pub fn outcome(&self, objective_ms: f64) -> Outcome {
        let within = |us: u64| us as f64 <= objective_ms * 1000.0;
        match (self.kind, self.p99_us, self.max_us) {
            (Kind::GeneratorBound, ..) => Outcome::Generator,
            (Kind::ServerBound | Kind::Unstable, ..) => Outcome::Missed,
            (Kind::Valid, Some(p99), _) if within(p99) => Outcome::Kept,
            (Kind::Valid, Some(_), _) => Outcome::Missed,
            // The 99th percentile is not over the maximum.
            (Kind::Valid, None, Some(max)) if within(max) => Outcome::Kept,
            (Kind::Valid, None, _) => Outcome::TooFew,
        }
    }
}

/// One probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// What was asked for.
    pub ask: Ask,
    /// What came.
    pub seen: Seen,
    /// What it says.
    pub outcome: Outcome,
}

/// How the search ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum End {
    /// Between `Knee::kept` and `Knee::missed`.
    Found,
    /// The highest rate that was allowed is kept: the knee is at least there.
    AtMost,
    /// The generator gave out first: the knee is at least there.
    Generator,
    /// Not even the lowest rate that was allowed is kept.
    BelowLeast,
    /// Too few samples to judge; a longer window or a higher first rate is needed.
    TooFewSamples {
        /// At this rate.
        rate: f64,
    },
    /// The bound on probes came first; the edge is not certain.
    OutOfProbes,
}

/// What the servers did after an overload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Hysteresis {
    /// Not looked at: there was no edge, or no probe left.
    NotChecked,
    /// The edge's rate was kept again.
    Recovered {
        /// In which run after the overload, from 1.
        run: usize,
    },
    /// It was not; the servers let go at a lower rate.
    LetGoAt {
        /// That rate, a second.
        rate: f64,
    },
    /// They did not let go at any rate that was tried.
    Stuck {
        /// The lowest of them, a second.
        lowest: f64,
    },
}

/// A search's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Knee {
    /// [`SCHEMA`].
    pub knee_schema: u32,
    /// What was searched, for people: scenario, topology, client.
    pub title: String,
    /// What was asked for.
    pub options: Options,
    /// The highest rate that is kept, a second.
    pub kept: Option<f64>,
    /// The lowest rate that is not.
    pub missed: Option<f64>,
    /// How it ended.
    pub end: End,
    /// The way back.
    pub hysteresis: Hysteresis,
    /// Every probe, in the order in which they were taken.
    pub probes: Vec<Probe>,
}

impl Knee {
    /// Whether an edge was found and is certain.
    pub fn is_found(&self) -> bool {
        self.end == End::Found
    }
}
