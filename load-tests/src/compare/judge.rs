//! What a session's figures say: `differs`, `no difference seen`, `underpowered`.
//!
//! **The unit is a pair of neighbouring runs**, one of A and one of B, and its value is ln(B/A). A run is a new server with
//! its own memory layout, placement on cores and neighbours on the machine; its seconds share all of that, so that a
//! thousand seconds of two runs are two values and not a thousand. Whoever resamples seconds finds intervals that are too
//! narrow by what differs from run to run (T. Kalibera and R. Jones, Rigorous benchmarking in reasonable time, ISMM 2013:
//! repeat at the level where the uncertainty arises). So a block of the bootstrap is a whole pair, with all its seconds. A drift of
//! the machine is nearly the same for both runs of a pair, and is turned round in the next one (ABBA).
//!
//! A figure `differs` when three things hold:
//! 1. The pairs lean to one side more than chance explains: signs of the pairs are turned at random, the same for all
//!    figures, and the largest score of any figure is the yardstick (P. Westfall and S. Young, Resampling-based multiple
//!    testing, 1993). So that any of the figures is called different though A and B are the same is as rare as
//!    [`Options::confidence`] says, however many figures there are.
//! 2. The difference is over the noise floor: what A against A and B against B give in the same session.
//! 3. It is at least [`Options::negligible`].
//!
//! What goes along with the machine's pace is taken off before ([`super::pace`]).
//!
//! Where it does not, `no difference seen` is said only when [`Options::effect`] would have been seen with a probability of
//! 80 %. Otherwise the figure is `underpowered`, with the number of further rounds that would be enough if the noise stays.

use serde::{Deserialize, Serialize};

use super::{
    figures::Question,
    pace::{self, Pace},
    quick::Which,
    stats::{
        block_bootstrap, deviation, mean, quantile_of, sign_vectors, signed_score, t_of_score, t_probability,
        t_two_tailed,
    },
};

/// With fewer pairs no arrangement of signs is rarer than 5 %.
pub const MIN_PAIRS: usize = 6;
/// Where the search for enough rounds ends.
pub const MAX_ROUNDS: usize = 500;
/// The probability with which an effect of the stated size shall be seen.
const POWER: f64 = 0.8;
/// Two effects closer than this, as logarithms, are the same.
const TINY: f64 = 1e-9;

/// How much is compared and how surely.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Rounds of four runs: A B B A or B A A B.
    pub rounds: usize,
    /// Decides the order of each round, and the resampling.
    pub seed: u64,
    /// The effect that must not be missed: 0.1 is 10 %.
    pub effect: f64,
    /// What is never called a difference: 0.01 is 1 %.
    pub negligible: f64,
    /// 0.95: of 100 sessions of the same with the same, about five at most say otherwise.
    pub confidence: f64,
    /// Draws of the bootstrap.
    pub resamples: usize,
    /// What is asked.
    #[serde(default)]
    pub question: Question,
}

impl Default for Options {
    /// Five rounds, 20 runs: 10 % is seen where runs of the same differ by up to about 5 % (standard deviation).
    fn default() -> Self {
        Self {
            rounds: 5,
            seed: 1,
            effect: 0.1,
            negligible: 0.01,
            confidence: 0.95,
            resamples: 9_999,
            question: Question::All,
        }
    }
}

impl Options {
    /// Checks bounds.
    ///
    /// # Errors
    /// One sentence that names the field.
    pub fn check(&self) -> Result<(), String> {
        let share = |value: f64| value > 0.0 && value < 1.0;
        if !(1..=MAX_ROUNDS).contains(&self.rounds) {
            return Err(format!("rounds must be 1 to {MAX_ROUNDS}; below 3 nothing can be said"));
        }
        if !(share(self.effect) && share(self.confidence) && (0.0..1.0).contains(&self.negligible)) {
            return Err("effect, negligible and confidence must lie between 0 and 1".into());
        }
        if self.negligible >= self.effect {
            return Err("effect must be over what is negligible".into());
        }
        if !(100..=1_000_000).contains(&self.resamples) {
            return Err("resamples must be 100 to 1000000".into());
        }
        Ok(())
    }
}

/// What may be said of a figure, and of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A and B differ by more than chance and noise explain.
    Differs,
    /// They do not, and a difference of the stated size would have been seen.
    NoDifferenceSeen,
    /// They do not, but a difference of the stated size could have been missed.
    Underpowered,
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Differs => "differs",
            Self::NoDifferenceSeen => "no difference seen",
            Self::Underpowered => "underpowered",
        })
    }
}

