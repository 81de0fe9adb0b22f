//! When each message is due: absolute, seeded, known before the run.
//!
//! A pure function of its parameters, so that a run can be repeated and its schedule named by a
//! hash. Nothing here looks at a clock; a late generator does not move an arrival.

use std::fmt;

use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const NANOS_PER_S: f64 = 1e9;

/// How arrivals are spread over time. Others (burst, ramp, staircase, replay) join here and in
/// `Gaps`; nothing else knows the kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// Equal gaps; the clients take turns, in a shuffled order.
    Constant,
    /// Independent clients without memory: exponential gaps, the client drawn for each.
    #[default]
    Poisson,
}

impl fmt::Display for ScheduleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Constant => "constant",
            Self::Poisson => "poisson",
        })
    }
}

/// One due message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When, in nanoseconds after the schedule's start.
    pub at_ns: u64,
    /// Which client sends it, from 0.
    pub client: u32,
}

/// The parameters that decide every arrival.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// How arrivals are spread.
    pub kind: ScheduleKind,
    /// Arrivals a second, of all clients together.
    pub rate_per_s: f64,
    /// How long, in nanoseconds.
    pub duration_ns: u64,
    /// How many clients send.
    pub clients: u32,
    /// The same seed gives the same arrivals.
    pub seed: u64,
}

/// A schedule that can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The rate is not a positive number up to a million a second.
    #[error("the rate must be over 0 and at most 1000000 a second")]
    Rate,
    /// Nobody sends.
    #[error("there must be at least one client")]
    Clients,
}

