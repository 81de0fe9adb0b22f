//! What one run of a history stands on: the variant's clients and a model of them, and what comes out of it.

use async_trait::async_trait;

use super::property::Finding;
use crate::{LabError, LabResult};

/// Why a history ends before its last step.
#[derive(Debug)]
pub enum Stop {
    /// The variant answered with an error, or the machine was too slow to judge it.
    Variant(Finding),
    /// The checker or the machine failed.
    Checker(LabError),
}

impl Stop {
    /// What it means that `operation` answered with `error`, without any fault being injected.
    pub fn of(operation: &str, error: LabError) -> Self {
        Finding::of_error(operation, error).map_or_else(Self::Checker, Self::Variant)
    }
}

impl From<LabError> for Stop {
    fn from(error: LabError) -> Self {
        Self::Checker(error)
    }
}

/// What `operation` answered.
///
/// # Errors
/// An error ends the history: [`Stop::of`].
pub fn answered<T>(operation: &str, answer: LabResult<T>) -> Result<T, Stop> {
    answer.map_err(|error| Stop::of(operation, error))
}

/// Something that a history put to the test; the error says what was seen instead.
pub type Fact<T> = (T, Result<(), String>);

/// What a world writes down while a history runs. `T` is what facts are about; each invariant judges by some of these topics.
#[derive(Debug, Clone)]
pub struct Record<T> {
    /// What was put to the test, in order.
    pub facts: Vec<Fact<T>>,
    /// Why nothing is proved about a topic, even where no fact is broken.
    pub doubts: Vec<(T, String)>,
    /// Crashes and races that really happened.
    pub faults: u32,
    /// What happened, a step a line.
    pub lines: Vec<String>,
    began_ms: u64,
}

impl<T> Default for Record<T> {
    fn default() -> Self {
        Self::since(0)
    }
}

impl<T> Record<T> {
    /// The record of a history that began at this reading of the server's clock, in milliseconds.
    pub fn since(began_ms: u64) -> Self {
        Self { facts: Vec::new(), doubts: Vec::new(), faults: 0, lines: Vec::new(), began_ms }
    }

    /// Something was put to the test.
    pub fn fact(&mut self, topic: T, held: Result<(), String>) {
        self.facts.push((topic, held));
    }

    /// What is known of `topic` proves nothing.
    pub fn doubt(&mut self, topic: T, why: impl Into<String>) {
        self.doubts.push((topic, why.into()));
    }

    /// Something happened.
    pub fn line(&mut self, what: impl Into<String>) {
        self.lines.push(what.into());
    }

    /// Something happened at this reading of the server's clock, in milliseconds.
    pub fn line_at(&mut self, at_ms: u64, what: &str) {
        self.lines.push(format!("{:>5} ms  {what}", at_ms.saturating_sub(self.began_ms)));
    }
}

impl<T: PartialEq> Record<T> {
    /// The first broken fact about one of `topics`.
    pub(super) fn broken(&self, topics: &[T]) -> Option<&str> {
        let mut about = self.facts.iter().filter(|(topic, _)| topics.contains(topic));
        about.find_map(|(_, held)| held.as_ref().err().map(String::as_str))
    }

    /// The first doubt about one of `topics`.
    pub(super) fn doubted(&self, topics: &[T]) -> Option<&str> {
        self.doubts.iter().find(|(topic, _)| topics.contains(topic)).map(|(_, why)| why.as_str())
    }

    /// Whether anything was put to the test about one of `topics`.
    pub(super) fn tested(&self, topics: &[T]) -> bool {
        self.facts.iter().any(|(topic, _)| topics.contains(topic))
    }
}

/// One run of a history on a variant: knows what each step does, and what must be true then.
#[async_trait]
pub trait World: Send {
    /// One step of a history.
    type Step;
    /// What facts are about.
    type Topic;

    /// Runs one step and writes down what it proves.
    ///
    /// # Errors
    /// What ends the history.
    async fn step(&mut self, step: &Self::Step) -> Result<(), Stop>;

    /// Writes down what only the whole history proves.
    fn end(&mut self) {}

    /// Long names in keys and replies, and what reports show in their place.
    fn aliases(&self) -> Vec<(String, String)>;

    /// What was written down so far.
    fn record(&mut self) -> &mut Record<Self::Topic>;

    /// Takes back what the run changed on the server for others too. Runs however the history ended.
    ///
    /// # Errors
    /// When the server does not answer.
    async fn clean_up(self: Box<Self>) -> LabResult<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_and_doubts_are_for_who_asks_about_their_topic() {
        let mut record = Record::since(1_000);
        record.fact('a', Ok(()));
        record.fact('b', Err("b is wrong".to_owned()));
        record.doubt('c', "too slow");
        assert_eq!((record.broken(&['a']), record.broken(&['a', 'b'])), (None, Some("b is wrong")));
        assert_eq!((record.doubted(&['a', 'b']), record.doubted(&['c'])), (None, Some("too slow")));
        assert!(record.tested(&['b', 'c']) && !record.tested(&['c']));
        record.line("first");
        record.line_at(1_012, "second");
        assert_eq!(record.lines, ["first", "   12 ms  second"]);
    }

    #[test]
    fn a_refusal_is_the_variants_doing_and_a_lost_machine_is_not() {
        let refused = LabError::Bound { what: "batch", bound: 3 };
        assert!(matches!(Stop::of("send", refused), Stop::Variant(Finding::Broken(_))));
        let lost = LabError::Other("no machine".to_owned());
        assert!(matches!(answered::<()>("send", Err(lost)), Err(Stop::Checker(_))));
    }
}
