//! `lab.toml`: a lab's console steps, predictions and hints.

use serde::Deserialize;

use super::{Drive, Expect};

/// `lab.toml`. Unknown fields are errors: a typing mistake must not silently drop a hint.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The lab's id; never changes, progress is kept by it.
    pub id: String,
    /// The lab's title.
    pub title: String,
    /// The ids of labs to do before.
    #[serde(default)]
    pub prerequisites: Vec<String>,
    /// What to guess before an experiment.
    #[serde(default)]
    pub predictions: Vec<Prediction>,
    /// What each instance of the console track draws anew.
    #[serde(default)]
    pub choices: Vec<Choice>,
    /// The console track, as a template: `${name}` still stands in it. [`instance`](crate::steps::instance) draws one.
    pub steps: Vec<Step>,
    /// The code track's hints.
    #[serde(default)]
    pub hints: Vec<Hint>,
    /// What all this was read from; [`instance`](crate::steps::instance) fills in its choices.
    #[serde(skip)]
    source: String,
}

/// A question to answer before an experiment runs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prediction {
    /// Stable within the lab.
    pub id: String,
    /// The experiment that answers it.
    pub experiment: String,
    /// The question.
    pub question: String,
    /// The choices.
    pub options: Vec<String>,
    /// Why it comes out as it does.
    pub why: String,
}

/// A name whose value each instance of the lab draws anew: `${user}` in a step stands for it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The name, without `${}`.
    pub name: String,
    /// One of these, or …
    #[serde(default)]
    pub one_of: Vec<String>,
    /// … a whole number from the first to the second.
    pub between: Option<(i64, i64)>,
}

/// One step of the console track.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Stable within the lab.
    pub id: String,
    /// What to reach, not how.
    pub goal: String,
    /// Sent before the step begins, unseen by the learner's trace. A step stands by itself on these: it does not need the
    /// learner's earlier steps.
    #[serde(default)]
    pub setup: Vec<String>,
    /// What happens around the learner during the step, in order.
    #[serde(default)]
    pub drive: Vec<Drive>,
    /// Whether the step needs a cluster.
    #[serde(default)]
    pub cluster: bool,
    /// What must be so then, in the server and in the trace.
    pub expect: Vec<Expect>,
    /// One way to do it, as typed into redis-cli. A line `@2 GET k` is typed into a second connection.
    pub solution: Vec<String>,
    /// From a nudge to nearly the answer.
    pub hints: Vec<String>,
    /// Wrong attempts that are recognised.
    #[serde(default)]
    pub mistakes: Vec<Mistake>,
    /// Shown when the step is done: what it was good for.
    #[serde(default)]
    pub learnt: String,
}

/// A wrong attempt at a step, and the hint that fits it better than the step's own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mistake {
    /// All of these hold when it was made.
    pub when: Vec<Expect>,
    /// What to say.
    pub say: String,
    /// An attempt that makes it, as typed; the author's gate tries it.
    pub attempt: Vec<String>,
}

/// A hint of the code track, shown when a predicate fails. Of those that fit, the one with the most conditions is shown.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hint {
    /// The failing predicate that it fits.
    pub when_fails: String,
    /// Each of these occurs in a command of the shortest history that fails.
    #[serde(default)]
    pub sent: Vec<String>,
    /// None of these does.
    #[serde(default)]
    pub not_sent: Vec<String>,
    /// The variant that makes the mistake which this hint names: `exercise` (unfinished) or a flawed one. The author's gate
    /// runs it and looks whether this hint is shown.
    pub shown_by: String,
    /// From a nudge to nearly the answer.
    pub layers: Vec<String>,
}

impl Manifest {
    /// Reads `lab.toml` and checks that ids are there once, that nothing is empty, that every `${name}` is a choice, and that
    /// every line that is typed has its quotes in order.
    ///
    /// # Errors
    /// What is wrong, with the line where the parser knows it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut manifest: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        text.clone_into(&mut manifest.source);
        let mut seen = std::collections::HashSet::new();
        let ids = manifest.steps.iter().map(|s| &s.id).chain(manifest.predictions.iter().map(|p| &p.id));
        for id in ids {
            if !seen.insert(id) {
                return Err(format!("the id `{id}` is used twice"));
            }
        }
        for choice in &manifest.choices {
            if choice.one_of.is_empty() == choice.between.is_none() {
                return Err(format!("the choice `{}` needs either `one_of` or `between`", choice.name));
            }
        }
        for step in &manifest.steps {
            manifest.check(step)?;
        }
        Ok(manifest)
    }

    fn check(&self, step: &Step) -> Result<(), String> {
        let id = &step.id;
        if step.expect.is_empty() || step.hints.is_empty() || step.solution.is_empty() {
            return Err(format!("step `{id}` lacks an expectation, a hint or a solution"));
        }
        if step.mistakes.iter().any(|m| m.when.is_empty() || m.say.is_empty() || m.attempt.is_empty()) {
            return Err(format!("step `{id}` has a mistake without `when`, `say` or `attempt`"));
        }
        let run = step.drive.iter().filter_map(|drive| match drive {
            Drive::Run { commands } => Some(commands),
            _ => None,
        });
        let typed = step.mistakes.iter().map(|mistake| &mistake.attempt).chain(run);
        for line in typed.chain([&step.setup, &step.solution]).flatten() {
            let words = crate::steps::words(line).map_err(|why| format!("step `{id}`: `{line}`: {why}"))?;
            if words.is_empty() {
                return Err(format!("step `{id}` has an empty line to type"));
            }
        }
        let template = self.template(id).ok_or_else(|| format!("step `{id}` is not in its own text"))?;
        if let Some(name) = crate::steps::unknown_name(&template, &self.choices) {
            return Err(format!("step `{id}` uses ${{{name}}}, which is no choice"));
        }
        match crate::steps::instance(self, id, 0) {
            Some(_) => Ok(()),
            None => Err(format!("step `{id}` is wrong once its choices are drawn: a number out of range?")),
        }
    }

    /// The text of a step as it was read.
    pub(crate) fn template(&self, step: &str) -> Option<toml::Value> {
        let table: toml::Table = self.source.parse().ok()?;
        let steps = table.get("steps")?.as_array()?;
        steps.iter().find(|known| known.get("id").and_then(toml::Value::as_str) == Some(step)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_field_of_a_manifest_is_an_error() {
        let good = "id = 'x'\ntitle = 'X'\n[[steps]]\nid = 'a'\ngoal = 'g'\nhints = ['h']\nsolution = ['PING']\n\
                    expect = [{ predicate = 'sent', verb = 'PING' }]\n";
        Manifest::parse(good).unwrap();
        let error = Manifest::parse(&good.replace("goal", "gaol")).unwrap_err();
        assert!(error.contains("gaol"), "{error}");
        assert!(Manifest::parse(&good.replace("['h']", "[]")).unwrap_err().contains("lacks"));
    }
}
