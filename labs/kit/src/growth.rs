//! Judges how a measured cost grows with size against a documented Big-O, and says so where it cannot.
//!
//! For each size there are several samples of the cost, taken in rounds that go through all sizes, and of the *floor*: what a
//! call costs that does no work (the round trip). What is judged is the lower quartile of the cost less that of the floor: what
//! disturbs a machine only ever adds, so that the quartile is nearer to the cost than the median, and a busy machine moves it
//! less. Each class of [`Growth`] is fitted as `a + b·f(n)` with `a, b ≥ 0` by weighted least squares, and stays in the race unless its residuals
//! are larger than the samples' own scatter explains (χ², 99 %). The scatter comes from a bootstrap that draws whole rounds,
//! because what disturbs a machine disturbs all sizes of a round. A class is claimed only when no other one is left.
//!
//! The exponent is that of a power law, by least squares of `ln cost` on `ln n`, with a percentile interval of the same
//! bootstrap (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, chapters 9 and 13).

use std::fmt;

use rand::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

use crate::check::Rng;

/// The fewest sizes that are judged: a curve with two parameters fits two points always, three by chance.
pub const SIZES_MIN: usize = 5;
/// The fewest rounds that are judged.
pub const ROUNDS_MIN: usize = 5;
/// Redrawn data sets of one bootstrap.
pub const BOOTSTRAPS: usize = 400;
/// What is no scatter of samples and no growth either: caches and allocators differ by this share from size to size.
pub const SYSTEMATIC: f64 = 0.05;
/// A rise over the whole range that is smaller than this share is called none.
pub const RISE_MIN: f64 = 0.15;
/// With less work than this share of the floor at the largest size, the floor decides what is measured.
pub const SHARE_MIN: f64 = 0.25;
/// With less work than so many standard deviations of the floor at the largest size, nothing is seen.
pub const NOISE_FACTOR: f64 = 2.0;

/// How a cost grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Growth {
    /// Not at all.
    Constant,
    /// With the logarithm.
    Log,
    /// In proportion.
    Linear,
    /// As sorting does.
    LinearLog,
}

impl Growth {
    /// All of them, the slowest first.
    pub const ALL: [Self; 4] = [Self::Constant, Self::Log, Self::Linear, Self::LinearLog];

    fn of(self, n: f64) -> f64 {
        match self {
            Self::Constant => 0.0,
            Self::Log => n.ln(),
            Self::Linear => n,
            Self::LinearLog => n * n.ln(),
        }
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Constant => "O(1)",
            Self::Log => "O(log n)",
            Self::Linear => "O(n)",
            Self::LinearLog => "O(n log n)",
        })
    }
}

/// What was measured at one size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sized {
    /// The size; at least 2.
    pub n: f64,
    /// The cost of one call in each round, in microseconds.
    pub cost_us: Vec<f64>,
    /// The floor in each round, in microseconds; empty where there is none, as for a time taken inside the server.
    pub floor_us: Vec<f64>,
}

/// A measured curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// The exponent of the power law that fits best: 0 is flat, 1 is in proportion.
    pub exponent: f64,
    /// Its interval, 95 %.
    pub exponent_interval: (f64, f64),
    /// Size, cost above the floor in microseconds, and its interval, 95 %.
    pub points: Vec<(f64, f64, (f64, f64))>,
}

/// What can be said about the growth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Claim {
    /// Only this class explains the samples.
    Is(Growth),
    /// These all do, in this range of sizes and with this scatter.
    NotSeparable(Vec<Growth>),
    /// None does: what was measured is not one curve.
    NoneFits,
    /// The work is lost in the floor: its size at the largest n, the floor, and the floor's scatter, in microseconds.
    RefusedRoundTripDominates {
        /// The work.
        above_us: f64,
        /// The floor.
        floor_us: f64,
        /// One standard deviation of the floor.
        noise_us: f64,
    },
    /// Too few sizes or rounds.
    TooFewSizes {
        /// How many sizes.
        sizes: usize,
        /// How many rounds at the size with the fewest.
        rounds: usize,
    },
}

/// A claim and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assessment {
    /// The documented class.
    pub documented: Growth,
    /// What can be said.
    pub claim: Claim,
    /// The curve; none where it was refused.
    pub fit: Option<Fit>,
}

impl Assessment {
    /// Whether the samples agree with the documentation, which is an upper bound: slower growth agrees. None where nothing
    /// can be said.
    pub fn agrees(&self) -> Option<bool> {
        match &self.claim {
            Claim::Is(growth) => Some(*growth <= self.documented),
            Claim::NotSeparable(left) => Some(left.iter().any(|growth| *growth <= self.documented)),
            Claim::NoneFits | Claim::RefusedRoundTripDominates { .. } | Claim::TooFewSizes { .. } => None,
        }
    }
}

