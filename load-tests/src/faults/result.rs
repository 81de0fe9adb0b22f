//! What a result says of its faults.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Fact, account::Accounts};

/// One fault and what became of the service. Instants in milliseconds after the window's start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultResult {
    /// As it was planned: `KIND[@SECONDS][:ARG]`.
    pub fault: String,
    /// Its kind.
    pub kind: super::Kind,
    /// Which node, server or slots; empty when it was never done.
    pub target: String,
    /// The instant before the first thing was done.
    pub at_ms: f64,
    /// The instant after the last thing was done, repairs included; none when it was never done.
    pub ended_ms: Option<f64>,
    /// Whether it is proved that it happened.
    pub injected: bool,
    /// What proves it.
    pub proof: Vec<Fact>,
    /// The longest time in which no send to a room that was due was acknowledged, of all rooms.
    pub unacknowledged_ms: f64,
    /// The same of all rooms together: longer than 0 only when the whole service stood still.
    pub unacknowledged_all_ms: f64,
    /// The longest time in which no message of a room that was due came to the last of its subscribers, of all rooms.
    pub undelivered_ms: f64,
    /// Rooms in which one of the two was longer than `limit_ms`.
    pub rooms_affected: usize,
    /// The 99th percentile, before the fault, of the time until a message was with the last subscriber.
    pub p99_before_ms: f64,
    /// A send is as before when it is acknowledged and with its last subscriber within this time.
    pub limit_ms: f64,
    /// From the fault's beginning until sends are as before, and stay so; none when that was not seen.
    pub recovered_ms: Option<f64>,
    /// Errors of the generator's connections, by kind, in the fault's span.
    pub errors: BTreeMap<String, u64>,
    /// Sends that were due in the fault's span …
    pub due: u64,
    /// … of them, acknowledged …
    pub acked: u64,
    /// … answered with an error for good …
    pub refused: u64,
    /// … sent and never answered …
    pub unanswered: u64,
    /// … never sent.
    pub unsent: u64,
    /// Of those that were sent, the ones that were sent more than once.
    pub retried: u64,
    /// Acknowledged in the fault's span, or up to a second before it, and not in the room's history afterwards.
    pub acked_but_lost: u64,
    /// Acknowledged then, and missing at a subscriber who was told nothing, whether in the history or not.
    pub acked_but_undelivered: u64,
}

impl FaultResult {
    /// The end of the span in which the verdict expects trouble; none when there was no recovery.
    pub fn span_end_ms(&self) -> Option<f64> {
        Some((self.at_ms + self.recovered_ms?).max(self.ended_ms?))
    }
}

/// Everything that a run with faults adds to its result.
#[derive(Clone, Debug, PartialEq)]
pub struct Faulted {
    /// Each fault, in the order of the plan.
    pub faults: Vec<FaultResult>,
    /// The fate of every message.
    pub accounts: Accounts,
}