/// One figure of the session. Ratios are of geometric means, B over A; 1.1 is 10 % more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// What is measured, with its unit.
    pub name: String,
    /// Whether the session's answer rests on it.
    pub primary: bool,
    /// A's geometric mean.
    pub a: f64,
    /// B's geometric mean.
    pub b: f64,
    /// B over A.
    pub ratio: f64,
    /// The ratio's interval, for this figure alone; none with fewer than two pairs.
    pub interval: Option<[f64; 2]>,
    /// Each side against itself, as many pairs: 95 of 100 such ratios are nearer to 1 than 1 ± this.
    pub noise_floor: f64,
    /// The standard deviation of two neighbouring runs' difference: 0.05 is 5 %.
    pub pair_noise: f64,
    /// The probability of pairs that lean so far in any figure, if A and B were the same.
    pub chance: f64,
    /// The least difference that would be called one with a probability of 80 %; none when there is none.
    pub detectable: Option<f64>,
    /// Further rounds for the stated effect; none when not `underpowered`, or beyond [`MAX_ROUNDS`].
    pub more_rounds: Option<usize>,
    /// What may be said.
    pub answer: Answer,
    /// What of it is the machine's pace; none where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<Pace>,
}

/// One figure's value in each run, in the order of the runs.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub name: String,
    pub primary: bool,
    pub values: Vec<f64>,
    /// What tells the machine's pace in each run, where something does.
    pub pace: Option<Vec<f64>>,
}

/// All figures and the session's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// What may be said of the whole.
    pub answer: Answer,
    /// Pairs of neighbouring runs.
    pub pairs: usize,
    /// The figures.
    pub figures: Vec<Judged>,
    /// What more rounds would be enough for every figure that the answer rests on; none when they are enough.
    pub more_rounds: Option<usize>,
}

/// A figure's logarithms, as pairs.
pub(super) struct Pairs {
    /// ln(B/A) of neighbours.
    pub across: Vec<f64>,
    /// Each side against itself: the outer and the inner runs of each round.
    pub within: Vec<f64>,
}

impl Pairs {
    pub fn of(order: &[Which], values: &[f64]) -> Self {
        let (mut across, mut within) = (Vec::new(), Vec::new());
        for (which, four) in order.chunks_exact(4).zip(values.chunks_exact(4)) {
            let l: Vec<f64> = four.iter().map(|v| v.ln()).collect();
            let sign = if which[0] == Which::A { 1.0 } else { -1.0 };
            across.extend([sign * (l[1] - l[0]), sign * (l[2] - l[3])]);
            within.extend([l[3] - l[0], l[2] - l[1]]);
        }
        Self { across, within }
    }
}

/// Says what the figures allow. `order` in rounds of four; a figure that is not over 0 in every run is left out.
pub(super) fn tell(order: &[Which], series: &[Series], options: &Options) -> Judgement {
    let usable: Vec<&Series> = series
        .iter()
        .filter(|s| s.values.len() == order.len() && s.values.iter().all(|v| *v > 0.0 && v.is_finite()))
        .collect();
    let n = order.len() / 4 * 2;
    let signs = sign_vectors(n, options.seed);
    let usable: Vec<Corrected<'_>> =
        usable.into_iter().map(|series| Corrected::of(order, series, &signs, options)).collect();
    let mut largest: Vec<f64> = signs
        .iter()
        .map(|signs| usable.iter().map(|f| signed_score(&f.pairs.across, signs)).fold(0.0, f64::max))
        .collect();
    largest.sort_unstable_by(f64::total_cmp);
    let yard = Yard::new(&largest, n, usable.len(), options);
    let figures: Vec<Judged> =
        usable.iter().map(|corrected| figure(order, corrected, &signs, &largest, &yard)).collect();
    overall(figures, n)
}

/// A figure at one pace of the machine, where that could be had.
struct Corrected<'a> {
    series: &'a Series,
    values: Vec<f64>,
    pairs: Pairs,
    pace: Option<Pace>,
}

impl<'a> Corrected<'a> {
    fn of(order: &[Which], series: &'a Series, signs: &[Vec<f64>], options: &Options) -> Self {
        let corrected = series
            .pace
            .as_ref()
            .and_then(|pace| pace::correct(order, &series.values, pace, (signs, options)));
        let (values, pace) = match corrected {
            Some((values, pace)) => (values, Some(pace)),
            None => (series.values.clone(), None),
        };
        Self { series, pairs: Pairs::of(order, &values), values, pace }
    }
}

/// What all figures are held against.
struct Yard<'a> {
    options: &'a Options,
    n: usize,
    /// The t that a figure must exceed; infinite when no pairs could.
    critical_t: f64,
    /// The probability that belongs to it for one figure alone.
    alpha: f64,
}

impl<'a> Yard<'a> {
    fn new(largest: &[f64], n: usize, figures: usize, options: &'a Options) -> Self {
        let alpha = 1.0 - options.confidence;
        let critical_t = t_of_score(quantile_of(largest, options.confidence), n);
        let bonferroni = alpha / figures.max(1) as f64;
        let alpha = match critical_t.is_finite() && n >= MIN_PAIRS {
            // Never stricter than figures that have nothing to do with each other, nor laxer than one alone.
            true => t_probability(critical_t, n - 1).clamp(bonferroni, alpha),
            false => bonferroni,
        };
        Self { options, n, critical_t, alpha }
    }

