//! Invariants that are judged by what a world writes down while a history runs in it.

use std::fmt::Display;

use async_trait::async_trait;

use super::property::{Finding, Property, Rng, Run, Subject};
use super::runner::Check;
use super::world::{Record, Stop, World};
use crate::LabResult;

/// The world of a lab's histories, as [`Setup::open`] gives it.
pub type Opened<'a, S> = Box<dyn World<Step = <S as Setup>::Step, Topic = <S as Setup>::Topic> + 'a>;

/// Plans a history at random.
type Plan<S> = Box<dyn Fn(&mut Rng) -> Vec<S> + Send + Sync>;

/// What the invariants of a lab have in common: the world that each run of a history gets.
#[async_trait]
pub trait Setup: Sized + Send + Sync + 'static {
    /// The lab's port.
    type Port: ?Sized + Send + Sync + 'static;
    /// One step of a history.
    type Step: Clone + Display + Send + Sync + 'static;
    /// What facts are about.
    type Topic: PartialEq + Send + Sync + 'static;

    /// What is said of a history without any fact that the invariant is about.
    const UNTESTED: &'static str = "nothing was put to the test";

    /// A fresh world for one run.
    ///
    /// # Errors
    /// When the server does not answer.
    async fn open<'a>(&self, subject: &'a Subject<'a, Self::Port>) -> LabResult<Opened<'a, Self>>;
}

/// A named invariant: what it plans, and the topics of the facts that it judges by.
pub struct Invariant<S, T: 'static> {
    name: &'static str,
    states: &'static str,
    topics: &'static [T],
    plan: Plan<S>,
    instances: u32,
    slower: u32,
    /// What is said when no fault happened; none where none is needed.
    no_fault: Option<&'static str>,
}

impl<S, T> Invariant<S, T> {
    /// An invariant with a stable name, what it states in one sentence, the topics that it judges by, and its histories.
    pub fn new(
        name: &'static str,
        states: &'static str,
        topics: &'static [T],
        plan: impl Fn(&mut Rng) -> Vec<S> + Send + Sync + 'static,
    ) -> Self {
        Self { name, states, topics, plan: Box::new(plan), instances: 1, slower: 1, no_fault: None }
    }

    /// Tries so many histories.
    #[must_use]
    pub fn instances(self, instances: u32) -> Self {
        Self { instances, ..self }
    }

    /// Runs all clocks `times` slower: for what is not about time.
    #[must_use]
    pub fn slower(self, times: u32) -> Self {
        Self { slower: times, ..self }
    }

    /// Proves nothing without a crash or a race that really happened; `otherwise` is said then.
    #[must_use]
    pub fn needs_fault(self, otherwise: &'static str) -> Self {
        Self { no_fault: Some(otherwise), ..self }
    }

    /// The check of this invariant in the worlds of `setup`.
    pub fn on<W: Setup<Step = S, Topic = T>>(self, setup: W) -> Check<W::Port> {
        Check::of(Grounded { invariant: self, setup })
    }
}

impl<S, T: PartialEq> Invariant<S, T> {
    /// What a history shows that ran to its end, or to an error of the variant.
    fn judge(&self, record: &Record<T>, stopped: Option<Finding>, untested: &str) -> Finding {
        if let Some(what) = record.broken(self.topics) {
            return Finding::Broken(what.to_owned());
        }
        if let Some(finding) = stopped {
            return finding;
        }
        let why = match (record.doubted(self.topics), self.no_fault) {
            (Some(doubt), _) => doubt,
            (None, Some(otherwise)) if record.faults == 0 => otherwise,
            _ if record.tested(self.topics) => return Finding::Holds,
            _ => untested,
        };
        Finding::Inconclusive(why.to_owned())
    }
}

/// An invariant and the worlds in which it must hold.
struct Grounded<W: Setup> {
    invariant: Invariant<W::Step, W::Topic>,
    setup: W,
}