impl fmt::Display for Assessment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let documented = self.documented;
        match &self.claim {
            Claim::Is(growth) if *growth == documented => write!(f, "{growth}, as documented")?,
            Claim::Is(growth) if *growth < documented => {
                write!(f, "{growth} in this range, within the documented {documented}")?;
            }
            Claim::Is(growth) => write!(
                f,
                "{growth} in this range, steeper than the documented {documented} (caches and a busy machine do that too)"
            )?,
            Claim::NotSeparable(left) => {
                let names: Vec<_> = left.iter().map(ToString::to_string).collect();
                let verdict = if self.agrees() == Some(true) { "fits" } else { "does not" };
                write!(f, "cannot tell {} apart; documented {documented} {verdict}", names.join(", "))?;
            }
            Claim::NoneFits => write!(f, "no verdict: none of the classes fits (documented {documented})")?,
            Claim::RefusedRoundTripDominates { above_us, floor_us, noise_us } => write!(
                f,
                "refused: the round trip dominates ({above_us:.1} µs of work on {floor_us:.0} ± {noise_us:.1} µs)"
            )?,
            Claim::TooFewSizes { sizes, rounds } => write!(
                f,
                "no verdict: {sizes} sizes in {rounds} rounds, {SIZES_MIN} in {ROUNDS_MIN} are needed"
            )?,
        }
        match &self.fit {
            Some(Fit { exponent, exponent_interval: (low, high), .. }) => {
                write!(f, "; n^{exponent:.2} ({low:.2} to {high:.2})")
            }
            None => Ok(()),
        }
    }
}

/// Judges the samples of all sizes. The same seed gives the same assessment again.
pub fn judge(sizes: &[Sized], documented: Growth, seed: u64) -> Assessment {
    let refused = |claim| Assessment { documented, claim, fit: None };
    let rounds = sizes.iter().map(|size| size.cost_us.len()).min().unwrap_or(0);
    let usable = sizes.iter().all(|size| size.n >= 2.0 && size.cost_us.iter().all(|cost| cost.is_finite()));
    if sizes.len() < SIZES_MIN || rounds < ROUNDS_MIN || !usable {
        return refused(Claim::TooFewSizes { sizes: sizes.len(), rounds });
    }
    let mut sizes = sizes.to_vec();
    sizes.sort_by(|a, b| a.n.total_cmp(&b.n));
    if let Some(claim) = lost_in_the_floor(&sizes) {
        return refused(claim);
    }
    let curve: Vec<f64> = sizes.iter().map(|size| above(size, None)).collect();
    let redrawn = bootstrap(&sizes, rounds, seed);
    let ns: Vec<f64> = sizes.iter().map(|size| size.n).collect();
    let fit = power_law(&ns, &curve, &redrawn);
    let errors: Vec<f64> = (0..ns.len())
        .map(|i| {
            let scatter = deviation(redrawn.iter().map(|again| again[i]));
            scatter.hypot(SYSTEMATIC * curve[i].abs()).max(f64::MIN_POSITIVE)
        })
        .collect();
    let left: Vec<Growth> =
        Growth::ALL.into_iter().filter(|growth| explains(*growth, &ns, &curve, &errors, &redrawn)).collect();
    let claim = match left.as_slice() {
        [] => Claim::NoneFits,
        [one] => Claim::Is(*one),
        _ => Claim::NotSeparable(left),
    };
    Assessment { documented, claim, fit: Some(fit) }
}

/// The refusal when the work at the largest size is lost in the floor.
fn lost_in_the_floor(sizes: &[Sized]) -> Option<Claim> {
    let largest = sizes.last()?;
    if largest.floor_us.is_empty() {
        return None;
    }
    let floor_us = median(largest.floor_us.clone());
    // The median of distances from the median, scaled to a normal's standard deviation: outliers do not count.
    let noise_us = 1.4826 * median(largest.floor_us.iter().map(|floor| (floor - floor_us).abs()).collect());
    let above_us = above(largest, None);
    (above_us < NOISE_FACTOR * noise_us || above_us < SHARE_MIN * floor_us)
        .then_some(Claim::RefusedRoundTripDominates { above_us, floor_us, noise_us })
}

/// The lower quartile of the cost less that of the floor, of these rounds or of all.
fn above(size: &Sized, rounds: Option<&[usize]>) -> f64 {
    let pick = |samples: &[f64]| match rounds {
        None => samples.to_vec(),
        Some(rounds) => rounds.iter().filter_map(|round| samples.get(*round)).copied().collect(),
    };
    let floor = pick(&size.floor_us);
    quantile(pick(&size.cost_us), 0.25) - if floor.is_empty() { 0.0 } else { quantile(floor, 0.25) }
}

fn median(samples: Vec<f64>) -> f64 {
    quantile(samples, 0.5)
}

/// The quantile, between two samples in proportion.
fn quantile(mut samples: Vec<f64>, share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let place = share * samples.len().saturating_sub(1) as f64;
    let at = |index: f64| samples.get(index as usize).copied().unwrap_or(0.0);
    let low = at(place.floor());
    low + (at(place.ceil()) - low) * place.fract()
}

