//! What the learner's variant costs beside the reference: round trips, commands, time.

use std::fmt::Write as _;

use chatlab_kit::{
    check::wrap,
    lab::{Cost, REHEARSALS},
};
use serde::Serialize;

/// How often each side is rehearsed, in turns: a slow moment of the machine then hits both.
pub const TURNS: usize = 3;
/// The most commands of one operation that are shown.
const COMMANDS_SHOWN: usize = 12;
/// No line of a comparison is wider.
const COLUMNS: usize = 80;

/// Both sides, operation by operation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The reference's name.
    pub reference: String,
    /// A line an operation.
    pub operations: Vec<Compared>,
}

/// One operation on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// The learner's.
    pub yours: Cost,
    /// The reference's.
    pub theirs: Cost,
}

/// Puts the runs of both sides together; of several runs the fastest time counts, and the last trace.
pub fn compare(reference: &str, yours: &[Vec<Cost>], theirs: &[Vec<Cost>]) -> Comparison {
    let pairs = fastest(yours).into_iter().filter_map(|yours| {
        let theirs = fastest(theirs).into_iter().find(|theirs| theirs.operation == yours.operation)?;
        Some(Compared { yours, theirs })
    });
    Comparison { reference: reference.to_owned(), operations: pairs.collect() }
}

fn fastest(runs: &[Vec<Cost>]) -> Vec<Cost> {
    let Some(last) = runs.last() else { return Vec::new() };
    let best = |operation: &str| {
        let costs = runs.iter().flatten().filter(|cost| cost.operation == operation);
        costs.map(|cost| cost.best_us).min().unwrap_or(0)
    };
    last.iter().map(|cost| Cost { best_us: best(&cost.operation), ..cost.clone() }).collect()
}

impl Comparison {
    /// The table and what it adds up to, within 80 columns.
    pub fn text(&self) -> String {
        let mut out = format!(
            "{:<18} {:>13} {:>13} {:>15}\n{:<18} {:>13} {:>13} {:>15}\n",
            "",
            "round trips",
            "commands",
            "fastest µs",
            "operation",
            "yours / ref",
            "yours / ref",
            "yours / ref"
        );
        for Compared { yours, theirs } in &self.operations {
            let both = |a: String, b: String| format!("{a} / {b}");
            let _ = writeln!(
                out,
                "{:<18} {:>13} {:>13} {:>15}",
                cut(&yours.operation, 18),
                both(yours.round_trips.to_string(), theirs.round_trips.to_string()),
                both(yours.commands.len().to_string(), theirs.commands.len().to_string()),
                both(yours.best_us.to_string(), theirs.best_us.to_string()),
            );
        }
        let _ = writeln!(
            out,
            "ref = {}; fastest of {} calls, both sides in turns",
            self.reference,
            REHEARSALS * TURNS as u64
        );
        for sentence in self.sentences() {
            for line in wrap(&sentence, COLUMNS) {
                let _ = writeln!(out, "{line}");
            }
        }
        out
    }

    /// Where the two differ in round trips; the times of so few calls are shown, not judged.
    pub fn sentences(&self) -> Vec<String> {
        let mut said = Vec::new();
        for Compared { yours, theirs } in &self.operations {
            let (a, b) = (yours.round_trips, theirs.round_trips);
            if a > b {
                said.push(format!(
                    "{}: {} more than the reference; each is a whole way to Redis and back.",
                    yours.operation,
                    counted(a - b, "round trip")
                ));
            } else if a < b {
                said.push(format!(
                    "{}: {} fewer than the reference.",
                    yours.operation,
                    counted(b - a, "round trip")
                ));
            }
        }
        if said.is_empty() && !self.operations.is_empty() {
            said.push("As many round trips as the reference, in every operation.".to_owned());
        }
        said
    }
}

/// `1 round trip`, `2 round trips`.
pub fn counted(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// The commands of one operation, a line each, cut to `columns`.
pub fn trace_lines(cost: &Cost, columns: usize) -> Vec<String> {
    let mut lines: Vec<_> = cost
        .commands
        .iter()
        .take(COMMANDS_SHOWN)
        .map(|entry| cut(&short_ids(&format!("{}  → {}", entry.command.join(" "), entry.reply)), columns))
        .collect();
    if cost.commands.len() > COMMANDS_SHOWN {
        lines.push(format!("… and {} more", cost.commands.len() - COMMANDS_SHOWN));
    }
    lines
}

/// The length of a UUID as text.
const UUID_CHARS: usize = 36;

/// `text` with each UUID cut to its last four letters: they tell one from another, and leave room for the command.
pub fn short_ids(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if let Some(id) = rest.get(..UUID_CHARS).filter(|id| is_uuid(id)) {
            out.push('…');
            out.push_str(&id[UUID_CHARS - 4..]);
            rest = &rest[UUID_CHARS..];
        } else {
            out.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }
    out
}

fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(i, byte)| match i {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

/// `text` in at most `columns` characters.
pub fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(operation: &str, round_trips: u64, best_us: u64) -> Cost {
        Cost { operation: operation.into(), round_trips, commands: vec![], best_us }
    }

    #[test]
    fn long_ids_are_cut_and_nothing_else_is() {
        let text = "GET {lab:01a1ff12-f1e4-757a-a237-79ca6eef0abc}:ä 1234";
        assert_eq!(short_ids(text), "GET {lab:…0abc}:ä 1234");
        assert_eq!(short_ids("01a1ff12-f1e4"), "01a1ff12-f1e4");
    }

    #[test]
    fn the_fastest_of_all_runs_counts_and_the_difference_is_said() {
        let yours = [vec![cost("touch", 3, 300)], vec![cost("touch", 2, 500)]];
        let theirs = [vec![cost("touch", 1, 200)], vec![cost("touch", 1, 150)]];
        let compared = compare("hash_index", &yours, &theirs);
        let pair = &compared.operations[0];
        assert_eq!((pair.yours.round_trips, pair.yours.best_us, pair.theirs.best_us), (2, 300, 150));
        assert_eq!(compared.sentences().len(), 1);
        assert!(compared.sentences()[0].starts_with("touch: 1 round trip more"));
        let text = compared.text();
        assert!(text.contains("2 / 1") && text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let same = compare("r", &[vec![cost("a", 1, 1)]], &[vec![cost("a", 1, 1)]]);
        assert!(same.sentences()[0].contains("As many round trips"));
    }
}
