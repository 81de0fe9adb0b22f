//! What a generator process is told to do, and what it says while it does it.
//!
//! How the two travel between processes is in [`crate::process`].

use std::{collections::BTreeMap, path::PathBuf};

use chatlab_kit::ids::RoomId;
use serde::{Deserialize, Serialize};

use crate::{
    crew::Share,
    dialect::Dialect,
    faults::{self, Fault, MAX_FAULTS},
    payload::MIN_BODY_BYTES,
    scenario::Scenario,
    schedule::Schedule,
    verdict::Limits,
};

pub use crate::receivers::{By, Churn, Receive, Slow, SlowReaders, Storm};

/// The most rooms: a message's body carries the room's number in 16 bits.
pub const MAX_ROOMS: usize = 65_536;

/// One run of a WebSocket generator. Lists are indexed by connection or by room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The scenario's name.
    pub scenario: String,
    /// Where the servers listen; see [`Plan::server_of`].
    pub ws_urls: Vec<String>,
    /// A connection each: the access token it says hello with.
    pub tokens: Vec<String>,
    /// The rooms; connection `i` joins [`Plan::rooms_of`] and sends to the first of them.
    pub rooms: Vec<RoomId>,
    /// How many rooms each connection joins.
    pub rooms_per_conn: usize,
    /// Connections that come and go.
    #[serde(default)]
    pub churn: Churn,
    /// Connections that stop reading; they come after those that churn.
    #[serde(default)]
    pub slow: Option<SlowReaders>,
    /// Redis nodes, `HOST:PORT`, whose own counts are set beside the run's; none when they are not known.
    #[serde(default)]
    pub redis_nodes: Vec<String>,
    /// Of several generators, which part this one carries out; none for all of it.
    #[serde(default)]
    pub share: Option<Share>,
    /// Where it is said how messages are received: the first connections, one for each room, only send, and the others only
    /// receive.
    #[serde(default)]
    pub receive: Option<Receive>,
    /// How to talk to servers that are not ours.
    #[serde(default)]
    pub dialect: Option<Box<Dialect>>,
    /// When each message of the measured window is due.
    pub schedule: Schedule,
    /// How long messages are sent at the same rate before the window, in milliseconds.
    pub warm_up_ms: u64,
    /// How much longer they may be sent until latency has settled, in milliseconds; 0 for a fixed warm-up.
    #[serde(default)]
    pub settle_ms: u64,
    /// The folder that the run is recorded in; see [`crate::recording`].
    #[serde(default)]
    pub record: Option<PathBuf>,
    /// How long to wait after the window for what is still under way, in milliseconds.
    pub drain_ms: u64,
    /// How long connecting and joining may take, in milliseconds.
    pub connect_ms: u64,
    /// How many connections are opened at once.
    pub connect_concurrency: usize,
    /// The length of each body, in bytes.
    pub body_bytes: usize,
    /// The most sends without an answer; an arrival beyond it waits, and is counted.
    pub in_flight_cap: u64,
    /// Generator threads that drive connections, beside the one that keeps time.
    pub threads: usize,
    /// Where the verdict draws its lines.
    pub limits: Limits,
    /// What somebody else breaks during the window. With any, connections that break are opened again and resume, and what
    /// was not answered is sent again; see [`Plan::with_faults`].
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// Processes of the chat server, to observe.
    pub server_pids: Vec<u32>,
    /// Processes of Redis, to observe.
    pub redis_pids: Vec<u32>,
    /// What else is to be known from the result: topology, client, versions.
    pub labels: BTreeMap<String, String>,
}

/// What a scenario is run against.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target {
    /// Where the chat servers listen, `ws://HOST:PORT/PATH`.
    pub ws_urls: Vec<String>,
    /// An access token for each user: first those of the connections that send, then those that churn, then those that stop
    /// reading.
    pub tokens: Vec<String>,
    /// The rooms.
    pub rooms: Vec<RoomId>,
    /// Processes of the chat servers.
    pub server_pids: Vec<u32>,
    /// Processes of Redis.
    pub redis_pids: Vec<u32>,
    /// Redis nodes, `HOST:PORT`.
    pub redis_nodes: Vec<String>,
    /// Topology, client, versions: what a result should say about the target.
    pub labels: BTreeMap<String, String>,
}

