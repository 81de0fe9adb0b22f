//! The judge of growth on curves whose class is known.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use chatlab_kit::check::Rng;
use chatlab_kit::growth::{Claim, Growth, Sized, judge};
use rand::{Rng as _, SeedableRng as _};

const SEEDS: u64 = 200;
const ROUNDS: usize = 11;
const SIZES: [f64; 6] = [1_000.0, 3_000.0, 9_000.0, 27_000.0, 81_000.0, 200_000.0];

/// A normal deviate, from twelve uniform ones.
fn normal(rng: &mut Rng) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}

/// Samples of `curve`, each off by `noise` as a share, whole rounds by as much again, and one in ten far too slow.
fn samples(seed: u64, noise: f64, floor: Option<(f64, f64)>, curve: impl Fn(f64) -> f64) -> Vec<Sized> {
    let mut rng = Rng::seed_from_u64(seed);
    let rounds: Vec<f64> = (0..ROUNDS).map(|_| (noise * normal(&mut rng)).exp()).collect();
    SIZES
        .iter()
        .map(|n| {
            let mut cost_us = Vec::new();
            let mut floor_us = Vec::new();
            for round in &rounds {
                let slow = if rng.random_bool(0.1) { 1.0 + rng.random::<f64>() } else { 1.0 };
                let work = curve(*n) * round * slow * (noise * normal(&mut rng)).exp();
                let trip = |rng: &mut Rng| floor.map_or(0.0, |(mean, sd)| (mean + sd * normal(rng)).max(1.0));
                cost_us.push(work + trip(&mut rng));
                if floor.is_some() {
                    floor_us.push(trip(&mut rng));
                }
            }
            Sized { n: *n, cost_us, floor_us }
        })
        .collect()
}

/// A class, and a cost that grows like it.
type Curve = (Growth, fn(f64) -> f64);

const CURVES: [Curve; 8] = [
    (Growth::Constant, |_| 0.8),
    (Growth::Constant, |_| 40.0),
    (Growth::Log, |n| 0.4 * n.ln()),
    (Growth::Log, |n| 1.0 + 0.4 * n.ln()),
    (Growth::Linear, |n| 0.002 * n),
    (Growth::Linear, |n| 5.0 + 0.001 * n),
    (Growth::LinearLog, |n| 0.001 * n * n.ln()),
    (Growth::LinearLog, |n| 10.0 + 0.0005 * n * n.ln()),
];

#[test]
fn a_wrong_class_is_claimed_in_less_than_five_of_a_hundred_runs() {
    for noise in [0.01, 0.05, 0.2] {
        for (i, (class, curve)) in CURVES.iter().enumerate() {
            let (mut wrong, mut right, mut denied) = (0, 0, 0);
            for seed in 0..SEEDS {
                let verdict = judge(&samples(seed, noise, None, curve), *class, seed);
                match verdict.claim {
                    Claim::Is(claimed) if claimed == *class => right += 1,
                    Claim::Is(_) => wrong += 1,
                    _ => {}
                }
                denied += u64::from(verdict.agrees() == Some(false));
            }
            println!(
                "noise {noise}, curve {i} {class}: {right} right, {wrong} wrong, {denied} denied of {SEEDS}"
            );
            assert!(
                wrong * 20 < SEEDS,
                "noise {noise}, curve {i} {class}: {wrong} of {SEEDS} claims are wrong"
            );
            assert!(
                denied * 20 < SEEDS,
                "noise {noise}, curve {i} {class}: {denied} of {SEEDS} deny the truth"
            );
        }
    }
}

#[test]
fn little_noise_and_a_clear_curve_leave_the_class_or_it_and_its_neighbour() {
    for (class, curve) in CURVES {
        let found =
            (0..100).filter(|seed| match judge(&samples(*seed, 0.01, None, curve), class, *seed).claim {
                Claim::Is(claimed) => claimed == class,
                Claim::NotSeparable(left) => left.len() == 2 && left.contains(&class),
                _ => false,
            });
        let found = found.count();
        assert!(found >= 90, "{class}: only {found} of 100 are found");
    }
}

#[test]
fn the_exponent_of_a_power_law_is_found_with_its_interval() {
    let covered = (0..200).filter(|seed| {
        let verdict = judge(&samples(*seed, 0.05, None, |n| 0.1 * n.sqrt()), Growth::Linear, *seed);
        let (low, high) = verdict.fit.unwrap().exponent_interval;
        (low..=high).contains(&0.5)
    });
    let covered = covered.count();
    assert!((170..=200).contains(&covered), "{covered} of 200 intervals hold the exponent");
}

#[test]
fn what_is_lost_in_the_round_trip_is_refused() {
    for (class, curve) in &CURVES[..4] {
        let mut refused = 0;
        for seed in 0..100 {
            // A round trip of 60 µs, which varies by 6: at most 6 µs of work are not seen.
            let cheap = |n: f64| curve(n).min(6.0);
            let verdict = judge(&samples(seed, 0.05, Some((60.0, 6.0)), cheap), *class, seed);
            assert_ne!(verdict.agrees(), Some(false), "{class}: {verdict}");
            if matches!(verdict.claim, Claim::RefusedRoundTripDominates { .. }) {
                assert_eq!((verdict.agrees(), verdict.fit), (None, None));
                refused += 1;
            }
        }
        assert!(refused >= 95, "{class}: only {refused} of 100 are refused");
    }
    // The same round trip under 400 µs of work: nothing to refuse.
    let verdict = judge(&samples(7, 0.02, Some((60.0, 3.0)), |n| 0.002 * n), Growth::Linear, 7);
    assert_eq!(verdict.agrees(), Some(true), "{verdict}");
}

#[test]
fn too_little_is_no_verdict_and_a_step_is_no_curve() {
    let few = &samples(1, 0.01, None, |n| n)[..4];
    assert!(matches!(judge(few, Growth::Linear, 1).claim, Claim::TooFewSizes { sizes: 4, .. }));
    let mut short = samples(1, 0.01, None, |n| n);
    short[2].cost_us.truncate(3);
    assert!(matches!(judge(&short, Growth::Linear, 1).claim, Claim::TooFewSizes { rounds: 3, .. }));
    let step = samples(1, 0.01, None, |n| if n > 5_000.0 { 100.0 } else { 1.0 });
    assert_eq!(judge(&step, Growth::Linear, 1).claim, Claim::NoneFits);
}

#[test]
fn classes_that_the_scatter_does_not_separate_are_named() {
    let verdict = judge(&samples(3, 0.3, None, |n| 1.0 + 0.05 * n.ln()), Growth::Log, 3);
    match &verdict.claim {
        Claim::NotSeparable(left) => assert!(left.contains(&Growth::Constant) && left.contains(&Growth::Log)),
        other => panic!("{other:?}"),
    }
    assert!(verdict.to_string().contains("cannot tell O(1), O(log n)"), "{verdict}");
}

#[test]
fn a_seed_gives_the_same_assessment_again() {
    let data = samples(5, 0.1, None, f64::ln);
    assert_eq!(judge(&data, Growth::Log, 9), judge(&data, Growth::Log, 9));
}
