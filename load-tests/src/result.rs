//! A run's result: everything that is needed to print, compare and doubt it later.

use std::{collections::BTreeMap, fs};

use serde::{Deserialize, Serialize};

pub use crate::config::{Config, Driven};
use crate::{
    bare::Bare,
    crew::Generator,
    faults::{FaultResult, account::Accounts},
    lab::Operation,
    ledger::Totals,
    null::Calibration,
    reconcile::Reconciliation,
    recorder::Summary,
    sockets::Sockets,
    steady::WarmUp,
    verdict::{self, Verdict},
};

/// The version of [`RunResult`]'s JSON; raised when a field changes its meaning.
pub const SCHEMA: u32 = 1;

/// Where a run took place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// The kernel's name and release.
    pub kernel: String,
    /// The processor, as it calls itself.
    pub cpu_model: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// The limit of open files during the run.
    pub nofile: u64,
    /// The generator's version.
    pub version: String,
}

impl Environment {
    /// Of this machine, now.
    pub fn here(nofile: u64) -> Self {
        let uname = rustix::system::uname();
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Self {
            kernel: format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy()),
            cpu_model: model.map_or_else(|| "unknown".into(), |(_, model)| model.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            nofile,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// How many of what, in the measured window unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Messages that were due.
    pub intended: u64,
    /// Of them, sent.
    pub sent: u64,
    /// Of them, acknowledged.
    pub acked: u64,
    /// Their deliveries.
    pub delivered: u64,
    /// Arrivals that waited for the in-flight cap, from the warm-up on.
    pub cap_hits: u64,
    /// Arrivals that were never sent, from the warm-up on.
    pub unsent: u64,
    /// Connections that could not be opened or joined.
    pub connect_failures: u64,
    /// Connections that broke or were closed by the server.
    pub disconnects: u64,
    /// Error frames, and frames that could not be understood.
    pub error_frames: u64,
    /// Connections that closed and were open and joined again.
    #[serde(default)]
    pub reopened: u64,
    /// Of those that closed, the ones that could not be opened again.
    #[serde(default)]
    pub reopen_failures: u64,
    /// Presence frames that came, from the first connection on.
    #[serde(default)]
    pub presence_frames: u64,
    /// Looks at a room's history by connections that ask instead of listening, from the first one on.
    #[serde(default)]
    pub polls: u64,
    /// Of them, those in which nothing was new.
    #[serde(default)]
    pub empty_polls: u64,
    /// Every error by kind.
    pub errors: BTreeMap<String, u64>,
}

/// Latencies. `*_service` is from the actual send: what is reported by generators that do not
/// know the intended instant, kept to show the difference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latencies {
    /// Intended instant → ack.
    pub ack: Summary,
    /// Actual send → ack.
    pub ack_service: Summary,
    /// The 10 ms tick at or before the actual send → ack: what is reported by generators that stamp at their timer's tick.
    #[serde(default)]
    pub ack_tick: Summary,
    /// Intended instant → actual send.
    pub pacing: Summary,
    /// How late the generator's runtimes woke up; none where the driver has no runtime.
    #[serde(default)]
    pub runtime_lag: Summary,
    /// Intended instant → delivery, every subscriber.
    pub delivery: Summary,
    /// Actual send → delivery.
    pub delivery_service: Summary,
    /// Intended instant → the room's first subscriber.
    pub first_subscriber: Summary,
    /// Intended instant → its median subscriber.
    pub median_subscriber: Summary,
    /// Intended instant → its last subscriber.
    pub last_subscriber: Summary,
    /// Due to close and open again → joined again.
    #[serde(default)]
    pub reopen: Summary,
    /// Median delivery of messages due in each third of the window, in microseconds.
    pub delivery_p50_us_by_third: [Option<u64>; 3],
}

/// One process or group of processes over the window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Share of one core; over 1 when several are used.
    pub cores: f64,
    /// CPU time a delivery, in microseconds; none without deliveries.
    pub us_per_delivery: Option<f64>,
    /// Resident memory at the window's end, in bytes.
    pub rss_bytes: u64,
    /// Of that, what is no part of a file and shared with nobody, in bytes; none in results that are older than this field.
    #[serde(default)]
    pub private_bytes: Option<u64>,
    /// What the kernel held for its TCP sockets just after the window; none where the system does not tell.
    #[serde(default)]
    pub sockets: Option<Sockets>,
}

