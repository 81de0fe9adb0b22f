//! What a lab is: a lesson, a manifest, variants behind one port, checks, experiments.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::LabResult;
use crate::check::{CheckReport, Outcome, Verdict};
use crate::lua::{Call, Script};
use crate::redis::Redis;

mod manifest;

pub use manifest::{Expect, Hint, Manifest, Prediction, Step};

/// A lab, as the command line and the author's gate see it. Its port stays inside.
#[async_trait]
pub trait Lab: Send + Sync {
    /// A stable name, as typed: `sessions`.
    fn id(&self) -> &'static str;

    /// A short title.
    fn title(&self) -> &'static str;

    /// What the lab is about, in one sentence.
    fn summary(&self) -> &'static str;

    /// The lesson, in Markdown.
    fn lesson(&self) -> &'static str;

    /// The text of `lab.toml`; [`Manifest::parse`] reads it.
    fn manifest_text(&self) -> &'static str;

    /// All variants, the reference first.
    fn variants(&self) -> &'static [Variant];

    /// The names of the checks and what each states, in the order of reports.
    fn predicates(&self) -> Vec<(&'static str, &'static str)>;

    /// All scripts of all variants.
    fn scripts(&self) -> Vec<&'static Script>;

    /// A call of each script, with keys as a variant makes them.
    fn sample_calls(&self) -> Vec<Call>;

    /// Runs all checks on one variant. `None` for a name that is no variant, or the exercise in a build without it.
    async fn check(&self, variant: &str, env: &Env) -> Option<CheckReport>;

    /// What can be measured here.
    fn experiments(&self) -> &'static [Experiment];

    /// Runs one experiment. `None` for a name that is none.
    async fn experiment(&self, name: &str, env: &Env) -> Option<LabResult<Findings>>;

    /// The variant of that name.
    fn variant(&self, name: &str) -> Option<&'static Variant> {
        self.variants().iter().find(|variant| variant.name == name)
    }

    /// The manifest.
    ///
    /// # Errors
    /// What is wrong with `lab.toml`, with its line.
    fn manifest(&self) -> Result<Manifest, String> {
        Manifest::parse(self.manifest_text())
    }
}

/// Where a check or an experiment runs.
#[derive(Debug, Clone)]
pub struct Env {
    /// A private server or cluster.
    pub redis: Redis,
    /// Gives the same plans again.
    pub seed: u64,
}

/// One implementation of a lab's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// A stable name, after the structure: `hash_index`.
    pub name: &'static str,
    /// Its structures and its point, in a few words.
    pub summary: &'static str,
    /// What is expected of it.
    pub kind: VariantKind,
    /// What not every server has, if it needs that.
    pub needs: Option<Needs>,
}

/// What is expected of a variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariantKind {
    /// The server runs it. Passes every check.
    Reference,
    /// Passes every check with another structure.
    Alternative,
    /// Broken on purpose.
    Flawed {
        /// The check that catches it, and must.
        caught_by: &'static str,
    },
    /// The learner's.
    Exercise,
}

impl VariantKind {
    /// As lists show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Alternative => "alternative",
            Self::Flawed { .. } => "flawed",
            Self::Exercise => "exercise",
        }
    }
}

impl fmt::Display for VariantKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A command that not every supported server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// The command.
    pub command: &'static str,
    /// Where it appeared, such as `Redis 7.4`.
    pub since: &'static str,
}

impl Needs {
    /// Whether the server behind `redis` has the command, asked of the server.
    ///
    /// # Errors
    /// When no node answers.
    pub async fn met(&self, redis: &Redis) -> LabResult<bool> {
        for (_, mut node) in redis.each_node().await? {
            let reply: redis::Value =
                redis::cmd("COMMAND").arg("INFO").arg(self.command).query_async(&mut node).await?;
            let known =
                matches!(&reply, redis::Value::Array(rows) if rows.iter().any(|r| *r != redis::Value::Nil));
            if !known {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.command, self.since)
    }
}

impl Variant {
    /// Whether `report` is what this variant is meant to show; if not, why.
    ///
    /// # Errors
    /// What differs from the declaration.
    pub fn as_declared(&self, report: &CheckReport) -> Result<(), String> {
        let named = |verdict| {
            let names: Vec<_> = report
                .outcomes
                .iter()
                .filter(|o| o.verdict == verdict)
                .map(|o| o.predicate.as_str())
                .collect();
            names.join(", ")
        };
        match (self.kind, report.verdict()) {
            (_, Verdict::Skipped) if self.needs.is_some() => Ok(()),
            (VariantKind::Reference | VariantKind::Alternative, Verdict::Pass) => Ok(()),
            (VariantKind::Reference | VariantKind::Alternative, other) => {
                Err(format!("must pass, but: {other} ({})", named(other)))
            }
            (VariantKind::Flawed { caught_by }, _) => match report.outcome(caught_by).map(|o| o.verdict) {
                Some(Verdict::Fail) => Ok(()),
                Some(other) => Err(format!("must fail by {caught_by}, which says {other}")),
                None => Err(format!("must fail by {caught_by}, which did not run")),
            },
            (VariantKind::Exercise, Verdict::Pass | Verdict::Fail) => Ok(()),
            (VariantKind::Exercise, other) => Err(format!("{other} ({})", named(other))),
        }
    }

