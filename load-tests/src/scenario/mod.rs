//! Scenarios: load described in a file, with the defaults that make it reproducible.

mod check;

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    http_load::Requests,
    plan::{Receive, Slow, Storm},
    resp::Commands,
    schedule::{Load, LoadKind, Schedule, ScheduleError, ScheduleKind, Trace},
    sql::Statements,
    verdict::Limits,
};

/// The files in `scenarios/`, by name.
const EMBEDDED: &[(&str, &str)] = &[
    ("chat-steady", include_str!("../../scenarios/chat-steady.toml")),
    ("fanout", include_str!("../../scenarios/fanout.toml")),
    ("bare-writes", include_str!("../../scenarios/bare-writes.toml")),
    ("ws-10k", include_str!("../../scenarios/ws-10k.toml")),
    ("senders-1k", include_str!("../../scenarios/senders-1k.toml")),
    ("chat-100k-per-min", include_str!("../../scenarios/chat-100k-per-min.toml")),
    ("sessions", include_str!("../../scenarios/sessions.toml")),
    ("presence", include_str!("../../scenarios/presence.toml")),
    ("history", include_str!("../../scenarios/history.toml")),
    ("audit", include_str!("../../scenarios/audit.toml")),
    ("ratelimit", include_str!("../../scenarios/ratelimit.toml")),
    ("pubsub", include_str!("../../scenarios/pubsub.toml")),
    ("pipelining", include_str!("../../scenarios/pipelining.toml")),
    ("cluster", include_str!("../../scenarios/cluster.toml")),
    ("sql-5k", include_str!("../../scenarios/sql-5k.toml")),
    ("http-sessions", include_str!("../../scenarios/http-sessions.toml")),
    ("reconnect-storm", include_str!("../../scenarios/reconnect-storm.toml")),
    ("slow-reader", include_str!("../../scenarios/slow-reader.toml")),
    ("polling-vs-push", include_str!("../../scenarios/polling-vs-push.toml")),
    ("redis-50k", include_str!("../../scenarios/redis-50k.toml")),
    ("redis-publish", include_str!("../../scenarios/redis-publish.toml")),
    ("redis-spublish", include_str!("../../scenarios/redis-spublish.toml")),
];

/// What drives the load. Others join here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// The native WebSocket protocol, against the chat server.
    Ws,
    /// A variant of a lab, without the server.
    Lab,
    /// Commands straight to Redis.
    Redis,
    /// Statements to a database.
    Sql,
    /// Requests to an HTTP server.
    Http,
    /// Nothing but writes to sockets, by a process of its own: what no server can be below.
    Bare,
}

/// One scenario; see `scenarios/chat-steady.toml`, `scenarios/presence.toml` and `scenarios/history.toml` for each
/// field's meaning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The file's name without its ending.
    #[serde(skip_deserializing)]
    pub name: String,
    /// For people, one line.
    pub title: String,
    /// For people, one line.
    pub about: String,
    /// What drives the load.
    pub driver: Driver,
    /// Driver `lab`: which lab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lab: Option<String>,
    /// Driver `lab`: which variant of it; the reference when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Connections that send and are measured.
    #[serde(default)]
    pub conns: usize,
    /// Connections of one user.
    #[serde(default = "one")]
    pub devices: usize,
    /// Rooms.
    #[serde(default)]
    pub rooms: usize,
    /// Rooms that each connection joins.
    #[serde(default)]
    pub rooms_per_conn: usize,
    /// Further connections, a user each, that listen only, and close and open again during the window.
    #[serde(default)]
    pub churn_conns: usize,
    /// How often one of them does, a second, of all together.
    #[serde(default)]
    pub churn_per_s: f64,
    /// Instead of one by one: all of them break together, and resume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storm: Option<Storm>,
    /// Further connections that stop reading during the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow: Option<Slow>,
    /// A further connection for each room sends, and all others only receive: by push, or by polling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive: Option<Receive>,
    /// Messages (driver `lab`: operations) a second, all together. Left out where the schedule has rates of its own.
    #[serde(default)]
    pub rate: f64,
    /// The measured window, in seconds.
    pub secs: u64,
    /// The length of a body, in bytes.
    #[serde(default)]
    pub body_bytes: usize,
    /// How arrivals are spread: a name, or a table; see [`crate::schedule`].
    pub schedule: LoadKind,
    /// The schedule's seed.
    pub seed: u64,
    /// Sending before the window, in milliseconds; at least, when `settle_ms` is not 0.
    pub warm_up_ms: u64,
    /// How much longer the warm-up may go on until latency has settled, in milliseconds; 0 keeps it at `warm_up_ms`, whatever
    /// latency does. See [`crate::steady`].
    #[serde(default = "settle_ms")]
    pub settle_ms: u64,
    /// The longest wait after the window, in milliseconds.
    pub drain_ms: u64,
    /// The most sends without an answer.
    pub in_flight_cap: u64,
    /// Generator threads that drive connections.
    pub threads: usize,
    /// Driver `redis`: which commands, to which keys, by which client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<Commands>,
    /// Driver `sql`: tables, rows and statements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<Statements>,
    /// Driver `http`: which requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Requests>,
    /// Where the verdict draws its lines; all have defaults.
    #[serde(default)]
    pub limits: Limits,
}

