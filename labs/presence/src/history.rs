//! The steps of a history, and what the port answers to them.

use std::fmt;

use chatlab_kit::{
    LabResult,
    check::After,
    ids::{ConnectionId, UserId},
};

use crate::Presence;

/// One step. Users, instances and connections are named by number, so that a step means the same when others are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// User `u` connects to instance `i`: from here on connection `c`.
    Connect { u: u32, i: u32, c: u32 },
    /// Connection `c` closes.
    Disconnect { c: u32 },
    /// Ask who of these users is online, in this order.
    Online { users: Vec<u32> },
    /// Ask how many devices user `u` has.
    Devices { u: u32 },
    /// Instance `i` refreshes; one that was paused goes on.
    Refresh { i: u32 },
    /// Instance `i` reaps.
    Reap { i: u32 },
    /// Instance `i` dies: it sends nothing any more.
    Kill { i: u32 },
    /// Instance `i` sends nothing until it refreshes again.
    Pause { i: u32 },
    /// Time passes, in quarters of a lease; who is alive refreshes and reaps.
    Stay { quarters: u64 },
    /// Wait until whoever is silent is certainly dead; who is alive refreshes.
    Lapse,
    /// The same, and everybody alive reaps until nothing more is to be told.
    Settle,
    /// The step in an instance that dies after `commands` commands of it.
    Crash { step: Box<Self>, commands: u64 },
    /// Two instances: `first` is held after `commands` commands until `second` is done.
    Race { first: Box<Self>, commands: u64, second: Box<Self> },
    /// Everything dies; a stranger reaps until nothing comes; then nothing may be left that does not expire.
    Leftovers,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { u, i, c } => write!(f, "u{u} connects to i{i} as c{c}"),
            Self::Disconnect { c } => write!(f, "c{c} closes"),
            Self::Online { users } => {
                let names: Vec<String> = users.iter().map(|u| format!("u{u}")).collect();
                write!(f, "who is online of {}", names.join(" "))
            }
            Self::Devices { u } => write!(f, "devices of u{u}"),
            Self::Refresh { i } => write!(f, "i{i} refreshes"),
            Self::Reap { i } => write!(f, "i{i} reaps"),
            Self::Kill { i } => write!(f, "i{i} is killed"),
            Self::Pause { i } => write!(f, "i{i} is paused"),
            Self::Stay { quarters } => write!(f, "everybody alive refreshes for {quarters}/4 of a lease"),
            Self::Lapse => write!(f, "wait until the silent are dead"),
            Self::Settle => write!(f, "wait until the silent are dead, and reap"),
            Self::Crash { step, commands } => write!(f, "{step}, dies {}", After(*commands)),
            Self::Race { first, commands, second } => {
                write!(f, "{first}, and {} of it {second}", After(*commands))
            }
            Self::Leftovers => write!(f, "everything dies, a stranger reaps; then look what is left"),
        }
    }
}

/// A call of the port on one instance.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    Connect { u: u32, c: u32, user: UserId, conn: ConnectionId },
    Disconnect { c: u32, user: UserId, conn: ConnectionId },
    Online { numbers: Vec<u32>, users: Vec<UserId> },
    Devices { u: u32, user: UserId },
    Refresh,
    Reap,
}

/// What it answered.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Changed(bool),
    Online(Vec<bool>),
    Devices(u64),
    /// Who came back.
    Refreshed(Vec<UserId>),
    /// Who went.
    Reaped(Vec<UserId>),
}

impl Call {
    pub(crate) async fn send(&self, port: &dyn Presence) -> LabResult<Answer> {
        Ok(match self {
            Self::Connect { user, conn, .. } => Answer::Changed(port.connect(user, conn).await?),
            Self::Disconnect { user, conn, .. } => Answer::Changed(port.disconnect(user, conn).await?),
            Self::Online { users, .. } => Answer::Online(port.online(users).await?),
            Self::Devices { user, .. } => Answer::Devices(port.devices(user).await?),
            Self::Refresh => {
                port.refresh().await?;
                Answer::Refreshed(port.returned())
            }
            Self::Reap => Answer::Reaped(port.reap().await?),
        })
    }

    /// The method's name.
    pub(crate) fn verb(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Disconnect { .. } => "disconnect",
            Self::Online { .. } => "online",
            Self::Devices { .. } => "devices",
            Self::Refresh => "refresh",
            Self::Reap => "reap",
        }
    }

    /// The most round trips that it may take once its scripts are loaded and nobody is dead. A connection may touch two
    /// slots, its user's and one that knows what to reap; what is asked all the time gets one.
    pub(crate) fn budget(verb: &str) -> u64 {
        if matches!(verb, "connect" | "disconnect" | "refresh") { 2 } else { 1 }
    }
}
