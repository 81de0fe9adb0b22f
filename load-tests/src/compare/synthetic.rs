//! Synthetic data for tests: runs with a run-to-run noise, and a slow drift of the machine.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    judge::{Judgement, Options, Series, tell},
    session::order,
};
use crate::compare::Which;

/// One draw from a standard normal distribution (Box and Muller 1958).
pub(crate) fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (rng.random::<f64>().max(1e-12), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// What the synthetic machine is like.
#[derive(Clone, Copy)]
pub(super) struct Machine {
    /// B over A in the primary figure.
    pub ratio: f64,
    /// Run-to-run noise, the standard deviation of the logarithm.
    pub noise: f64,
    /// What is added to the logarithm from each run to the next.
    pub drift: f64,
    /// How many figures there are; the first is the primary one, their noises are half shared.
    pub figures: usize,
}

/// A session's answer on such a machine.
pub(super) fn session(machine: Machine, options: &Options) -> Judgement {
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed ^ 0xA5A5);
    let order = order(options.rounds, options.seed);
    let mut series: Vec<Series> = (0..machine.figures)
        .map(|i| Series { name: format!("figure {i}"), primary: i == 0, values: Vec::new(), pace: None })
        .collect();
    for (i, which) in order.iter().enumerate() {
        let shared = normal(&mut rng);
        for (at, one) in series.iter_mut().enumerate() {
            let own = normal(&mut rng);
            let noise = machine.noise * (0.5f64.sqrt() * shared + 0.5f64.sqrt() * own);
            let shift = if *which == Which::B && at == 0 { machine.ratio.ln() } else { 0.0 };
            one.values.push((noise + shift + machine.drift * i as f64).exp());
        }
    }
    tell(&order, &series, options)
}

/// A machine that runs at another pace in each run, which a generator before it feels as well.
#[derive(Clone, Copy)]
pub(super) struct Unsteady {
    /// B over A in the figure.
    pub ratio: f64,
    /// The same in the generator's own cost.
    pub generator: f64,
    /// The pace's standard deviation, as a logarithm.
    pub pace: f64,
    /// The figure changes by so many percent with one percent of the generator's cost.
    pub slope: f64,
    /// Noise of the figure alone, and of the generator alone.
    pub own: f64,
}

/// A session's answer on such a machine; `told`: whether the generator's cost is known.
pub(super) fn unsteady(machine: Unsteady, told: bool, options: &Options) -> Judgement {
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed ^ 0x5A5A);
    let order = order(options.rounds, options.seed);
    let (mut values, mut generator) = (Vec::new(), Vec::new());
    for which in &order {
        let pace = machine.pace * normal(&mut rng);
        let shift = |ratio: f64| if *which == Which::B { ratio.ln() } else { 0.0 };
        values.push((machine.slope * pace + machine.own * normal(&mut rng) + shift(machine.ratio)).exp());
        generator.push((pace + 0.2 * machine.own * normal(&mut rng) + shift(machine.generator)).exp());
    }
    let series = Series { name: "figure".into(), primary: true, values, pace: told.then_some(generator) };
    tell(&order, &[series], options)
}