    /// The least difference, as a logarithm, that is seen with a probability of 80 %.
    fn detectable(&self, pair_noise: f64) -> Option<f64> {
        let enough = self.n >= MIN_PAIRS && self.critical_t.is_finite();
        enough.then(|| (self.critical_t + power_t(self.n)) * pair_noise / (self.n as f64).sqrt())
    }

    /// Further rounds until the stated effect would be seen.
    fn more_rounds(&self, pair_noise: f64) -> Option<usize> {
        let rounds = self.n / 2;
        let target = self.options.effect.ln_1p();
        let enough = |rounds: usize| {
            let n = rounds * 2;
            let least = (t_two_tailed(self.alpha, n - 1) + power_t(n)) * pair_noise / (n as f64).sqrt();
            n >= MIN_PAIRS && least <= target
        };
        // Halving: more rounds never see less.
        let (mut too_few, mut last) = (rounds, enough(MAX_ROUNDS).then_some(MAX_ROUNDS)?);
        while last > too_few + 1 {
            let middle = too_few.midpoint(last);
            if enough(middle) { last = middle } else { too_few = middle }
        }
        Some(last.saturating_sub(rounds).max(1))
    }
}

fn power_t(n: usize) -> f64 {
    t_two_tailed(2.0 * (1.0 - POWER), n.saturating_sub(1))
}

fn figure(
    order: &[Which],
    Corrected { series, values, pairs, pace }: &Corrected<'_>,
    signs: &[Vec<f64>],
    largest: &[f64],
    yard: &Yard<'_>,
) -> Judged {
    let Options { confidence, resamples, seed, effect, negligible, .. } = *yard.options;
    let shift = mean(&pairs.across);
    let pair_noise = deviation(&pairs.across);
    let floor = noise_floor(&pairs.within, signs, confidence);
    let score = signs.first().map_or(0.0, |none_turned| signed_score(&pairs.across, none_turned));
    let as_far = largest.len() - largest.partition_point(|other| *other < score - TINY);
    let chance = as_far as f64 / largest.len().max(1) as f64;
    let [low, high] = block_bootstrap(&pairs.across, confidence, resamples, seed);
    let beyond = low > 0.0 || high < 0.0;
    let large = shift.abs() > floor && shift.abs() >= negligible.ln_1p();
    let detectable = yard.detectable(pair_noise).map(|least| least.max(negligible.ln_1p()));
    let answer = if yard.n >= MIN_PAIRS && chance <= 1.0 - confidence && beyond && large {
        Answer::Differs
    } else if detectable.is_some_and(|least| least <= effect.ln_1p()) {
        Answer::NoDifferenceSeen
    } else {
        Answer::Underpowered
    };
    let side = |which: Which| {
        let of = order.iter().zip(values).filter(|(w, _)| **w == which);
        mean(&of.map(|(_, v)| v.ln()).collect::<Vec<_>>()).exp()
    };
    Judged {
        name: series.name.clone(),
        primary: series.primary,
        a: side(Which::A),
        b: side(Which::B),
        ratio: shift.exp(),
        interval: (yard.n >= 2).then(|| [low.exp(), high.exp()]),
        noise_floor: floor.exp_m1(),
        pair_noise,
        chance,
        detectable: detectable.map(f64::exp_m1),
        more_rounds: (answer == Answer::Underpowered).then(|| yard.more_rounds(pair_noise)).flatten(),
        answer,
        pace: *pace,
    }
}

/// What a comparison of each side with itself gives: the mean of as many pairs, with every choice of which run of a pair is
/// called the other side.
fn noise_floor(within: &[f64], signs: &[Vec<f64>], confidence: f64) -> f64 {
    let n = within.len().max(1) as f64;
    let mut apparent: Vec<f64> = signs
        .iter()
        .map(|signs| (within.iter().zip(signs).map(|(v, s)| v * s).sum::<f64>() / n).abs())
        .collect();
    apparent.sort_unstable_by(f64::total_cmp);
    quantile_of(&apparent, confidence)
}

fn overall(figures: Vec<Judged>, pairs: usize) -> Judgement {
    let any = |answer: Answer| figures.iter().any(|f| f.answer == answer);
    let primary = || figures.iter().filter(|f| f.primary);
    let missed = primary().any(|f| f.answer == Answer::Underpowered) || primary().next().is_none();
    let answer = match (any(Answer::Differs), missed) {
        (true, _) => Answer::Differs,
        (false, true) => Answer::Underpowered,
        (false, false) => Answer::NoDifferenceSeen,
    };
    let more_rounds = primary().filter_map(|f| f.more_rounds).max();
    let beyond = primary().any(|f| f.answer == Answer::Underpowered && f.more_rounds.is_none());
    let more_rounds = more_rounds.filter(|_| answer == Answer::Underpowered && !beyond);
    Judgement { answer, pairs, figures, more_rounds }
}
