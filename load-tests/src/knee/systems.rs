//! The search against synthetic systems whose knee is known.

use std::convert::Infallible;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Ask, End, Hysteresis, Knee, Options, Outcome, Search, Seen, Why};
use crate::{compare::normal, verdict::Kind};

fn valid(ms: f64) -> Seen {
    let us = (ms * 1000.0) as u64;
    Seen::new(Kind::Valid, Some(us), Some(us * 2), 1.0)
}

fn of_kind(kind: Kind) -> Seen {
    Seen { kind, ..valid(900.0) }
}

/// M/M/1: the response time is exponential with mean 1/(service − rate); its 99th percentile is ln 100 times that.
fn mm1(rate: f64, service: f64) -> Seen {
    if rate >= service { of_kind(Kind::ServerBound) } else { valid(100f64.ln() / (service - rate) * 1000.0) }
}

fn search(options: Options, mut system: impl FnMut(Ask) -> Seen) -> Knee {
    options.check().unwrap();
    let knee = Search::new("synthetic", options).take(|ask| Ok::<_, Infallible>(system(ask))).unwrap();
    assert!(knee.probes.len() <= options.max_probes);
    knee
}

#[test]
fn the_knee_of_a_queue_is_found_within_the_resolution() {
    // 50 ms are kept up to 1000 − ln 100 / 0.05 ≈ 907.9 a second.
    let knee = search(Options::default(), |ask| mm1(ask.rate, 1000.0));
    let (kept, missed) = (knee.kept.unwrap(), knee.missed.unwrap());
    assert!(kept <= 907.9 && missed > 907.9 && missed / kept <= 1.05, "{kept} {missed}");
    assert_eq!((&knee.end, &knee.hysteresis), (&End::Found, &Hysteresis::Recovered { run: 1 }));
    assert!(knee.probes.len() <= 16, "{}", knee.probes.len());
}

#[test]
fn it_is_found_from_above_as_well() {
    let knee = search(Options { from: 50_000.0, ..Options::default() }, |ask| mm1(ask.rate, 1000.0));
    assert!(knee.is_found() && knee.kept.unwrap() <= 907.9 && knee.missed.unwrap() > 907.9);
}

#[test]
fn a_cliff_is_found() {
    let cliff = |ask: Ask| if ask.rate <= 3_333.0 { valid(2.0) } else { of_kind(Kind::ServerBound) };
    let options = Options { resolution: 0.01, ..Options::default() };
    let knee = search(options, cliff);
    let (kept, missed) = (knee.kept.unwrap(), knee.missed.unwrap());
    assert!(kept <= 3_333.0 && missed > 3_333.0 && missed / kept <= 1.01);
}

/// Once overloaded, it serves only half of what it served before, until the rate falls below that.
fn holding() -> impl FnMut(Ask) -> Seen {
    let mut overloaded = false;
    move |ask| {
        if !ask.same_servers {
            overloaded = false;
        }
        overloaded = if overloaded { ask.rate > 500.0 } else { ask.rate > 1000.0 };
        if overloaded { of_kind(Kind::ServerBound) } else { valid(5.0) }
    }
}

#[test]
fn a_server_that_holds_its_overload_is_told() {
    let knee = search(Options::default(), holding());
    assert!(knee.is_found() && (950.0..=1000.0).contains(&knee.kept.unwrap()));
    let Hysteresis::LetGoAt { rate } = knee.hysteresis else { panic!("{:?}", knee.hysteresis) };
    assert!((340.0..=500.0).contains(&rate), "{rate}");
    let after: Vec<Why> =
        knee.probes.iter().map(|p| p.ask.why).skip_while(|why| *why != Why::Overload).collect();
    assert_eq!(
        after,
        [Why::Overload, Why::Recovery, Why::Recovery, Why::Recovery, Why::Descent, Why::Descent]
    );
}

