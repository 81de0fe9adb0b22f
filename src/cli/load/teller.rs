//! What a person sees while a run goes on: a view that is drawn in place on a terminal, a line a phase elsewhere.

use std::time::Duration;

use chatlab_load::plan::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinHandle;

use super::view::View;
use crate::console::screen::Screen;

/// How often the view is drawn, at most, a second.
const DRAWS_PER_S: u8 = 4;
/// How often it is drawn when nothing is told: the sign of life moves on.
const TICK: Duration = Duration::from_millis(250);
/// The exit code of what Ctrl-C ended: 128 and the signal's number.
const INTERRUPTED: i32 = 130;

/// Tells where the run is, on standard error.
pub(super) struct Teller {
    live: Option<Live>,
    phase: &'static str,
}

/// The view on a terminal.
struct Live {
    bar: ProgressBar,
    view: View,
    columns: usize,
    /// Leaves the terminal in order when it is interrupted.
    interrupted: JoinHandle<()>,
}

impl Teller {
    /// A view where standard error is a terminal that takes styles and nobody asked for JSON; lines elsewhere.
    pub(super) fn new(json: bool) -> Self {
        let screen = Screen::stderr();
        let live = (screen.styled && !json).then(|| Live::new(screen.columns));
        Self { live, phase: "" }
    }

    /// What all phases are about, for the view alone.
    pub(super) fn about(&mut self, text: &str) {
        if let Some(live) = &mut self.live {
            live.view.title(text);
            live.draw();
        }
    }

    /// The same, told elsewhere too: which of many runs comes now.
    pub(super) fn title(&mut self, text: &str) {
        match &self.live {
            Some(_) => self.about(text),
            None => eprintln!("{text}"),
        }
    }

    /// What is done now.
    pub(super) fn note(&mut self, text: &str) {
        match &mut self.live {
            Some(live) => {
                live.view.note(text);
                live.draw();
            }
            None => eprintln!("{text}"),
        }
    }

    /// Where the run is.
    pub(super) fn tell(&mut self, progress: Progress) {
        if let Some(live) = &mut self.live {
            live.view.see(progress);
            live.draw();
            return;
        }
        let phase = View::phase(&progress);
        if phase != self.phase {
            self.phase = phase;
            eprintln!("{phase}");
        }
    }

    /// Nothing more comes: the view goes, for the result.
    pub(super) fn finish(&mut self) {
        self.live = None;
    }
}

impl Live {
    fn new(columns: usize) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(DRAWS_PER_S));
        bar.set_style(
            ProgressStyle::with_template("{spinner} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        bar.enable_steady_tick(TICK);
        let left = bar.clone();
        // The servers and the generator end with this process.
        let interrupted = tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                left.abandon();
                eprintln!("\ninterrupted");
                std::process::exit(INTERRUPTED);
            }
        });
        Self { bar, view: View::default(), columns, interrupted }
    }

    fn draw(&self) {
        self.bar.set_message(self.view.lines(self.columns).join("\n"));
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.interrupted.abort();
        self.bar.finish_and_clear();
    }
}
