//! Two runs of A and two of B, taken in the order A B B A, side by side.
//!
//! The order takes a steady drift of the machine out of the difference. What two runs of each can say is little, and no more
//! is claimed: whether A and B differ by more than the runs of each differ among themselves. It is no test of
//! significance.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::figures::{number, readings};
use crate::{report::clip, result::RunResult};

/// The order in which the runs are taken: which side each belongs to.
pub const ORDER: [Which; 4] = [Which::A, Which::B, Which::B, Which::A];

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Which {
    /// What the run was asked for.
    A,
    /// What it is compared with.
    B,
}

/// One figure of both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What is measured, with its unit.
    pub name: String,
    /// A's two runs, the earlier first.
    pub a: [f64; 2],
    /// B's two runs.
    pub b: [f64; 2],
    /// B's mean over A's; none when A's is 0.
    pub ratio: Option<f64>,
    /// Whether the means differ by more than the two spreads together.
    pub differs: bool,
}

/// Both sides.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// A's title.
    pub a: String,
    /// B's title.
    pub b: String,
    /// Whether all four runs are valid; only then are there figures.
    pub valid: bool,
    /// The figures that all four runs have.
    pub figures: Vec<Figure>,
    /// The runs, in [`ORDER`].
    pub runs: Vec<RunResult>,
}

impl Comparison {
    /// Of four runs in [`ORDER`]; figures are withheld unless all of them are valid.
    pub fn new(a: &str, b: &str, runs: [RunResult; 4]) -> Self {
        let valid = runs.iter().all(|run| run.verdict.is_valid());
        let figures = if valid { figures(&runs) } else { Vec::new() };
        Self { a: a.to_owned(), b: b.to_owned(), valid, figures, runs: runs.into() }
    }
}

fn figures(runs: &[RunResult; 4]) -> Vec<Figure> {
    let mut found = Vec::new();
    for reading in readings(&runs[0]) {
        let values: Option<Vec<f64>> = runs.iter().map(&reading.read).collect();
        if let Some([a1, b1, b2, a2]) = values.as_deref() {
            found.push(figure(reading.name, [*a1, *a2], [*b1, *b2]));
        }
    }
    found
}

fn figure(name: String, a: [f64; 2], b: [f64; 2]) -> Figure {
    let mean = |two: [f64; 2]| two[0].midpoint(two[1]);
    let spread = |two: [f64; 2]| (two[0] - two[1]).abs();
    let (mean_a, mean_b) = (mean(a), mean(b));
    Figure {
        name,
        a,
        b,
        ratio: (mean_a != 0.0).then(|| mean_b / mean_a),
        differs: (mean_a - mean_b).abs() > spread(a) + spread(b),
    }
}

/// For people, at most [`crate::report::WIDTH`] columns.
pub fn terminal(comparison: &Comparison) -> String {
    let mut out = String::new();
    // Writing to a String can't fail.
    let _ = writeln!(out, "A  {}\nB  {}", comparison.a, comparison.b);
    let taken: Vec<_> = ORDER
        .iter()
        .zip(&comparison.runs)
        .map(|(which, run)| format!("{which:?} {}", run.verdict.kind))
        .collect();
    let _ = writeln!(out, "\nFour runs, in this order: {}", taken.join(", "));
    if !comparison.valid {
        for (which, run) in ORDER.iter().zip(&comparison.runs) {
            for broken in run.verdict.broken() {
                let (rule, seen, limit) = (&broken.rule, &broken.seen, &broken.limit);
                let _ = writeln!(out, "  {which:?} broke {rule}: {seen} (limit {limit})");
            }
        }
        let _ = writeln!(out, "No comparison: the figures of a run that is not VALID stand for nothing.");
        return clip(&out);
    }
    let _ = writeln!(out, "\n{:<27}{:>17}{:>17}{:>8}", "", "A, both runs", "B, both runs", "B/A");
    for figure in &comparison.figures {
        let pair = |two: [f64; 2]| format!("{} {}", number(two[0]), number(two[1]));
        let ratio = figure.ratio.map_or_else(|| "–".into(), |ratio| format!("{ratio:.2}"));
        let says = if figure.differs { "  differs" } else { "" };
        let _ =
            writeln!(out, "{:<27}{:>17}{:>17}{ratio:>8}{says}", figure.name, pair(figure.a), pair(figure.b));
    }
    let _ = writeln!(
        out,
        "\n`differs`: the means are further apart than the two runs of A and the two of B\n\
         are from each other, added up. Where it is missing, these runs show no difference.\n\
         Two runs each are not enough to say more."
    );

    clip(&out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_differ_only_beyond_both_spreads() {
        for (a, b, differs) in [
            ([1.0, 1.2], [1.1, 1.3], false),
            ([1.0, 1.2], [1.3, 1.5], false),
            ([1.0, 1.2], [1.6, 1.8], true),
            ([5.0, 5.0], [5.0, 5.0], false),
            ([2.0, 2.1], [1.0, 1.1], true),
        ] {
            assert_eq!(figure("x".into(), a, b).differs, differs, "{a:?} {b:?}");
        }
        assert_eq!(figure("x".into(), [0.0, 0.0], [1.0, 1.0]).ratio, None);
        assert_eq!(figure("x".into(), [1.0, 3.0], [4.0, 4.0]).ratio, Some(2.0));
    }
}
