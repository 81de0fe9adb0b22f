//! The view of a run that goes on: what was told, as a few lines of text. Pure.
//!
//! ```text
//! chat-steady, single, reference
//! measuring  [############------------------]  12 of 30 s
//!   sent        1,663/s of 1,667/s due
//!   delivered   16,630/s
//!   latency     p50 1.23 ms, p99 4.56 ms: the last 2 s, from the due instant
//!   p99         ▁▁▂▁▃▁▁▂▁▁█▁  up to 9.87 ms
//!   in flight   12    errors 0    busiest generator thread 23 %
//! ```

use std::collections::VecDeque;

use chatlab_load::plan::{Now, Progress};

/// Characters of the bar.
const BAR: usize = 30;
/// The most seconds that the sparkline shows.
const SPARKS: usize = 46;
/// How far back rates look, in milliseconds.
const RECENT_MS: u64 = 2_000;
/// The most reports that are kept for rates.
const MAX_REPORTS: usize = 64;
/// The heights of the sparkline.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What is known of the run that goes on.
#[derive(Debug, Default)]
pub(super) struct View {
    title: String,
    phase: String,
    /// How far the phase is, of how much, and what is counted.
    done: Option<(u64, u64, &'static str)>,
    now: Option<Now>,
    /// Milliseconds into the window, sent, delivered.
    reports: VecDeque<(u64, u64, u64)>,
    /// The 99th percentile by second, in microseconds.
    p99_us: VecDeque<Option<u64>>,
    /// The second that the last of them is of.
    second: Option<u64>,
}

impl View {
    /// What all phases are about.
    pub(super) fn title(&mut self, text: &str) {
        text.clone_into(&mut self.title);
    }

    /// What is done now; what was seen of an earlier window goes.
    pub(super) fn note(&mut self, text: &str) {
        *self = Self { title: std::mem::take(&mut self.title), phase: text.to_owned(), ..Self::default() };
    }

    /// A phase's name.
    pub(super) fn phase(progress: &Progress) -> &'static str {
        match progress {
            Progress::Connecting { .. } => "connecting and joining",
            Progress::Opened => "waiting for the other generators",
            Progress::WarmUp | Progress::Begins { .. } => "warming up",
            Progress::Measuring { .. } => "measuring",
            Progress::Draining { .. } => "waiting for what is under way",
        }
    }

    /// Where the run is.
    pub(super) fn see(&mut self, progress: Progress) {
        let phase = Self::phase(&progress);
        match progress {
            Progress::Connecting { done, of } => {
                if self.phase != phase {
                    self.note(phase);
                }
                self.done = Some((done, of, ""));
            }
            Progress::Opened | Progress::WarmUp | Progress::Begins { .. } => self.done = None,
            Progress::Measuring { elapsed_ms, of_ms, sent, delivered, now } => {
                self.done = Some((elapsed_ms / 1000, of_ms / 1000, " s"));
                self.measuring(elapsed_ms, sent, delivered, now);
            }
            Progress::Draining { unanswered, .. } => {
                self.done = None;
                if let Some(now) = &mut self.now {
                    now.in_flight = unanswered;
                    now.due_per_s = None;
                }
            }
        }
        phase.clone_into(&mut self.phase);
    }

    fn measuring(&mut self, elapsed_ms: u64, sent: u64, delivered: u64, now: Now) {
        self.reports.push_back((elapsed_ms, sent, delivered));
        while self.reports.len() > MAX_REPORTS
            || self.reports.get(1).is_some_and(|(at, ..)| at + RECENT_MS <= elapsed_ms)
        {
            self.reports.pop_front();
        }
        let second = elapsed_ms / 1000;
        if self.second != Some(second) {
            self.second = Some(second);
            self.p99_us.push_back(now.p99_us);
            if self.p99_us.len() > SPARKS {
                self.p99_us.pop_front();
            }
        }
        self.now = Some(now);
    }

    /// Of the last seconds: sent and delivered a second; none before two reports came.
    fn rates(&self) -> Option<(f64, f64)> {
        let (first, last) = (self.reports.front()?, self.reports.back()?);
        let secs = last.0.checked_sub(first.0).filter(|ms| *ms > 0)? as f64 / 1e3;
        Some((last.1.saturating_sub(first.1) as f64 / secs, last.2.saturating_sub(first.2) as f64 / secs))
    }

