//! Which key a command is about: drawn from a seed and the command's number, so that every client is asked the same.

use serde::{Deserialize, Serialize};

/// How commands are spread over the keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// Every key as often as any other.
    #[default]
    Uniform,
    /// The `r`-th most wanted key in proportion to `1 / r^exponent`: few keys get most of the load, as caches see it.
    Zipf,
}

/// A small generator of pseudo-random numbers: SplitMix64 (Steele, Lea and Flood 2014). A stream of its own for every
/// command costs one addition.
#[derive(Clone, Copy, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The stream of command `number` under a seed.
    pub fn of(seed: u64, number: u64) -> Self {
        let mut mix = Self(seed ^ number.wrapping_mul(0xD1B5_4A32_D192_ED03));
        Self(mix.next_u64())
    }

    /// 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `bound`, by the high half of a product (Lemire 2019); biased by less than `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// From 0 up to and without 1.
    fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Draws key numbers.
#[derive(Clone, Debug)]
pub enum Keys {
    /// Below the bound, all alike.
    Uniform(u64),
    /// Few of them most of the time.
    Zipf(Zipf),
}

impl Keys {
    /// Of `keys` keys; `exponent` counts for [`Spread::Zipf`].
    pub fn new(keys: u64, spread: Spread, exponent: f64) -> Self {
        match spread {
            Spread::Uniform => Self::Uniform(keys.max(1)),
            Spread::Zipf => Self::Zipf(Zipf::new(keys.max(1), exponent)),
        }
    }

    /// A key's number, from 0.
    pub fn draw(&self, dice: &mut Dice) -> u64 {
        match self {
            Self::Uniform(keys) => dice.below(*keys),
            Self::Zipf(zipf) => zipf.draw(dice),
        }
    }
}

/// Zipf's distribution by rejection-inversion (W. Hörmann and G. Derflinger, "Rejection-inversion to generate variates from
/// monotone discrete distributions", 1996): no table, and hardly ever a second attempt.
#[derive(Clone, Debug)]
pub struct Zipf {
    keys: u64,
    exponent: f64,
    first: f64,
    last: f64,
    sure: f64,
}

impl Zipf {
    fn new(keys: u64, exponent: f64) -> Self {
        let mut zipf = Self { keys, exponent, first: 0.0, last: 0.0, sure: 0.0 };
        zipf.first = zipf.integral(1.5) - 1.0;
        zipf.last = zipf.integral(keys as f64 + 0.5);
        zipf.sure = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.density(2.0));
        zipf
    }

    fn draw(&self, dice: &mut Dice) -> u64 {
        loop {
            let u = self.last + dice.unit() * (self.first - self.last);
            let x = self.inverse(u);
            let rank = (x + 0.5).clamp(1.0, self.keys as f64).floor();
            if rank - x <= self.sure || u >= self.integral(rank + 0.5) - self.density(rank) {
                return rank as u64 - 1;
            }
        }
    }

    fn density(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// The integral of the density: `(x^(1-e) - 1) / (1-e)`, and the logarithm at an exponent of 1.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        let t = (1.0 - self.exponent) * log;
        // exp(t) - 1 over t, with its Taylor series where that would be 0 over 0.
        let ratio = if t.abs() > 1e-8 { t.exp_m1() / t } else { 1.0 + t * 0.5 };
        ratio * log
    }

    fn inverse(&self, y: f64) -> f64 {
        let t = (y * (1.0 - self.exponent)).max(-1.0);
        let ratio = if t.abs() > 1e-8 { t.ln_1p() / t } else { 1.0 - t * 0.5 };
        (ratio * y).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u64 = 200_000;

    fn shares(keys: &Keys, of: usize) -> Vec<f64> {
        let mut counts = vec![0u64; of];
        for number in 0..DRAWS {
            counts[keys.draw(&mut Dice::of(7, number)) as usize] += 1;
        }
        counts.iter().map(|n| *n as f64 / DRAWS as f64).collect()
    }

    #[test]
    fn the_same_number_draws_the_same_key() {
        let keys = Keys::new(1000, Spread::Zipf, 0.99);
        let all = |seed| (0..100).map(|n| keys.draw(&mut Dice::of(seed, n))).collect::<Vec<_>>();
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
    }

    #[test]
    fn uniform_keys_come_alike() {
        let shares = shares(&Keys::new(50, Spread::Uniform, 0.0), 50);
        assert!(shares.iter().all(|share| (0.018..0.022).contains(share)), "{shares:?}");
    }

    #[test]
    fn zipf_keys_come_by_the_power_of_their_rank() {
        for exponent in [0.5, 0.99, 1.0, 1.5] {
            let shares = shares(&Keys::new(100, Spread::Zipf, exponent), 100);
            let sum: f64 = (1..=100).map(|r| f64::from(r).powf(-exponent)).sum();
            for rank in [1, 2, 10, 50] {
                let expected = f64::from(rank).powf(-exponent) / sum;
                let seen = shares[rank as usize - 1];
                assert!((seen / expected - 1.0).abs() < 0.15, "{exponent}, {rank}: {seen} of {expected}");
            }
        }
        assert_eq!(Keys::new(1, Spread::Zipf, 0.99).draw(&mut Dice::of(1, 1)), 0);
    }
}
