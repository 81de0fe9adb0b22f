//! The few distributions that the comparison needs, and resampling. Everything is seeded: the same data give the same answer.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Sign vectors are enumerated up to this many pairs (2¹² of them), and drawn beyond it.
const ENUMERATED_PAIRS: usize = 12;
/// How many sign vectors are drawn where there are too many to enumerate.
const DRAWN_SIGNS: usize = 4096;

/// The arithmetic mean; 0 of nothing.
pub(super) fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// The standard deviation of a sample (n − 1); 0 of fewer than two.
pub(super) fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let m = mean(values);
    (values.iter().map(|v| (v - m).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt()
}

/// The value below which the share `quantile` of the sorted values lies, linear between neighbours.
pub(super) fn quantile_of(sorted: &[f64], quantile: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let at = quantile.clamp(0.0, 1.0) * last as f64;
    let (low, share) = (at.floor() as usize, at.fract());
    let high = (low + 1).min(last);
    sorted[low] + (sorted[high] - sorted[low]) * share
}

/// The share of a standard normal distribution below `z`; the error is under 1.5e-7 (Abramowitz and Stegun 1964, 7.1.26).
pub(super) fn normal_below(z: f64) -> f64 {
    const C: [f64; 5] = [0.254_829_592, -0.284_496_736, 1.421_413_741, -1.453_152_027, 1.061_405_429];
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let poly = C.iter().rev().fold(0.0, |sum, c| (sum + c) * t);
    let tail = 0.5 * poly * (-x * x).exp();
    if z < 0.0 { tail } else { 1.0 - tail }
}

/// The standard normal quantile, found by halving; `p` strictly between 0 and 1.
fn normal_quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-9.0, 9.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if normal_below(middle) < p { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// Student's t with `df` degrees of freedom that is exceeded, to both sides together, with probability `p`.
///
/// G. W. Hill, Algorithm 396: Student's t-quantiles, Communications of the ACM 13 (10), 1970.
pub(super) fn t_two_tailed(p: f64, df: usize) -> f64 {
    use std::f64::consts::FRAC_PI_2;
    let p = p.clamp(1e-12, 1.0);
    let n = df.max(1) as f64;
    match df {
        0 | 1 => return (p * FRAC_PI_2).cos() / (p * FRAC_PI_2).sin(),
        2 => return (2.0 / (p * (2.0 - p)) - 2.0).max(0.0).sqrt(),
        _ => {}
    }
    let a = 1.0 / (n - 0.5);
    let b = 48.0 / (a * a);
    let mut c = ((20_700.0 * a / b - 98.0) * a - 16.0) * a + 96.36;
    let d = ((94.5 / (b + c) - 3.0) / b + 1.0) * (a * FRAC_PI_2).sqrt() * n;
    let mut y = (d * p).powf(2.0 / n);
    if y > 0.05 + a {
        let x = normal_quantile(p * 0.5);
        y = x * x;
        if n < 5.0 {
            c += 0.3 * (n - 4.5) * (x + 0.6);
        }
        c += (((0.05 * d * x - 5.0) * x - 7.0) * x - 2.0) * x + b;
        y = (((((0.4 * y + 6.3) * y + 36.0) * y + 94.5) / c - y - 3.0) / b + 1.0) * x;
        y = (a * y * y).exp_m1();
    } else {
        y = ((1.0 / (((n + 6.0) / (n * y) - 0.089 * d - 0.822) * (n + 2.0) * 3.0) + 0.5 / (n + 4.0)) * y
            - 1.0)
            * (n + 1.0)
            / (n + 2.0)
            + 1.0 / y;
    }
    (n * y).max(0.0).sqrt()
}

/// The probability that Student's t exceeds `t` to either side: [`t_two_tailed`] turned round, by halving its logarithm.
pub(super) fn t_probability(t: f64, df: usize) -> f64 {
    let (mut low, mut high) = (1e-12f64.ln(), 0.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if t_two_tailed(f64::exp(middle), df) > t { low = middle } else { high = middle }
    }
    f64::exp(0.5 * (low + high))
}

/// A confidence interval for the mean of independent blocks, of which each gives one value.
///
/// Blocks are drawn with replacement, whole, as many as there are (E. Carlstein, The use of subseries values for estimating
/// the variance of a general statistic from a stationary sequence, Annals of Statistics 14, 1986: blocks that do not
/// overlap). Percentiles of such means are too narrow for few blocks; they are widened as by T. Hesterberg, What teachers
/// should know about the bootstrap, The American Statistician 69 (4), 2015 (his expanded percentile interval):
/// so far that for a normal population it is Student's t interval.
pub(super) fn block_bootstrap(blocks: &[f64], confidence: f64, resamples: usize, seed: u64) -> [f64; 2] {
    let n = blocks.len();
    if n < 2 {
        return [f64::NEG_INFINITY, f64::INFINITY];
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut means: Vec<f64> = (0..resamples.max(1))
        .map(|_| (0..n).map(|_| blocks[rng.random_range(0..n)]).sum::<f64>() / n as f64)
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    let widen = (n as f64 / (n - 1) as f64).sqrt() * t_two_tailed(1.0 - confidence, n - 1);
    let tail = normal_below(-widen);
    [quantile_of(&means, tail), quantile_of(&means, 1.0 - tail)]
}

/// Every way to turn the signs of `n` values when there are few, else [`DRAWN_SIGNS`] drawn ones; the first turns none.
pub(super) fn sign_vectors(n: usize, seed: u64) -> Vec<Vec<f64>> {
    if n <= ENUMERATED_PAIRS {
        let all = 0..1u32 << n;
        return all
            .map(|bits| (0..n).map(|i| if bits >> i & 1 == 0 { 1.0 } else { -1.0 }).collect())
            .collect();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut drawn = vec![vec![1.0; n]];
    drawn.extend((1..DRAWN_SIGNS).map(|_| (0..n).map(|_| if rng.random() { 1.0 } else { -1.0 }).collect()));
    drawn
}

/// The sum of the values under these signs, in units in which its size tells of chance alone: over the root of the sum of
/// squares, which no sign changes. From 0 to √n; a function of Student's t and of nothing else.
pub(super) fn signed_score(values: &[f64], signs: &[f64]) -> f64 {
    let squares: f64 = values.iter().map(|v| v * v).sum();
    if squares <= 0.0 {
        return 0.0;
    }
    values.iter().zip(signs).map(|(v, s)| v * s).sum::<f64>().abs() / squares.sqrt()
}

/// Student's t that belongs to a [`signed_score`] of `n` values; infinite at its bound.
pub(super) fn t_of_score(score: f64, n: usize) -> f64 {
    let n = n as f64;
    let rest = n - score * score;
    if rest <= 1e-9 { f64::INFINITY } else { score * ((n - 1.0) / rest).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_match_the_printed_tables() {
        for (p, df, t) in [
            (0.05, 1, 12.7062),
            (0.05, 2, 4.3027),
            (0.05, 3, 3.1824),
            (0.05, 7, 2.3646),
            (0.01, 9, 3.2498),
            (0.05, 30, 2.0423),
            (0.40, 9, 0.8834),
        ] {
            let found = t_two_tailed(p, df);
            assert!((found / t - 1.0).abs() < 2e-3, "p {p}, df {df}: {found}, not {t}");
            assert!((t_probability(t, df) / p - 1.0).abs() < 2e-2, "p {p}, df {df}");
        }
        assert!((normal_below(-1.96) - 0.025).abs() < 1e-4);
        assert!((normal_below(1.0) - 0.841_345).abs() < 1e-5);
    }

    #[test]
    fn a_sample_is_described() {
        assert_eq!(mean(&[]), 0.0);
        assert_eq!(mean(&[1.0, 2.0, 6.0]), 3.0);
        assert!((deviation(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]) - 2.138).abs() < 1e-3);
        assert_eq!(quantile_of(&[1.0, 2.0, 3.0], 0.25), 1.5);
    }

    /// A 95 % interval holds the truth about 95 times in 100, also for few blocks.
    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_says() {
        for n in [6, 10, 20] {
            let mut rng = ChaCha8Rng::seed_from_u64(n);
            let held = (0..400)
                .filter(|seed| {
                    let blocks: Vec<f64> =
                        (0..n).map(|_| super::super::synthetic::normal(&mut rng)).collect();
                    let [low, high] = block_bootstrap(&blocks, 0.95, 999, *seed);
                    low <= 0.0 && 0.0 <= high
                })
                .count();
            assert!((360..=396).contains(&held), "{held} of 400 with {n} blocks");
        }
    }

    #[test]
    fn signs_are_enumerated_or_drawn_and_scores_bounded() {
        assert_eq!(sign_vectors(3, 1).len(), 8);
        assert_eq!(sign_vectors(20, 1).len(), DRAWN_SIGNS);
        assert_eq!(sign_vectors(20, 1)[0], vec![1.0; 20]);
        assert_eq!(signed_score(&[0.0; 4], &[1.0; 4]), 0.0);
        assert!((signed_score(&[0.2; 4], &[1.0; 4]) - 2.0).abs() < 1e-9);
        assert_eq!(t_of_score(2.0, 4), f64::INFINITY);
        // Four values, mean 1, deviation 1: t = 2.
        let t = t_of_score(signed_score(&[0.0, 0.0, 2.0, 2.0], &[1.0; 4]), 4);
        assert!((t - 1.0 / (deviation(&[0.0, 0.0, 2.0, 2.0]) / 2.0)).abs() < 1e-9);
    }
}