/// How long one connection may take to connect and join, in milliseconds.
const CONNECT_MS: u64 = 15_000;
/// How many connections are opened at once: well below any listener's backlog.
const CONNECT_CONCURRENCY: usize = 64;
/// So many seconds of the load may wait unanswered while a fault lasts: an arrival that a cap held back would no longer be on
/// time, and it is the fault that is measured.
const OUTAGE_S: f64 = 60.0;
/// The least time for what is still under way after a window with faults, in milliseconds.
const OUTAGE_DRAIN_MS: u64 = 15_000;
/// The longest that reading all rooms' histories after a run with faults may take, in milliseconds.
pub const HISTORY_MS: u64 = 60_000;

/// A plan that can't be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("plan: {0}")]
pub struct PlanError(pub String);

impl Plan {
    /// The plan of a scenario against a target.
    ///
    /// # Errors
    /// [`PlanError`] when the two do not fit, as with too few tokens.
    pub fn new(scenario: &Scenario, target: Target) -> Result<Self, PlanError> {
        let slow_conns = scenario.slow_conns();
        let users = scenario.users() - scenario.churn_conns - slow_conns;
        if target.tokens.len() < scenario.users() {
            return Err(PlanError(format!("{} tokens for {} users", target.tokens.len(), scenario.users())));
        }
        let (steady, churning) = target.tokens.split_at(users);
        let (senders, steady) = steady.split_at(if scenario.receive.is_some() { scenario.rooms } else { 0 });
        // Round the users, so that one user's devices are on several servers and in several rooms.
        let devices = (0..scenario.conns).map(|conn| steady[conn % steady.len().max(1)].clone());
        let plan = Self {
            scenario: scenario.name.clone(),
            ws_urls: target.ws_urls,
            tokens: senders.iter().cloned().chain(devices).collect(),
            rooms: target.rooms,
            rooms_per_conn: scenario.rooms_per_conn,
            churn: Churn {
                tokens: churning[..scenario.churn_conns].to_vec(),
                per_s: scenario.churn_per_s,
                storm: scenario.storm,
            },
            slow: scenario.slow.map(|how| SlowReaders {
                tokens: churning[scenario.churn_conns..][..slow_conns].to_vec(),
                how,
            }),
            share: None,
            receive: scenario.receive,
            dialect: None,
            schedule: scenario.open_load(scenario.senders() as u32).map_err(PlanError)?,
            warm_up_ms: scenario.warm_up_ms,
            settle_ms: scenario.settle_ms,
            record: None,
            drain_ms: scenario.drain_ms,
            connect_ms: CONNECT_MS,
            connect_concurrency: CONNECT_CONCURRENCY,
            body_bytes: scenario.body_bytes,
            in_flight_cap: scenario.in_flight_cap,
            threads: scenario.threads,
            limits: scenario.limits,
            faults: Vec::new(),
            server_pids: target.server_pids,
            redis_pids: target.redis_pids,
            redis_nodes: target.redis_nodes,
            labels: target.labels,
        };
        plan.check()?;
        Ok(plan)
    }

    /// The same load while things break: the cap and the drain leave room for an outage.
    ///
    /// # Errors
    /// [`PlanError`] when there are too many faults, or one does not fit into the window.
    pub fn with_faults(mut self, faults: Vec<Fault>) -> Result<Self, PlanError> {
        if !faults.is_empty() {
            self.in_flight_cap = self.in_flight_cap.max((self.schedule.rate_per_s * OUTAGE_S) as u64);
            self.drain_ms = self.drain_ms.max(OUTAGE_DRAIN_MS);
        }
        self.faults = faults;
        self.check()?;
        Ok(self)
    }

    fn check_faults(&self) -> Result<(), PlanError> {
        if self.faults.len() > MAX_FAULTS {
            return Err(PlanError(format!("at most {MAX_FAULTS} faults")));
        }
        let shared_or_foreign = self.share.is_some() || self.dialect.is_some();
        let parts = self.receive.is_some() || self.churn.storm.is_some() || self.slow.is_some();
        if !self.faults.is_empty() && (shared_or_foreign || parts) {
            let why =
                "faults go with one generator, our own protocol, and no storm, `slow` or `receive` part";
            return Err(PlanError(why.to_owned()));
        }
        let window_ms = self.schedule.duration_ns / 1_000_000;
        self.faults.iter().try_for_each(|fault| fault.check(window_ms)).map_err(PlanError)
    }

