//! What a person sees while a run goes on.

use std::{io::IsTerminal, time::Duration};

use chatlab_load::plan::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// Tells where the run is, on standard error: a bar on a terminal, a line a phase elsewhere.
pub(super) struct Teller {
    bar: Option<ProgressBar>,
    phase: &'static str,
}

impl Teller {
    pub(super) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(1);
            let style = ProgressStyle::with_template("{msg:<34} {bar:36} {pos}/{len}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar, phase: "" }
    }

    pub(super) fn note(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None => eprintln!("{text}"),
        }
    }

    pub(super) fn tell(&mut self, progress: Progress) {
        let (phase, position, length) = match progress {
            Progress::Connecting { done, of } => ("connecting and joining", done, of),
            Progress::WarmUp => ("warming up", 0, 1),
            Progress::Measuring { elapsed_ms, of_ms, .. } => ("measuring", elapsed_ms / 1000, of_ms / 1000),
            Progress::Draining { unanswered } => ("waiting for what is under way", 0, unanswered),
        };
        if phase != self.phase {
            self.phase = phase;
            self.note(phase);
        }
        if let Some(bar) = &self.bar {
            bar.set_length(length);
            bar.set_position(position);
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
