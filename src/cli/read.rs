//! `chatlab read`: a lab's lesson.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use termimad::MadSkin;

use super::Global;
use crate::labs;

/// No line of a lesson is rendered wider.
const COLUMNS: usize = 80;

const EXAMPLES: &str = "\
Examples:
  chatlab read sessions
  chatlab read sessions | less        plain Markdown when piped";

/// Arguments of `chatlab read`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The lab, as `chatlab list` shows it
    lab: String,
}

/// Runs `chatlab read`.
///
/// # Errors
/// When there is no such lab.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let lab = labs::named(&args.lab)?;
    let mut out = std::io::stdout().lock();
    if global.json {
        let json = serde_json::json!({ "id": lab.id(), "title": lab.title(), "lesson": lab.lesson() });
        writeln!(out, "{json:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let written = if out.is_terminal() {
        let (width, _) = termimad::terminal_size();
        let width = usize::from(width).clamp(20, COLUMNS);
        let skin = if colours { MadSkin::default() } else { MadSkin::no_style() };
        write!(out, "{}", skin.text(&reflowed(lab.lesson()), Some(width)))
    } else {
        write!(out, "{}", lab.lesson())
    };
    match written {
        // The reader of the pipe has seen enough.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        other => other.map(|()| ExitCode::SUCCESS).map_err(Into::into),
    }
}

/// Joins the lines of each paragraph: Markdown says they are one, termimad keeps them apart.
fn reflowed(markdown: &str) -> String {
    let mut out = String::with_capacity(markdown.len());
    let (mut in_code, mut in_text) = (false, false);
    for line in markdown.lines() {
        let fence = line.starts_with("```");
        let starts_block = line.is_empty() || line.starts_with(['#', '|', '-', '>']) || fence || in_code;
        if starts_block || !in_text {
            if !out.is_empty() {
                out.push('\n');
            }
        } else {
            out.push(' ');
        }
        out.push_str(if in_code || fence { line } else { line.trim() });
        in_code ^= fence;
        in_text = !(line.is_empty() || line.starts_with(['#', '|']) || fence || in_code);
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_become_one_line_and_code_stays_as_it_is() {
        let text = "# T\n\none\ntwo\n\n- a\n  b\n- c\n\n```\nx\ny\n```\nend\n";
        assert_eq!(reflowed(text), "# T\n\none two\n\n- a b\n- c\n\n```\nx\ny\n```\nend\n");
    }
}
