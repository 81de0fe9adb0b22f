//! `lab.toml`: a lab's console steps, predictions and hints.

use serde::Deserialize;

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
    /// The console track.
    pub steps: Vec<Step>,
    /// The code track's hints.
    #[serde(default)]
    pub hints: Vec<Hint>,
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

/// One step of the console track.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Stable within the lab.
    pub id: String,
    /// What to reach, not how.
    pub goal: String,
    /// What must be so then, in the server and in the trace.
    pub expect: Vec<Expect>,
    /// One way to do it, as typed into redis-cli.
    pub solution: Vec<String>,
    /// From a nudge to nearly the answer.
    pub hints: Vec<String>,
}

/// A predicate of a console step.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "predicate", rename_all = "snake_case", deny_unknown_fields)]
pub enum Expect {
    /// The key exists and has this type.
    Type {
        /// The key.
        key: String,
        /// As `TYPE` answers.
        is: String,
    },
    /// The key does not exist.
    Absent {
        /// The key.
        key: String,
    },
    /// The key expires within these bounds.
    Ttl {
        /// The key.
        key: String,
        /// At least, in milliseconds.
        min_ms: u64,
        /// At most, in milliseconds.
        max_ms: u64,
    },
    /// The hash has this field.
    Field {
        /// The hash.
        key: String,
        /// The field.
        field: String,
    },
    /// The sorted set or the set has this many members.
    Members {
        /// The set.
        key: String,
        /// How many.
        count: u64,
    },
    /// A command with this verb was sent in this step.
    Sent {
        /// The verb, in capitals.
        verb: String,
    },
    /// No command with this verb was sent in this step.
    NotSent {
        /// The verb, in capitals.
        verb: String,
    },
}

/// A hint of the code track, shown when a predicate fails.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hint {
    /// The failing predicate that it fits.
    pub when_fails: String,
    /// From a nudge to nearly the answer.
    pub layers: Vec<String>,
}

impl Manifest {
    /// Reads `lab.toml` and checks that ids are there once and nothing is empty.
    ///
    /// # Errors
    /// What is wrong, with the line where the parser knows it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let manifest: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        let mut seen = std::collections::HashSet::new();
        let ids = manifest.steps.iter().map(|s| &s.id).chain(manifest.predictions.iter().map(|p| &p.id));
        for id in ids {
            if !seen.insert(id) {
                return Err(format!("the id `{id}` is used twice"));
            }
        }
        for step in &manifest.steps {
            if step.expect.is_empty() || step.hints.is_empty() || step.solution.is_empty() {
                return Err(format!("step `{}` lacks an expectation, a hint or a solution", step.id));
            }
        }
        Ok(manifest)
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
