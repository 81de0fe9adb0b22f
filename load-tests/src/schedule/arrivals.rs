//! The arrivals of a schedule, made one by one.
//!
//! Kinds with a rate are all the same process of rate 1, constant or Poisson, through the inverse of the rate's integral
//! Λ(t): the arrivals of a Poisson process with rate λ(t) are Λ⁻¹ of those of one with rate 1 (Çinlar, "Introduction to
//! Stochastic Processes", 1975, section 4.7; there is nothing to reject, so that every arrival costs one draw).

use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::{Arrival, Burst, NANOS_PER_S, Schedule, ScheduleKind, Spread, Trace};

/// The arrivals of a [`Schedule`], in order of time.
#[derive(Clone, Debug)]
pub struct Arrivals<'a> {
    source: Source<'a>,
    clients: Clients,
    rng: ChaCha8Rng,
    duration_ns: u64,
}

#[derive(Clone, Debug)]
enum Source<'a> {
    Rate { profile: Profile, spread: Spread, phase: f64, made: u64, clock: f64 },
    Bursts { burst: Burst, first_ns: f64, nth: u64, made: u32, within: f64 },
    Trace { trace: &'a Trace, next: usize },
}

/// Who sends.
#[derive(Clone, Debug)]
enum Clients {
    Drawn(u32),
    Turns { order: Vec<u32>, next: usize },
}

impl Clients {
    fn turns(clients: u32, rng: &mut ChaCha8Rng) -> Self {
        let mut order: Vec<u32> = (0..clients).collect();
        order.shuffle(rng);
        Self::Turns { order, next: 0 }
    }

    fn of(spread: Spread, clients: u32, rng: &mut ChaCha8Rng) -> Self {
        match spread {
            Spread::Constant => Self::turns(clients, rng),
            Spread::Poisson => Self::Drawn(clients),
        }
    }

    fn next(&mut self, rng: &mut ChaCha8Rng) -> u32 {
        match self {
            Self::Drawn(clients) => rng.random_range(0..*clients),
            Self::Turns { order, next } => {
                let client = order[*next];
                *next = (*next + 1) % order.len();
                client
            }
        }
    }
}

/// A rate over time, as the inverse of its integral. Seconds and arrivals a second.
#[derive(Clone, Debug)]
enum Profile {
    Flat(f64),
    Ramp {
        from: f64,
        slope: f64,
    },
    /// Each step's beginning, its rate, and the integral at its beginning and at its end.
    Steps(Vec<(f64, f64, f64, f64)>),
}

impl Profile {
    fn steps(steps: &[super::Step]) -> Self {
        let (mut at, mut integral) = (0.0, 0.0);
        let mut all = Vec::with_capacity(steps.len());
        for (nth, step) in steps.iter().enumerate() {
            let end = if nth + 1 == steps.len() && step.rate > 0.0 {
                f64::INFINITY
            } else {
                integral + step.rate * step.secs
            };
            all.push((at, step.rate, integral, end));
            at += step.secs;
            integral = end;
        }
        Self::Steps(all)
    }

    /// When the integral reaches `sum`, in seconds; none when it never does.
    fn inverse(&self, sum: f64) -> Option<f64> {
        match self {
            Self::Flat(rate) => Some(sum / rate),
            Self::Ramp { from, slope } => {
                // slope/2·t² + from·t = sum, in the form that does not cancel out for a small slope.
                let root = from * from + 2.0 * slope * sum;
                (root >= 0.0).then(|| 2.0 * sum / (from + root.sqrt()))
            }
            Self::Steps(steps) => {
                let at = steps.partition_point(|(_, _, _, end)| *end <= sum);
                steps.get(at).map(|(at, rate, begin, _)| at + (sum - begin) / rate)
            }
        }
    }
}

