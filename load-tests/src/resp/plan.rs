//! What a generator process is told about commands to Redis.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use chatlab_kit::redis::ClientKind;
use serde::{Deserialize, Serialize};

use super::{commands::Op, keys::Spread};
use crate::{
    lab::Place,
    payload::MIN_BODY_BYTES,
    plan::{MAX_ROOMS, PlanError},
    scenario::Scenario,
    schedule::Load,
    verdict::Limits,
};

/// The most connections of one generator to one node.
const CONNS_MAX: usize = 20_000;
/// The most keys.
const KEYS_MAX: u64 = 100_000_000;
/// The longest value, in bytes.
const VALUE_MAX: usize = 1 << 20;
/// The most commands that one connection may have without an answer.
pub const PIPELINE_MAX: usize = 4_096;

/// What sends the commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Client {
    /// The codec and the sockets of this crate: what is measured is the server.
    #[default]
    #[serde(rename = "lean")]
    Lean,
    /// The redis crate, through kit's handle.
    #[serde(rename = "redis-rs")]
    RedisRs,
    /// The fred crate, through kit's handle.
    #[serde(rename = "fred")]
    Fred,
}

impl Client {
    /// All.
    pub const ALL: [Self; 3] = [Self::Lean, Self::RedisRs, Self::Fred];

    /// Those that this build has.
    pub fn available() -> Vec<Self> {
        let has = |client: &Self| client.library().is_none_or(|kind| ClientKind::available().contains(&kind));
        Self::ALL.into_iter().filter(has).collect()
    }

    /// The name as typed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lean => "lean",
            Self::RedisRs => "redis-rs",
            Self::Fred => "fred",
        }
    }

    /// The library, if it is one.
    pub const fn library(self) -> Option<ClientKind> {
        match self {
            Self::Lean => None,
            Self::RedisRs => Some(ClientKind::RedisRs),
            Self::Fred => Some(ClientKind::Fred),
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Client {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|client| client.as_str() == text);
        known.ok_or_else(|| format!("`{text}` is no client: use `lean`, `redis-rs` or `fred`"))
    }
}

fn many() -> usize {
    1_024
}

fn one_key() -> u64 {
    1
}

fn usual_exponent() -> f64 {
    0.99
}

/// The part of a scenario that only the driver `redis` has; see `scenarios/redis-50k.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commands {
    /// What sends the commands.
    #[serde(default)]
    pub client: Client,
    /// How often each command comes, relative to the others.
    pub mix: BTreeMap<Op, u32>,
    /// The most commands that one connection has without an answer; a command beyond it waits for its turn, and the wait
    /// counts as latency.
    #[serde(default = "many")]
    pub pipeline: usize,
    /// Keys of each structure.
    #[serde(default = "one_key")]
    pub keys: u64,
    /// How commands are spread over the keys.
    #[serde(default)]
    pub spread: Spread,
    /// Spread `zipf`: the exponent.
    #[serde(default = "usual_exponent")]
    pub exponent: f64,
    /// Channels that are published to.
    #[serde(default)]
    pub channels: usize,
    /// Connections that listen, each to one channel, in turn.
    #[serde(default)]
    pub listeners: usize,
}

impl Commands {
    /// Checks bounds. `value_bytes` is the scenario's `body_bytes`.
    ///
    /// # Errors
    /// One sentence that names the field.
    pub fn check(&self, conns: usize, value_bytes: usize) -> Result<(), String> {
        if !(1..=CONNS_MAX).contains(&conns) {
            return Err(format!("conns must be 1 to {CONNS_MAX}"));
        }
        if !(1..=PIPELINE_MAX).contains(&self.pipeline) {
            return Err(format!("redis.pipeline must be 1 to {PIPELINE_MAX}"));
        }
        if !(1..=KEYS_MAX).contains(&self.keys) {
            return Err(format!("redis.keys must be 1 to {KEYS_MAX}"));
        }
        if !(self.exponent > 0.0 && self.exponent <= 10.0) {
            return Err("redis.exponent must be over 0 and at most 10".into());
        }
        if value_bytes > VALUE_MAX {
            return Err(format!("body_bytes must be at most {VALUE_MAX}"));
        }
        if self.mix.values().all(|weight| *weight == 0) {
            return Err("redis.mix must give a weight to at least one command".into());
        }
        self.check_channels(value_bytes)
    }

    fn check_channels(&self, value_bytes: usize) -> Result<(), String> {
        let kinds: Vec<_> = self.mix.iter().filter(|(op, w)| op.publishes() && **w > 0).collect();
        let publishes = !kinds.is_empty();
        if kinds.len() > 1 {
            return Err("redis.mix may hold publish or spublish, not both: a listener has one kind".into());
        }
        if publishes != (self.channels > 0) || (self.listeners > 0 && !publishes) {
            return Err("redis.channels, redis.listeners and publish or spublish go together".into());
        }
        if publishes && (self.channels > MAX_ROOMS || self.listeners > CONNS_MAX) {
            return Err(format!("redis.channels is at most {MAX_ROOMS}, redis.listeners {CONNS_MAX}"));
        }
        if publishes && !(MIN_BODY_BYTES..=chatlab_kit::message::MAX_BODY_BYTES).contains(&value_bytes) {
            return Err("body_bytes must be 61 to 4096 where commands publish: the payload is checked".into());
        }
        if publishes && self.client != Client::Lean {
            return Err("publish and spublish are the lean client's; the labs measure the libraries'".into());
        }
        Ok(())
    }

