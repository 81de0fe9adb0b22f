//! From older versions of the progress file to this one, a version at a time.

use serde_json::{Map, Value, json};

use super::progress::VERSION;

/// Turns the file of one version into that of the next.
type Migration = fn(&mut Map<String, Value>);

/// The migration from each version to the next: the first is from version 0.
const MIGRATIONS: [Migration; VERSION as usize] = [from_0];

/// The version of a file; a file that does not say is of version 0. `None` when it is no progress file.
pub(super) fn version(file: &Value) -> Option<u64> {
    match file.as_object()?.get("version") {
        None => Some(0),
        Some(version) => version.as_u64(),
    }
}

/// Brings a file that is not newer than this build up to date.
pub(super) fn up_to_date(file: &mut Value) {
    let from = version(file).unwrap_or(0);
    if let Some(file) = file.as_object_mut() {
        let first = usize::try_from(from).unwrap_or(usize::MAX);
        for (step, migration) in MIGRATIONS.iter().enumerate().skip(first) {
            migration(file);
            file.insert("version".to_owned(), json!(step + 1));
        }
    }
}

/// Version 0 kept the passed steps as a list, and the code track as a truth value `passed`.
fn from_0(file: &mut Map<String, Value>) {
    let Some(labs) = file.get_mut("labs").and_then(Value::as_object_mut) else { return };
    for lab in labs.values_mut().filter_map(Value::as_object_mut) {
        if let Some(Value::Array(ids)) = lab.get("steps").cloned() {
            let ids = ids.iter().filter_map(Value::as_str);
            let steps: Map<_, _> = ids.map(|id| (id.to_owned(), json!({ "at_ms": 0 }))).collect();
            lab.insert("steps".to_owned(), Value::Object(steps));
        }
        if let Some(passed) = lab.remove("passed") {
            let code = if passed == json!(true) { json!({ "passed_ms": 0 }) } else { json!({}) };
            lab.insert("code".to_owned(), code);
        }
    }
}
