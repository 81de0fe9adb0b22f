//! Faults under load: what is broken on purpose, when, and what became of every message.
//!
//! | module | for |
//! | --- | --- |
//! | this one | a planned [`Fault`], and what is written down when it was done ([`Injected`]) |
//! | [`account`] | the fate of each message, and sums that explain all of them |
//! | [`spans`] | how long nothing was acknowledged or delivered, and when it was as before |
//! | `judge` | the verdict's rules outside the faults' spans |
//! | `show` | for people |
//!
//! The process that owns the servers breaks them and tells the generator the instants; the generator, which has every send
//! and every answer, closes the books. Both read the kernel's monotonic clock ([`monotonic_ns`]), which is one clock for
//! all processes of a machine.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

pub mod account;
mod close;
mod judge;
mod result;
pub mod show;
pub mod spans;
mod told;

pub(crate) use close::{Books, Class, Note, close};
pub(crate) use judge::judge;
pub use result::{FaultResult, Faulted};
pub use told::Told;

/// The most faults of one run.
pub const MAX_FAULTS: usize = 16;
/// A fault needs so much of the window before it, in milliseconds, to know what "as before" is.
pub const LEAST_BEFORE_MS: u64 = 2_000;
/// A fault needs so much of the window after it, in milliseconds, to see that it is over.
pub const LEAST_AFTER_MS: u64 = 2_000;
/// The most hash slots that one fault moves.
pub const MAX_MOVED_SLOTS: u64 = 256;
/// The longest that a node is stopped for, in milliseconds.
pub const MAX_PAUSE_MS: u64 = 60_000;
/// How long the generator waits, after its drain, to be told of the last fault: repairing may outlast the window.
pub const REPORT_BOUND: Duration = Duration::from_secs(90);

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `SIGKILL` to a master's process; when its replica is promoted, it is started again.
    KillMaster,
    /// `CLUSTER FAILOVER` on a replica: the two change roles without loss.
    Failover,
    /// Hash slots that are in use go from one master to another.
    MoveSlots,
    /// `SIGSTOP` to a master's process and `SIGCONT` later: its connections stay open and nothing answers.
    PauseNode,
    /// `CLIENT KILL TYPE pubsub` on every node.
    KillPubsub,
    /// `SIGKILL` to a chat server's process; it stays dead, and its clients go elsewhere.
    CutServer,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::KillMaster,
        Self::Failover,
        Self::MoveSlots,
        Self::PauseNode,
        Self::KillPubsub,
        Self::CutServer,
    ];

    /// As on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KillMaster => "kill-master",
            Self::Failover => "failover",
            Self::MoveSlots => "move-slots",
            Self::PauseNode => "pause-node",
            Self::KillPubsub => "kill-pubsub",
            Self::CutServer => "cut-server",
        }
    }

    /// Whether it needs a cluster.
    pub const fn needs_cluster(self) -> bool {
        matches!(self, Self::KillMaster | Self::Failover | Self::MoveSlots)
    }

    /// Whether Redis may forget acknowledged messages by it: replication is asynchronous, and a replica takes the place of a
    /// master that could not tell it everything.
    pub const fn may_lose(self) -> bool {
        matches!(self, Self::KillMaster | Self::PauseNode)
    }

    /// What the argument is, the one that is taken when there is none, and the highest.
    const fn argument(self) -> (&'static str, Option<u64>, u64) {
        match self {
            Self::KillMaster | Self::Failover => ("a master's number", Some(0), 2),
            Self::MoveSlots => ("how many slots", Some(16), MAX_MOVED_SLOTS),
            Self::PauseNode => ("milliseconds", Some(1_000), MAX_PAUSE_MS),
            Self::KillPubsub => ("nothing", None, 0),
            Self::CutServer => ("a server's number", None, 15),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A fault that is planned: `KIND[@SECONDS][:ARG]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// When, in milliseconds after the window's start; none: after a third of it.
    pub at_ms: Option<u64>,
    /// What its kind takes: a number, a count, a time.
    pub argument: Option<u64>,
}

impl Fault {
    /// When it is due in a window of that length, in milliseconds.
    pub fn due_ms(&self, window_ms: u64) -> u64 {
        self.at_ms.unwrap_or(window_ms / 3)
    }

    /// The argument that was given, or its kind's own.
    pub fn argument_or_usual(&self) -> Option<u64> {
        self.argument.or(self.kind.argument().1)
    }

    /// Whether it can be seen in a window of that length.
    ///
    /// # Errors
    /// A sentence on when it must be.
    pub fn check(&self, window_ms: u64) -> Result<(), String> {
        let due = self.due_ms(window_ms);
        let latest = window_ms.saturating_sub(LEAST_AFTER_MS);
        if (LEAST_BEFORE_MS..=latest).contains(&due) {
            return Ok(());
        }
        let s = |ms: u64| ms as f64 / 1000.0;
        let (before, after) = (s(LEAST_BEFORE_MS), s(LEAST_AFTER_MS));
        Err(format!(
            "--fault {self} would be at {} s of a window of {} s: there must be {before} s before it, to know what is \
             usual, and {after} s after it; change the fault's time or --secs",
            s(due),
            s(window_ms)
        ))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(at_ms) = self.at_ms {
            write!(f, "@{}", at_ms as f64 / 1000.0)?;
        }
        self.argument.map_or(Ok(()), |argument| write!(f, ":{argument}"))
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (head, argument) = match text.split_once(':') {
            Some((head, argument)) => (head, Some(argument)),
            None => (text, None),
        };
        let (name, at) = match head.split_once('@') {
            Some((name, at)) => (name, Some(at)),
            None => (head, None),
        };
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
            format!("`{name}` is no fault: there are {}", names.join(", "))
        })?;
        let at_ms = at
            .map(|at| match at.parse::<f64>() {
                Ok(s) if (0.0..=86_400.0).contains(&s) => Ok((s * 1000.0).round() as u64),
                _ => Err(format!("`{at}` is no time: seconds after the window's start, such as {kind}@10")),
            })
            .transpose()?;
        let (what, _, most) = kind.argument();
        let argument = argument
            .map(|argument| match argument.parse::<u64>() {
                Ok(n) if n <= most && most > 0 && (n > 0 || what.starts_with("a ")) => Ok(n),
                _ if most == 0 => Err(format!("{kind} takes no argument, so no `:{argument}`")),
                _ => Err(format!("`{argument}` is no argument of {kind}: {what}, at most {most}")),
            })
            .transpose()?;
        Ok(Self { kind, at_ms, argument })
    }
}

/// A name and a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

impl Fact {
    /// One of them.
    pub fn new(name: &str, value: impl fmt::Display) -> Self {
        Self { name: name.to_owned(), value: value.to_string() }
    }
}

/// What is written down of a fault that was done. Instants on [`monotonic_ns`]'s clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Injected {
    /// Its place in the plan.
    pub nth: usize,
    /// Which node, server or slots.
    pub target: String,
    /// The instant before the first thing was done.
    pub began_ns: u64,
    /// The instant after the last thing was done, repairs included.
    pub ended_ns: u64,
    /// Whether it is proved that it happened.
    pub proved: bool,
    /// What proves it.
    pub facts: Vec<Fact>,
}

/// The kernel's monotonic clock, in nanoseconds: the same for all processes of this machine.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (now.tv_sec.unsigned_abs()).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_written_as_they_are_read() {
        for (text, kind, at_ms, argument) in [
            ("kill-master", Kind::KillMaster, None, None),
            ("kill-master@10", Kind::KillMaster, Some(10_000), None),
            ("pause-node@2.5:800", Kind::PauseNode, Some(2_500), Some(800)),
            ("move-slots:64", Kind::MoveSlots, None, Some(64)),
            ("cut-server@4:0", Kind::CutServer, Some(4_000), Some(0)),
        ] {
            let fault: Fault = text.parse().unwrap();
            assert_eq!(fault, Fault { kind, at_ms, argument });
            assert_eq!(fault.to_string(), text);
        }
    }

    #[test]
    fn wrong_faults_are_refused_with_what_there_is() {
        for (text, named) in [
            ("kill", "kill-pubsub"),
            ("kill-master@soon", "seconds"),
            ("kill-master@-1", "seconds"),
            ("kill-master:3", "at most 2"),
            ("kill-pubsub:1", "no argument"),
            ("move-slots:0", "how many slots"),
            ("move-slots:257", "256"),
            ("pause-node:1e9", "milliseconds"),
        ] {
            let why = text.parse::<Fault>().unwrap_err();
            assert!(why.contains(named), "{text}: {why}");
        }
    }

    #[test]
    fn a_fault_needs_time_before_and_after_it() {
        let at = |text: &str, ms| text.parse::<Fault>().unwrap().check(ms);
        assert_eq!(at("failover", 9_000), Ok(()));
        assert_eq!(at("failover@2", 4_000), Ok(()));
        assert!(at("failover@1", 30_000).unwrap_err().contains("failover@1"));
        assert!(at("failover@29", 30_000).is_err());
        assert!(at("failover", 5_000).is_err(), "1.7 s are too early");
    }

    #[test]
    fn the_clock_is_the_one_of_instants() {
        let (before, at) = (monotonic_ns(), std::time::Instant::now());
        let spent = at.elapsed().as_nanos() as u64;
        assert!(monotonic_ns() - before >= spent);
    }
}
