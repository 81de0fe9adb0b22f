//! The hint that fits, a layer at a time.

use chatlab_kit::check::{CheckReport, Outcome};
use chatlab_kit::lab::{Manifest, fitting};

use super::progress::Failing;

/// What the checker says of an operation that the learner has not begun.
const UNWRITTEN: &str = "not written yet";

/// The failure to look at first, with the hint that fits it best. What is written and wrong comes before what is not written;
/// then the order of the report, which is the order in which to work.
pub fn failing(manifest: &Manifest, report: &CheckReport) -> Option<Failing> {
    let unwritten = |outcome: &&Outcome| outcome.reason.contains(UNWRITTEN);
    let wrong = report.failures().find(|outcome| !unwritten(outcome));
    let outcome = wrong.or_else(|| report.failures().next())?;
    let layers = fitting(&manifest.hints, outcome).map_or_else(Vec::new, |hint| hint.layers.clone());
    Some(Failing { predicate: outcome.predicate.clone(), reason: outcome.reason.clone(), layers })
}

/// One layer of a hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// What it says.
    pub text: String,
    /// Which one, from 1.
    pub number: usize,
    /// Of how many.
    pub of: usize,
}

/// The layer after the `shown` ones that were seen; the last one again when there is no further one. `None` without layers.
pub fn next_layer(layers: &[String], shown: usize) -> Option<Layer> {
    let index = shown.min(layers.len().checked_sub(1)?);
    Some(Layer { text: layers[index].trim().to_owned(), number: index + 1, of: layers.len() })
}

/// The layer that was seen last.
pub fn last_layer(layers: &[String], shown: usize) -> Option<Layer> {
    next_layer(layers, shown.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chatlab_kit::check::Verdict;
    use chatlab_kit::servers::Topology;

    fn outcome(predicate: &str, verdict: Verdict, reason: &str) -> Outcome {
        Outcome {
            predicate: predicate.into(),
            states: String::new(),
            verdict,
            reason: reason.into(),
            seed: 1,
            counterexample: vec![],
            commands: vec![],
            took_ms: 0,
        }
    }

    fn report(outcomes: Vec<Outcome>) -> CheckReport {
        CheckReport {
            lab: "sessions".into(),
            variant: "exercise".into(),
            topology: Topology::Single,
            seed: 1,
            outcomes,
        }
    }

    #[test]
    fn what_is_wrong_comes_before_what_is_not_written() {
        let manifest = crate::labs::named("sessions").unwrap().manifest().unwrap();
        let unwritten = outcome("create_then_visible", Verdict::Fail, "`list` is not written yet: list");
        let passes = outcome("idle_session_expires", Verdict::Pass, "");
        let wrong = outcome("never_immortal", Verdict::Fail, "a key has no expiry");
        let found =
            failing(&manifest, &report(vec![unwritten.clone(), passes.clone(), wrong.clone()])).unwrap();
        assert_eq!((found.predicate.as_str(), found.layers.is_empty()), ("never_immortal", false));
        let found = failing(&manifest, &report(vec![unwritten, passes.clone()])).unwrap();
        assert_eq!(found.predicate, "create_then_visible");
        assert_eq!(failing(&manifest, &report(vec![passes])), None);
    }

    #[test]
    fn layers_go_on_and_stop_at_the_last() {
        let layers = ["a".to_owned(), "b".to_owned()];
        let text = |shown| next_layer(&layers, shown).map(|layer| (layer.text, layer.number));
        assert_eq!(text(0), Some(("a".into(), 1)));
        assert_eq!(text(1), Some(("b".into(), 2)));
        assert_eq!(text(7), Some(("b".into(), 2)));
        assert_eq!(next_layer(&[], 0), None);
        assert_eq!(last_layer(&layers, 1).unwrap().number, 1);
    }
}
