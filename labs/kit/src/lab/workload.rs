//! What a variant is asked to do over and over: for benches, for load, and to compare what two variants cost.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::Lab;
use crate::redis::{Redis, TraceEntry};
use crate::{LabError, LabResult};

/// One variant of a lab, ready to be asked the same things as every other.
#[async_trait]
pub trait Workload: Send + Sync {
    /// The port's operations and how often each comes under load, in the order in which they are shown.
    fn operations(&self) -> &'static [Operation];

    /// Lays out what the operations need. Not measured.
    ///
    /// # Errors
    /// Those of the variant.
    async fn prepare(&self) -> LabResult<()>;

    /// Runs one operation for the `n`-th time. `n` alone picks the user, the room, the text: the same `n` asks the same of
    /// every variant. May run concurrently with itself.
    ///
    /// # Errors
    /// Those of the variant, and [`LabError::Corrupt`] for an answer that cannot be right.
    async fn run(&self, operation: &str, n: u64) -> LabResult<()>;

    /// What a bench varies about an operation beside the variant; none where the size of something says little.
    fn scale(&self, _operation: &str) -> Option<Scale> {
        None
    }

    /// The same as [`Workload::run`] at one of the sizes of [`Workload::scale`]. `n` counts anew for each size.
    ///
    /// # Errors
    /// Those of [`Workload::run`].
    async fn run_sized(&self, operation: &str, n: u64, _size: usize) -> LabResult<()> {
        self.run(operation, n).await
    }
}

/// The sizes at which a bench asks for an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// What is counted: `B` of a body, `messages` of a batch.
    pub unit: &'static str,
    /// How many of it, smallest first.
    pub sizes: &'static [usize],
}

/// One operation of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// As the port names it: `touch`.
    pub name: &'static str,
    /// How often it comes under load, relative to the others. 0: never, but it is benched and rehearsed.
    pub weight: u32,
}

/// What one operation cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// The operation.
    pub operation: String,
    /// Round trips of one run.
    pub round_trips: u64,
    /// Bytes sent and received in one run, counted as RESP, from what was sent and a rendering of the reply.
    pub commands: Vec<TraceEntry>,
    /// The fastest of [`REHEARSALS`] runs, in microseconds from call to answer.
    pub best_us: u64,
}

/// How often each operation is rehearsed. The first run may load scripts; the last one is shown.
pub const REHEARSALS: u64 = 8;

/// Runs each operation of a variant by itself and writes down what it sent.
///
/// # Errors
/// Those of the variant; [`LabError::Other`] where the lab has no such workload.
pub async fn rehearse(lab: &dyn Lab, variant: &str, redis: &Redis) -> LabResult<Vec<Cost>> {
    let (traced, trace) = redis.traced();
    for script in lab.scripts() {
        trace.name_script(script.sha(), script.name);
    }
    let workload = lab
        .workload(variant, traced)
        .ok_or_else(|| LabError::Other(format!("the lab {} has no workload for {variant}", lab.id())))?;
    workload.prepare().await?;
    let mut costs = Vec::with_capacity(workload.operations().len());
    for operation in workload.operations() {
        let mut best_us = u64::MAX;
        for n in 0..REHEARSALS {
            trace.clear();
            let began = std::time::Instant::now();
            workload.run(operation.name, n).await?;
            best_us = best_us.min(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
        costs.push(Cost {
            operation: operation.name.to_owned(),
            round_trips: trace.round_trips(),
            commands: trace.entries(),
            best_us,
        });
    }
    Ok(costs)
}
