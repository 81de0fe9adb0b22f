//! Where latency has settled: the end of the warm-up is found, not assumed.
//!
//! The series is the median response of each [`INTERVAL`] of the warm-up. [`cut`] finds where it stops depending on how it
//! began, by MSER: of all prefixes, the one without which the rest has the smallest standard error of its mean (K. P. White,
//! "An effective truncation heuristic for bias reduction in simulation output", Simulation 69(6), 1997; with M. Cobb and
//! S. Spratt, "A comparison of five steady-state truncation heuristics for simulation", Winter Simulation Conference 2000).
//! MSER-5 takes means of five raw observations to smooth them; a median of a quarter of a second is smoother than that, so
//! that it is taken by itself. There, a cut beyond the first half says that the series is too short or has no steady state;
//! here one beyond two fifths does, because a wrong yes costs more than a longer warm-up. The last five values are no
//! candidates: they are too few to tell a level by. The logarithm is looked at, because latency varies in proportion to itself.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// How long one value of the series is looked at.
pub const INTERVAL: Duration = Duration::from_millis(250);
/// The fewest values that say anything.
pub const MIN_VALUES: usize = 12;
/// The most values of a series: an hour.
pub const MAX_VALUES: usize = 4 * 3600;
/// The fewest samples of one median; with fewer, its interval goes on.
pub const MIN_SAMPLES: u32 = 5;
/// The last values, which are never cut at; and so many together have a level.
const LAST_VALUES: usize = 5;
/// Levels that differ by less than this share of each other are one level …
const SAME_SHARE: f64 = 0.10;
/// … and also those that differ by less than this, in microseconds: below it is the machine's scheduling.
const SAME_US: f64 = 100.0;

/// What a series says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Steadiness {
    /// Too few values to say.
    TooShort,
    /// Steady from this value on, counted from 0.
    Settled(usize),
    /// Not steady: the best cut leaves less than three fifths.
    Moving(usize),
}

/// The MSER cut of a series: how many values to leave out. Pure.
///
/// O(n): sums from the end.
pub fn cut(series: &[f64]) -> usize {
    let candidates = series.len().saturating_sub(LAST_VALUES);
    let (mut best, mut least) = (0, f64::INFINITY);
    let (mut n, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for (at, value) in series.iter().enumerate().rev() {
        // Welford's update: sums of squares of a shifted series would cancel out.
        n += 1.0;
        let off = value - mean;
        mean += off / n;
        squares += off * (value - mean);
        let error = squares / (n * n);
        // The earliest of equals: nothing is cut off in vain.
        if at < candidates && error <= least {
            (best, least) = (at, error);
        }
    }
    best
}

/// Whether and where a series of medians, in microseconds, has settled. Pure.
///
/// A series whose parts do not differ by more than a tenth (or a tenth of a millisecond) is steady whatever its shape: to cut
/// it would change nothing.
pub fn steadiness(medians_us: &[u64]) -> Steadiness {
    if medians_us.len() < MIN_VALUES {
        return Steadiness::TooShort;
    }
    let logs: Vec<f64> = medians_us.iter().map(|us| (*us.max(&1) as f64).ln()).collect();
    let at = cut(&logs);
    if at * 5 <= medians_us.len() * 2 {
        return Steadiness::Settled(at);
    }
    if one_level(medians_us) { Steadiness::Settled(0) } else { Steadiness::Moving(at) }
}

/// Whether all parts of a series have about the same median.
fn one_level(medians_us: &[u64]) -> bool {
    let levels = medians_us.chunks(LAST_VALUES).chain([&medians_us[medians_us.len() - LAST_VALUES..]]);
    let (low, high) = levels
        .filter_map(median_us)
        .fold((f64::INFINITY, 0.0_f64), |(low, high), level| (low.min(level as f64), high.max(level as f64)));
    high - low <= SAME_US || high <= low * (1.0 + SAME_SHARE)
}

fn median_us(values: &[u64]) -> Option<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

/// What the warm-up was, for the result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmUp {
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// A fixed length was asked for: nothing was looked at.
    pub fixed: bool,
    /// Whether latency had settled when it ended; true when it was not looked at.
    pub settled: bool,
    /// From where on latency was steady, in milliseconds after its beginning; none when it was not, or not looked at.
    pub steady_from_ms: Option<u64>,
    /// The series: the median response of each interval, in microseconds.
    pub medians_us: Vec<u64>,
    /// How long each of them is, in milliseconds.
    pub interval_ms: u64,
}

impl WarmUp {
    /// One of a length that was asked for.
    pub fn fixed(ms: u64) -> Self {
        Self { ms, fixed: true, settled: true, interval_ms: INTERVAL.as_millis() as u64, ..Self::default() }
    }

