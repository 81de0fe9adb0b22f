//! The author's gate: what a lab must show before it ships. `chatlab dev check` runs it.
//!
//! | rule | what it looks for |
//! | --- | --- |
//! | `manifest` | [`chatlab_kit::lab::audit`]: manifest, scripts and variants agree |
//! | `ids` | no id that progress files or commands use has disappeared ([`ids`]) |
//! | `variants` | each variant is as declared, for every seed, on every topology (`variants.rs`) |
//! | `exercise` | the exercise as shipped compiles and passes no check |
//! | `hints` | each hint is the one that is shown for the mistake it names (`hints.rs`) |
//! | `steps` | each console step: its solution passes, nothing typed does not, each mistake is recognised (`steps.rs`) |
//! | `lesson` | the lesson's commands run as printed, its links lead somewhere (`lesson.rs`) |
//! | `servers` | no check has taken a master from the others, and no busy machine has |
//! | `keys` | no key is left that the key table does not know (`keys.rs`) |
//! | `leftovers` | no process and no folder is left ([`leftovers`]) |
//!
//! A fault that did not happen makes a check inconclusive, and an inconclusive reference is not as declared: so a green
//! gate also says that every planted fault fired.

mod hints;
pub mod ids;
mod keys;
pub mod leftovers;
mod lesson;
mod steps;
mod variants;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use chatlab_kit::check::CheckReport;
use chatlab_kit::lab::{Env, Lab, audit};
use chatlab_kit::prereq::ServerBinary;
use chatlab_kit::redis::{Redis, RedisConfig};
use chatlab_kit::servers::{Managed, ServerOptions, Topology};
use futures_util::future::try_join_all;
use serde::Serialize;
use tokio::sync::Semaphore;

pub use variants::Row;

/// The most problems of one rule that are kept; more are counted.
pub const PROBLEMS_MAX: usize = 12;

/// How thoroughly to look.
#[derive(Debug, Clone)]
pub struct Options {
    /// The first seed.
    pub seed: u64,
    /// How many consecutive seeds.
    pub seeds: u64,
    /// Where.
    pub topologies: Vec<Topology>,
    /// What servers are started from.
    pub server: ServerBinary,
    /// The clone whose lessons' links are followed.
    pub clone: PathBuf,
    /// As many parts of labs run at a time as there are permits: most of their time is waiting for expiries.
    pub turns: Arc<Semaphore>,
}

/// A lab's exercise as a program of its own.
#[async_trait]
pub trait Exercise: Send + Sync {
    /// Whether its source still says that something is to be written.
    fn unfinished(&self) -> bool;

    /// Runs the lab's checks on it.
    async fn check(&self, env: &Env, nodes: &[String]) -> anyhow::Result<CheckReport>;
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The rule that it breaks.
    pub rule: &'static str,
    /// What was seen.
    pub what: String,
}

/// What the gate saw of one lab.
#[derive(Debug, Default, Serialize)]
pub struct LabVerdict {
    /// The lab's id.
    pub lab: &'static str,
    /// What must not be; empty when the lab may ship.
    pub problems: Vec<Problem>,
    /// Problems beyond [`PROBLEMS_MAX`] a rule.
    pub more_problems: usize,
    /// One line a variant and topology.
    pub variants: Vec<Row>,
    /// Checks that ran: predicates × variants × seeds × topologies.
    pub checks: usize,
    /// Hints that were shown for the mistake they name.
    pub hints: usize,
    /// Console steps proven.
    pub steps: usize,
    /// Recognised mistakes proven.
    pub mistakes: usize,
    /// Commands of the lesson that ran.
    pub lesson_commands: usize,
    /// How long its parts took, all together, in seconds.
    pub took_s: f64,
}

impl LabVerdict {
    fn problem(&mut self, rule: &'static str, what: impl Into<String>) {
        if self.problems.iter().filter(|problem| problem.rule == rule).count() < PROBLEMS_MAX {
            self.problems.push(Problem { rule, what: what.into() });
        } else {
            self.more_problems += 1;
        }
    }

    /// Adds what a part of the lab showed.
    fn add(&mut self, part: Self) {
        for Problem { rule, what } in part.problems {
            self.problem(rule, what);
        }
        self.more_problems += part.more_problems;
        self.variants.extend(part.variants);
        self.checks += part.checks;
        self.hints += part.hints;
        self.steps += part.steps;
        self.mistakes += part.mistakes;
        self.lesson_commands += part.lesson_commands;
        self.took_s += part.took_s;
    }

    /// Whether the lab may ship.
    pub fn passed(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Holds one lab against every rule but [`leftovers`], which is about the whole run. Its parts run at the same time, each on servers
/// of its own, when it is their turn.
///
/// # Errors
/// When servers cannot be started: that says nothing about the lab.
pub async fn check_lab(
    lab: &'static dyn Lab,
    exercise: Result<&dyn Exercise, String>,
    options: &Options,
) -> anyhow::Result<LabVerdict> {
    let mut verdict = LabVerdict { lab: lab.id(), ..LabVerdict::default() };
    if let Err(why) = audit(lab) {
        verdict.problem("manifest", why);
        return Ok(verdict);
    }
    for why in ids::missing(&options.clone, lab) {
        verdict.problem("ids", why);
    }
    if let Err(why) = &exercise {
        verdict.problem("exercise", why.clone());
    }
    let exercise = exercise.ok();
    let variants =
        options.topologies.iter().map(|topology| part(options, on(*topology, lab, exercise, options)));
    let texts = part(options, async {
        let mut verdict = LabVerdict::default();
        steps::prove(lab, options, &mut verdict).await?;
        lesson::run(lab, options, &mut verdict).await?;
        Ok(verdict)
    });
    let (variants, texts) = futures_util::try_join!(try_join_all(variants), texts)?;
    for part in variants.into_iter().chain([texts]) {
        verdict.add(part);
    }
    Ok(verdict)
}

/// Runs a part of a lab when it is its turn, and says how long it took from then on.
async fn part(
    options: &Options,
    work: impl Future<Output = anyhow::Result<LabVerdict>>,
) -> anyhow::Result<LabVerdict> {
    let _turn = options.turns.acquire().await?;
    let began = Instant::now();
    let verdict = Box::pin(work).await?;
    Ok(LabVerdict { took_s: began.elapsed().as_secs_f64(), ..verdict })
}

/// Everything about variants on one topology.
async fn on(
    topology: Topology,
    lab: &'static dyn Lab,
    exercise: Option<&dyn Exercise>,
    options: &Options,
) -> anyhow::Result<LabVerdict> {
    let mut verdict = LabVerdict::default();
    let managed = Managed::start_async(topology, &options.server, &ServerOptions::steady()).await?;
    let redis = Redis::connect(&RedisConfig::new(topology, managed.addrs())).await?;
    let env = Env { redis, seed: options.seed, server: Some(options.server.clone()) };
    let masters = env.redis.primaries().await?;
    let reports = variants::run(lab, &env, options.seeds, &mut verdict).await;
    let unfinished = variants::run_exercise(lab, exercise, &env, &managed.addrs(), &mut verdict).await;
    if topology == options.topologies[0] {
        hints::prove(lab, &reports, unfinished.as_ref(), &mut verdict);
    }
    let now = env.redis.primaries().await?;
    if now != masters {
        let change = format!("{} became {}", masters.join(" "), now.join(" "));
        verdict.problem("servers", format!("on {topology} the masters changed during the checks: {change}"));
    }
    keys::look(&env.redis, &mut verdict).await?;
    managed.stop();
    Ok(verdict)
}
