//! The line editor of the console: history in the state folder, completion of commands and keys, and the arguments of the command
//! being typed, shown behind the cursor.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use chatlab_kit::steps::words;
use reedline::{
    ColumnarMenu, Completer, CompletionResult, DefaultPrompt, Emacs, FileBackedHistory, Highlighter, Hinter,
    History, KeyCode, KeyModifiers, MenuBuilder, Prompt, PromptEditMode, PromptHistorySearch, Reedline,
    ReedlineEvent, ReedlineMenu, Signal, Span, StyledText, Suggestion, default_emacs_keybindings,
};

use super::docs::CommandDocs;

/// The lines of history that are kept.
const HISTORY_LINES: usize = 1_000;
/// The most suggestions at a time.
const SUGGESTIONS_MAX: usize = 60;
const MENU: &str = "completion";
/// What begins with a colon is for the console, not for the server.
pub(super) const COLON_COMMANDS: [&str; 13] = [
    ":check",
    ":goal",
    ":help",
    ":hint",
    ":latency",
    ":next",
    ":prev",
    ":quit",
    ":reset",
    ":solution",
    ":step",
    ":steps",
    ":trace",
];

/// The keys that completion knows now.
pub(super) type Keys = Arc<Mutex<Vec<String>>>;

/// What came from the terminal.
pub(super) enum Line {
    /// A line.
    Typed(String),
    /// Ctrl-C: the line is given up.
    GivenUp,
    /// Ctrl-D.
    End,
}

/// The editor.
pub(super) struct Editor {
    reedline: Reedline,
}

impl Editor {
    /// An editor that completes from `docs` and `keys`. Without a history that can be kept it works too.
    pub(super) fn new(docs: Arc<CommandDocs>, keys: Keys, history: &Path, styled: bool) -> Self {
        let mut bindings = default_emacs_keybindings();
        let tab = vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext];
        bindings.add_binding(KeyModifiers::NONE, KeyCode::Tab, ReedlineEvent::UntilFound(tab));
        let plain = reedline::Color::Default;
        let menu = ColumnarMenu::default()
            .with_name(MENU)
            .with_columns(3)
            .with_column_padding(2)
            .with_text_style(plain.normal())
            .with_match_text_style(plain.bold())
            .with_selected_text_style(plain.reverse())
            .with_selected_match_text_style(plain.reverse());
        let mut reedline = Reedline::create()
            .with_ansi_colors(styled)
            .with_edit_mode(Box::new(Emacs::new(bindings)))
            .with_completer(Box::new(Complete { docs: docs.clone(), keys }))
            .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
            .with_quick_completions(true)
            .with_partial_completions(true)
            .with_highlighter(Box::new(Unpainted))
            .with_hinter(Box::new(Arguments { docs, styled }));
        if let Ok(history) = FileBackedHistory::with_file(HISTORY_LINES, history.to_owned()) {
            reedline = reedline.with_history(Box::new(history));
        }
        Self { reedline }
    }

    /// Reads a line. Blocks.
    ///
    /// # Errors
    /// When the terminal fails.
    pub(super) fn read(&mut self, prompt: &str) -> anyhow::Result<Line> {
        let signal = self.reedline.read_line(&PlainPrompt(prompt.to_owned()))?;
        let _ = self.reedline.sync_history();
        Ok(match signal {
            Signal::Success(line) => Line::Typed(line),
            Signal::CtrlC => Line::GivenUp,
            _ => Line::End,
        })
    }
}

/// A prompt in the terminal's own colour.
pub(crate) struct PlainPrompt(pub(crate) String);

impl Prompt for PlainPrompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.0)
    }
    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }
    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }
    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("... ")
    }
    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(DefaultPrompt::default().render_prompt_history_search_indicator(search).into_owned())
    }
    fn get_prompt_color(&self) -> reedline::Color {
        reedline::Color::Default
    }
    fn get_indicator_color(&self) -> reedline::Color {
        reedline::Color::Default
    }
    fn get_prompt_multiline_color(&self) -> reedline::Color {
        reedline::Color::Default
    }
    fn get_prompt_right_color(&self) -> reedline::Color {
        reedline::Color::Default
    }
}