impl Schedule {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`ScheduleError`] says which one is out of its bounds.
    pub fn new(
        kind: ScheduleKind,
        rate_per_s: f64,
        duration_ns: u64,
        clients: u32,
        seed: u64,
    ) -> Result<Self, ScheduleError> {
        let schedule = Self { kind, rate_per_s, duration_ns, clients, seed };
        schedule.check()?;
        Ok(schedule)
    }

    /// Checks a schedule that came from elsewhere, such as a plan's JSON.
    ///
    /// # Errors
    /// As [`Schedule::new`].
    pub fn check(&self) -> Result<(), ScheduleError> {
        if !(self.rate_per_s > 0.0 && self.rate_per_s <= 1e6) {
            return Err(ScheduleError::Rate);
        }
        if self.clients == 0 {
            return Err(ScheduleError::Clients);
        }
        Ok(())
    }

    /// What comes before it at the same rate, so long, and is not measured: other arrivals than the schedule's own.
    pub fn warm_up(&self, ms: u64) -> Self {
        Self { duration_ns: ms * 1_000_000, seed: self.seed ^ 0x5EED_CAFE, ..*self }
    }

    /// The arrivals, in order of time.
    pub fn arrivals(&self) -> Arrivals {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mean_gap_ns = NANOS_PER_S / self.rate_per_s;
        let gaps = match self.kind {
            ScheduleKind::Constant => {
                let mut order: Vec<u32> = (0..self.clients).collect();
                order.shuffle(&mut rng);
                Gaps::Constant { phase: rng.random::<f64>(), order }
            }
            ScheduleKind::Poisson => Gaps::Poisson,
        };
        Arrivals { gaps, rng, mean_gap_ns, clock_ns: 0.0, made: 0, schedule: *self }
    }

    /// How many arrivals there are.
    pub fn count(&self) -> u64 {
        self.arrivals().count() as u64
    }

    /// SHA-256 of all arrivals, in hexadecimal: names the schedule in a result.
    pub fn hash(&self) -> String {
        let mut sha = Sha256::new();
        for Arrival { at_ns, client } in self.arrivals() {
            sha.update(at_ns.to_le_bytes());
            sha.update(client.to_le_bytes());
        }
        sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The state by which the kinds differ.
#[derive(Clone, Debug)]
enum Gaps {
    Constant { phase: f64, order: Vec<u32> },
    Poisson,
}

/// The arrivals of a [`Schedule`], made one by one.
#[derive(Clone, Debug)]
pub struct Arrivals {
    gaps: Gaps,
    rng: ChaCha8Rng,
    mean_gap_ns: f64,
    clock_ns: f64,
    made: u64,
    schedule: Schedule,
}

impl Iterator for Arrivals {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let (at_ns, client) = match &self.gaps {
            // From the count, not by adding up gaps: no rounding error grows over the run.
            Gaps::Constant { phase, order } => {
                let turn = (self.made % order.len() as u64) as usize;
                ((self.made as f64 + phase) * self.mean_gap_ns, order[turn])
            }
            Gaps::Poisson => {
                // 1 - U is in (0, 1]: the logarithm is finite.
                let gap = -(1.0 - self.rng.random::<f64>()).ln() * self.mean_gap_ns;
                self.clock_ns += gap;
                (self.clock_ns, self.rng.random_range(0..self.schedule.clients))
            }
        };
        let at_ns = at_ns as u64;
        if at_ns >= self.schedule.duration_ns {
            return None;
        }
        self.made += 1;
        Some(Arrival { at_ns, client })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn schedule(kind: ScheduleKind, rate: f64, secs: u64, seed: u64) -> Schedule {
        Schedule::new(kind, rate, secs * S, 50, seed).unwrap()
    }

    #[test]
    fn the_same_seed_gives_the_same_arrivals_and_another_one_others() {
        for kind in [ScheduleKind::Constant, ScheduleKind::Poisson] {
            let [a, b, c] = [1, 1, 2].map(|seed| schedule(kind, 500.0, 4, seed));
            assert!(a.arrivals().eq(b.arrivals()));
            assert_eq!(a.hash(), b.hash());
            assert_ne!(a.hash(), c.hash());
            assert_eq!(a.hash().len(), 64);
        }
    }

    #[test]
    fn arrivals_are_in_order_and_inside_the_duration_at_the_rate() {
        for kind in [ScheduleKind::Constant, ScheduleKind::Poisson] {
            let arrivals: Vec<_> = schedule(kind, 1000.0, 20, 7).arrivals().collect();
            assert!(arrivals.windows(2).all(|w| w[0].at_ns <= w[1].at_ns));
            assert!(arrivals.iter().all(|a| a.at_ns < 20 * S && a.client < 50));
            // Five standard deviations of a Poisson count.
            let off = (arrivals.len() as f64 - 20_000.0).abs();
            assert!(off < 5.0 * 20_000f64.sqrt(), "{kind}: {}", arrivals.len());
        }
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_the_variance_of_an_exponential() {
        let at: Vec<f64> =
            schedule(ScheduleKind::Poisson, 1000.0, 60, 3).arrivals().map(|a| a.at_ns as f64 / 1e6).collect();
        let gaps: Vec<f64> = at.windows(2).map(|w| w[1] - w[0]).collect();
        let n = gaps.len() as f64;
        let mean = gaps.iter().sum::<f64>() / n;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n;
        assert!((mean - 1.0).abs() < 0.02, "mean {mean} ms");
        assert!((variance - 1.0).abs() < 0.06, "variance {variance} ms²");
    }

    #[test]
    fn constant_gaps_are_equal_and_every_client_takes_its_turn() {
        let arrivals: Vec<_> = schedule(ScheduleKind::Constant, 100.0, 10, 9).arrivals().collect();
        assert!(arrivals.windows(2).all(|w| (w[1].at_ns - w[0].at_ns).abs_diff(S / 100) <= 1));
        let mut per_client = [0; 50];
        arrivals.iter().for_each(|a| per_client[a.client as usize] += 1);
        assert!(per_client.iter().all(|n| *n == 20), "{per_client:?}");
    }

    #[test]
    fn impossible_parameters_are_refused() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 2e6] {
            assert_eq!(Schedule::new(ScheduleKind::Poisson, rate, S, 1, 0), Err(ScheduleError::Rate));
        }
        assert_eq!(Schedule::new(ScheduleKind::Poisson, 1.0, S, 0, 0), Err(ScheduleError::Clients));
    }
}
