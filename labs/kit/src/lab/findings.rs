//! What an experiment asks and what it measured.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Something to predict, run and explain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Experiment {
    /// A stable name: `memory`.
    pub name: &'static str,
    /// What to guess before it runs.
    pub question: &'static str,
    /// What the numbers mean.
    pub explanation: &'static str,
}

/// What an experiment measured: a table, what it adds up to, and pictures of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// The unit of the numbers, such as `bytes a session`.
    pub unit: String,
    /// The heads of the columns of numbers.
    pub columns: Vec<String>,
    /// A name and one number a column; NaN (null in JSON) where nothing could be measured.
    pub rows: Vec<Row>,
    /// Pictures of the same numbers.
    #[serde(default)]
    pub charts: Vec<Chart>,
    /// What the numbers add up to in this very run, a sentence a line.
    #[serde(default)]
    pub conclusions: Vec<String>,
    /// What could not be measured or was refused a verdict, and why.
    pub notes: Vec<String>,
    /// The servers of the experiment's own, where it did not run on those that it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// A line of a table: its name, and a number a column.
pub type Row = (String, Vec<f64>);

/// Lines over one pair of axes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chart {
    /// What is shown.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The lines.
    pub series: Vec<Series>,
}

/// An axis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axis {
    /// What is measured and its unit: `messages`, `µs a call`.
    pub label: String,
    /// Logarithmic; values at or below 0 are then left out.
    pub log: bool,
}

/// One line of a chart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<Point>,
}

/// A point, with its interval of confidence where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Where.
    pub x: f64,
    /// How much.
    pub y: f64,
    /// The lower and the upper end of its interval.
    pub interval: Option<(f64, f64)>,
}

impl Axis {
    /// A linear axis.
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), log: false }
    }

    /// A logarithmic axis.
    pub fn log(label: impl Into<String>) -> Self {
        Self { label: label.into(), log: true }
    }
}

impl Point {
    /// A point without an interval.
    pub const fn at(x: f64, y: f64) -> Self {
        Self { x, y, interval: None }
    }
}

impl Findings {
    /// An empty table.
    pub fn new(unit: impl Into<String>, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { unit: unit.into(), columns: columns.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Adds a line of numbers, one a column.
    pub fn row(&mut self, name: impl Into<String>, numbers: impl Into<Vec<f64>>) {
        self.rows.push((name.into(), numbers.into()));
    }

    /// Adds what the numbers of this run add up to.
    pub fn conclude(&mut self, sentence: impl Into<String>) {
        self.conclusions.push(sentence.into());
    }

    /// Says on which servers of its own the experiment ran.
    #[must_use]
    pub fn measured_on(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// Adds what could not be measured, and why.
    pub fn note(&mut self, sentence: impl Into<String>) {
        self.notes.push(sentence.into());
    }
}

/// The widest that a table may be.
const COLUMNS_MAX: usize = 80;

/// A number with about three significant digits, thousands apart.
fn shown(number: f64) -> String {
    let size = number.abs();
    if !number.is_finite() {
        return "–".to_owned();
    }
    if size >= 100.0 || number.fract() == 0.0 {
        let digits = format!("{size:.0}");
        let mut out = String::new();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i) % 3 == 0 {
                out.push(',');
            }
            out.push(digit);
        }
        return if number < 0.0 { format!("-{out}") } else { out };
    }
    let decimals = if size >= 10.0 {
        1
    } else if size >= 1.0 {
        2
    } else {
        3
    };
    format!("{number:.decimals$}")
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.rows.iter().map(|(name, _)| name.chars().count());
        let first = names.chain([self.unit.chars().count()]).max().unwrap_or(0);
        let left = COLUMNS_MAX.saturating_sub(first) / self.columns.len().max(1);
        let wanted = self.columns.iter().map(|c| c.chars().count()).max().unwrap_or(0).max(9) + 2;
        let width = wanted.min(left.max(2)) - 1;
        write!(f, "{:<first$}", self.unit)?;
        for column in &self.columns {
            let cut: String = column.chars().take(width).collect();
            write!(f, " {cut:>width$}")?;
        }
        writeln!(f)?;
        for (name, numbers) in &self.rows {
            write!(f, "{name:<first$}")?;
            for number in numbers {
                write!(f, " {:>width$}", shown(*number))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_about_three_digits() {
        let all = [1_234_567.0, 123.4, 12.34, 1.234, 0.1234, 7.0, -1500.0, f64::NAN].map(shown);
        assert_eq!(all, ["1,234,567", "123", "12.3", "1.23", "0.123", "7", "-1,500", "–"]);
    }

    #[test]
    fn a_table_fits_the_terminal() {
        let mut findings = Findings::new("µs a call", (0..6).map(|i| format!("a long head {i}")));
        findings.row("a_variant_with_a_long_name", vec![1234.5; 6]);
        let text = findings.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS_MAX), "{text}");
    }
}
