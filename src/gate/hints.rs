//! Each hint is the one that is shown for the mistake it names.

use std::collections::BTreeMap;

use chatlab_kit::check::{CheckReport, Verdict};
use chatlab_kit::lab::{Lab, VariantKind, fitting};

use super::LabVerdict;

pub(super) fn prove(
    lab: &dyn Lab,
    reports: &BTreeMap<&'static str, CheckReport>,
    exercise: Option<&CheckReport>,
    verdict: &mut LabVerdict,
) {
    let manifest = match lab.manifest() {
        Ok(manifest) => manifest,
        Err(why) => return verdict.problem("hints", why),
    };
    for hint in &manifest.hints {
        let about =
            format!("the hint for {} ({:.40}…)", hint.when_fails, hint.layers.first().map_or("", |l| l));
        let report = match lab.variant(&hint.shown_by).map(|variant| variant.kind) {
            Some(VariantKind::Exercise) => exercise,
            Some(VariantKind::Flawed { .. }) => reports.get(hint.shown_by.as_str()),
            _ => {
                verdict.problem(
                    "hints",
                    format!("{about} is shown by `{}`, which is no flawed variant", hint.shown_by),
                );
                continue;
            }
        };
        let Some(report) = report else {
            verdict.problem("hints", format!("{about}: {} did not run", hint.shown_by));
            continue;
        };
        match report.outcome(&hint.when_fails) {
            Some(outcome) if outcome.verdict == Verdict::Fail => match fitting(&manifest.hints, outcome) {
                Some(shown) if shown == hint => verdict.hints += 1,
                Some(_) => {
                    verdict.problem("hints", format!("{about}: {} is shown another one", hint.shown_by));
                }
                None => verdict.problem("hints", format!("{about}: {} is shown none", hint.shown_by)),
            },
            _ => verdict.problem("hints", format!("{about}: {} does not fail by it", hint.shown_by)),
        }
    }
    for (predicate, _) in lab.predicates() {
        if !manifest.hints.iter().any(|hint| hint.when_fails == predicate) {
            verdict.problem("hints", format!("there is no hint for {predicate}"));
        }
    }
}
