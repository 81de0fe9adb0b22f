//! What is remembered of a learner's way through the labs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::now_ms;

/// The version of the file that this build reads and writes. A newer file is refused, an older one migrated.
pub const VERSION: u32 = 1;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// [`VERSION`] when it was written.
    pub version: u32,
    /// By lab id. Labs that this build does not know stay as they are.
    #[serde(default)]
    pub labs: BTreeMap<String, LabProgress>,
    /// What this build does not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { version: VERSION, labs: BTreeMap::new(), other: BTreeMap::new() }
    }
}

/// What was done in one lab. Ids are those of `lab.toml` and never change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LabProgress {
    /// When the lesson was first read, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_ms: Option<u64>,
    /// The console steps that were passed.
    pub steps: BTreeMap<String, StepDone>,
    /// The console step that is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_step: Option<String>,
    /// The seed of the console's names and numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The exercise.
    pub code: CodeTrack,
    /// How many layers of a hint were shown: by step id, or by `code:PREDICATE`.
    pub hints: BTreeMap<String, usize>,
    /// Solutions that were looked at before a pass: step ids, or `code`; when, in milliseconds since 1970.
    pub surrendered: BTreeMap<String, u64>,
    /// The experiments that were run; when last, in milliseconds since 1970.
    pub experiments: BTreeMap<String, u64>,
    /// The guesses, by prediction id.
    pub predictions: BTreeMap<String, Guess>,
    /// What this build does not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// A console step that was passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StepDone {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// How many commands it took.
    pub commands: u64,
    /// In how many round trips.
    pub round_trips: u64,
}

/// The code track of a lab.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CodeTrack {
    /// How often the exercise was checked.
    pub checks: u64,
    /// When it first passed, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed_ms: Option<u64>,
    /// The check that failed last; none after a pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing: Option<Failing>,
}

/// A check that failed, and the hint that fits it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failing {
    /// The predicate.
    pub predicate: String,
    /// What was seen.
    pub reason: String,
    /// The layers of the hint that fits, from a nudge to nearly the answer.
    pub layers: Vec<String>,
}

/// An answer to a prediction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guess {
    /// The option as it read then.
    pub option: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

impl Progress {
    /// What was done in a lab; nothing yet when it was never begun.
    pub fn lab(&self, id: &str) -> LabProgress {
        self.labs.get(id).cloned().unwrap_or_default()
    }

    /// The same, to change it.
    pub fn lab_mut(&mut self, id: &str) -> &mut LabProgress {
        self.labs.entry(id.to_owned()).or_default()
    }
}

impl LabProgress {
    /// Notes that the lesson was read.
    pub fn read(&mut self) {
        self.read_ms.get_or_insert_with(now_ms);
    }

    /// Notes that a console step was passed; the fewest commands count.
    pub fn passed_step(&mut self, id: &str, commands: u64, round_trips: u64) {
        let done = StepDone { at_ms: now_ms(), commands, round_trips };
        let best = self.steps.entry(id.to_owned()).or_insert(done);
        if (done.commands, done.round_trips) < (best.commands, best.round_trips) {
            *best = StepDone { at_ms: best.at_ms, ..done };
        }
        if self.at_step.as_deref() == Some(id) {
            self.at_step = None;
        }
    }

    /// Notes that the exercise was checked, and what failed.
    pub fn checked(&mut self, failing: Option<Failing>) {
        self.code.checks += 1;
        if failing.is_none() {
            self.code.passed_ms.get_or_insert_with(now_ms);
        }
        // Another failure begins again at the first layer of its hint.
        if let (Some(old), new) = (&self.code.failing, &failing)
            && new.as_ref().map(|n| &n.layers) != Some(&old.layers)
        {
            let key = code_hint(&old.predicate);
            self.hints.remove(&key);
        }
        self.code.failing = failing;
    }

    /// Notes that an experiment was run.
    pub fn ran(&mut self, experiment: &str) {
        self.experiments.insert(experiment.to_owned(), now_ms());
    }

    /// Notes that a solution was looked at before a pass.
    pub fn surrender(&mut self, what: &str) {
        self.surrendered.entry(what.to_owned()).or_insert_with(now_ms);
    }

    /// Forgets the console track: steps, position, seed, and its hints.
    pub fn reset_console(&mut self) {
        self.steps.clear();
        self.at_step = None;
        self.seed = None;
        self.hints.retain(|key, _| key.starts_with(CODE_HINT));
        self.surrendered.retain(|key, _| key == CODE);
    }
}

/// The code track, among the surrendered.
pub const CODE: &str = "code";
const CODE_HINT: &str = "code:";

/// The key in [`LabProgress::hints`] of a predicate's hint.
pub fn code_hint(predicate: &str) -> String {
    format!("{CODE_HINT}{predicate}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_build_does_not_know_stays_in_the_file() {
        let text = r#"{"version":1,"later":[1],"labs":{"gone":{"badge":"x","steps":{"a":{"at_ms":1}}}}}"#;
        let progress: Progress = serde_json::from_str(text).unwrap();
        let again = serde_json::to_string(&progress).unwrap();
        assert!(again.contains("\"later\":[1]") && again.contains("\"badge\":\"x\""), "{again}");
        assert_eq!(progress.lab("gone").steps["a"].at_ms, 1);
    }

    #[test]
    fn a_step_passed_again_keeps_its_best_costs() {
        let mut lab = LabProgress { at_step: Some("a".into()), ..LabProgress::default() };
        lab.passed_step("a", 5, 5);
        lab.passed_step("a", 2, 2);
        lab.passed_step("a", 9, 9);
        assert_eq!((lab.steps["a"].commands, lab.at_step), (2, None));
    }

    #[test]
    fn another_failure_begins_with_the_first_layer() {
        let failing =
            |layer: &str| Failing { predicate: "p".into(), layers: vec![layer.into()], ..Failing::default() };
        let mut lab = LabProgress::default();
        lab.checked(Some(failing("one")));
        lab.hints.insert(code_hint("p"), 2);
        lab.checked(Some(failing("one")));
        assert_eq!(lab.hints[&code_hint("p")], 2);
        lab.checked(Some(failing("other")));
        assert!(lab.hints.is_empty());
        lab.checked(None);
        assert!(lab.code.passed_ms.is_some() && lab.code.failing.is_none() && lab.code.checks == 4);
    }
}
