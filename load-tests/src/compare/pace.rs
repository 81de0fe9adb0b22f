//! How fast the machine was in each run, and a figure without that.
//!
//! A shared machine runs at one pace for a while and then at another, and what a run costs goes up and down with it, by far more than
//! what is to be seen. The generator does the same work before A and before B, so that its own CPU a delivery tells the pace of
//! each run. As much of a figure's ups and downs as go along with it is taken off: the analysis of covariance (R. Fisher, Statistical
//! Methods for Research Workers, 4th edition, 1932), with the covariate measured in the same run.
//!
//! The slope comes from what is free of any difference between A and B: runs of A against runs of A, of B against B, and rounds
//! against rounds. Nothing is corrected when
//! - the generator's own cost differs between A and B by more than chance explains: then it does not have the same work, and what
//!   it tells is not the machine;
//! - the pace explains less than half of what the figure varies by; or
//! - there are fewer than [`MIN_PAIRS`] pairs.

use serde::{Deserialize, Serialize};

use super::{
    judge::{MIN_PAIRS, Options, Pairs},
    quick::Which,
    stats::{block_bootstrap, mean, signed_score},
};

/// With less explained the correction adds more doubt than it takes away.
const EXPLAINS: f64 = 0.5;
/// Closer than this two scores are the same.
const TINY: f64 = 1e-9;

/// What a figure owes to the machine's pace.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Whether the figure is one at the session's mean pace; otherwise it is as it was measured.
    pub corrected: bool,
    /// By how many percent the figure changes with one percent of the generator's cost.
    pub slope: f64,
    /// How much of the variation between runs of the same side goes along with the pace, from 0 to 1.
    pub explained: f64,
    /// The generator's own cost, B over A.
    pub generator: f64,
    /// The probability of generators that lean so far, if they had the same work.
    pub chance: f64,
    /// The figure's ratio as it was measured, B over A …
    pub measured: f64,
    /// … and its interval.
    pub measured_interval: Option<[f64; 2]>,
}

/// Differences that no difference between A and B is in, each with the same variance.
fn free(order: &[Which], values: &[f64]) -> Vec<f64> {
    let Pairs { across, within } = Pairs::of(order, values);
    let rounds: Vec<f64> = across.chunks_exact(2).map(|two| (two[0] + two[1]) / 2f64.sqrt()).collect();
    let middle = mean(&rounds);
    within.into_iter().chain(rounds.iter().map(|round| round - middle)).collect()
}

/// The values as they would be at the session's mean pace, where that can be said, and what the pace explains. None when there is
/// nothing to learn it from.
pub(super) fn correct(
    order: &[Which],
    values: &[f64],
    pace: &[f64],
    (signs, options): (&[Vec<f64>], &Options),
) -> Option<(Vec<f64>, Pace)> {
    if pace.len() != values.len() || pace.iter().any(|p| *p <= 0.0 || !p.is_finite()) {
        return None;
    }
    let (figure, generator) = (free(order, values), free(order, pace));
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (moved, varied) = (product(&generator, &generator), product(&figure, &figure));
    if moved <= 0.0 || varied <= 0.0 {
        return None;
    }
    let slope = product(&figure, &generator) / moved;
    let explained = slope * slope * moved / varied;
    let leans = Pairs::of(order, pace).across;
    let score = signs.first().map_or(0.0, |none_turned| signed_score(&leans, none_turned));
    let as_far = signs.iter().filter(|signs| signed_score(&leans, signs) >= score - TINY).count();
    let chance = as_far as f64 / signs.len().max(1) as f64;
    let corrected =
        leans.len() >= MIN_PAIRS && slope > 0.0 && explained >= EXPLAINS && chance > 1.0 - options.confidence;
    let across = Pairs::of(order, values).across;
    let [low, high] = block_bootstrap(&across, options.confidence, options.resamples, options.seed);
    let told = Pace {
        corrected,
        slope,
        explained,
        generator: mean(&leans).exp(),
        chance,
        measured: mean(&across).exp(),
        measured_interval: (across.len() >= 2).then(|| [low.exp(), high.exp()]),
    };
    if !corrected {
        return Some((values.to_vec(), told));
    }
    let usual = mean(&pace.iter().map(|p| p.ln()).collect::<Vec<_>>());
    let at_usual = |(value, pace): (&f64, &f64)| value * (slope * (usual - pace.ln())).exp();
    Some((values.iter().zip(pace).map(at_usual).collect(), told))
}
