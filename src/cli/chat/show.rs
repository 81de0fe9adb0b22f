//! Printing: text for people, or a JSON object a line. What others wrote is escaped, so that no control character of theirs reaches
//! the terminal.

use std::io::{self, IsTerminal, Write};

use reedline::ExternalPrinter;
use serde_json::Value;

use crate::console::screen::Screen;

/// The lines that wait while the editor is busy; more hold up who prints.
const WAITING_MAX: usize = 1_024;

/// Where the chat is shown. Clones print to the same place.
#[derive(Clone)]
pub struct Show {
    screen: Screen,
    json: bool,
    /// The line editor, which prints above the line being typed; none without a prompt.
    printer: Option<ExternalPrinter<String>>,
}

impl Show {
    /// Standard output; through a line editor if somebody sits at a terminal.
    pub fn new(json: bool) -> Self {
        let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
        let printer = (terminal && !json).then(|| ExternalPrinter::new(WAITING_MAX));
        Self { screen: Screen::stdout(), json, printer }
    }

    /// The queue to a line editor; none where there is no prompt.
    pub fn printer(&self) -> Option<&ExternalPrinter<String>> {
        self.printer.as_ref()
    }

    /// Whether styles are wanted.
    pub fn styled(&self) -> bool {
        self.screen.styled
    }

    /// Something that was said: `first`, which is safe already, then the text, which is not.
    ///
    /// # Errors
    /// When it can't be printed.
    pub fn said(&self, first: &str, text: &str, json: &Value) -> io::Result<()> {
        self.print(json, |screen| said(screen, first, text))
    }

    /// The same, where it may be overlooked.
    ///
    /// # Errors
    /// When it can't be printed.
    pub fn aside(&self, first: &str, text: &str, json: &Value) -> io::Result<()> {
        self.print(json, |screen| dim(screen, &said(screen, first, text)))
    }

    /// An answer of several lines, each as in [`Show::said`].
    ///
    /// # Errors
    /// When it can't be printed.
    pub fn list(&self, lines: &[(String, String)], json: &Value) -> io::Result<()> {
        let all = |screen| {
            lines.iter().map(|(first, text)| said(screen, first, text)).collect::<Vec<_>>().join("\n")
        };
        self.print(json, all)
    }

    /// What may be overlooked.
    ///
    /// # Errors
    /// When it can't be printed.
    pub fn note(&self, text: &str, json: &Value) -> io::Result<()> {
        self.print(json, |screen| dim(screen, &screen.block("* ", &clean(text))))
    }

    /// What went wrong. From a pipe it goes to standard error.
    ///
    /// # Errors
    /// When it can't be printed.
    pub fn warn(&self, text: &str, json: &Value) -> io::Result<()> {
        if self.json || self.printer.is_some() || io::stdout().is_terminal() {
            return self.print(json, |screen| screen.block("! ", &clean(text)));
        }
        writeln!(io::stderr(), "{}", Screen::stderr().block("! ", &clean(text)))
    }

    /// An event that is for programs only.
    ///
    /// # Errors
    /// When it can't be printed.
    pub fn json_only(&self, json: &Value) -> io::Result<()> {
        if self.json { self.print(json, |_| String::new()) } else { Ok(()) }
    }

    fn print(&self, json: &Value, text: impl FnOnce(Screen) -> String) -> io::Result<()> {
        let line = if self.json { json_line(json) } else { text(self.screen) };
        match &self.printer {
            Some(printer) => {
                let sent = tokio::task::block_in_place(|| printer.print(line));
                sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
            }
            None => {
                let mut out = io::stdout().lock();
                writeln!(out, "{line}")?;
                out.flush()
            }
        }
    }
}

/// Styled line by line: the editor prints lines.
fn dim(screen: Screen, text: &str) -> String {
    text.lines().map(|line| screen.dim(line)).collect::<Vec<_>>().join("\n")
}

/// `first` and a text, whose own lines and what does not fit are set in.
fn said(screen: Screen, first: &str, text: &str) -> String {
    let indent = " ".repeat(first.chars().count().min(screen.columns / 4));
    let mut out = String::new();
    for (i, line) in text.split('\n').enumerate() {
        let (start, line) = (if i == 0 { first } else { &indent }, clean(line.trim_end_matches('\r')));
        if i > 0 {
            out.push('\n');
        }
        if start.chars().count() + line.chars().count() <= screen.columns {
            out.push_str(start);
            out.push_str(&line);
            continue;
        }
        let room = screen.columns.saturating_sub(indent.len());
        let whole = format!("{start}{line}");
        let folded = fold(&whole, screen.columns, room);
        out.push_str(&folded.join(&format!("\n{indent}")));
    }
    out
}

/// `text` in lines, the first of at most `first` characters, the others of `rest`; broken at a blank where there is one.
fn fold(text: &str, first: usize, rest: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut left: Vec<char> = text.chars().collect();
    let mut width = first.max(1);
    while left.len() > width {
        let blank = left[..=width].iter().rposition(|c| *c == ' ').filter(|at| *at > width / 2);
        let (end, next) = blank.map_or((width, width), |at| (at, at + 1));
        lines.push(left[..end].iter().collect());
        left.drain(..next);
        width = rest.max(1);
    }
    lines.push(left.into_iter().collect());
    lines
}

/// Whether a character may not reach a terminal: it controls it, or turns the order of what follows.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// `text` with what a terminal would obey written as an escape. A tab is a blank.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push(' '),
            c if is_unsafe(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// A JSON object in a line. Control characters that JSON would let through stand in it as escapes, too.
fn json_line(value: &Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        if is_unsafe(c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a terminal obeys: escape, the one-character CSI, bell, backspace, delete, and turning of the reading order.
    const NASTY: &str = "a\u{1b}[2Jb\u{9b}31mc\u{7}d\u{8}e\u{7f}f\u{202e}g\rh\u{0}";

    #[test]
    fn no_control_character_of_others_is_printed() {
        let screen = Screen { styled: true, columns: 80 };
        for shown in [clean(NASTY), said(screen, "[1] eve: ", NASTY), screen.block("* ", &clean(NASTY))] {
            assert!(!shown.chars().any(is_unsafe), "{shown:?}");
            assert!(shown.contains(r"\u{1b}[2J") && shown.contains(r"\u{9b}31m"), "{shown:?}");
        }
        let line = json_line(&serde_json::json!({ "body": NASTY }));
        assert!(!line.chars().any(is_unsafe), "{line:?}");
        let back: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(back["body"], NASTY, "and JSON loses nothing");
    }

    #[test]
    fn a_line_of_a_text_is_never_at_the_margin() {
        let shown = said(Screen::plain(), "[1] eve: ", "hi\n[2] ada: I said this");
        assert_eq!(shown, "[1] eve: hi\n         [2] ada: I said this");
    }

    #[test]
    fn what_is_said_fits_and_loses_nothing_but_the_blanks_where_it_is_broken() {
        let text = format!("some  words and {} then more of them", "x".repeat(200));
        let shown = said(Screen::plain(), "[1] eve: ", &text);
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        let squeezed = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
        assert_eq!(squeezed(&shown), squeezed(&format!("[1] eve: {text}")));
        assert!(shown.starts_with("[1] eve: some  words"));
    }
}
