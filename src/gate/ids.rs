//! Ids that progress files, commands and links use: once shipped, they stay. `labs/ids.txt` remembers them.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use chatlab_kit::lab::Lab;

/// Where the list is, in a clone.
const FILE: &str = "labs/ids.txt";

/// All ids of a lab, a line each, such as `presence step two-devices`.
pub fn of(lab: &dyn Lab) -> BTreeSet<String> {
    let id = lab.id();
    let mut all = BTreeSet::from([format!("{id} lab")]);
    let mut add = |kind: &str, name: &str| all.insert(format!("{id} {kind} {name}"));
    for variant in lab.variants() {
        add("variant", variant.name);
    }
    for (predicate, _) in lab.predicates() {
        add("check", predicate);
    }
    for experiment in lab.experiments() {
        add("experiment", experiment.name);
    }
    for race in lab.races() {
        add("race", race.name);
    }
    if let Ok(manifest) = lab.manifest() {
        for step in &manifest.steps {
            add("step", &step.id);
        }
        for prediction in &manifest.predictions {
            add("prediction", &prediction.id);
        }
    }
    all
}

/// What differs from the shipped list of a clone.
pub(super) fn missing(clone: &Path, lab: &dyn Lab) -> Vec<String> {
    let now = of(lab);
    let own = format!("{} ", lab.id());
    let text = std::fs::read_to_string(clone.join(FILE)).unwrap_or_default();
    let shipped: BTreeSet<String> =
        text.lines().filter(|line| line.starts_with(&own)).map(str::to_owned).collect();
    let gone = shipped.difference(&now).map(|id| format!("`{id}` has shipped and is gone: ids never change"));
    let new = now
        .difference(&shipped)
        .map(|id| format!("`{id}` is not in labs/ids.txt: chatlab dev ids --write adds it for good"));
    gone.chain(new).collect()
}

/// Adds what is new to `labs/ids.txt` of a clone; nothing is ever taken out. Returns how many were added.
///
/// # Errors
/// When the file cannot be written.
pub fn write(clone: &Path, labs: &[&'static dyn Lab]) -> anyhow::Result<usize> {
    let file = clone.join(FILE);
    let before: BTreeSet<String> = match std::fs::read_to_string(&file) {
        Ok(text) => text.lines().map(str::to_owned).collect(),
        Err(_) => BTreeSet::new(),
    };
    let mut all = before.clone();
    for lab in labs {
        all.extend(of(*lab));
    }
    let text: String = all.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    std::fs::write(&file, text).with_context(|| file.display().to_string())?;
    Ok(all.len() - before.len())
}