    /// For people: how latency went.
    pub fn told(&self) -> String {
        if self.fixed {
            return format!("{:.1} s, as asked for", self.ms as f64 / 1000.0);
        }
        let quarter = self.medians_us.len().div_ceil(4).max(1);
        let level = |values: Option<&[u64]>| {
            let us = values.and_then(median_us);
            us.map_or_else(|| "nothing".into(), |us| format!("{:.2} ms", us as f64 / 1000.0))
        };
        let (first, last) =
            (level(self.medians_us.chunks(quarter).next()), level(self.medians_us.rchunks(quarter).next()));
        let what = if self.settled { "settled" } else { "not settled" };
        format!("{what} after {:.1} s, medians {first} → {last}", self.ms as f64 / 1000.0)
    }
}

/// Sub-buckets of one power of two: a median is told to one part in 32.
const SUB_BITS: u32 = 5;
const SUB: usize = 1 << SUB_BITS;
/// Up to 2^27 µs, two minutes.
const BUCKETS: usize = SUB * 24;

/// The responses of the interval that goes on, for several threads to record into and one to look at. Coarse, and without
/// a lock: it only has to give a median.
#[derive(Debug)]
pub struct Pulse(Box<[AtomicU32]>);

impl Default for Pulse {
    fn default() -> Self {
        Self((0..BUCKETS).map(|_| AtomicU32::new(0)).collect())
    }
}

impl Pulse {
    /// A response, in nanoseconds.
    pub fn record_ns(&self, ns: u64) {
        let us = ns / 1000;
        let at = match us.checked_ilog2() {
            Some(power) if power >= SUB_BITS => {
                let sub = (us >> (power - SUB_BITS)) as usize - SUB;
                SUB * (power - SUB_BITS + 1) as usize + sub
            }
            _ => us as usize,
        };
        self.0[at.min(BUCKETS - 1)].fetch_add(1, Relaxed);
    }

    /// The median since the last one, in microseconds; none, and the interval goes on, with fewer than [`MIN_SAMPLES`].
    pub fn take_median_us(&self) -> Option<u64> {
        if self.0.iter().map(|n| n.load(Relaxed)).fold(0, u32::saturating_add) < MIN_SAMPLES {
            return None;
        }
        quantile_us(&self.take(), 0.5)
    }

    /// How many responses there were since the last look, by bucket.
    pub(crate) fn take(&self) -> Vec<u32> {
        self.0.iter().map(|n| n.swap(0, Relaxed)).collect()
    }

    /// Lets the warm-up go on until latency has settled: at least for `least`, and at most for `most` more. Blocks. `begun` is
    /// when its first message was due.
    pub fn settle(&self, begun: Instant, least: Duration, most: Duration) -> WarmUp {
        let mut seen = WarmUp { interval_ms: INTERVAL.as_millis() as u64, ..WarmUp::default() };
        let mut next = begun + INTERVAL;
        loop {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            next += INTERVAL;
            if seen.medians_us.len() < MAX_VALUES {
                seen.medians_us.extend(self.take_median_us());
            }
            let elapsed = begun.elapsed();
            let steady = steadiness(&seen.medians_us);
            if let (Steadiness::Settled(at), true) = (steady, elapsed >= least) {
                // Of an interval that went on for want of samples, where it would have begun without that.
                seen.steady_from_ms = Some(at as u64 * seen.interval_ms);
                seen.settled = true;
            }
            if seen.settled || elapsed >= least + most {
                seen.ms = elapsed.as_millis() as u64;
                return seen;
            }
        }
    }
}