/// Who used the machine in the window; what is not known is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// The generator's process.
    pub generator: Option<Usage>,
    /// Its busiest thread's share of one core.
    pub generator_busiest_thread: Option<f64>,
    /// The chat servers, together.
    pub server: Option<Usage>,
    /// All Redis nodes, together.
    pub redis: Option<Usage>,
}

/// One connection that stopped reading, and what became of it. What is not known, or did not happen, is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlowReader {
    /// The rooms it listens to.
    pub rooms: usize,
    /// From the instant at which it stopped until the server closed it, in milliseconds, as its metrics told.
    pub closed_after_ms: Option<u64>,
    /// The code of its `bye`.
    pub code: Option<String>,
    /// How the connection ended.
    pub closed_as: Option<String>,
    /// Messages that were on their way to it when it was closed, and that it read then.
    pub read_late: u64,
    /// Rooms in its resume token.
    pub token_rooms: usize,
    /// Whether the token has each room, with the last message that the client had read of it.
    pub token_exact: bool,
    /// From when it was closed until all its rooms were joined again, in milliseconds.
    pub resumed_after_ms: Option<u64>,
    /// The same until it had everything that it had missed.
    pub caught_up_after_ms: Option<u64>,
    /// What the kernel held for it at the server's end when it was closed, in bytes.
    pub kernel_bytes: Option<u64>,
    /// The servers' resident memory when it stopped, in bytes.
    pub server_rss_before: Option<u64>,
    /// The highest until it was closed.
    pub server_rss_highest: Option<u64>,
    /// When it had caught up.
    pub server_rss_after: Option<u64>,
}

impl SlowReader {
    /// Whether it was closed with a token that it could go on from, and did.
    pub fn came_back(&self) -> bool {
        self.code.as_deref() == Some("slow_consumer") && self.token_exact && self.caught_up_after_ms.is_some()
    }
}

/// The figures that a report leads with; withheld when the run is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Headline {
    /// Acknowledged messages a second.
    pub messages_per_s: f64,
    /// Deliveries a second.
    pub deliveries_per_s: f64,
    /// 99th percentile of delivery, in microseconds; none with too few samples.
    pub delivery_p99_us: Option<u64>,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The scenario's name.
    pub scenario: String,
    /// Topology, client and versions, as the plan named them.
    pub labels: BTreeMap<String, String>,
    /// Where it took place.
    pub environment: Environment,
    /// What was asked for.
    pub config: Config,
    /// The verdict and its evidence.
    pub verdict: Verdict,
    /// None when the verdict is not `VALID`, or faults were planned: its figures would be those of two states.
    pub headline: Option<Headline>,
    /// Acknowledged messages a second in the window, by the clock; valid or not.
    pub acked_per_s: f64,
    /// Deliveries a second in the window, by the clock; valid or not.
    pub delivered_per_s: f64,
    /// What came before the window; none in results that are older than this field.
    #[serde(default)]
    pub warm_up: Option<WarmUp>,
    /// How many of what.
    pub counts: Counts,
    /// What the ledger found, from the warm-up on.
    pub ledger: Totals,
    /// Latencies.
    pub latency: Latencies,
    /// Driver `lab`: each operation by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
    /// What was broken on purpose, and what became of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultResult>,
    /// With faults: the fate of every message of the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<Accounts>,
    /// What became of connections that stopped reading.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slow: Vec<SlowReader>,
    /// CPU and memory.
    pub resources: Resources,
    /// Of a run by several generators, each by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub generators: Vec<Generator>,
    /// Drivers `lab` and `redis`: what the servers counted, beside what was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconciliation: Option<Reconciliation>,
    /// Driver `bare`: what the writer itself tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bare: Option<Bare>,
    /// What the generator did with the same load before a responder that does nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
}

impl RunResult {
    /// Takes in what became of the connections that stopped reading, of which there were to be so many: a run in which one was
    /// not closed as it must be is not valid.
    pub(crate) fn add_slow(&mut self, slow: Vec<SlowReader>, planned: usize) {
        let came_back = slow.iter().filter(|reader| reader.came_back()).count();
        self.verdict.add(verdict::slow_readers(came_back, planned));
        if !self.verdict.is_valid() {
            self.headline = None;
        }
        self.slow = slow;
    }
}