impl<W: Setup> Grounded<W> {
    /// Steps through a plan until something is broken: how many steps were run, and how the variant ended them early.
    async fn play(
        &self,
        world: &mut (dyn World<Step = W::Step, Topic = W::Topic> + '_),
        plan: &[W::Step],
    ) -> LabResult<(usize, Option<Finding>)> {
        for (steps, step) in (1..).zip(plan) {
            match world.step(step).await {
                Ok(()) => {}
                Err(Stop::Checker(error)) => return Err(error),
                Err(Stop::Variant(finding)) => return Ok((steps, Some(finding))),
            }
            if world.record().broken(self.invariant.topics).is_some() {
                return Ok((steps, None));
            }
        }
        Ok((plan.len(), None))
    }
}

#[async_trait]
impl<W: Setup> Property for Grounded<W> {
    type Port = W::Port;
    type Step = W::Step;

    fn name(&self) -> &'static str {
        self.invariant.name
    }

    fn states(&self) -> &'static str {
        self.invariant.states
    }

    fn instances(&self) -> u32 {
        self.invariant.instances
    }

    fn plan(&self, rng: &mut Rng) -> Vec<W::Step> {
        (self.invariant.plan)(rng)
    }

    async fn run(&self, subject: &Subject<'_, W::Port>, plan: &[W::Step]) -> LabResult<Run> {
        let subject = subject.slower(self.invariant.slower);
        let mut world = self.setup.open(&subject).await?;
        let played = self.play(&mut *world, plan).await;
        let run = played.map(|(steps, stopped)| {
            world.end();
            let aliases = world.aliases();
            let record = world.record();
            let finding = match self.invariant.judge(record, stopped, W::UNTESTED) {
                Finding::Broken(what) => Finding::Broken(shortened(&what, &aliases)),
                other => other,
            };
            let history = record.lines.iter().map(|line| shortened(line, &aliases)).collect();
            Run { finding, steps, history, aliases }
        });
        // Whatever happened. Why the run failed says more than why nothing could be taken back.
        let cleaned = world.clean_up().await;
        let run = run?;
        cleaned.map(|()| run)
    }
}

fn shortened(line: &str, aliases: &[(String, String)]) -> String {
    aliases.iter().fold(line.to_owned(), |line, (long, short)| line.replace(long, short))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about_a() -> Invariant<u8, char> {
        Invariant::new("a_holds", "a holds", &['a'], |_| vec![])
    }

    fn untold(why: &str) -> Finding {
        Finding::Inconclusive(why.to_owned())
    }

    #[test]
    fn what_is_broken_says_more_than_an_error_and_that_more_than_a_doubt() {
        let mut record = Record::default();
        record.fact('a', Ok(()));
        record.fact('b', Err("b is wrong".to_owned()));
        let refused = || Some(Finding::Broken("refused".to_owned()));
        assert_eq!(about_a().judge(&record, None, "none"), Finding::Holds);
        record.doubt('a', "too slow");
        assert_eq!(about_a().judge(&record, None, "none"), untold("too slow"));
        assert_eq!(about_a().judge(&record, refused(), "none"), Finding::Broken("refused".to_owned()));
        record.fact('a', Err("a is wrong".to_owned()));
        assert_eq!(about_a().judge(&record, refused(), "none"), Finding::Broken("a is wrong".to_owned()));
    }

    #[test]
    fn without_a_fact_or_a_fault_nothing_is_proved() {
        let mut record = Record::default();
        record.fact('b', Ok(()));
        assert_eq!(about_a().judge(&record, None, "untested"), untold("untested"));
        record.fact('a', Ok(()));
        let faulty = about_a().needs_fault("nobody crashed");
        assert_eq!(faulty.judge(&record, None, "untested"), untold("nobody crashed"));
        record.faults += 1;
        assert_eq!(faulty.judge(&record, None, "untested"), Finding::Holds);
    }
}