/// The value in microseconds at a quantile of what [`Pulse::take`] gave, to one part in 32; none of nothing.
pub(crate) fn quantile_us(counts: &[u32], quantile: f64) -> Option<u64> {
    let all: u64 = counts.iter().map(|n| u64::from(*n)).sum();
    let rank = ((all as f64 * quantile).ceil() as u64).max(1);
    let mut sum = 0;
    let at = counts.iter().position(|n| {
        sum += u64::from(*n);
        sum >= rank
    })?;
    let power = (at / SUB) as u32;
    Some(if power == 0 { at as u64 } else { ((at % SUB + SUB) as u64) << (power - 1) })
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// `level` with a noise of ± `share` of it.
    fn series(n: usize, share: f64, seed: u64, level: impl Fn(usize) -> f64) -> Vec<u64> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n).map(|i| (level(i) * (1.0 + share * (2.0 * rng.random::<f64>() - 1.0))) as u64).collect()
    }

    #[test]
    fn a_settled_series_is_settled_from_near_its_beginning_however_noisy() {
        for share in [0.0, 0.05, 0.3] {
            let settled = (0..100).filter(|seed| {
                matches!(steadiness(&series(40, share, *seed, |_| 2_000.0)), Steadiness::Settled(at) if at <= 20)
            });
            // A single look may be wrong; a warm-up looks four times a second.
            assert!(settled.count() >= 85, "noise {share}");
        }
        assert_eq!(steadiness(&[2_000; 40]), Steadiness::Settled(0), "nothing is cut off in vain");
        assert_eq!(steadiness(&[2_000; MIN_VALUES - 1]), Steadiness::TooShort);
        assert_eq!(steadiness(&[]), Steadiness::TooShort);
    }

    #[test]
    fn a_step_is_cut_where_it_is_and_never_before_it_once_enough_comes_after_it() {
        let step = |n, seed| steadiness(&series(n, 0.05, seed, |i| if i < 12 { 9_000.0 } else { 1_500.0 }));
        for seed in 0..100 {
            assert!(
                matches!(step(40, seed), Steadiness::Settled(12..) | Steadiness::Moving(_)),
                "seed {seed}"
            );
            assert!(matches!(step(22, seed), Steadiness::Moving(12..)), "ten values of 22 are too few");
            let up = series(40, 0.05, seed, |i| if i < 5 { 1_000.0 } else { 3_000.0 });
            assert!(
                matches!(steadiness(&up), Steadiness::Settled(5..) | Steadiness::Moving(_)),
                "seed {seed}"
            );
        }
        // To the value or the next, where noise does not say otherwise.
        let exact = (0..100).filter(|seed| matches!(step(40, *seed), Steadiness::Settled(12..=13))).count();
        assert!(exact >= 70, "{exact}");
    }

    #[test]
    fn a_decay_is_cut_where_it_has_died_out() {
        // Down to a fiftieth of the difference after 16 values.
        let decay =
            |seed| steadiness(&series(90, 0.05, seed, |i| 1_000.0 + 9_000.0 * (-(i as f64) / 4.0).exp()));
        for seed in 0..100 {
            assert!(!matches!(decay(seed), Steadiness::Settled(..8)), "seed {seed}");
        }
        let settled = (0..100).filter(|seed| matches!(decay(*seed), Steadiness::Settled(_))).count();
        assert!(settled >= 90, "{settled}");
    }

    #[test]
    fn a_ramp_never_settles() {
        for seed in 0..50 {
            for n in MIN_VALUES..120 {
                let ramp = series(n, 0.03, seed, |i| 1_000.0 + 300.0 * i as f64);
                let steady = steadiness(&ramp);
                assert!(matches!(steady, Steadiness::Moving(_)), "seed {seed}, {n} values: {steady:?}");
            }
        }
    }

    #[test]
    fn a_drift_that_matters_to_nobody_counts_as_settled() {
        let drift: Vec<u64> = (0..60).map(|i| 2_000 + i).collect();
        assert_eq!(cut(&drift.iter().map(|us| *us as f64).collect::<Vec<_>>()), 54, "all but the last");
        assert_eq!(steadiness(&drift), Steadiness::Settled(0));
        // The same three hundred microseconds when they are a third of it.
        let drift: Vec<u64> = (0..60).map(|i| 600 + 5 * i).collect();
        assert!(matches!(steadiness(&drift), Steadiness::Moving(_)));
    }

    #[test]
    fn a_median_is_told_to_one_part_in_32_and_taken_once() {
        for us in [0, 1, 31, 32, 63, 64, 1_000, 12_345, 999_999, 60_000_000] {
            let pulse = Pulse::default();
            (0..9).for_each(|_| pulse.record_ns(us * 1000));
            // Outliers on both sides do not move it.
            (0..4).for_each(|_| pulse.record_ns(0));
            (0..4).for_each(|_| pulse.record_ns(u64::MAX));
            let median = pulse.take_median_us().unwrap();
            assert!(median <= us && us - median <= us / 32, "{median} for {us}");
            assert_eq!(pulse.take_median_us(), None);
        }
        let pulse = Pulse::default();
        (0..MIN_SAMPLES - 1).for_each(|_| pulse.record_ns(7_000));
        assert_eq!(pulse.take_median_us(), None);
        pulse.record_ns(7_000);
        assert_eq!(pulse.take_median_us(), Some(7), "the interval went on");
    }

    #[test]
    fn a_warm_up_ends_when_it_has_settled_and_goes_on_to_its_bound_when_not() {
        let seen = Pulse::default().settle(Instant::now(), Duration::ZERO, Duration::ZERO);
        // Nothing came at all.
        assert!(!seen.settled && seen.medians_us.is_empty() && seen.ms >= 250);
        assert_eq!(seen.told().split(',').next_back(), Some(" medians nothing → nothing"));
        assert!(WarmUp::fixed(1500).settled);
        assert_eq!(WarmUp::fixed(1500).told(), "1.5 s, as asked for");
    }
}