    /// The view, at most eight lines of at most so many columns; two of them belong to the sign of life before the first line.
    pub(super) fn lines(&self, columns: usize) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.title.is_empty() {
            lines.push(self.title.clone());
        }
        lines.push(self.phase_line());
        if let Some(now) = self.now {
            lines.extend(self.figures(now));
        }
        let columns = columns.saturating_sub(2);
        lines.iter().map(|line| line.chars().take(columns).collect()).collect()
    }

    fn phase_line(&self) -> String {
        let Some((done, of, unit)) = self.done else { return self.phase.clone() };
        let full = (done.min(of) as usize * BAR).checked_div(of as usize).unwrap_or(0);
        let bar = format!("{}{}", "#".repeat(full), "-".repeat(BAR - full));
        format!("{}  [{bar}]  {} of {}{unit}", self.phase, grouped(done), grouped(of))
    }

    fn figures(&self, now: Now) -> Vec<String> {
        let a_second = |rate: f64| format!("{}/s", grouped(rate.round() as u64));
        let (sent, delivered) =
            self.rates().map_or(("–".to_owned(), "–".to_owned()), |(sent, delivered)| {
                (a_second(sent), a_second(delivered))
            });
        let due = now.due_per_s.map_or_else(String::new, |due| format!(" of {}/s due", grouped(due)));
        let ms = |us: Option<u64>| us.map_or_else(|| "–".to_owned(), told_ms);
        let latency = format!("p50 {}, p99 {}", ms(now.p50_us), ms(now.p99_us));
        let busiest = now
            .busiest_permille
            .map_or_else(|| "unknown".to_owned(), |permille| format!("{} %", (permille + 5) / 10));
        let (sparks, high) = self.sparks();
        let high = high.map_or_else(String::new, |us| format!("  up to {}", told_ms(us)));
        vec![
            format!("  sent        {sent}{due}"),
            format!("  delivered   {delivered}"),
            format!("  latency     {latency}: the last 2 s, from the due instant"),
            format!("  p99         {sparks}{high}"),
            format!(
                "  in flight   {}    errors {}    busiest generator thread {busiest}",
                grouped(now.in_flight),
                grouped(now.errors)
            ),
        ]
    }

    /// A character a second, from 0 to the highest of those shown; and the highest.
    fn sparks(&self) -> (String, Option<u64>) {
        let high = self.p99_us.iter().flatten().max().copied();
        let top = high.unwrap_or(1).max(1) as f64;
        let spark = |us: &Option<u64>| match us {
            Some(us) => HEIGHTS[((*us as f64 / top * HEIGHTS.len() as f64).ceil() as usize).clamp(1, 8) - 1],
            None => ' ',
        };
        (self.p99_us.iter().map(spark).collect(), high)
    }
}

/// Microseconds as milliseconds with three digits or so.
fn told_ms(us: u64) -> String {
    let ms = us as f64 / 1e3;
    let decimals = if ms < 10.0 { 2 } else { usize::from(ms < 100.0) };
    format!("{ms:.decimals$} ms")
}

/// `12,345`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measuring(elapsed_ms: u64, p99_us: Option<u64>) -> Progress {
        let now = Now {
            due_per_s: Some(1_667),
            in_flight: 12,
            errors: 1_000,
            p50_us: Some(1_234),
            p99_us,
            busiest_permille: Some(231),
        };
        let (sent, delivered) = (elapsed_ms * 2, elapsed_ms * 20);
        Progress::Measuring { elapsed_ms, of_ms: 3_600_000, sent, delivered, now }
    }

    #[test]
    fn a_view_is_small_whatever_comes() {
        let mut view = View::default();
        view.title(&"a long title ".repeat(20));
        for second in 0..4_000 {
            view.see(measuring(second * 1_000, Some(second * 100_000)));
            view.see(measuring(second * 1_000 + 500, None));
        }
        let lines = view.lines(80);
        assert!(lines.len() <= 12 && lines.iter().all(|line| line.chars().count() <= 78), "{lines:#?}");
        assert!(view.lines(30).iter().all(|line| line.chars().count() <= 28));
        assert!(view.reports.len() <= MAX_REPORTS && view.p99_us.len() <= SPARKS);
    }

    #[test]
    fn rates_are_of_the_last_seconds_and_sparks_of_each() {
        let mut view = View::default();
        view.note("starting");
        view.see(Progress::Connecting { done: 500, of: 1_000 });
        assert_eq!(
            view.lines(80),
            [format!("connecting and joining  [{:-<30}]  500 of 1,000", "#".repeat(15))]
        );
        view.see(Progress::WarmUp);
        assert_eq!(view.lines(80), ["warming up"]);
        for (ms, p99) in [(0, None), (1_000, Some(1_000)), (1_500, Some(99_000)), (2_000, Some(8_000))] {
            view.see(measuring(ms, p99));
        }
        let lines = view.lines(80);
        assert_eq!(lines[1], "  sent        2,000/s of 1,667/s due");
        assert_eq!(lines[2], "  delivered   20,000/s");
        assert_eq!(lines[3], "  latency     p50 1.23 ms, p99 8.00 ms: the last 2 s, from the due instant");
        assert_eq!(lines[4], "  p99          ▁█  up to 8.00 ms");
        assert_eq!(lines[5], "  in flight   12    errors 1,000    busiest generator thread 23 %");
        view.see(Progress::Draining { unanswered: 3, delivered: 0, expected: 0 });
        assert_eq!(view.lines(80)[0], "waiting for what is under way");
        // The next window begins with nothing.
        view.see(Progress::Connecting { done: 0, of: 10 });
        assert_eq!(view.lines(80).len(), 1);
    }
}