impl<'a> Arrivals<'a> {
    pub(super) fn new(schedule: &'a Schedule) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(schedule.seed);
        let secs = schedule.duration_ns as f64 / NANOS_PER_S;
        let (profile, spread) = match &schedule.kind {
            ScheduleKind::Constant => (Profile::Flat(schedule.rate_per_s), Spread::Constant),
            ScheduleKind::Poisson => (Profile::Flat(schedule.rate_per_s), Spread::Poisson),
            ScheduleKind::Ramp(ramp) => (
                Profile::Ramp { from: ramp.from, slope: (ramp.to - ramp.from) / secs.max(1e-9) },
                ramp.spread,
            ),
            ScheduleKind::Staircase(stairs) => (Profile::steps(&stairs.steps), stairs.spread),
            ScheduleKind::Burst(burst) => {
                let clients = Clients::turns(schedule.clients, &mut rng);
                let spare_ms = burst.period_ms - burst.width_ms.min(burst.period_ms);
                let first_ns = rng.random::<f64>() * spare_ms as f64 * 1e6;
                let source = Source::Bursts { burst: *burst, first_ns, nth: 0, made: 0, within: 0.0 };
                return Self { source, clients, rng, duration_ns: schedule.duration_ns };
            }
            ScheduleKind::Replay(trace) => {
                let clients = Clients::turns(schedule.clients, &mut rng);
                let source = Source::Trace { trace, next: 0 };
                return Self { source, clients, rng, duration_ns: schedule.duration_ns };
            }
        };
        let clients = Clients::of(spread, schedule.clients, &mut rng);
        let phase = if spread == Spread::Constant { rng.random::<f64>() } else { 0.0 };
        let source = Source::Rate { profile, spread, phase, made: 0, clock: 0.0 };
        Self { source, clients, rng, duration_ns: schedule.duration_ns }
    }

    /// The next instant in nanoseconds, and the client where the source names one.
    fn instant(&mut self) -> Option<(u64, Option<u32>)> {
        match &mut self.source {
            Source::Rate { profile, spread, phase, made, clock } => {
                let sum = match spread {
                    // From the count, not by adding up gaps: no rounding error grows over the run.
                    Spread::Constant => *made as f64 + *phase,
                    Spread::Poisson => {
                        // 1 - U is in (0, 1]: the logarithm is finite.
                        *clock -= (1.0 - self.rng.random::<f64>()).ln();
                        *clock
                    }
                };
                *made += 1;
                profile.inverse(sum).map(|secs| ((secs * NANOS_PER_S) as u64, None))
            }
            Source::Bursts { burst, first_ns, nth, made, within } => {
                if *made == burst.size {
                    (*nth, *made, *within) = (*nth + 1, 0, 0.0);
                }
                let begin_ns = *first_ns + (*nth * burst.period_ms) as f64 * 1e6;
                *within = match burst.spread {
                    Spread::Constant => f64::from(*made) / f64::from(burst.size),
                    // The next of the sorted uniform ones that are left (Devroye, "Non-Uniform Random Variate
                    // Generation", 1986, section V.3): nothing has to be kept and sorted.
                    Spread::Poisson => {
                        let left = f64::from(burst.size - *made);
                        1.0 - (1.0 - *within) * (1.0 - self.rng.random::<f64>()).powf(1.0 / left)
                    }
                };
                *made += 1;
                Some(((begin_ns + *within * burst.width_ms as f64 * 1e6) as u64, None))
            }
            Source::Trace { trace, next } => {
                let arrival = trace.arrivals().get(*next)?;
                *next += 1;
                Some((arrival.at_us() * 1000, arrival.client()))
            }
        }
    }
}

impl Iterator for Arrivals<'_> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let (at_ns, named) = self.instant()?;
        if at_ns >= self.duration_ns {
            return None;
        }
        let client = match (named, &self.clients) {
            (Some(client), Clients::Turns { order, .. }) => client % order.len() as u32,
            _ => self.clients.next(&mut self.rng),
        };
        Some(Arrival { at_ns, client })
    }
}
