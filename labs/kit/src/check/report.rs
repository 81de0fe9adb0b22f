//! What came out of a check.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::servers::Topology;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The invariant held in every history that proves something.
    Pass,
    /// A history broke the invariant.
    Fail,
    /// The checker or the machine failed; nothing is known about the variant.
    Error,
    /// The fault or the race never really happened, or the machine was too slow to tell.
    Inconclusive,
    /// The server lacks what the variant needs.
    Skipped,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Error => "error",
            Self::Inconclusive => "inconclusive",
            Self::Skipped => "skipped",
        })
    }
}

/// One predicate on one variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The predicate's stable name.
    pub predicate: String,
    /// The invariant in one sentence.
    pub states: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What was seen that should not have been, or why there is no verdict; empty after a pass.
    pub reason: String,
    /// The seed that gives the same histories again.
    pub seed: u64,
    /// The shortest history found that breaks the invariant, a step a line.
    pub counterexample: Vec<String>,
    /// The commands that this history sent, a command a line.
    pub commands: Vec<String>,
    /// How long the check took, in milliseconds.
    pub took_ms: u64,
}

/// All predicates on one variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The lab's id.
    pub lab: String,
    /// The variant's name.
    pub variant: String,
    /// Where it ran.
    pub topology: Topology,
    /// The seed that gives the same report again.
    pub seed: u64,
    /// One entry a predicate, in the lab's order.
    pub outcomes: Vec<Outcome>,
}

impl CheckReport {
    /// The worst news first: fail, error, inconclusive, pass; skipped when everything was.
    pub fn verdict(&self) -> Verdict {
        [Verdict::Fail, Verdict::Error, Verdict::Inconclusive, Verdict::Pass]
            .into_iter()
            .find(|verdict| self.outcomes.iter().any(|outcome| outcome.verdict == *verdict))
            .unwrap_or(Verdict::Skipped)
    }

    /// The outcomes that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Fail)
    }

    /// The outcome of one predicate.
    pub fn outcome(&self, predicate: &str) -> Option<&Outcome> {
        self.outcomes.iter().find(|outcome| outcome.predicate == predicate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdicts: &[Verdict]) -> CheckReport {
        let outcomes = verdicts.iter().map(|verdict| Outcome {
            predicate: "p".into(),
            states: "s".into(),
            verdict: *verdict,
            reason: String::new(),
            seed: 1,
            counterexample: vec![],
            commands: vec![],
            took_ms: 0,
        });
        CheckReport {
            lab: "l".into(),
            variant: "v".into(),
            topology: Topology::Single,
            seed: 1,
            outcomes: outcomes.collect(),
        }
    }

    #[test]
    fn the_worst_news_decides() {
        use Verdict::{Error, Fail, Inconclusive, Pass, Skipped};
        assert_eq!(report(&[Pass, Inconclusive, Fail, Error]).verdict(), Fail);
        assert_eq!(report(&[Pass, Inconclusive, Error]).verdict(), Error);
        assert_eq!(report(&[Pass, Inconclusive]).verdict(), Inconclusive);
        assert_eq!(report(&[Pass, Skipped]).verdict(), Pass);
        assert_eq!(report(&[Skipped]).verdict(), Skipped);
    }
}
