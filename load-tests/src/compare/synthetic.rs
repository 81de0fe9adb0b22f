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
        .map(|i| Series { name: format!("figure {i}"), primary: i == 0, values: Vec::new() })
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
