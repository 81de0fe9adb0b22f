//! `chatlab read`: a lab's lesson.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use termimad::MadSkin;
use termimad::crossterm::style::Attribute;

use super::Global;
use crate::console::screen::Screen;
use crate::labs;
use crate::learner::Store;

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
/// When there is no such lab. That it was read is noted; where that fails, the lesson is shown all the same.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let lab = labs::named(&args.lab)?;
    let noted = Store::open().update(|progress| progress.lab_mut(lab.id()).read());
    if let Err(error) = noted {
        eprintln!("chatlab: {error}");
    }
    let mut out = std::io::stdout().lock();
    if global.json {
        let json = serde_json::json!({ "id": lab.id(), "title": lab.title(), "lesson": lab.lesson() });
        writeln!(out, "{json:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let written = if out.is_terminal() {
        let screen = Screen::stdout();
        write!(out, "{}", skin(screen.styled).text(&reflowed(lab.lesson()), Some(screen.columns)))
    } else {
        write!(out, "{}", lab.lesson())
    };
    match written {
        // The reader of the pipe has seen enough.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        other => other.map(|()| ExitCode::SUCCESS).map_err(Into::into),
    }
}

/// Attributes only: whatever the terminal's colours are, text stays in them and can be read.
fn skin(styled: bool) -> MadSkin {
    let mut skin = MadSkin::no_style();
    if styled {
        skin.bold.add_attr(Attribute::Bold);
        skin.italic.add_attr(Attribute::Italic);
        skin.inline_code.add_attr(Attribute::Bold);
        for header in &mut skin.headers {
            header.add_attr(Attribute::Bold);
        }
        skin.headers[0].add_attr(Attribute::Underlined);
    }
    skin
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
        if in_code && !fence && !line.is_empty() {
            // The only mark of code that also shows without colours.
            out.push_str("  ");
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
    fn paragraphs_become_one_line_and_code_is_indented() {
        let text = "# T\n\none\ntwo\n\n- a\n  b\n- c\n\n```\nx\ny\n```\nend\n";
        assert_eq!(reflowed(text), "# T\n\none two\n\n- a b\n- c\n\n```\n  x\n  y\n```\nend\n");
    }
}
