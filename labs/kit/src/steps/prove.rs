//! The author's gate for a step.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Attempt, Judgement, Typist, instance};
use crate::lab::{Manifest, Step};
use crate::proxy::Proxy;
use crate::redis::Redis;

/// How long a step may take to turn out as it should after the last line.
const BOUND: Duration = Duration::from_secs(8);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

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
    redis: &Redis,
    proxy: Arc<Proxy>,
) -> Result<(), String> {
    let step =
        instance(manifest, step_id, seed).ok_or_else(|| format!("{lab_id} has no step `{step_id}`"))?;
    let about = |why: String| format!("{lab_id}, step `{step_id}`, seed {seed}: {why}");
    let gate = Gate { step, redis, proxy };
    gate.run().await.map_err(about)
}

struct Gate<'a> {
    step: Step,
    redis: &'a Redis,
    proxy: Arc<Proxy>,
}

impl Gate<'_> {
    async fn run(&self) -> Result<(), String> {
        let (idle, _) = self.attempt(&[], Judgement::passed, Duration::ZERO).await?;
        if idle.passed() {
            return Err("it passes before anything is typed".to_owned());
        }
        for mistake in &self.step.mistakes {
            let recognised = |judgement: &Judgement| judgement.mistake.as_ref() == Some(&mistake.say);
            let (judgement, typed) = self.attempt(&mistake.attempt, recognised, BOUND).await?;
            if judgement.passed() {
                return Err(format!("the mistake {:?} passes", mistake.attempt));
            }
            if !recognised(&judgement) {
                let instead = judgement.mistake.as_deref().unwrap_or("none");
                return Err(format!(
                    "the mistake {:?} is not recognised; said instead: {instead}; unmet: {:?}; typed:\n{typed}",
                    mistake.attempt, judgement.unmet
                ));
            }
        }
        let (judgement, typed) = self.attempt(&self.step.solution, Judgement::passed, BOUND).await?;
        if !judgement.passed() {
            return Err(format!(
                "the solution does not pass: {:?}, waiting: {:?}; typed:\n{typed}",
                judgement.unmet, judgement.waiting
            ));
        }
        Ok(())
    }

    /// Types lines into a fresh attempt until it turns out as wanted or the bound is over.
    async fn attempt(
        &self,
        lines: &[String],
        wanted: impl Fn(&Judgement) -> bool,
        bound: Duration,
    ) -> Result<(Judgement, String), String> {
        let proxy = self.proxy.clone();
        let attempt =
            Attempt::begin(self.step.clone(), self.redis, proxy).await.map_err(|error| error.to_string())?;
        let mut typist = Typist::new(self.proxy.topology(), self.proxy.addrs());
        let mut typed = String::new();
        for line in lines {
            let reply = typist.line(line).await;
            typed.push_str(&format!("> {line}\n{}\n", reply.text));
            attempt.settle(BOUND).await;
        }
        attempt.settle(BOUND).await;
        let end = Instant::now() + bound;
        loop {
            // Messages are read, so that a reply that comes late is not stuck behind them.
            for (_, text) in typist.arrived(Duration::ZERO).await {
                typed.push_str(&format!("{text}\n"));
            }
            let judgement = attempt.judge().await.map_err(|error| error.to_string())?;
            if wanted(&judgement) || Instant::now() >= end {
                return Ok((judgement, typed));
            }
            // A poll, bounded by `bound`.
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}