    /// The report of a variant that this server cannot run.
    pub fn skipped(&self, lab: &dyn Lab, env: &Env, reason: &str) -> CheckReport {
        let outcomes = lab.predicates().into_iter().map(|(predicate, states)| Outcome {
            predicate: predicate.to_owned(),
            states: states.to_owned(),
            verdict: Verdict::Skipped,
            reason: reason.to_owned(),
            seed: env.seed,
            counterexample: Vec::new(),
            commands: Vec::new(),
            took_ms: 0,
        });
        CheckReport {
            lab: lab.id().to_owned(),
            variant: self.name.to_owned(),
            topology: env.redis.topology(),
            seed: env.seed,
            outcomes: outcomes.collect(),
        }
    }
}

/// Something to predict, run and explain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Experiment {
    /// A stable name: `memory`.
    pub name: &'static str,
    /// What to guess before it runs.
    pub question: &'static str,
    /// What the numbers mean.
    pub explanation: &'static str,
}

/// What an experiment measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// The unit of the numbers, such as `bytes a session`.
    pub unit: String,
    /// The heads of the columns of numbers.
    pub columns: Vec<String>,
    /// A name and one number a column.
    pub rows: Vec<(String, Vec<f64>)>,
    /// What could not be measured, and why.
    pub notes: Vec<String>,
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<18}", self.unit)?;
        for column in &self.columns {
            write!(f, " {column:>14}")?;
        }
        writeln!(f)?;
        for (name, numbers) in &self.rows {
            write!(f, "{name:<18}")?;
            for number in numbers {
                write!(f, " {number:>14.0}")?;
            }
            writeln!(f)?;
        }
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        Ok(())
    }
}

/// What every lab must satisfy, whatever it is about; for each lab's tests.
///
/// # Errors
/// The first thing that is wrong.
pub fn audit(lab: &dyn Lab) -> Result<(), String> {
    let manifest = lab.manifest()?;
    if manifest.id != lab.id() || manifest.title != lab.title() {
        return Err("lab.toml and the code disagree on id or title".into());
    }
    let predicates = lab.predicates();
    let is_predicate = |name: &str| predicates.iter().any(|(known, _)| *known == name);
    if let Some(hint) = manifest.hints.iter().find(|hint| !is_predicate(&hint.when_fails)) {
        return Err(format!("a hint waits for `{}`, which is no predicate", hint.when_fails));
    }
    for prediction in &manifest.predictions {
        if !lab.experiments().iter().any(|experiment| experiment.name == prediction.experiment) {
            return Err(format!("prediction `{}` names no experiment", prediction.id));
        }
    }
    let count = |kind: fn(VariantKind) -> bool| lab.variants().iter().filter(|v| kind(v.kind)).count();
    if count(|kind| kind == VariantKind::Reference) != 1 || count(|kind| kind == VariantKind::Exercise) != 1 {
        return Err("a lab has one reference and one exercise".into());
    }
    for variant in lab.variants() {
        if let VariantKind::Flawed { caught_by } = variant.kind
            && !is_predicate(caught_by)
        {
            return Err(format!("`{}` is caught by `{caught_by}`, which is no predicate", variant.name));
        }
        if !lab.lesson().contains(variant.name) && variant.kind != VariantKind::Exercise {
            return Err(format!("the lesson never mentions `{}`", variant.name));
        }
    }
    for script in lab.scripts() {
        script.verify()?;
    }
    let calls = lab.sample_calls();
    if calls.len() != lab.scripts().len() {
        return Err(format!("{} scripts, but {} sample calls", lab.scripts().len(), calls.len()));
    }
    match calls.iter().find(|call| !call.one_slot()) {
        Some(call) => Err(format!("keys in different slots: {:?}", call.keys())),
        None => Ok(()),
    }
}
