//! The lab's named checks: each plans histories and judges them by the topics that it is about.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{Check, Invariant, Opened, Pace, Rng, Setup, Subject},
};
use rand::Rng as _;

use crate::{
    Limit, RateLimiter,
    history::Step,
    world::{Topic, World},
};

/// The window of a check's limit at pace 1, in milliseconds.
const WINDOW_MS: u64 = 150;
/// How much slower the clocks go where time is not what is tested: nothing comes back within a history.
const UNHURRIED: u32 = 400;
/// How many places for a crash are tried.
const CRASH_POINTS: u64 = 4;
/// What is said when no crash and no race happened.
const NO_FAULT: &str = "no client could be crashed or overtaken";

/// The limit of a check with this seed.
pub(crate) fn limit(seed: u64, pace: Pace) -> Limit {
    let permits = 5 + u32::try_from(seed % 5).unwrap_or(0);
    Limit::new(permits, pace.ms(WINDOW_MS))
}

type Predicate = Invariant<Step, Topic>;

/// The worlds of this lab: subjects, one after the other, under the limit of this seed.
struct Subjects {
    seed: u64,
}

#[async_trait]
impl Setup for Subjects {
    type Port = dyn RateLimiter;
    type Step = Step;
    type Topic = Topic;

    async fn open<'a>(&self, subject: &'a Subject<'a, dyn RateLimiter>) -> LabResult<Opened<'a, Self>> {
        Ok(Box::new(World::new(subject, limit(self.seed, subject.pace)).await?))
    }
}

/// All checks, in the order of reports. The seed also picks the permits.
pub(crate) fn checks(seed: u64) -> Vec<Check<dyn RateLimiter>> {
    let permits = limit(seed, Pace(1)).permits;
    let all = timed(permits).into_iter().chain(timeless(permits));
    all.map(|predicate| predicate.on(Subjects { seed })).collect()
}

fn timed(permits: u32) -> [Predicate; 3] {
    [
        Invariant::new(
            "never_over_the_limit",
            "no window, wherever it begins, holds more allowed takes than the permits",
            &[Topic::Over],
            move |rng| plan_over(rng, permits),
        )
        .instances(2),
        Invariant::new(
            "permits_are_really_given",
            "half of the permits come at once after a rest, and half a window to who keeps asking",
            &[Topic::Given],
            move |rng| plan_given(rng, permits),
        ),
        Invariant::new(
            "retry_after_is_true",
            "a refused take is allowed after the time it was told and not before, also to who \
             asks meanwhile",
            &[Topic::Retry],
            move |rng| plan_retry(rng, permits),
        )
        .instances(2),
    ]
}

fn timeless(permits: u32) -> [Predicate; 6] {
    [
        Invariant::new(
            "remaining_is_true",
            "each take says how many more are allowed right now",
            &[Topic::Remaining],
            |_| vec![Step::Countdown, Step::Fresh, Step::Countdown],
        ),
        Invariant::new(
            "last_permit_once",
            "two clients that ask at the same moment never get the same permit",
            &[Topic::Race],
            |_| vec![Step::LastPermit],
        )
        .needs_fault(NO_FAULT),
        Invariant::new(
            "never_immortal",
            "what is kept of a subject expires within four windows, wherever a client crashed",
            &[Topic::Leftover],
            move |rng| plan_immortal(rng, permits),
        )
        .needs_fault(NO_FAULT),
        Invariant::new(
            "subjects_are_independent",
            "what one subject takes is not missing to another",
            &[Topic::Given],
            move |rng| plan_independent(rng, permits),
        ),
        Invariant::new(
            "one_round_trip",
            "a take is one round trip, the first one of a subject too",
            &[Topic::Trips],
            move |rng| plan_budget(rng, permits),
        ),
        Invariant::new(
            "no_keys_or_scan",
            "no take walks over the keys of everybody",
            &[Topic::Verbs],
            move |rng| plan_budget(rng, permits),
        ),
    ]
    .map(|predicate| predicate.slower(UNHURRIED))
}

/// The edges where counters begin anew, a subject that asks all the time, and whatever chance brings.
fn plan_over(rng: &mut Rng, permits: u32) -> Vec<Step> {
    let many = Step::Burst { takes: 2 * permits };
    let mut plan = vec![
        Step::Burst { takes: 1 },
        Step::Pause { percent: rng.random_range(68..=76) },
        many.clone(),
        Step::Pause { percent: rng.random_range(40..=48) },
        many.clone(),
        Step::Fresh,
        many.clone(),
        // Windows that begin at round times forget nothing too early of a burst at their own beginning. Where this one began
        // like that, the next begins in the middle.
        Step::Hammer { percent: rng.random_range(130..=150) },
        Step::Fresh,
        many,
        Step::Hammer { percent: rng.random_range(100..=120) },
        Step::Fresh,
    ];
    for _ in 0..5 {
        plan.push(match rng.random_range(0..3) {
            0 => Step::Burst { takes: rng.random_range(1..=permits) },
            1 => Step::Pause { percent: rng.random_range(5..=60) },
            _ => Step::Hammer { percent: rng.random_range(10..=40) },
        });
    }
    plan
}

fn plan_given(rng: &mut Rng, permits: u32) -> Vec<Step> {
    vec![
        Step::Burst { takes: rng.random_range(1..=2 * permits) },
        Step::Rest,
        Step::Burst { takes: permits },
        Step::Fresh,
        Step::Steady { takes: rng.random_range(3..=5) },
        Step::Fresh,
        Step::Hammer { percent: 300 },
    ]
}

fn plan_retry(rng: &mut Rng, permits: u32) -> Vec<Step> {
    vec![
        Step::Burst { takes: 2 * permits },
        Step::Refusal,
        Step::Fresh,
        Step::Burst { takes: permits },
        Step::Hammer { percent: rng.random_range(5..=60) },
        Step::Refusal,
    ]
}

fn plan_immortal(_: &mut Rng, permits: u32) -> Vec<Step> {
    let mut plan = vec![Step::Burst { takes: 2 * permits }, Step::Leftovers];
    for commands in 0..CRASH_POINTS {
        plan.extend([Step::Fresh, Step::Crash { commands }]);
    }
    plan
}

fn plan_independent(rng: &mut Rng, permits: u32) -> Vec<Step> {
    let mut plan = vec![Step::Burst { takes: 2 * permits }];
    for _ in 0..5 {
        plan.extend([Step::Fresh, Step::Burst { takes: rng.random_range(permits..=2 * permits) }]);
    }
    plan
}

fn plan_budget(_: &mut Rng, permits: u32) -> Vec<Step> {
    let mut plan = vec![Step::Budget];
    for _ in 0..3 {
        plan.extend([Step::Fresh, Step::Budget]);
    }
    plan.push(Step::Burst { takes: 2 * permits });
    plan
}
