//! Which hint fits a failed check.

use super::Hint;
use crate::check::Outcome;

impl Hint {
    /// Whether this hint fits a failed predicate: its conditions hold for the commands of the shortest failing history.
    pub fn fits(&self, outcome: &Outcome) -> bool {
        let in_some = |part: &String| outcome.commands.iter().any(|line| line.contains(part.as_str()));
        self.when_fails == outcome.predicate
            && self.sent.iter().all(in_some)
            && !self.not_sent.iter().any(in_some)
    }

    fn conditions(&self) -> usize {
        self.sent.len() + self.not_sent.len()
    }
}

/// The hint that fits a failed predicate best: of those that fit, the first with the most conditions.
pub fn fitting<'a>(hints: &'a [Hint], outcome: &Outcome) -> Option<&'a Hint> {
    let fitting = hints.iter().filter(|hint| hint.fits(outcome));
    fitting.reduce(|best, hint| if hint.conditions() > best.conditions() { hint } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    fn hint(sent: &[&str], not_sent: &[&str]) -> Hint {
        let owned = |parts: &[&str]| parts.iter().map(ToString::to_string).collect();
        Hint {
            when_fails: "p".into(),
            sent: owned(sent),
            not_sent: owned(not_sent),
            shown_by: "v".into(),
            layers: vec![],
        }
    }

    #[test]
    fn the_most_specific_hint_that_fits_is_shown() {
        let outcome = Outcome {
            predicate: "p".into(),
            states: String::new(),
            verdict: Verdict::Fail,
            reason: String::new(),
            seed: 1,
            counterexample: vec![],
            commands: vec!["A: SREM online u1 → 1".into()],
            took_ms: 0,
        };
        let hints =
            [hint(&[], &[]), hint(&["SREM"], &[]), hint(&["SREM", "SCARD"], &[]), hint(&[], &["SREM"])];
        assert_eq!(fitting(&hints, &outcome), Some(&hints[1]));
        let other = Outcome { predicate: "q".into(), ..outcome };
        assert_eq!(fitting(&hints, &other), None);
    }
}
