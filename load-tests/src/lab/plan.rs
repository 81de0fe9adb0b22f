//! What a generator process is told about a lab's variant.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{plan::PlanError, scenario::Scenario, schedule::ScheduleKind, verdict::Limits};

/// One run of the lab driver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabPlan {
    /// The scenario's name.
    pub scenario: String,
    /// The lab.
    pub lab: String,
    /// Its variant.
    pub variant: String,
    /// One Redis node or six: `single` or `cluster`.
    pub topology: String,
    /// The Redis client library.
    pub client: String,
    /// Redis nodes, `HOST:PORT`.
    pub nodes: Vec<String>,
    /// How arrivals are spread.
    pub schedule: ScheduleKind,
    /// Operations a second; not looked at where the schedule has rates of its own.
    pub rate: f64,
    /// The measured window, in seconds.
    pub secs: u64,
    /// The schedule's seed.
    pub seed: u64,
    /// Calling before the window, in milliseconds.
    pub warm_up_ms: u64,
    /// How much longer it may go on until latency has settled, in milliseconds; 0 for a fixed warm-up.
    #[serde(default)]
    pub settle_ms: u64,
    /// The folder that the run is recorded in; see [`crate::recording`].
    #[serde(default)]
    pub record: Option<PathBuf>,
    /// The longest wait after the window, in milliseconds.
    pub drain_ms: u64,
    /// The most operations without an answer; an arrival beyond it waits, and is counted.
    pub in_flight_cap: u64,
    /// Threads of the runtime that the operations run on.
    pub threads: usize,
    /// Where the verdict draws its lines.
    pub limits: Limits,
    /// Processes of another server that is called, to observe.
    #[serde(default)]
    pub server_pids: Vec<u32>,
    /// Processes of Redis, to observe.
    pub redis_pids: Vec<u32>,
    /// What else is to be known from the result.
    pub labels: BTreeMap<String, String>,
}

/// Where the variant's Redis is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// `single` or `cluster`.
    pub topology: String,
    /// The client library.
    pub client: String,
    /// Nodes, `HOST:PORT`.
    pub nodes: Vec<String>,
    /// Their processes.
    pub redis_pids: Vec<u32>,
}

impl LabPlan {
    /// The plan of a scenario for one variant.
    ///
    /// # Errors
    /// [`PlanError`] when the scenario names no lab.
    pub fn new(
        scenario: &Scenario,
        variant: &str,
        place: Place,
        labels: BTreeMap<String, String>,
    ) -> Result<Self, PlanError> {
        let lab = scenario.lab.clone().ok_or_else(|| PlanError("the scenario names no lab".into()))?;
        Self::of(&lab, scenario, variant, place, labels)
    }

    /// The plan of a scenario of any driver whose load is calls.
    pub(crate) fn of(
        lab: &str,
        scenario: &Scenario,
        variant: &str,
        place: Place,
        labels: BTreeMap<String, String>,
    ) -> Result<Self, PlanError> {
        let schedule = scenario.open_load(1).map_err(PlanError)?.kind;
        let plan = Self {
            scenario: scenario.name.clone(),
            lab: lab.to_owned(),
            variant: variant.to_owned(),
            topology: place.topology,
            client: place.client,
            nodes: place.nodes,
            schedule,
            rate: scenario.rate,
            secs: scenario.secs,
            seed: scenario.seed,
            warm_up_ms: scenario.warm_up_ms,
            settle_ms: scenario.settle_ms,
            record: None,
            drain_ms: scenario.drain_ms,
            in_flight_cap: scenario.in_flight_cap,
            threads: scenario.threads,
            limits: scenario.limits,
            server_pids: Vec::new(),
            redis_pids: place.redis_pids,
            labels,
        };
        plan.check()?;
        Ok(plan)
    }

    /// The longest that a run can take, in milliseconds, beside the preparation.
    pub fn longest_ms(&self) -> u64 {
        self.warm_up_ms + self.settle_ms + self.secs * 1000 + 2 * self.drain_ms
    }

    /// Checks what [`LabPlan`]'s types can't say.
    ///
    /// # Errors
    /// [`PlanError`] names the field.
    pub fn check(&self) -> Result<(), PlanError> {
        if !(1..=64).contains(&self.threads) || self.in_flight_cap == 0 || self.secs == 0 {
            return Err(PlanError("threads (1 to 64), in_flight_cap and secs must be positive".into()));
        }
        Ok(())
    }
}