    /// The rooms of a connection, the one it sends to first. Connections go round the rooms, so
    /// that all have as many members, give or take one.
    pub fn rooms_of(&self, conn: usize) -> impl Iterator<Item = usize> + '_ {
        let count = self.rooms.len().max(1);
        (0..self.rooms_per_conn.min(self.rooms.len())).map(move |nth| (conn + nth) % count)
    }

    /// The rooms of a connection that stops reading.
    pub fn slow_rooms_of(&self, conn: usize) -> impl Iterator<Item = usize> + '_ {
        let count = self.rooms.len().max(1);
        let rooms = self.slow.as_ref().map_or(0, |slow| slow.how.rooms).min(self.rooms.len());
        (0..rooms).map(move |nth| (conn + nth) % count)
    }

    /// The server of a connection: every room's members are spread over all servers.
    pub fn server_of(&self, conn: usize) -> usize {
        (conn / self.rooms.len().max(1)) % self.ws_urls.len().max(1)
    }

    /// How many subscribers each room has.
    pub fn subscribers(&self) -> Vec<u32> {
        let mut counts = vec![0; self.rooms.len()];
        for conn in (0..self.tokens.len()).filter(|conn| !self.only_sends(*conn)) {
            self.rooms_of(conn).for_each(|room| counts[room] += 1);
        }
        counts
    }

    /// Connections that messages are sent from: the first ones.
    pub fn senders(&self) -> usize {
        if self.receive.is_some() { self.rooms.len() } else { self.tokens.len() }
    }

    /// Connections that messages are to reach.
    pub fn receivers(&self) -> usize {
        if self.receive.is_some() {
            self.tokens.len().saturating_sub(self.rooms.len())
        } else {
            self.tokens.len()
        }
    }

    /// Whether a connection is there only to send.
    pub fn only_sends(&self, conn: usize) -> bool {
        self.receive.is_some() && conn < self.senders()
    }

    /// How a connection polls, if it does.
    pub fn polls(&self, conn: usize) -> Option<Receive> {
        self.receive.filter(|receive| receive.by == By::Poll && !self.only_sends(conn))
    }

    /// Connections of all kinds.
    pub fn all_conns(&self) -> usize {
        self.tokens.len() + self.churn.tokens.len() + self.slow.as_ref().map_or(0, |slow| slow.tokens.len())
    }

    /// Whether a connection of any kind is this generator's.
    pub fn is_mine(&self, conn: usize) -> bool {
        let steady = self.tokens.len();
        self.share.is_none_or(|share| match conn.checked_sub(steady) {
            None => share.has(conn, steady),
            Some(churning) => share.has(churning, self.churn.tokens.len()),
        })
    }

    /// How many connections of all kinds are this generator's.
    pub fn own_conns(&self) -> usize {
        (0..self.all_conns()).filter(|conn| self.is_mine(*conn)).count()
    }

    /// How many messages are this generator's to send, in each second of the window.
    pub fn own_due_by_second(&self) -> Vec<u64> {
        self.schedule.due_by_second_of(|client| self.is_mine(client as usize))
    }

    /// The longest that a run can take, in milliseconds.
    pub fn longest_ms(&self) -> u64 {
        let rounds = (self.all_conns() / self.connect_concurrency.max(1) + 2) as u64;
        // The pacer may wait for the cap until the drain's bound, and then comes the drain.
        let sending =
            self.warm_up_ms + self.settle_ms + self.schedule.duration_ns / 1_000_000 + 2 * self.drain_ms;
        let faults = match self.faults.is_empty() {
            true => 0,
            // Until the last is told of, and all histories are read.
            false => faults::REPORT_BOUND.as_millis() as u64 + HISTORY_MS,
        };
        self.connect_ms * rounds + sending + faults
    }

    /// Checks what [`Plan`]'s types can't say.
    ///
    /// # Errors
    /// [`PlanError`] names the field.
    pub fn check(&self) -> Result<(), PlanError> {
        let fail = |what: &str| Err(PlanError(what.to_owned()));
        if self.ws_urls.is_empty() {
            return fail("ws_urls is empty");
        }
        if let Some(dialect) = &self.dialect {
            dialect.ready().map_err(PlanError)?;
            if self.receive.is_some() || self.slow.is_some() || !self.churn.tokens.is_empty() {
                return fail(
                    "by a dialect connections stay, and listen: leave out churn_conns, slow and receive",
                );
            }
        }
        if let Some(receive) = &self.receive {
            receive.check().map_err(PlanError)?;
            if receive.by == By::Both || self.receivers() == 0 {
                return fail("receive.by = \"both\" is two runs: say push or poll, and let somebody receive");
            }
        }
        if self.tokens.is_empty() || self.senders() != self.schedule.clients as usize {
            return fail("there must be a token for each client of the schedule");
        }
        if self.rooms.is_empty() || self.rooms.len() > MAX_ROOMS {
            return fail("there must be 1 to 65536 rooms");
        }
        if self.rooms_per_conn == 0 || self.rooms_per_conn > self.rooms.len() {
            return fail("rooms_per_conn must be at least 1 and at most the number of rooms");
        }
        if !(1..=64).contains(&self.threads) || self.connect_concurrency == 0 || self.in_flight_cap == 0 {
            return fail("threads (1 to 64), connect_concurrency and in_flight_cap must be positive");
        }
        let per_s_in_bounds = self.churn.per_s > 0.0 && self.churn.per_s <= 1e6;
        self.churn.storm.map_or(Ok(()), |storm| storm.check()).map_err(PlanError)?;
        if let Some(slow) = &self.slow {
            let how = Slow { conns: slow.tokens.len(), ..slow.how };
            how.check(self.rooms.len(), self.schedule.duration_ns / 1_000_000).map_err(PlanError)?;
        }
        if !self.churn.tokens.is_empty() && self.churn.storm.is_none() && !per_s_in_bounds {
            return fail("churn.per_s must be over 0 and at most 1000000");
        }
        if self.body_bytes < MIN_BODY_BYTES {
            return fail("body_bytes must be at least 61: the ledger's fields need the room");
        }
        if let Some(share) = self.share {
            share.check(self.tokens.len())?;
            if self.dialect.is_some() || self.receive.is_some() || self.slow.is_some() {
                return fail("a dialect, or a `receive` or `slow` part, has one generator");
            }
        }
        self.check_faults()?;
        self.schedule.check().map_err(|e| PlanError(e.to_string()))
    }
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Progress {
    /// Connections are opened and rooms joined.
    Connecting {
        /// How many are ready.
        done: u64,
        /// Of how many.
        of: u64,
    },
    /// One of several generators has all its connections, and waits for the others.
    Opened,
    /// Messages flow but are not measured.
    WarmUp,
    /// It is known when the window begins, which is told only when faults are planned.
    Begins {
        /// On the clock of [`crate::faults::monotonic_ns`].
        monotonic_ns: u64,
    },
    /// The measured window.
    Measuring {
        /// Milliseconds into the window.
        elapsed_ms: u64,
        /// Of how many.
        of_ms: u64,
        /// Messages sent, from the warm-up on.
        sent: u64,
        /// Deliveries, from the warm-up on.
        delivered: u64,
        /// The last moments.
        #[serde(default)]
        now: Now,
    },
    /// Waiting for what is still under way.
    Draining {
        /// Messages without an answer.
        unanswered: u64,
        /// Deliveries, from the warm-up on.
        #[serde(default)]
        delivered: u64,
        /// Deliveries that the acknowledged messages make, to all connections of all generators.
        #[serde(default)]
        expected: u64,
    },
}

/// The last moments of a run, for a person who watches: coarse, and no part of any result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Now {
    /// How many arrivals the schedule has for this second; none in a closed loop.
    pub due_per_s: Option<u64>,
    /// Sends without an answer.
    pub in_flight: u64,
    /// Errors of all kinds, from the first connection on.
    pub errors: u64,
    /// The median of the last two seconds' deliveries (without a chat: answers), from the intended instant, in microseconds.
    pub p50_us: Option<u64>,
    /// Their 99th percentile; none with fewer than a thousand.
    pub p99_us: Option<u64>,
    /// The busiest generator thread's share of one core, in thousandths.
    pub busiest_permille: Option<u32>,
}
