//! A session: rounds of four runs, two of A and two of B.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{
    figures::{Question, asked, pace},
    judge::{Judgement, Options, Series, tell},
    quick::Which,
};
use crate::result::RunResult;

/// The version of [`Compared`]'s JSON.
pub const SCHEMA: u32 = 1;

/// The order of all runs: each round is A B B A or B A A B, drawn by the seed. A steady drift of the machine falls out of
/// each round, and which side comes first is nobody's choice.
pub fn order(rounds: usize, seed: u64) -> Vec<Which> {
    use Which::{A, B};
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let round = |_| if rng.random() { [A, B, B, A] } else { [B, A, A, B] };
    (0..rounds).flat_map(round).collect()
}

/// One run of a session, in its result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Turn {
    /// Whose run.
    pub which: Which,
    /// What it gave.
    pub result: RunResult,
}

/// A whole session: everything that a report needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Compared {
    /// [`SCHEMA`].
    pub comparison_schema: u32,
    /// A's title.
    pub a: String,
    /// B's title.
    pub b: String,
    /// How much was compared and how surely.
    pub options: Options,
    /// The runs in the order in which they were taken.
    pub turns: Vec<Turn>,
    /// None when a run is not valid or missing: figures of such runs stand for nothing.
    pub judgement: Option<Judgement>,
    /// Why there is no judgement, or that it rests on runs that are not valid.
    pub withheld: Option<String>,
}

impl Compared {
    /// Whether there is a judgement that rests on valid runs alone.
    pub fn is_valid(&self) -> bool {
        self.judgement.is_some() && self.withheld.is_none()
    }

    /// The judgement anew, from the runs alone.
    #[must_use]
    pub fn judged_again(self, accept: bool) -> Self {
        let mut session = Session { accept, ..Session::new(&self.a, &self.b, self.options) };
        session.turns = self.turns;
        session.finish()
    }
}

/// Takes a session step by step: [`Session::next`] says whose run is due, [`Session::put`] takes what it gave. The caller
/// starts everything anew for each run; no run may inherit from another.
#[derive(Clone, Debug)]
pub struct Session {
    a: String,
    b: String,
    options: Options,
    order: Vec<Which>,
    turns: Vec<Turn>,
    /// Whether runs that are not valid are looked at all the same.
    accept: bool,
}

impl Session {
    /// A session that ends at the first run that is not valid.
    pub fn new(a: &str, b: &str, options: Options) -> Self {
        let order = order(options.rounds, options.seed);
        Self { a: a.to_owned(), b: b.to_owned(), options, order, turns: Vec::new(), accept: false }
    }

    /// The same, going on past runs that are not valid; the judgement then says so.
    #[must_use]
    pub fn accepting(self, accept: bool) -> Self {
        Self { accept, ..self }
    }

    /// How many runs there are to be.
    pub fn runs(&self) -> usize {
        self.order.len()
    }

    /// How many there were.
    pub fn done(&self) -> usize {
        self.turns.len()
    }

    /// Whose run is next; none at the end, or after a run that is not valid.
    pub fn next(&self) -> Option<Which> {
        let broken = self.turns.last().is_some_and(|turn| !turn.result.verdict.is_valid());
        if broken && !self.accept { None } else { self.order.get(self.turns.len()).copied() }
    }

    /// The run that [`Session::next`] asked for; ignored when it asked for none.
    pub fn put(&mut self, result: RunResult) {
        if let Some(which) = self.next() {
            self.turns.push(Turn { which, result });
        }
    }

    /// Takes the whole session with a callback.
    ///
    /// # Errors
    /// The callback's first.
    pub fn take<E>(mut self, mut run: impl FnMut(Which) -> Result<RunResult, E>) -> Result<Compared, E> {
        while let Some(which) = self.next() {
            let result = run(which)?;
            self.put(result);
        }
        Ok(self.finish())
    }