    /// The kind of publish in the mix.
    pub fn publishes(&self) -> Option<Op> {
        self.mix.iter().find(|(op, weight)| op.publishes() && **weight > 0).map(|(op, _)| *op)
    }
}

/// One run of the driver `redis`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RespPlan {
    /// The scenario's name.
    pub scenario: String,
    /// What is sent, and by what.
    pub commands: Commands,
    /// `single` or `cluster`.
    pub topology: String,
    /// Redis nodes, `HOST:PORT`; of a cluster the rest is discovered.
    pub nodes: Vec<String>,
    /// Connections; on a cluster, to each master.
    pub conns: usize,
    /// The length of a value, in bytes.
    pub value_bytes: usize,
    /// When commands are sent. In a closed loop each connection sends its share of the concurrency in one batch, and the next
    /// batch when that is answered.
    pub load: Load,
    /// What commands and keys are drawn with.
    pub seed: u64,
    /// Sending before the window, in milliseconds.
    pub warm_up_ms: u64,
    /// How much longer it may take until latency has settled, in milliseconds; 0 for a fixed warm-up, as in a closed loop.
    #[serde(default)]
    pub settle_ms: u64,
    /// The folder that the run is recorded in; see [`crate::recording`].
    #[serde(default)]
    pub record: Option<PathBuf>,
    /// The longest wait after the window, in milliseconds.
    pub drain_ms: u64,
    /// The most commands without an answer; an arrival beyond it waits, and is counted.
    pub in_flight_cap: u64,
    /// Generator threads, each of which keeps time for its share of the connections.
    pub threads: usize,
    /// Where the verdict draws its lines.
    pub limits: Limits,
    /// Processes of Redis, to observe.
    pub redis_pids: Vec<u32>,
    /// What else is to be known from the result.
    pub labels: BTreeMap<String, String>,
}

impl RespPlan {
    /// The plan of a scenario of the driver `redis`. `place.client` names the client and wins over the scenario's, unless it
    /// is empty.
    ///
    /// # Errors
    /// [`PlanError`] when the two do not fit.
    pub fn new(
        scenario: &Scenario,
        place: Place,
        labels: BTreeMap<String, String>,
    ) -> Result<Self, PlanError> {
        let commands = scenario.redis.clone();
        let mut commands = commands.ok_or_else(|| PlanError("the scenario has no [redis] part".into()))?;
        if !place.client.is_empty() {
            commands.client = place.client.parse().map_err(PlanError)?;
        }
        let plan = Self {
            scenario: scenario.name.clone(),
            commands,
            topology: place.topology,
            nodes: place.nodes,
            conns: scenario.conns,
            value_bytes: scenario.body_bytes,
            load: scenario.load(scenario.conns as u32).map_err(|e| PlanError(e.to_string()))?,
            seed: scenario.seed,
            warm_up_ms: scenario.warm_up_ms,
            settle_ms: scenario.settle_ms,
            record: None,
            drain_ms: scenario.drain_ms,
            in_flight_cap: scenario.in_flight_cap,
            threads: scenario.threads,
            limits: scenario.limits,
            redis_pids: place.redis_pids,
            labels,
        };
        plan.check()?;
        Ok(plan)
    }

    /// Whether it drives a cluster.
    pub fn is_cluster(&self) -> bool {
        self.topology == "cluster"
    }

    /// The longest that a run can take, in milliseconds, beside filling the keys.
    pub fn longest_ms(&self) -> u64 {
        self.warm_up_ms + self.settle_ms + self.load.duration_ns() / 1_000_000 + 2 * self.drain_ms
    }

    /// Checks what [`RespPlan`]'s types can't say.
    ///
    /// # Errors
    /// [`PlanError`] names the field.
    pub fn check(&self) -> Result<(), PlanError> {
        self.commands.check(self.conns, self.value_bytes).map_err(PlanError)?;
        if !(1..=64).contains(&self.threads) || self.in_flight_cap == 0 || self.load.duration_ns() == 0 {
            return Err(PlanError("threads (1 to 64), in_flight_cap and secs must be positive".into()));
        }
        if self.nodes.is_empty() || !["single", "cluster"].contains(&self.topology.as_str()) {
            return Err(PlanError("there must be a node, and topology must be single or cluster".into()));
        }
        if self.record.is_some() && matches!(self.load, Load::Closed { .. }) {
            return Err(PlanError("a closed loop has no seconds to record: leave the recording out".into()));
        }
        self.load.check().map_err(|e| PlanError(e.to_string()))
    }

    /// Closed loop: how many commands a connection sends at once.
    pub fn batch(&self) -> usize {
        match self.load {
            Load::Open(_) => 1,
            Load::Closed { concurrency, .. } => (concurrency as usize / self.conns).max(1),
        }
    }
}