/// What is typed stays in the terminal's own colour: the editor's default is white, which a light terminal does not show.
pub(crate) struct Unpainted;

impl Highlighter for Unpainted {
    fn highlight(&self, line: &str, _cursor: usize) -> StyledText {
        let mut text = StyledText::new();
        text.push((reedline::Color::Default.normal(), line.to_owned()));
        text
    }
}

struct Complete {
    docs: Arc<CommandDocs>,
    keys: Keys,
}

impl Complete {
    /// The words that may stand where the last one of `before` stands, and where that one begins.
    fn words(&self, before: &str) -> (usize, Vec<String>) {
        let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let part = &before[start..];
        let head: Vec<&str> =
            before[..start].split_whitespace().filter(|word| !word.starts_with('@')).collect();
        let names = |start: &str, skip: usize| -> Vec<String> {
            let known = self.docs.starting_with(start);
            known.map(|name| name[skip..].to_owned()).filter(|name| !name.contains(' ')).collect()
        };
        let mut found: Vec<String> = match head.as_slice() {
            [] if part.starts_with(':') => COLON_COMMANDS.iter().map(|c| (*c).to_owned()).collect(),
            [] => names(part, 0),
            [container] => {
                let whole = format!("{container} {part}");
                names(&whole, container.len() + 1)
            }
            _ => Vec::new(),
        };
        if !head.is_empty() {
            let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            found.extend(keys.iter().cloned());
        }
        let part = part.to_uppercase();
        found.retain(|word| word.to_uppercase().starts_with(&part));
        found.truncate(SUGGESTIONS_MAX);
        (start, found)
    }
}

impl Completer for Complete {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let Some(before) = line.get(..pos) else { return CompletionResult::fresh(Vec::new()) };
        let (start, found) = self.words(before);
        let suggestions = found.into_iter().map(|value| Suggestion {
            value,
            span: Span::new(start, pos),
            append_whitespace: true,
            ..Suggestion::default()
        });
        CompletionResult::fresh(suggestions.collect::<Vec<_>>())
    }
}

/// Shows which arguments follow; never part of the line.
struct Arguments {
    docs: Arc<CommandDocs>,
    styled: bool,
}

impl Hinter for Arguments {
    fn handle(&mut self, line: &str, pos: usize, _: &dyn History, ansi: bool, _: &str) -> String {
        if pos != line.len() {
            return String::new();
        }
        let mut typed = words(line).unwrap_or_default();
        typed.retain(|word| !word.starts_with('@'));
        // A word still being typed is not given yet.
        if !line.ends_with(' ') && typed.len() > 1 {
            typed.pop();
        }
        let remaining = self.docs.remaining(&typed);
        if remaining.is_empty() {
            return String::new();
        }
        let gap = if line.ends_with(' ') { "" } else { " " };
        // Without styles the arguments could not be told from what was typed.
        if self.styled && ansi { format!("{gap}\x1b[2m{remaining}\x1b[0m") } else { String::new() }
    }

    fn complete_hint(&self) -> String {
        String::new()
    }

    fn next_hint_token(&self) -> String {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_complete_after_a_command_and_the_consoles_own_words_before() {
        let keys: Keys = Arc::new(Mutex::new(vec!["session:s1".into(), "user:1".into()]));
        let complete = Complete { docs: Arc::default(), keys };
        assert_eq!(complete.words("HGETALL ses"), (8, vec!["session:s1".to_owned()]));
        assert_eq!(complete.words("@2 HGETALL us"), (11, vec!["user:1".to_owned()]));
        assert_eq!(complete.words(":che"), (0, vec![":check".to_owned()]));
        assert_eq!(complete.words("ses"), (0, vec![]));
    }
}
