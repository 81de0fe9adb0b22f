//! When all generators begin, and when all may end. Pure: what they tell goes in, orders come out.

use crate::{
    crew::Order,
    plan::{Now, Progress},
};

/// What one generator told last.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    opened: bool,
    drained: bool,
    connecting: (u64, u64),
    warming_up: bool,
    measuring: Option<(u64, u64, u64, u64, Now)>,
    unanswered: u64,
    delivered: u64,
    expected: u64,
}

/// Keeps several generators together.
#[derive(Debug)]
pub struct Conductor {
    told: Vec<Told>,
    begun: bool,
    ended: bool,
}

/// What follows from a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing yet.
    Wait,
    /// All connections are open: name an instant to begin at.
    Begin,
    /// Nothing is under way anywhere: [`Order::End`] for all.
    End,
}

impl Conductor {
    /// For so many generators.
    pub fn new(generators: usize) -> Self {
        Self { told: vec![Told::default(); generators], begun: false, ended: false }
    }

    /// Takes in what generator `index` tells.
    pub fn see(&mut self, index: usize, progress: &Progress) -> Next {
        let Some(told) = self.told.get_mut(index) else { return Next::Wait };
        match *progress {
            Progress::Connecting { done, of } => told.connecting = (done, of),
            Progress::Opened => told.opened = true,
            Progress::WarmUp | Progress::Begins { .. } => told.warming_up = true,
            Progress::Measuring { elapsed_ms, of_ms, sent, delivered, now } => {
                told.measuring = Some((elapsed_ms, of_ms, sent, delivered, now));
            }
            Progress::Draining { unanswered, delivered, expected } => {
                (told.unanswered, told.delivered, told.expected) = (unanswered, delivered, expected);
                told.drained = true;
            }
        }
        if !self.begun && self.told.iter().all(|told| told.opened) {
            self.begun = true;
            return Next::Begin;
        }
        if !self.ended && self.is_drained() {
            self.ended = true;
            return Next::End;
        }
        Next::Wait
    }

    /// Whoever acknowledges a message knows how many must receive it, and others receive it: only the sums say that all came.
    fn is_drained(&self) -> bool {
        let sum = |of: fn(&Told) -> u64| self.told.iter().map(of).sum::<u64>();
        self.told.iter().all(|told| told.drained && told.unanswered == 0)
            && sum(|told| told.delivered) >= sum(|told| told.expected)
    }

    /// Where all of them are together, for a person: counts are sums, percentiles those of the slowest generator.
    pub fn whole(&self) -> Progress {
        let sum = |of: fn(&Told) -> u64| self.told.iter().map(of).sum::<u64>();
        let measuring: Vec<_> = self.told.iter().filter_map(|told| told.measuring).collect();
        if self.told.iter().any(|told| told.drained) {
            let (delivered, expected) = (sum(|told| told.delivered), sum(|told| told.expected));
            return Progress::Draining { unanswered: sum(|told| told.unanswered), delivered, expected };
        }
        let Some((elapsed_ms, of_ms, ..)) =
            measuring.iter().copied().reduce(|a, b| if a.0 < b.0 { a } else { b })
        else {
            return match self.told.iter().any(|told| told.warming_up) {
                true => Progress::WarmUp,
                false => Progress::Connecting { done: sum(|t| t.connecting.0), of: sum(|t| t.connecting.1) },
            };
        };
        let nows = || measuring.iter().map(|(.., now)| now);
        let now = Now {
            due_per_s: nows().filter_map(|now| now.due_per_s).reduce(|a, b| a + b),
            in_flight: nows().map(|now| now.in_flight).sum(),
            errors: nows().map(|now| now.errors).sum(),
            p50_us: nows().filter_map(|now| now.p50_us).max(),
            p99_us: nows().filter_map(|now| now.p99_us).max(),
            busiest_permille: nows().filter_map(|now| now.busiest_permille).max(),
        };
        let (sent, delivered) = (measuring.iter().map(|m| m.2).sum(), measuring.iter().map(|m| m.3).sum());
        Progress::Measuring { elapsed_ms, of_ms, sent, delivered, now }
    }

    /// The order that a decision means, to be given to every generator; none for nothing. `begin_ns` is the instant, after the
    /// run's origin, for which there is time enough to reach all.
    pub fn order(next: Next, begin_ns: u64) -> Option<Order> {
        match next {
            Next::Wait => None,
            Next::Begin => Some(Order::Begin(begin_ns)),
            Next::End => Some(Order::End),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draining(unanswered: u64, delivered: u64, expected: u64) -> Progress {
        Progress::Draining { unanswered, delivered, expected }
    }

    #[test]
    fn all_begin_when_the_last_has_opened_and_end_when_the_sums_agree() {
        let mut conductor = Conductor::new(2);
        assert_eq!(conductor.see(0, &Progress::Connecting { done: 5, of: 10 }), Next::Wait);
        assert_eq!(conductor.see(0, &Progress::Opened), Next::Wait);
        assert_eq!(conductor.see(1, &Progress::Connecting { done: 3, of: 9 }), Next::Wait);
        assert_eq!(conductor.whole(), Progress::Connecting { done: 8, of: 19 });
        assert_eq!(conductor.see(1, &Progress::Opened), Next::Begin);
        assert_eq!(conductor.see(1, &Progress::Opened), Next::Wait, "told once");
        // The first has what it sent acknowledged, and its messages are still on their way to the second.
        assert_eq!(conductor.see(0, &draining(0, 40, 100)), Next::Wait);
        assert_eq!(conductor.see(1, &draining(0, 59, 0)), Next::Wait);
        assert_eq!(conductor.see(1, &draining(1, 60, 0)), Next::Wait);
        assert_eq!(conductor.whole(), draining(1, 100, 100));
        assert_eq!(conductor.see(1, &draining(0, 60, 0)), Next::End);
        assert_eq!(conductor.see(0, &draining(0, 40, 100)), Next::Wait, "told once");
        assert_eq!(conductor.see(7, &Progress::Opened), Next::Wait, "nobody");
        assert_eq!(Conductor::order(Next::Begin, 9), Some(Order::Begin(9)));
    }

    #[test]
    fn a_view_of_all_adds_counts_and_shows_the_slowest() {
        let now = |p99_us, busiest| Now {
            due_per_s: Some(50),
            in_flight: 2,
            errors: 1,
            p50_us: None,
            p99_us,
            busiest_permille: Some(busiest),
        };
        let mut conductor = Conductor::new(2);
        let measuring =
            |elapsed_ms, now| Progress::Measuring { elapsed_ms, of_ms: 9, sent: 3, delivered: 30, now };
        conductor.see(0, &measuring(5, now(Some(100), 200)));
        conductor.see(1, &measuring(4, now(Some(300), 100)));
        let whole = Now { due_per_s: Some(100), in_flight: 4, errors: 2, ..now(Some(300), 200) };
        assert_eq!(
            conductor.whole(),
            Progress::Measuring { elapsed_ms: 4, of_ms: 9, sent: 6, delivered: 60, now: whole }
        );
    }
}
