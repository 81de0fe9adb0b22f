//! What a check of the exercise means to its learner: a hint after a failure, a comparison after a pass, and progress.

use std::io::Write;

use anyhow::Context;
use chatlab_kit::check::{CheckReport, Verdict};
use chatlab_kit::lab::{Lab, VariantKind, rehearse};
use chatlab_kit::redis::Redis;
use serde::Serialize;

use super::exercise::Exercise;
use crate::console::screen::Screen;
use crate::learner::Store;
use crate::learner::compare::{Comparison, TURNS, compare};
use crate::learner::hints::{Layer, failing, last_layer};
use crate::learner::progress::{Failing, code_hint};

/// What helps on after a failure.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Help {
    /// The check to look at first.
    predicate: String,
    /// The hint's layer.
    hint: Option<String>,
    /// Which layer, from 1.
    layer: usize,
    /// Of how many.
    of: usize,
}

/// Rehearses the exercise and the reference in turns.
///
/// # Errors
/// When one of them fails.
pub(in crate::cli) async fn compare_with_reference(
    lab: &'static dyn Lab,
    exercise: &Exercise,
    redis: &Redis,
    nodes: &[String],
) -> anyhow::Result<Comparison> {
    let reference = lab.variants().iter().find(|variant| variant.kind == VariantKind::Reference);
    let reference = reference.context("this lab has no reference")?.name;
    let (mut yours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        yours.push(exercise.rehearse(redis.topology(), nodes).await?);
        theirs.push(rehearse(lab, reference, redis).await?);
    }
    Ok(compare(reference, &yours, &theirs))
}

/// Notes how the exercise did. After a failure, the help that fits; the learner who saw more layers of it before sees the last
/// of those again. What cannot be noted is said on standard error.
pub(super) fn note(lab: &'static dyn Lab, reports: &[&CheckReport]) -> Option<Help> {
    let manifest = match lab.manifest() {
        Ok(manifest) => manifest,
        Err(why) => {
            eprintln!("chatlab: {why}");
            return None;
        }
    };
    let failed = reports.iter().find_map(|report| failing(&manifest, report));
    let passed = reports.iter().all(|report| report.verdict() == Verdict::Pass);
    if failed.is_none() && !passed {
        // Neither: an error or an inconclusive run says nothing about the exercise.
        return None;
    }
    let noted = Store::open().update(|progress| {
        let lab = progress.lab_mut(lab.id());
        lab.checked(failed.clone());
        failed.as_ref().map_or(0, |failing| {
            let shown = lab.hints.entry(code_hint(&failing.predicate)).or_default();
            *shown = (*shown).max(1);
            *shown
        })
    });
    let shown = noted.unwrap_or_else(|error| {
        eprintln!("chatlab: {error}");
        1
    });
    failed.map(|failing| help(&failing, shown))
}

fn help(failing: &Failing, shown: usize) -> Help {
    let layer: Option<Layer> = last_layer(&failing.layers, shown);
    Help {
        predicate: failing.predicate.clone(),
        layer: layer.as_ref().map_or(0, |layer| layer.number),
        hint: layer.map(|layer| layer.text),
        of: failing.layers.len(),
    }
}

/// Prints the hint.
pub(super) fn show_help(out: &mut impl Write, lab: &dyn Lab, help: &Help) -> anyhow::Result<()> {
    let screen = Screen::stdout();
    writeln!(out, "\n{}", screen.bold(&format!("Look at {} first.", help.predicate)))?;
    if let Some(hint) = &help.hint {
        writeln!(out, "{}", screen.block(&format!("  hint {} of {}: ", help.layer, help.of), hint))?;
    }
    let more = if help.layer < help.of { "more: chatlab hint " } else { "the lesson: chatlab read " };
    writeln!(out, "{}", screen.dim(&format!("  {more}{}", lab.id())))?;
    Ok(())
}

/// Prints the comparison, or why there is none.
pub(super) fn show_comparison(
    out: &mut impl Write,
    lab: &dyn Lab,
    comparison: &Result<Comparison, String>,
) -> anyhow::Result<()> {
    let screen = Screen::stdout();
    match comparison {
        Ok(comparison) => {
            writeln!(out, "\n{}", screen.bold("Passed. Beside the reference:"))?;
            write!(out, "{}", comparison.text())?;
        }
        Err(why) => writeln!(out, "\nPassed. It could not be compared with the reference: {why}")?,
    }
    let id = lab.id();
    writeln!(
        out,
        "{}",
        screen.dim(&format!("the reference itself: chatlab solution {id}    then: chatlab next"))
    )?;
    Ok(())
}