    /// Judges what there is.
    pub fn finish(self) -> Compared {
        let Self { a, b, options, turns, accept, order } = self;
        let complete = turns.len() == order.len();
        let broken = turns.iter().enumerate().find(|(_, turn)| !turn.result.verdict.is_valid());
        let withheld = match (broken, complete) {
            (Some((at, turn)), _) => Some(format!(
                "run {} of {} ({:?}) is {}",
                at + 1,
                order.len(),
                turn.which,
                turn.result.verdict.kind
            )),
            (None, false) => Some(format!("{} of {} runs were taken", turns.len(), order.len())),
            (None, true) => None,
        };
        let judgement = (complete && (withheld.is_none() || accept))
            .then(|| tell(&order, &series(&turns, options.question), &options));
        Compared { comparison_schema: SCHEMA, a, b, options, turns, judgement, withheld }
    }
}

fn series(turns: &[Turn], question: Question) -> Vec<Series> {
    let Some(first) = turns.first() else { return Vec::new() };
    let of = |read: &dyn Fn(&RunResult) -> Option<f64>| -> Option<Vec<f64>> {
        turns.iter().map(|turn| read(&turn.result)).collect()
    };
    asked(question, &first.result)
        .into_iter()
        .filter_map(|reading| {
            let pace = reading.paced.then(|| of(&pace)).flatten();
            Some(Series { values: of(&reading.read)?, name: reading.name, primary: reading.primary, pace })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::{
        compare::{judge::Answer, synthetic::normal},
        testing,
        verdict::Kind,
    };

    /// A run whose latencies are those of a sample run, times a factor.
    fn run(factor: f64, rng: &mut ChaCha8Rng) -> RunResult {
        testing::run(factor * (0.03 * normal(rng)).exp())
    }

    #[test]
    fn every_round_has_two_of_each_and_the_seed_decides() {
        let orders: Vec<_> = (0..20).map(|seed| order(5, seed)).collect();
        for order in &orders {
            for round in order.chunks(4) {
                assert_eq!(round.iter().filter(|w| **w == Which::A).count(), 2);
                assert_eq!((round[0], round[1]), (round[3], round[2]));
            }
        }
        assert_eq!(orders[3], order(5, 3));
        assert!(orders.windows(2).any(|two| two[0] != two[1]));
    }

    #[test]
    fn a_session_of_runs_is_judged_and_comes_back_from_json() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let compared = Session::new("a", "b", Options::default())
            .take(|which| Ok::<_, Infallible>(run(if which == Which::B { 1.2 } else { 1.0 }, &mut rng)))
            .unwrap();
        assert!(compared.is_valid());
        let judgement = compared.judgement.clone().unwrap();
        assert_eq!((judgement.answer, judgement.pairs), (Answer::Differs, 10));
        let p50 = judgement.figures.iter().find(|f| f.name == "delivery p50, ms").unwrap();
        assert!(p50.primary && p50.ratio > 1.1 && p50.ratio < 1.3, "{p50:?}");
        let json = serde_json::to_string(&compared).unwrap();
        let again: Compared = serde_json::from_str(&json).unwrap();
        // Numbers come back from JSON to the last digit but one.
        let again = again.judged_again(false).judgement.unwrap();
        for (was, is) in judgement.figures.iter().zip(&again.figures) {
            assert_eq!((&was.name, was.answer), (&is.name, is.answer));
            assert!((was.ratio / is.ratio - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn a_run_that_is_not_valid_ends_the_session_and_withholds_the_judgement() {
        let with_third_broken = |accept: bool| {
            let mut taken = 0;
            Session::new("a", "b", Options::default()).accepting(accept).take(|_| {
                taken += 1;
                let mut result = testing::run(1.0);
                if taken == 3 {
                    result.verdict.kind = Kind::Unstable;
                }
                Ok::<_, Infallible>(result)
            })
        };
        let compared = with_third_broken(false).unwrap();
        assert_eq!((compared.turns.len(), &compared.judgement), (3, &None));
        assert!(compared.withheld.as_deref().is_some_and(|why| why.contains("run 3 of 20")));
        let accepted = with_third_broken(true).unwrap();
        assert!(accepted.judgement.is_some() && !accepted.is_valid());
    }
}
