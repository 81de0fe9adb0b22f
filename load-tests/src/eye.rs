//! What a person who watches a run is told: percentiles of the last moments, errors, the busiest thread.
//!
//! It costs a delivery one relaxed addition, and a look five times a second a few small files. Nothing of it is in a result.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use crate::{
    plan::Now,
    procstat::{ThreadStat, own_threads},
    recorder::MIN_SAMPLES_BEYOND,
    steady::{Pulse, quantile_us},
};

/// How far back the percentiles look.
const RECENT: Duration = Duration::from_secs(2);
/// The most looks of that time.
const MAX_LOOKS: usize = 64;
/// How often the threads' CPU time is read.
const THREADS_EVERY: Duration = Duration::from_secs(1);

/// What the generator's threads tell while the run goes on.
#[derive(Debug, Default)]
pub(crate) struct Eye {
    pulse: Pulse,
    errors: AtomicU64,
}

impl Eye {
    /// A delivery, or an answer, so long after the intended instant.
    pub fn done_ns(&self, ns: u64) {
        self.pulse.record_ns(ns);
    }

    /// Something went wrong.
    pub fn error(&self) {
        self.errors.fetch_add(1, Relaxed);
    }
}

/// The coordinator's side: looks, and remembers the last looks.
pub(crate) struct Watch<'a> {
    eye: &'a Eye,
    due_by_second: Vec<u64>,
    thread_prefix: &'static str,
    looks: VecDeque<(Instant, Vec<u32>)>,
    threads: Option<(Instant, Vec<ThreadStat>)>,
    busiest: Option<f64>,
}

impl<'a> Watch<'a> {
    /// `due_by_second` are the schedule's arrivals; empty in a closed loop.
    pub fn new(eye: &'a Eye, due_by_second: Vec<u64>, thread_prefix: &'static str) -> Self {
        Self { eye, due_by_second, thread_prefix, looks: VecDeque::new(), threads: None, busiest: None }
    }

    /// The last moments, `elapsed` after the window's beginning.
    pub fn look(&mut self, elapsed: Duration, in_flight: u64) -> Now {
        let now = Instant::now();
        self.looks.push_back((now, self.eye.pulse.take()));
        while self.looks.len() > MAX_LOOKS || self.looks.front().is_some_and(|(at, _)| now - *at > RECENT) {
            self.looks.pop_front();
        }
        let mut counts = vec![0_u32; self.looks.front().map_or(0, |(_, counts)| counts.len())];
        for (_, look) in &self.looks {
            counts.iter_mut().zip(look).for_each(|(sum, n)| *sum = sum.saturating_add(*n));
        }
        let samples: f64 = counts.iter().map(|n| f64::from(*n)).sum();
        let enough = |quantile: f64| samples * (1.0 - quantile) + 1e-6 >= MIN_SAMPLES_BEYOND;
        let at = |quantile| if enough(quantile) { quantile_us(&counts, quantile) } else { None };
        self.look_at_threads(now);
        Now {
            due_per_s: self.due_by_second.get(elapsed.as_secs() as usize).copied(),
            in_flight,
            errors: self.eye.errors.load(Relaxed),
            p50_us: at(0.5),
            p99_us: at(0.99),
            busiest_permille: self.busiest.map(|share| (share * 1000.0).round().max(0.0) as u32),
        }
    }

    fn look_at_threads(&mut self, now: Instant) {
        if self.threads.as_ref().is_some_and(|(at, _)| now - *at < THREADS_EVERY) {
            return;
        }
        let mut threads = own_threads();
        threads.retain(|thread| thread.name.starts_with(self.thread_prefix));
        if let Some((at, before)) = &self.threads {
            let wall_s = (now - *at).as_secs_f64();
            let used = |thread: &ThreadStat| {
                let earlier = before.iter().find(|t| t.tid == thread.tid).map_or(0.0, |t| t.cpu_s);
                (thread.cpu_s - earlier) / wall_s
            };
            self.busiest = threads.iter().map(used).reduce(f64::max);
        }
        self.threads = Some((now, threads));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_shows_the_last_moments_and_no_percentile_of_too_few() {
        let eye = Eye::default();
        let mut watch = Watch::new(&eye, vec![100, 200], "load-");
        assert_eq!(watch.look(Duration::ZERO, 0), Now { due_per_s: Some(100), ..Now::default() });
        (0..980).for_each(|_| eye.done_ns(1_024_000));
        (0..19).for_each(|_| eye.done_ns(65_536_000));
        eye.error();
        let now = watch.look(Duration::from_millis(1_500), 7);
        assert_eq!((now.due_per_s, now.in_flight, now.errors), (Some(200), 7, 1));
        assert_eq!((now.p50_us, now.p99_us), (Some(1_024), None), "999 samples");
        eye.done_ns(65_536_000);
        let now = watch.look(Duration::from_secs(2), 0);
        assert_eq!((now.due_per_s, now.p99_us), (None, Some(65_536)));
    }
}
