//! Each variant is as declared, whatever the seed.

use std::collections::BTreeMap;

use chatlab_kit::check::{CheckReport, Verdict};
use chatlab_kit::lab::{Env, Lab, Variant, VariantKind};
use chatlab_kit::servers::Topology;
use futures_util::{StreamExt, stream};
use serde::Serialize;

use super::{Exercise, LabVerdict};

/// Checks that run at a time. Most of a check's time is waiting for expiries.
const AT_ONCE: usize = 6;

/// One variant on one topology over all seeds.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The variant.
    pub variant: &'static str,
    /// What it is declared to be.
    pub kind: &'static str,
    /// Where it ran.
    pub topology: Topology,
    /// How many seeds it was run with.
    pub seeds: u64,
    /// In how many of them it was as declared.
    pub as_declared: u64,
    /// Of a flawed one: the declared predicate.
    pub caught_by: Option<&'static str>,
    /// Why it was not run.
    pub skipped: Option<String>,
}

/// Runs every variant but the exercise with `seeds` consecutive seeds. Returns the first report of each.
pub(super) async fn run(
    lab: &'static dyn Lab,
    env: &Env,
    seeds: u64,
    verdict: &mut LabVerdict,
) -> BTreeMap<&'static str, CheckReport> {
    let jobs: Vec<(&'static Variant, u64)> = lab
        .variants()
        .iter()
        .filter(|variant| variant.kind != VariantKind::Exercise)
        .flat_map(|variant| (0..seeds).map(move |i| (variant, env.seed.wrapping_add(i))))
        .collect();
    let mut runs: Vec<(usize, Option<CheckReport>)> = stream::iter(jobs.iter().copied().enumerate())
        .map(|(i, (variant, seed))| {
            let env = Env { seed, ..env.clone() };
            // A task of its own, so that both cores are used. A panic in a checker is a problem, not the end of the gate.
            let task = tokio::spawn(async move { lab.check(variant.name, &env).await });
            async move { (i, task.await.ok().flatten()) }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    runs.sort_by_key(|(i, _)| *i);
    let mut first = BTreeMap::new();
    for ((variant, seed), (_, report)) in jobs.iter().zip(runs) {
        let Some(report) = report else {
            verdict.problem("variants", format!("{}: the check of seed {seed} panicked", variant.name));
            continue;
        };
        note(variant, &report, env, seeds, verdict);
        first.entry(variant.name).or_insert(report);
    }
    first
}

fn note(variant: &'static Variant, report: &CheckReport, env: &Env, seeds: u64, verdict: &mut LabVerdict) {
    verdict.checks += report.outcomes.len();
    let topology = env.redis.topology();
    let known =
        verdict.variants.iter().position(|row| row.variant == variant.name && row.topology == topology);
    let i = known.unwrap_or_else(|| {
        verdict.variants.push(Row {
            variant: variant.name,
            kind: variant.kind.as_str(),
            topology,
            seeds,
            as_declared: 0,
            caught_by: match variant.kind {
                VariantKind::Flawed { caught_by } => Some(caught_by),
                _ => None,
            },
            skipped: None,
        });
        verdict.variants.len() - 1
    });
    match variant.as_declared(report) {
        Ok(()) => verdict.variants[i].as_declared += 1,
        Err(why) => {
            let what = format!("{} on {topology}, seed {}: {why}", variant.name, report.seed);
            let detail = report
                .outcomes
                .iter()
                .find(|outcome| !matches!(outcome.verdict, Verdict::Pass | Verdict::Skipped))
                .map(|outcome| format!("; {}: {}", outcome.predicate, outcome.reason));
            verdict.problem("variants", what + &detail.unwrap_or_default());
        }
    }
    if report.verdict() == Verdict::Skipped {
        verdict.variants[i].skipped = report.outcomes.first().map(|outcome| outcome.reason.clone());
    }
}

/// Runs the exercise once: as shipped it passes no check that is about what it does.
pub(super) async fn run_exercise(
    lab: &'static dyn Lab,
    exercise: Option<&dyn Exercise>,
    env: &Env,
    nodes: &[String],
    verdict: &mut LabVerdict,
) -> Option<CheckReport> {
    let exercise = exercise?;
    if !exercise.unfinished() {
        verdict.problem("exercise", "it is finished in this clone: the gate wants it as it ships");
        return None;
    }
    let report = match exercise.check(env, nodes).await {
        Ok(report) => report,
        Err(why) => {
            verdict.problem("exercise", format!("{why:#}"));
            return None;
        }
    };
    verdict.checks += report.outcomes.len();
    let topology = env.redis.topology();
    for outcome in report.outcomes.iter().filter(|outcome| outcome.verdict != Verdict::Fail) {
        let what = format!("unfinished on {topology}, and {} says {}", outcome.predicate, outcome.verdict);
        verdict.problem("exercise", what);
    }
    let failed = report.failures().count();
    verdict.variants.push(Row {
        variant: "exercise",
        kind: VariantKind::Exercise.as_str(),
        topology,
        seeds: 1,
        as_declared: u64::from(failed == lab.predicates().len()),
        caught_by: None,
        skipped: None,
    });
    Some(report)
}