#[test]
fn a_server_that_never_comes_back_is_stuck_and_a_slow_one_recovers_late() {
    let mut broken = false;
    let knee = search(Options::default(), |ask| {
        broken = ask.same_servers || ask.rate > 1000.0;
        if broken { of_kind(Kind::Unstable) } else { valid(5.0) }
    });
    assert!(matches!(knee.hysteresis, Hysteresis::Stuck { lowest } if lowest < 400.0), "{knee:?}");
    let mut runs = 0;
    let knee = search(Options::default(), |ask| {
        runs = if ask.same_servers { runs + 1 } else { 0 };
        if ask.rate > 1000.0 || runs == 1 { of_kind(Kind::ServerBound) } else { valid(5.0) }
    });
    assert_eq!(knee.hysteresis, Hysteresis::Recovered { run: 2 });
}

/// Noise in the percentile blurs the edge; repeated, it is off by little, and the search always ends.
#[test]
fn noise_moves_the_knee_by_little() {
    let mut near = 0;
    for seed in 0..100 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let knee = search(Options { max_probes: 60, ..Options::default() }, |ask| {
            let mut seen = mm1(ask.rate, 1000.0);
            seen.p99_us = seen.p99_us.map(|us| (us as f64 * (0.25 * normal(&mut rng)).exp()) as u64);
            seen
        });
        let kept = knee.kept.unwrap();
        near += u32::from(knee.is_found() && (kept / 907.9 - 1.0).abs() < 0.1);
    }
    assert!(near >= 90, "{near} of 100");
}

#[test]
fn a_generator_that_gives_out_first_leaves_a_lower_bound() {
    let knee = search(Options::default(), |ask| {
        if ask.rate > 2_000.0 { of_kind(Kind::GeneratorBound) } else { valid(3.0) }
    });
    assert_eq!((&knee.end, knee.missed), (&End::Generator, None));
    assert!((1_900.0..=2_000.0).contains(&knee.kept.unwrap()));
    assert_eq!(knee.hysteresis, Hysteresis::NotChecked);
}

#[test]
fn the_bounds_of_the_search_are_kept_and_told() {
    let all_kept = search(Options { most: 800.0, ..Options::default() }, |_| valid(1.0));
    assert_eq!((all_kept.end, all_kept.kept), (End::AtMost, Some(800.0)));
    let none_kept = search(Options { least: 10.0, ..Options::default() }, |_| valid(100.0));
    assert_eq!((none_kept.end, none_kept.kept), (End::BelowLeast, None));
    let few = |ask: Ask| Seen { p99_us: None, ..valid(ask.rate) };
    assert!(matches!(search(Options::default(), few).end, End::TooFewSamples { .. }));
    let ended = search(Options { max_probes: 8, ..Options::default() }, |ask| mm1(ask.rate, 1000.0));
    assert_eq!((ended.end, ended.probes.len()), (End::OutOfProbes, 8));
}

#[test]
fn few_samples_are_kept_when_even_the_slowest_was_fast_enough() {
    let few = |ms: f64| Seen { p99_us: None, ..valid(ms) };
    assert_eq!(few(20.0).outcome(50.0), Outcome::Kept);
    assert_eq!(few(40.0).outcome(50.0), Outcome::TooFew);
    assert_eq!(valid(50.0).outcome(50.0), Outcome::Kept);
    assert_eq!(of_kind(Kind::GeneratorBound).outcome(1e9), Outcome::Generator);
}

#[test]
fn options_are_checked_and_a_knee_comes_back_from_json() {
    let good = Options::default();
    for (bad, named) in [
        (Options { objective_ms: 0.0, ..good }, "objective"),
        (Options { least: 200.0, ..good }, "rates"),
        (Options { resolution: 0.0001, ..good }, "resolution"),
        (Options { repeats: 2, ..good }, "repeats"),
        (Options { max_probes: 1000, ..good }, "max_probes"),
    ] {
        assert!(bad.check().unwrap_err().contains(named));
    }
    let knee = search(good, holding());
    let again: Knee = serde_json::from_str(&serde_json::to_string(&knee).unwrap()).unwrap();
    assert_eq!(again, knee);
    assert!(super::terminal(&knee).lines().all(|line| line.chars().count() <= 80));
}