/// A scenario that is not there or not well-formed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// No such name.
    #[error("there is no scenario `{name}`; there are: {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The file is not as it must be.
    #[error("scenario `{name}`: {why}")]
    Malformed {
        /// Which one.
        name: String,
        /// Where and what.
        why: String,
    },
}

fn settle_ms() -> u64 {
    20_000
}

fn one() -> usize {
    1
}

impl Scenario {
    /// Reads a scenario from TOML. Unknown fields are errors: a misspelt one must not be ignored.
    ///
    /// # Errors
    /// [`ScenarioError::Malformed`] with line and field.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScenarioError> {
        Self::parse_in(Path::new(""), name, text)
    }

    /// Reads a scenario's file, and the trace that it names, if it does.
    ///
    /// # Errors
    /// [`ScenarioError::Malformed`] with what could not be read, or line and field.
    pub fn read(file: &Path) -> Result<Self, ScenarioError> {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(file).map_err(|e| ScenarioError::Malformed {
            name: name.clone().into_owned(),
            why: format!("{}: {e}", file.display()),
        })?;
        Self::parse_in(file.parent().unwrap_or(Path::new("")), &name, &text)
    }

    /// A trace's path is relative to the folder.
    fn parse_in(folder: &Path, name: &str, text: &str) -> Result<Self, ScenarioError> {
        let malformed = |why: String| ScenarioError::Malformed { name: name.to_owned(), why };
        let mut scenario: Self = toml::from_str(text).map_err(|e| malformed(e.to_string()))?;
        name.clone_into(&mut scenario.name);
        if let LoadKind::Open(ScheduleKind::Replay(trace)) = &mut scenario.schedule {
            *trace = Trace::read(&folder.join(&trace.file)).map_err(|e| malformed(e.to_string()))?;
        }
        scenario.check().map_err(malformed)?;
        Ok(scenario)
    }

    /// The load that so many clients make.
    ///
    /// # Errors
    /// [`ScheduleError`] names what is out of its bounds.
    pub fn load(&self, clients: u32) -> Result<Load, ScheduleError> {
        let duration_ns = self.secs.saturating_mul(1_000_000_000);
        self.schedule.check()?;
        Ok(match &self.schedule {
            LoadKind::Open(kind) => {
                Load::Open(Schedule::new(kind.clone(), self.rate, duration_ns, clients, self.seed)?)
            }
            LoadKind::Closed { concurrency } => Load::Closed { concurrency: *concurrency, duration_ns },
        })
    }

    /// The same for a driver that only knows the open loop.
    ///
    /// # Errors
    /// One sentence that names the field.
    pub fn open_load(&self, clients: u32) -> Result<Schedule, String> {
        match self.load(clients).map_err(|e| e.to_string())? {
            Load::Open(schedule) => Ok(schedule),
            Load::Closed { .. } => {
                Err("schedule.kind = \"closed\" is for ceilings, which this driver does not measure".into())
            }
        }
    }

    /// The bare loop that writes as often, at the same instants, to as many sockets as this chat delivers to.
    ///
    /// # Errors
    /// One sentence: what a bare loop can't do of it.
    pub fn bare(&self, bytes: usize) -> Result<Self, String> {
        if self.driver != Driver::Ws {
            return Err(format!("{} does not load the chat server", self.name));
        }
        if self.rooms_per_conn != 1 || self.churn_conns > 0 || self.receive.is_some() {
            return Err(format!(
                "{}: a bare loop has one room a socket, and all of them stay and listen",
                self.name
            ));
        }
        let scenario = Self {
            name: format!("{}-bare", self.name),
            title: format!("The bare loop of {}", self.name),
            driver: Driver::Bare,
            devices: 1,
            body_bytes: bytes,
            settle_ms: 0,
            ..self.clone()
        };
        scenario.check()?;
        Ok(scenario)
    }

    /// Connections of all kinds.
    pub fn all_conns(&self) -> usize {
        let only_send = if self.receive.is_some() { self.rooms } else { 0 };
        self.conns + self.churn_conns + self.slow_conns() + only_send
    }

    /// Connections that send: all, or one for each room where the others only receive.
    pub fn senders(&self) -> usize {
        if self.receive.is_some() { self.rooms } else { self.conns }
    }

    /// Connections that stop reading.
    pub fn slow_conns(&self) -> usize {
        self.slow.map_or(0, |slow| slow.conns)
    }

    /// Users: one for `devices` connections, and one for each that churns, stops reading or only sends.
    pub fn users(&self) -> usize {
        let only_send = if self.receive.is_some() { self.rooms } else { 0 };
        self.conns.div_ceil(self.devices.max(1)) + self.churn_conns + self.slow_conns() + only_send
    }

    /// A scenario that comes with chatlab.
    ///
    /// # Errors
    /// [`ScenarioError::Unknown`] with the names there are.
    pub fn find(name: &str) -> Result<Self, ScenarioError> {
        match EMBEDDED.iter().find(|(known, _)| *known == name) {
            Some((name, text)) => Self::parse(name, text),
            None => {
                let known: Vec<_> = EMBEDDED.iter().map(|(name, _)| *name).collect();
                Err(ScenarioError::Unknown { name: name.to_owned(), known: known.join(", ") })
            }
        }
    }

    /// All that come with chatlab.
    ///
    /// # Errors
    /// [`ScenarioError::Malformed`], which a test rules out.
    pub fn all() -> Result<Vec<Self>, ScenarioError> {
        EMBEDDED.iter().map(|(name, text)| Self::parse(name, text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_that_comes_along_is_well_formed() {
        let all = Scenario::all().unwrap();
        assert_eq!(all.len(), EMBEDDED.len());
        assert_eq!((all[0].name.as_str(), all[0].conns), ("chat-steady", 200));
    }

    #[test]
    fn misspelt_missing_and_impossible_fields_are_named() {
        let text = EMBEDDED[0].1;
        for (from, to, named) in [
            ("seed = 1", "sede = 1", "sede"),
            ("seed = 1", "", "seed"),
            ("secs = 10", "secs = 0", "secs"),
            ("rooms = 10", "rooms = 1000", "rooms"),
            ("rate = 100.0", "rate = -1.0", "rate"),
            ("driver = \"ws\"", "driver = \"carrier-pigeon\"", "carrier-pigeon"),
            ("driver = \"ws\"", "driver = \"lab\"", "lab is missing"),
            ("driver = \"ws\"", "driver = \"lab\"\nlab = \"history\"", "conns belongs"),
            ("conns = 200", "", "conns"),
            ("schedule = \"poisson\"", "schedule = \"ramp\"", "write a table"),
            (
                "schedule = \"poisson\"",
                "schedule = { kind = \"ramp\", from = 1.0, to = 2.0 }",
                "rate must be left out",
            ),
            ("rate = 100.0", "", "rate must be over 0"),
            ("conns = 200", "conns = 200\nchurn_conns = 9", "churn_per_s"),
            ("conns = 200", "conns = 200\nchurn_conns = 9\nchurn_per_s = 19.0", "at most 2"),
        ] {
            let error = Scenario::parse("x", &text.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        assert!(Scenario::find("nope").unwrap_err().to_string().contains("chat-steady"));
    }

    #[test]
    fn a_file_names_its_trace_from_where_it_lies_itself() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("again.toml");
        let text = EMBEDDED[0].1.replace("rate = 100.0", "");
        let replay = "schedule = { kind = \"replay\", file = \"was.trace\" }";
        fs::write(&file, text.replace("schedule = \"poisson\"", replay)).unwrap();
        let error = Scenario::read(&file).unwrap_err().to_string();
        assert!(error.contains("again") && error.contains("was.trace"), "{error}");
        fs::write(folder.path().join("was.trace"), "0 1\n2500000\n9000000\n11000000\n").unwrap();
        let scenario = Scenario::read(&file).unwrap();
        assert_eq!((scenario.name.as_str(), scenario.settle_ms), ("again", 20_000));
        let schedule = scenario.open_load(200).unwrap();
        assert_eq!((schedule.count(), schedule.rate_per_s), (3, 0.3), "10 s of it");
        assert!(Scenario::read(&folder.path().join("none.toml")).is_err());
    }

    #[test]
    fn a_closed_loop_has_its_name_and_only_drivers_that_measure_ceilings_take_it() {
        let closed = "schedule = { kind = \"closed\", concurrency = 50 }";
        let text = EMBEDDED[0].1.replace("schedule = \"poisson\"", closed);
        let error = Scenario::parse("x", &text).unwrap_err().to_string();
        assert!(error.contains("rate must be left out"), "{error}");
        let error = Scenario::parse("x", &text.replace("rate = 100.0", "")).unwrap_err().to_string();
        assert!(error.contains("closed") && error.contains("ceilings"), "{error}");
        let scenario =
            Scenario { schedule: LoadKind::Closed { concurrency: 50 }, ..Scenario::find("history").unwrap() };
        let load = scenario.load(1).unwrap();
        assert_eq!((load.label().as_str(), load.duration_ns()), ("closed loop, 50 at once", 10_000_000_000));
        let none = Scenario { schedule: LoadKind::Closed { concurrency: 0 }, ..scenario };
        assert!(none.load(1).unwrap_err().to_string().contains("concurrency"));
    }
}
