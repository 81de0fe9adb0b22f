//! Lines, from an editor at a terminal or from a pipe. A thread reads them, since both block.

use std::{
    io::{self, BufRead, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc as std_mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context;
use reedline::{ExternalPrinter, Reedline, Signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::show::Show;
use crate::console::editor::{PlainPrompt, Unpainted};

/// The longest line of a pipe that is looked at, in bytes; what is longer is refused as a whole. Above every bound of the server's.
pub const LINE_BYTES_MAX: usize = 16 * 1024;
/// The lines that wait to be handled.
const LINES_WAITING: usize = 16;
/// How often the editor looks for what is to be printed.
const LOOK: Duration = Duration::from_millis(50);

/// The lines. Each is handled before a prompt asks for the next.
pub struct Lines {
    lines: mpsc::Receiver<io::Result<Line>>,
    prompts: Option<std_mpsc::Sender<String>>,
    stop: Arc<AtomicBool>,
    editor: Option<JoinHandle<()>>,
}

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// As it was typed.
    Typed(String),
    /// Longer than [`LINE_BYTES_MAX`].
    TooLong,
}

impl Lines {
    /// Begins to read. At a terminal `prompt` asks, and Ctrl-C and Ctrl-D mean `quit`.
    ///
    /// # Errors
    /// When there can be no thread for it.
    pub fn open(show: &Show, prompt: String, quit: &CancellationToken) -> anyhow::Result<Self> {
        let (send, lines) = mpsc::channel(LINES_WAITING);
        let (prompts, asked) = std_mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let named = thread::Builder::new().name("chat-input".to_owned());
        let Some(printer) = show.printer().cloned() else {
            // It may sit in a read for ever: nobody waits for this one.
            named.spawn(move || read_pipe(io::stdin().lock(), &send)).context("a thread to read with")?;
            return Ok(Self { lines, prompts: None, stop, editor: None });
        };
        let editor = Editor { send, asked, printer, stop: stop.clone(), quit: quit.clone() };
        let styled = show.styled();
        let editor = named.spawn(move || editor.run(prompt, styled)).context("a thread to read with")?;
        Ok(Self { lines, prompts: Some(prompts), stop, editor: Some(editor) })
    }

    /// The next line; none at the end.
    ///
    /// # Errors
    /// When they can't be read.
    pub async fn next(&mut self) -> anyhow::Result<Option<Line>> {
        self.lines.recv().await.transpose().context("reading lines")
    }

    /// The line is handled: the prompt may ask for the next.
    pub fn handled(&self, prompt: String) {
        if let Some(prompts) = &self.prompts {
            // Without an editor nobody asks.
            let _ = prompts.send(prompt);
        }
    }

    /// Ends the editor, which leaves the terminal as it was.
    pub fn close(&mut self) {
        self.prompts = None;
        self.stop.store(true, Ordering::Relaxed);
        if let Some(editor) = self.editor.take() {
            let _ = tokio::task::block_in_place(|| editor.join());
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.close();
    }
}

struct Editor {
    send: mpsc::Sender<io::Result<Line>>,
    asked: std_mpsc::Receiver<String>,
    printer: ExternalPrinter<String>,
    stop: Arc<AtomicBool>,
    quit: CancellationToken,
}

impl Editor {
    fn run(self, mut prompt: String, styled: bool) {
        let mut reedline = Reedline::create()
            .with_ansi_colors(styled)
            .with_highlighter(Box::new(Unpainted))
            .with_external_printer(self.printer.clone())
            .with_poll_interval(LOOK)
            .with_break_signal(self.stop.clone());
        loop {
            match reedline.read_line(&PlainPrompt(prompt)) {
                Ok(Signal::Success(line)) => {
                    if self.send.blocking_send(Ok(Line::Typed(line))).is_err() {
                        break;
                    }
                }
                Ok(Signal::ExternalBreak(_)) => {
                    // What is said next does not stand behind the prompt.
                    self.print("\n");
                    break;
                }
                Ok(_) => {
                    self.quit.cancel();
                    break;
                }
                Err(error) => {
                    let _ = self.send.blocking_send(Err(error));
                    break;
                }
            }
            match self.until_asked() {
                Some(next) => prompt = next,
                None => break,
            }
        }
        self.print("");
    }

    /// Waits until the line is handled, and prints meanwhile.
    fn until_asked(&self) -> Option<String> {
        loop {
            let next = self.asked.recv_timeout(LOOK);
            self.print("");
            match next {
                Ok(prompt) => return Some(prompt),
                Err(std_mpsc::RecvTimeoutError::Timeout) => {}
                Err(std_mpsc::RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Prints `first` and all that waits.
    fn print(&self, first: &str) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(first.as_bytes());
        while let Some(line) = self.printer.get_line() {
            // A terminal that is gone ends the editor by itself.
            let _ = writeln!(out, "{line}");
        }
        let _ = out.flush();
    }
}

fn read_pipe(mut from: impl BufRead, send: &mpsc::Sender<io::Result<Line>>) {
    loop {
        let line = read_line(&mut from);
        let Some(line) = line.transpose() else { return };
        let failed = line.is_err();
        if send.blocking_send(line).is_err() || failed {
            return;
        }
    }
}

fn read_line(from: &mut impl BufRead) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    let mut more = from.by_ref().take(LINE_BYTES_MAX as u64 + 1);
    if more.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.len() > LINE_BYTES_MAX && line.last() != Some(&b'\n') {
        skip_line(from)?;
        return Ok(Some(Line::TooLong));
    }
    let text = String::from_utf8_lossy(&line);
    Ok(Some(Line::Typed(text.trim_end_matches(['\r', '\n']).to_owned())))
}

fn skip_line(from: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = from.fill_buf()?;
        let (used, over) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        from.consume(used);
        if over {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_none_is_lost() {
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        let text = format!("one\r\n{long}\ntwo");
        let mut from = io::BufReader::with_capacity(7, text.as_bytes());
        let typed = |text: &str| Some(Line::Typed(text.to_owned()));
        assert_eq!(read_line(&mut from).unwrap(), typed("one"));
        assert_eq!(read_line(&mut from).unwrap(), Some(Line::TooLong));
        assert_eq!(read_line(&mut from).unwrap(), typed("two"));
        assert_eq!(read_line(&mut from).unwrap(), None);
    }
}
