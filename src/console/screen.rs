//! Text for terminals and pipes: styles where they are wanted, lines that fit.
//!
//! Only attributes and the sixteen colours that every terminal theme sets for itself are used: they can be read on light and on
//! dark.

use std::io::IsTerminal;

/// No line is wider.
pub const COLUMNS: usize = 80;
/// No line is broken to less.
const COLUMNS_MIN: usize = 30;

/// Where text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Whether styles are wanted: a terminal, no `NO_COLOR`, no `TERM=dumb`.
    pub styled: bool,
    /// The width of lines.
    pub columns: usize,
}

impl Screen {
    /// Standard output.
    pub fn stdout() -> Self {
        Self::of(std::io::stdout().is_terminal())
    }

    /// Standard error.
    pub fn stderr() -> Self {
        Self::of(std::io::stderr().is_terminal())
    }

    fn of(terminal: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let styled = terminal && set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb");
        let width = if terminal { usize::from(termimad::terminal_size().0) } else { COLUMNS };
        Self { styled, columns: width.clamp(COLUMNS_MIN, COLUMNS) }
    }

    /// A pipe: no styles, 80 columns.
    pub const fn plain() -> Self {
        Self { styled: false, columns: COLUMNS }
    }

    fn style(self, code: &str, text: &str) -> String {
        if self.styled && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// What matters.
    pub fn bold(self, text: &str) -> String {
        self.style("1", text)
    }

    /// What may be overlooked.
    pub fn dim(self, text: &str) -> String {
        self.style("2", text)
    }

    /// What is as it should be.
    pub fn good(self, text: &str) -> String {
        self.style("32", text)
    }

    /// What is not.
    pub fn bad(self, text: &str) -> String {
        self.style("31", text)
    }

    /// `text` broken at blanks, `first` before its first line and blanks of the same width before the others.
    pub fn block(self, first: &str, text: &str) -> String {
        let indent = first.chars().count();
        let mut out = String::new();
        for (i, line) in wrap(text, self.columns.saturating_sub(indent)).iter().enumerate() {
            if i > 0 {
                out.push('\n');
            }
            if i == 0 {
                out.push_str(first);
            } else {
                out.push_str(&" ".repeat(indent));
            }
            out.push_str(line);
        }
        out
    }
}

/// `text` broken at blanks into lines of at most `columns` characters; a longer word is broken too.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    let mut width = 0;
    for word in text.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        for (i, part) in letters.chunks(columns).enumerate() {
            let gap = usize::from(width > 0 && i == 0);
            if width > 0 && (i > 0 || width + gap + part.len() > columns) {
                lines.push(std::mem::take(&mut line));
                width = 0;
            }
            if width > 0 {
                line.push(' ');
                width += 1;
            }
            line.extend(part);
            width += part.len();
        }
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_and_no_letter_is_lost() {
        let text = format!("some words and {} then more of them", "x".repeat(50));
        for columns in [7, 20, 30] {
            let lines = wrap(&text, columns);
            assert!(lines.iter().all(|line| line.chars().count() <= columns), "{lines:?}");
            let squeezed = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            assert_eq!(squeezed(&lines.concat()), squeezed(&text));
        }
        assert_eq!(wrap("", 5), [""]);
        assert_eq!(Screen::plain().block("- ", "a b"), "- a b");
    }

    #[test]
    fn styles_are_left_out_of_pipes() {
        assert_eq!(Screen::plain().bold("x"), "x");
        assert_eq!(Screen { styled: true, columns: 80 }.bold("x"), "\x1b[1mx\x1b[0m");
    }
}
