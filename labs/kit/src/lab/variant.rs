//! The variants of a lab: what is expected of each, what it needs.

use std::fmt;

use super::{Env, Lab};
use crate::LabResult;
use crate::check::{Check, CheckReport, Factory, Outcome, Target, Verdict, run_checks};
use crate::redis::Redis;

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

/// Runs `checks` on the lab's variant `name`, which `make` builds; skipped with a reason where the server lacks what the
/// variant needs. `None` for a name that is no variant of the lab.
pub async fn check_variant<P: ?Sized + Send + Sync>(
    lab: &dyn Lab,
    name: &str,
    env: &Env,
    checks: &[Check<P>],
    make: Factory<P>,
) -> Option<CheckReport> {
    let variant = lab.variant(name)?;
    if let Some(needs) = variant.needs {
        match needs.met(&env.redis).await {
            Ok(true) => {}
            Ok(false) => return Some(variant.skipped(lab, env, &format!("this server lacks {needs}"))),
            Err(error) => {
                let reason = format!("the server does not say whether it has {needs}: {error}");
                return Some(variant.skipped(lab, env, &reason));
            }
        }
    }
    let target = Target { redis: env.redis.clone(), make, scripts: lab.scripts() };
    Some(CheckReport {
        lab: lab.id().to_owned(),
        variant: variant.name.to_owned(),
        topology: env.redis.topology(),
        seed: env.seed,
        outcomes: run_checks(checks, &target, env.seed).await,
    })
}
