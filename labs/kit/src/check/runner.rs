//! Runs properties: repeats, shrinks, reports.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::join_all;
use rand::SeedableRng;

use super::property::{Finding, Pace, Property, Rng, Run, Subject, Target};
use super::render::shown_commands;
use super::report::{Outcome, Verdict};
use crate::{LabError, LabResult};

/// The longest that one run of one history may take.
pub const RUN_TIMEOUT_MS: u64 = 30_000;
/// The most runs spent on making a counterexample shorter.
pub const SHRINK_RUNS_MAX: u32 = 60;
/// The longest time spent on making a counterexample shorter.
const SHRINK_TIME_MAX: Duration = Duration::from_secs(10);
/// The paces tried, one after the other, while a history proves nothing.
const PACES: [Pace; 3] = [Pace(1), Pace(3), Pace(9)];

/// A property, ready to be run on any variant behind the port `P`.
pub struct Check<P: ?Sized>(Box<dyn Runnable<P>>);

impl<P: ?Sized + Send + Sync> Check<P> {
    /// The check of a property.
    pub fn of(property: impl Property<Port = P> + 'static) -> Self {
        Self(Box::new(property))
    }

    /// The property's name.
    pub fn name(&self) -> &'static str {
        self.0.check_name()
    }

    /// The invariant in one sentence.
    pub fn states(&self) -> &'static str {
        self.0.check_states()
    }

    /// Tries the property's histories on `target`.
    pub async fn run(&self, target: &Target<P>, seed: u64) -> Outcome {
        self.0.run_check(target, seed).await
    }
}

/// Runs all checks at once: each history has a place of its own, and most of its time is waiting for expiries.
pub async fn run_checks<P: ?Sized + Send + Sync>(
    checks: &[Check<P>],
    target: &Target<P>,
    seed: u64,
) -> Vec<Outcome> {
    join_all(checks.iter().map(|check| check.run(target, seed))).await
}

#[async_trait]
trait Runnable<P: ?Sized + Send + Sync>: Send + Sync {
    fn check_name(&self) -> &'static str;
    fn check_states(&self) -> &'static str;
    async fn run_check(&self, target: &Target<P>, seed: u64) -> Outcome;
}

#[async_trait]
impl<T: Property> Runnable<T::Port> for T {
    fn check_name(&self) -> &'static str {
        self.name()
    }

    fn check_states(&self) -> &'static str {
        self.states()
    }

    async fn run_check(&self, target: &Target<T::Port>, seed: u64) -> Outcome {
        let began = Instant::now();
        let blank = Outcome {
            predicate: self.name().to_owned(),
            states: self.states().to_owned(),
            verdict: Verdict::Pass,
            reason: String::new(),
            seed,
            counterexample: Vec::new(),
            commands: Vec::new(),
            took_ms: 0,
        };
        let mut outcome = try_instances(self, target, seed, &blank).await.unwrap_or_else(|error| Outcome {
            verdict: Verdict::Error,
            reason: error.to_string(),
            ..blank.clone()
        });
        outcome.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        outcome
    }
}

/// A different stream of random numbers for each check and instance of one seed.
fn instance_rng(seed: u64, name: &str, instance: u32) -> Rng {
    // FNV-1a, 64 bits.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut rng = Rng::seed_from_u64(seed ^ hash);
    rng.set_stream(u64::from(instance));
    rng
}

async fn try_instances<T: Property>(
    property: &T,
    target: &Target<T::Port>,
    seed: u64,
    blank: &Outcome,
) -> LabResult<Outcome> {
    let mut held = 0;
    let mut inconclusive = None;
    for instance in 0..property.instances() {
        let plan = property.plan(&mut instance_rng(seed, property.name(), instance));
        for pace in PACES {
            let (run, commands) = run_once(property, target, &plan, pace).await?;
            match run.finding {
                Finding::Holds => {
                    held += 1;
                    break;
                }
                Finding::Inconclusive(why) => inconclusive = Some(why),
                Finding::Unsupported(why) => {
                    return Ok(Outcome { verdict: Verdict::Skipped, reason: why, ..blank.clone() });
                }
                Finding::Broken(ref reason) => {
                    let first =
                        Broken { reason: reason.clone(), steps: run.steps, history: run.history, commands };
                    let shortest = shrink(property, target, plan, pace, first).await?;
                    return Ok(Outcome {
                        verdict: Verdict::Fail,
                        reason: shortest.reason,
                        counterexample: shortest.history,
                        commands: shortest.commands,
                        ..blank.clone()
                    });
                }
            }
        }
    }
    match inconclusive {
        Some(reason) if held == 0 => Ok(Outcome { verdict: Verdict::Inconclusive, reason, ..blank.clone() }),
        _ => Ok(blank.clone()),
    }
}

async fn run_once<T: Property>(
    property: &T,
    target: &Target<T::Port>,
    plan: &[T::Step],
    pace: Pace,
) -> LabResult<(Run, Vec<String>)> {
    let subject = Subject::new(target, pace);
    let run = tokio::time::timeout(Duration::from_millis(RUN_TIMEOUT_MS), property.run(&subject, plan))
        .await
        .map_err(|_| LabError::Other(format!("one history took longer than {RUN_TIMEOUT_MS} ms")))??;
    let commands = shown_commands(&subject.trace().entries(), &run.aliases);
    Ok((run, commands))
}

/// A history that breaks the invariant.
struct Broken {
    reason: String,
    steps: usize,
    history: Vec<String>,
    commands: Vec<String>,
}

/// Leaves out what the history does not need to break the invariant: what comes after the break, then halves, quarters
/// and so on down to single steps, for as long as what remains still breaks it.
async fn shrink<T: Property>(
    property: &T,
    target: &Target<T::Port>,
    mut plan: Vec<T::Step>,
    pace: Pace,
    mut shortest: Broken,
) -> LabResult<Broken> {
    let began = Instant::now();
    let mut runs = 0;
    plan.truncate(shortest.steps);
    let mut chunk = plan.len().div_ceil(2).max(1);
    loop {
        let mut progress = false;
        let mut end = plan.len();
        while end > 0 && plan.len() > 1 {
            if runs == SHRINK_RUNS_MAX || began.elapsed() > SHRINK_TIME_MAX {
                return Ok(shortest);
            }
            let start = end.saturating_sub(chunk);
            let mut shorter = plan.clone();
            shorter.drain(start..end);
            end = start;
            if shorter.is_empty() {
                continue;
            }
            runs += 1;
            let (run, commands) = run_once(property, target, &shorter, pace).await?;
            if let Finding::Broken(reason) = run.finding {
                shorter.truncate(run.steps);
                shortest = Broken { reason, steps: run.steps, history: run.history, commands };
                plan = shorter;
                end = end.min(plan.len());
                progress = true;
            }
        }
        match (chunk, progress) {
            (1, false) => return Ok(shortest),
            (1, true) => {}
            _ => chunk = chunk.div_ceil(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng as _;

    use super::*;

    #[test]
    fn a_seed_gives_each_check_and_instance_its_own_numbers_again() {
        let draw = |seed, name, instance| instance_rng(seed, name, instance).random::<u64>();
        assert_eq!(draw(7, "a", 0), draw(7, "a", 0));
        assert_ne!(draw(7, "a", 0), draw(7, "a", 1));
        assert_ne!(draw(7, "a", 0), draw(7, "b", 0));
        assert_ne!(draw(7, "a", 0), draw(8, "a", 0));
    }
}