/// The curve of each redrawn set of rounds.
fn bootstrap(sizes: &[Sized], rounds: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut rng = Rng::seed_from_u64(seed);
    let mut redrawn = Vec::with_capacity(BOOTSTRAPS);
    for _ in 0..BOOTSTRAPS {
        let drawn: Vec<usize> = (0..rounds).map(|_| rng.random_range(0..rounds)).collect();
        redrawn.push(sizes.iter().map(|size| above(size, Some(&drawn))).collect());
    }
    redrawn
}

fn deviation(samples: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = samples.clone().count().max(2) as f64;
    let mean = samples.clone().sum::<f64>() / count;
    (samples.map(|sample| (sample - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt()
}

/// The 2.5th and the 97.5th percentile.
fn interval(mut samples: Vec<f64>) -> (f64, f64) {
    samples.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (share * (samples.len().saturating_sub(1)) as f64).round() as usize;
        samples.get(index).copied().unwrap_or(f64::NAN)
    };
    (at(0.025), at(0.975))
}

/// The slope of `ln cost` on `ln n`; costs at or below 0 are left out.
fn exponent(ns: &[f64], curve: &[f64]) -> f64 {
    let points: Vec<(f64, f64)> =
        ns.iter().zip(curve).filter(|(_, y)| **y > 0.0).map(|(n, y)| (n.ln(), y.ln())).collect();
    let count = points.len() as f64;
    let (mean_x, mean_y) = points.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0 / count, y + p.1 / count));
    let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), (x, y)| {
        (above + (x - mean_x) * (y - mean_y), below + (x - mean_x).powi(2))
    });
    if below > 0.0 { above / below } else { f64::NAN }
}

fn power_law(ns: &[f64], curve: &[f64], redrawn: &[Vec<f64>]) -> Fit {
    let exponents = redrawn.iter().map(|again| exponent(ns, again)).filter(|e| e.is_finite()).collect();
    let point = |i: usize| (ns[i], curve[i], interval(redrawn.iter().map(|again| again[i]).collect()));
    Fit {
        exponent: exponent(ns, curve),
        exponent_interval: interval(exponents),
        points: (0..ns.len()).map(point).collect(),
    }
}

/// `a` and `b` of `a + b·f(n)` with the least weighted squares, neither below 0.
fn fitted(growth: Growth, ns: &[f64], curve: &[f64], errors: &[f64]) -> (f64, f64) {
    let (mut sw, mut sf, mut sff, mut sy, mut sfy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for ((n, y), error) in ns.iter().zip(curve).zip(errors) {
        let (w, f) = (error.powi(-2), growth.of(*n));
        sw += w;
        sf += w * f;
        sff += w * f * f;
        sy += w * y;
        sfy += w * f * y;
    }
    let flat = ((sy / sw).max(0.0), 0.0);
    let det = sw * sff - sf * sf;
    if growth == Growth::Constant || det <= 0.0 {
        return flat;
    }
    let (a, b) = ((sff * sy - sf * sfy) / det, (sw * sfy - sf * sy) / det);
    if b <= 0.0 {
        flat
    } else if a < 0.0 {
        (0.0, sfy / sff)
    } else {
        (a, b)
    }
}

/// By how much the fitted curve rises from the smallest to the largest size, as a share of its beginning.
fn rise(growth: Growth, ns: &[f64], curve: &[f64], errors: &[f64]) -> f64 {
    let (a, b) = fitted(growth, ns, curve, errors);
    let at = |n: Option<&f64>| a + b * growth.of(n.copied().unwrap_or(2.0));
    let (first, last) = (at(ns.first()), at(ns.last()));
    if first > 0.0 { last / first - 1.0 } else { 0.0 }
}

/// Whether the class can have produced the curve.
fn explains(growth: Growth, ns: &[f64], curve: &[f64], errors: &[f64], redrawn: &[Vec<f64>]) -> bool {
    let (a, b) = fitted(growth, ns, curve, errors);
    let chi2: f64 = ns
        .iter()
        .zip(curve)
        .zip(errors)
        .map(|((n, y), error)| ((y - a - b * growth.of(*n)) / error).powi(2))
        .sum();
    let parameters = if growth == Growth::Constant { 1 } else { 2 };
    if chi2 > chi2_99(ns.len() - parameters) {
        return false;
    }
    // A class that grows must have room to: a curve that cannot rise by more than a little is flat.
    growth == Growth::Constant || {
        let rises = redrawn.iter().map(|again| rise(growth, ns, again, errors)).collect();
        interval(rises).1 >= RISE_MIN
    }
}

/// The 99th percentile of χ² (Wilson and Hilferty, 1931).
fn chi2_99(freedom: usize) -> f64 {
    const Z_99: f64 = 2.326;
    let d = freedom.max(1) as f64;
    let ninth = 2.0 / (9.0 * d);
    d * (1.0 - ninth + Z_99 * ninth.sqrt()).powi(3)
}
