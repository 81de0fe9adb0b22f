//! What every lab must satisfy, whatever it is about.

use super::{Lab, VariantKind};

/// Looks through a lab without running it; for each lab's tests and the author's gate.
///
/// # Errors
/// The first thing that is wrong.
pub fn audit(lab: &dyn Lab) -> Result<(), String> {
    let manifest = lab.manifest()?;
    if manifest.id != lab.id() || manifest.title != lab.title() {
        return Err("lab.toml and the code disagree on id or title".into());
    }
    let predicates = lab.predicates();
    let is_predicate = |name: &str| predicates.iter().any(|(known, _)| *known == name);
    if let Some(hint) = manifest.hints.iter().find(|hint| !is_predicate(&hint.when_fails)) {
        return Err(format!("a hint waits for `{}`, which is no predicate", hint.when_fails));
    }
    for prediction in &manifest.predictions {
        if !lab.experiments().iter().any(|experiment| experiment.name == prediction.experiment) {
            return Err(format!("prediction `{}` names no experiment", prediction.id));
        }
    }
    let count = |kind: fn(VariantKind) -> bool| lab.variants().iter().filter(|v| kind(v.kind)).count();
    if count(|kind| kind == VariantKind::Reference) != 1 || count(|kind| kind == VariantKind::Exercise) != 1 {
        return Err("a lab has one reference and one exercise".into());
    }
    for variant in lab.variants() {
        if let VariantKind::Flawed { caught_by } = variant.kind
            && !is_predicate(caught_by)
        {
            return Err(format!("`{}` is caught by `{caught_by}`, which is no predicate", variant.name));
        }
        if !lab.lesson().contains(variant.name) && variant.kind != VariantKind::Exercise {
            return Err(format!("the lesson never mentions `{}`", variant.name));
        }
    }
    for script in lab.scripts() {
        script.verify()?;
    }
    let calls = lab.sample_calls();
    if calls.len() != lab.scripts().len() {
        return Err(format!("{} scripts, but {} sample calls", lab.scripts().len(), calls.len()));
    }
    match calls.iter().find(|call| !call.one_slot()) {
        Some(call) => Err(format!("keys in different slots: {:?}", call.keys())),
        None => Ok(()),
    }
}
