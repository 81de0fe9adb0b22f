//! A step with the names and numbers that a seed draws.

use std::collections::BTreeMap;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use toml::Value;

use crate::lab::{Choice, Manifest, Step};

/// How often a number is drawn again that another choice has drawn already.
const DRAWS_MAX: usize = 16;

/// The step as this seed draws it: `${name}` is replaced everywhere, also in numbers written as `max = "${limit}"`. A seed
/// draws the same values for all steps of a lab; two choices draw different values as long as they have any left.
pub fn instance(manifest: &Manifest, step: &str, seed: u64) -> Option<Step> {
    let mut template = manifest.template(step)?;
    replace(&mut template, &draw(&manifest.choices, seed));
    Step::deserialize(template).ok()
}

/// In the order of the manifest, so that a further choice at its end changes no other.
fn draw(choices: &[Choice], seed: u64) -> BTreeMap<&str, String> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut drawn: BTreeMap<&str, String> = BTreeMap::new();
    for choice in choices {
        let taken = |value: &String| drawn.values().any(|known| known == value);
        let value = match choice.between {
            Some((first, last)) => {
                let mut draw = || rng.random_range(first.min(last)..=first.max(last)).to_string();
                let mut value = draw();
                for _ in 0..DRAWS_MAX {
                    if !taken(&value) {
                        break;
                    }
                    value = draw();
                }
                value
            }
            None => {
                let free: Vec<_> = choice.one_of.iter().filter(|value| !taken(value)).collect();
                let any = free.choose(&mut rng).copied().or_else(|| choice.one_of.choose(&mut rng));
                any.cloned().unwrap_or_default()
            }
        };
        drawn.insert(&choice.name, value);
    }
    drawn
}

fn replace(value: &mut Value, drawn: &BTreeMap<&str, String>) {
    match value {
        Value::String(text) if text.contains("${") => {
            for (name, value) in drawn {
                *text = text.replace(&format!("${{{name}}}"), value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, drawn)),
        Value::Table(table) => table.iter_mut().for_each(|(_, item)| replace(item, drawn)),
        _ => {}
    }
}

/// The first `${name}` in a value that no choice has.
pub(crate) fn unknown_name(value: &Value, choices: &[Choice]) -> Option<String> {
    match value {
        Value::String(text) => {
            let names =
                text.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
            let mut unknown = names.filter(|name| !choices.iter().any(|choice| choice.name == *name));
            unknown.next().map(str::to_owned)
        }
        Value::Array(items) => items.iter().find_map(|item| unknown_name(item, choices)),
        Value::Table(table) => table.iter().find_map(|(_, item)| unknown_name(item, choices)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Expect;

    const TEXT: &str = r#"
id = "x"
title = "X"
[[choices]]
name = "user"
one_of = ["ada", "bo", "cy"]
[[choices]]
name = "other"
one_of = ["ada", "bo", "cy"]
[[choices]]
name = "n"
between = [3, 9]
[[steps]]
id = "a"
goal = "Store ${n} for ${user}, not for ${other}."
setup = ["SET user:${other} 0"]
expect = [{ predicate = "number", key = "user:${user}", min = "${n}", max = 9 }]
solution = ["SET user:${user} ${n}"]
hints = ["SET"]
"#;

    #[test]
    fn names_and_numbers_are_drawn_by_seed() {
        let manifest = Manifest::parse(TEXT).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let step = instance(&manifest, "a", seed).unwrap();
            assert_eq!(instance(&manifest, "a", seed).unwrap(), step);
            let Expect::Number { key, min, .. } = &step.expect[0] else { panic!("{step:?}") };
            assert_eq!(step.solution, [format!("SET {key} {}", min.unwrap())]);
            assert!((3..=9).contains(&min.unwrap()));
            assert_ne!(step.setup[0], format!("SET {key} 0"), "two choices drew the same");
            assert!(!step.goal.contains("${"), "{}", step.goal);
            seen.insert(step.goal);
        }
        assert!(seen.len() > 10, "{seen:?}");
        assert!(instance(&manifest, "b", 1).is_none());
        let wrong = TEXT.replace("for ${user}", "for ${usr}");
        assert!(Manifest::parse(&wrong).unwrap_err().contains("usr"));
    }
}
