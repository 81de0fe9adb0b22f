//! The search as a machine of states: [`Search::next`] names a rate, [`Search::put`] takes what it gave.

use super::{Ask, End, Hysteresis, Knee, Options, Outcome, Probe, SCHEMA, Seen, Why};

/// From one descent to the next, after an overload that is held.
const DESCENT: f64 = 0.7;
/// How many descents at most.
const DESCENTS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Bracket { rate: f64 },
    Bisect,
    EdgeKept,
    EdgeMissed,
    Overload,
    Recovery { run: usize },
    Descent { rate: f64, step: usize },
    Done,
}

/// A search under way.
#[derive(Clone, Debug)]
pub struct Search {
    title: String,
    options: Options,
    state: State,
    kept: Option<f64>,
    missed: Option<f64>,
    /// Whether `missed` stands for the generator's end, not the server's.
    generator: bool,
    end: Option<End>,
    hysteresis: Hysteresis,
    probes: Vec<Probe>,
}

impl Search {
    /// A search that has not begun. `title` is for people.
    pub fn new(title: &str, options: Options) -> Self {
        Self {
            title: title.to_owned(),
            options,
            state: State::Bracket { rate: options.from },
            kept: None,
            missed: None,
            generator: false,
            end: None,
            hysteresis: Hysteresis::NotChecked,
            probes: Vec::new(),
        }
    }

    /// How many probes were taken.
    pub fn done(&self) -> usize {
        self.probes.len()
    }

    /// The rate to be tried next; none at the end.
    pub fn next(&self) -> Option<Ask> {
        if self.probes.len() >= self.options.max_probes {
            return None;
        }
        let fresh = |rate, why| Some(Ask { rate, why, same_servers: false });
        let same = |rate, why| Some(Ask { rate, why, same_servers: true });
        match (self.state, self.kept, self.missed) {
            (State::Bracket { rate }, ..) => fresh(rate, Why::Bracket),
            (State::Bisect, Some(kept), Some(missed)) => fresh((kept * missed).sqrt(), Why::Bisect),
            (State::EdgeKept, Some(kept), _) => fresh(kept, Why::Edge),
            (State::EdgeMissed, _, Some(missed)) => fresh(missed, Why::Edge),
            (State::Overload, _, Some(missed)) => fresh(missed * self.options.overload, Why::Overload),
            (State::Recovery { .. }, Some(kept), _) => same(kept, Why::Recovery),
            (State::Descent { rate, .. }, ..) => same(rate, Why::Descent),
            _ => None,
        }
    }

    /// What the rate gave that [`Search::next`] named; ignored when it named none.
    pub fn put(&mut self, seen: Seen) {
        let Some(ask) = self.next() else { return };
        let outcome = seen.outcome(self.options.objective_ms);
        self.probes.push(Probe { ask, seen, outcome });
        self.state = match self.state {
            _ if outcome == Outcome::TooFew && ask.why != Why::Overload && self.end.is_none() => {
                self.end = Some(End::TooFewSamples { rate: ask.rate });
                State::Done
            }
            State::Bracket { rate } => self.after_bracket(rate, outcome),
            State::Bisect => self.after_bisect(ask.rate, outcome),
            State::EdgeKept | State::EdgeMissed => self.after_edge(),
            State::Overload => State::Recovery { run: 1 },
            State::Recovery { run } => self.after_recovery(run, ask.rate, outcome),
            State::Descent { rate, step } => self.after_descent(rate, step, outcome),
            State::Done => State::Done,
        };
    }

    /// Takes the whole search with a callback.
    ///
    /// # Errors
    /// The callback's first.
    pub fn take<E>(mut self, mut probe: impl FnMut(Ask) -> Result<Seen, E>) -> Result<Knee, E> {
        while let Some(ask) = self.next() {
            let seen = probe(ask)?;
            self.put(seen);
        }
        Ok(self.finish())
    }

    /// The result of what was tried.
    pub fn finish(self) -> Knee {
        Knee {
            knee_schema: SCHEMA,
            title: self.title,
            options: self.options,
            kept: self.kept,
            missed: self.missed.filter(|_| !self.generator),
            end: self.end.unwrap_or(End::OutOfProbes),
            hysteresis: self.hysteresis,
            probes: self.probes,
        }
    }

    fn note(&mut self, rate: f64, outcome: Outcome) {
        if outcome == Outcome::Kept {
            self.kept = Some(rate);
        } else {
            self.missed = Some(rate);
            self.generator = outcome == Outcome::Generator;
        }
    }

