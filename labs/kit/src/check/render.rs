//! Reports as text.

use std::fmt;

use super::report::{CheckReport, Outcome, Verdict};
use crate::redis::TraceEntry;

/// No line of a report is wider.
pub const REPORT_COLUMNS: usize = 80;
/// The most commands that a report shows; of more it shows the last ones.
const COMMANDS_SHOWN: usize = 24;
/// The most steps of a history that a report shows; of more it shows the last ones.
const STEPS_SHOWN: usize = 40;

/// The commands of a trace, a line each, with `aliases` in place of long names.
pub(super) fn shown_commands(entries: &[TraceEntry], aliases: &[(String, String)]) -> Vec<String> {
    let mut lines: Vec<String> = entries
        .iter()
        .map(|entry| {
            let mut line = format!("{}> {}", entry.conn, entry.command.join(" "));
            line.push_str(&format!("  → {}", entry.reply));
            for (long, short) in aliases {
                line = line.replace(long.as_str(), short);
            }
            line
        })
        .collect();
    if lines.len() > COMMANDS_SHOWN {
        let hidden = lines.len() - COMMANDS_SHOWN;
        lines.drain(..hidden);
        lines.insert(0, format!("({hidden} earlier commands)"));
    }
    lines
}

/// `text` in at most `columns` characters.
fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Before the later parts of a line that was broken.
const CONTINUED: &str = "            ";
/// A line of a history or a command is shown in at most so many parts.
const PARTS_MAX: usize = 3;

/// A line in parts that fit, the last one cut if it must be. The first keeps the line's own indentation.
fn parts(line: &str, columns: usize) -> Vec<String> {
    let indent: String = line.chars().take_while(|letter| *letter == ' ').collect();
    let mut parts = wrap(line, columns - indent.len().max(CONTINUED.len() - 8));
    if parts.len() > PARTS_MAX {
        parts.truncate(PARTS_MAX);
        if let Some(last) = parts.last_mut() {
            *last = cut(&format!("{last} …"), columns - CONTINUED.len() + 8);
        }
    }
    if let Some(first) = parts.first_mut() {
        first.insert_str(0, &indent);
    }
    parts
}

/// `text` broken at spaces into lines of at most `columns` characters.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last().map_or(0, |line| line.chars().count());
        match lines.last_mut() {
            Some(line) if last == 0 => line.push_str(word),
            Some(line) if last + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| cut(line, columns)).collect()
}

fn write_block(f: &mut fmt::Formatter<'_>, title: &str, lines: &[String], shown: usize) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(f, "      {title}")?;
    let hidden = lines.len().saturating_sub(shown);
    if hidden > 0 {
        writeln!(f, "        ({hidden} earlier)")?;
    }
    for line in &lines[hidden..] {
        for (i, part) in parts(line, REPORT_COLUMNS - 8).iter().enumerate() {
            writeln!(f, "{}{part}", if i == 0 { "        " } else { CONTINUED })?;
        }
    }
    Ok(())
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {:<12}  {:<40} {:>6} ms", self.verdict, self.predicate, self.took_ms)?;
        if self.verdict == Verdict::Pass {
            return Ok(());
        }
        if self.verdict == Verdict::Fail {
            for line in wrap(&format!("must hold: {}", self.states), REPORT_COLUMNS - 6) {
                writeln!(f, "      {line}")?;
            }
        }
        let label = if self.verdict == Verdict::Fail { "but:" } else { "because:" };
        for line in wrap(&format!("{label} {}", self.reason), REPORT_COLUMNS - 6) {
            writeln!(f, "      {line}")?;
        }
        if self.verdict == Verdict::Fail {
            writeln!(f, "      seed: {}", self.seed)?;
            write_block(f, "shortest history that shows it:", &self.counterexample, STEPS_SHOWN)?;
            write_block(f, "commands sent:", &self.commands, COMMANDS_SHOWN + 1)?;
        }
        Ok(())
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} on {} (seed {}): {}",
            self.lab,
            self.variant,
            self.topology,
            self.seed,
            self.verdict()
        )?;
        if self.verdict() == Verdict::Skipped {
            let reason = self.outcomes.first().map_or("nothing to check", |outcome| outcome.reason.as_str());
            return writeln!(f, "  {}", cut(reason, REPORT_COLUMNS - 2));
        }
        for outcome in &self.outcomes {
            outcome.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_a_report_is_wider_than_the_terminal() {
        let long = "word ".repeat(60) + &"x".repeat(200);
        let outcome = Outcome {
            predicate: "a_predicate_with_a_rather_long_name".into(),
            states: long.clone(),
            verdict: Verdict::Fail,
            reason: long.clone(),
            seed: u64::MAX,
            counterexample: vec![long.clone(); 50],
            commands: vec![long; 50],
            took_ms: 123_456,
        };
        let text = outcome.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= REPORT_COLUMNS), "{text}");
        assert!(text.contains("(10 earlier)"), "{text}");
    }
}