    fn after_bracket(&mut self, rate: f64, outcome: Outcome) -> State {
        self.note(rate, outcome);
        let Options { least, most, .. } = self.options;
        match (self.kept, self.missed) {
            (Some(_), Some(_)) => self.narrowed(),
            (Some(_), None) if rate >= most => State::EdgeKept,
            (Some(_), None) => State::Bracket { rate: (rate * 2.0).min(most) },
            (None, _) if rate <= least => {
                self.end = Some(if self.generator { End::Generator } else { End::BelowLeast });
                State::Done
            }
            (None, _) => State::Bracket { rate: (rate / 2.0).max(least) },
        }
    }

    fn after_bisect(&mut self, rate: f64, outcome: Outcome) -> State {
        self.note(rate, outcome);
        self.narrowed()
    }

    fn narrowed(&self) -> State {
        match (self.kept, self.missed) {
            (Some(kept), Some(missed)) if missed / kept > 1.0 + self.options.resolution => State::Bisect,
            _ => State::EdgeKept,
        }
    }

    /// How often a rate was kept and missed, from below, in all probes.
    fn votes(&self, rate: f64) -> (usize, usize) {
        let at = || {
            self.probes
                .iter()
                .filter(|p| !p.ask.same_servers && p.ask.why != Why::Overload && p.ask.rate == rate)
        };
        (
            at().filter(|p| p.outcome == Outcome::Kept).count(),
            at().filter(|p| p.outcome != Outcome::Kept).count(),
        )
    }

    /// What the majority at a rate says, once it is one.
    fn majority(&self, rate: f64) -> Option<bool> {
        let (kept, missed) = self.votes(rate);
        let enough = self.options.repeats / 2 + 1;
        match (kept >= enough, missed >= enough) {
            (true, false) => Some(true),
            (false, true) => Some(false),
            // Both can only be when `repeats` were exceeded.
            (true, true) => Some(kept > missed),
            (false, false) => None,
        }
    }

    fn after_edge(&mut self) -> State {
        let step = 1.0 + self.options.resolution;
        let Some(kept) = self.kept else { return State::Done };
        match self.majority(kept) {
            None => return State::EdgeKept,
            Some(false) => return self.step_down(kept, step),
            Some(true) => {}
        }
        let Some(missed) = self.missed else {
            self.end = Some(End::AtMost);
            return State::Done;
        };
        if self.generator {
            self.end = Some(End::Generator);
            return State::Done;
        }
        match self.majority(missed) {
            None => State::EdgeMissed,
            Some(true) => {
                // What was missed once is kept by most: the edge is further up.
                let next = (missed * step).min(self.options.most);
                (self.kept, self.missed) = (Some(missed), (next > missed).then_some(next));
                if self.missed.is_some() { State::EdgeMissed } else { State::EdgeKept }
            }
            Some(false) => {
                self.end = Some(End::Found);
                State::Overload
            }
        }
    }

    /// What was kept once is missed by most: the edge is further down.
    fn step_down(&mut self, kept: f64, step: f64) -> State {
        self.missed = Some(kept);
        self.generator = self.probes.last().is_some_and(|probe| probe.outcome == Outcome::Generator);
        let lower = kept / step;
        if lower < self.options.least {
            self.kept = None;
            self.end = Some(End::BelowLeast);
            return State::Done;
        }
        self.kept = Some(lower);
        State::EdgeKept
    }

    fn after_recovery(&mut self, run: usize, rate: f64, outcome: Outcome) -> State {
        if outcome == Outcome::Kept {
            self.hysteresis = Hysteresis::Recovered { run };
            return State::Done;
        }
        if run < self.options.recoveries {
            return State::Recovery { run: run + 1 };
        }
        self.hysteresis = Hysteresis::Stuck { lowest: rate };
        State::Descent { rate: rate * DESCENT, step: 1 }
    }

    fn after_descent(&mut self, rate: f64, step: usize, outcome: Outcome) -> State {
        if outcome == Outcome::Kept {
            self.hysteresis = Hysteresis::LetGoAt { rate };
            return State::Done;
        }
        self.hysteresis = Hysteresis::Stuck { lowest: rate };
        let next = rate * DESCENT;
        if step >= DESCENTS || next < self.options.least {
            return State::Done;
        }
        State::Descent { rate: next, step: step + 1 }
    }
}
