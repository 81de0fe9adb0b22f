//! The lab's named checks: each plans histories and judges them by the topics that it is about.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{Check, Finding, Pace, Property, Rng, Run, Subject},
};
use rand::Rng as _;

use crate::{
    Limit, RateLimiter,
    history::Step,
    world::{Stop, Topic, World},
};

/// The window of a check's limit at pace 1, in milliseconds.
const WINDOW_MS: u64 = 150;
/// How much slower the clocks go where time is not what is tested: nothing comes back within a history.
const UNHURRIED: u32 = 400;
/// How many places for a crash are tried.
const CRASH_POINTS: u64 = 4;

/// The limit of a check with this seed.
pub(crate) fn limit(seed: u64, pace: Pace) -> Limit {
    let permits = 5 + u32::try_from(seed % 5).unwrap_or(0);
    Limit::new(permits, pace.ms(WINDOW_MS))
}

/// One predicate.
struct Predicate {
    name: &'static str,
    states: &'static str,
    /// The facts that it judges by.
    topics: &'static [Topic],
    /// Without a crash or a race that really happened it says nothing.
    needs_fault: bool,
    /// See [`UNHURRIED`].
    slower: u32,
    instances: u32,
    seed: u64,
    plan: fn(&mut Rng, u32) -> Vec<Step>,
}

impl Default for Predicate {
    fn default() -> Self {
        Self {
            name: "",
            states: "",
            topics: &[],
            needs_fault: false,
            slower: 1,
            instances: 1,
            seed: 0,
            plan: |_, _| Vec::new(),
        }
    }
}

/// All checks, in the order of reports. The seed also picks the permits.
pub(crate) fn checks(seed: u64) -> Vec<Check<dyn RateLimiter>> {
    let all = timed().into_iter().chain(timeless());
    all.map(|predicate| Check::of(Predicate { seed, ..predicate })).collect()
}

fn timed() -> [Predicate; 3] {
    [
        Predicate {
            name: "never_over_the_limit",
            states: "no window, wherever it begins, holds more allowed takes than the permits",
            topics: &[Topic::Over],
            instances: 2,
            plan: plan_over,
            ..Predicate::default()
        },
        Predicate {
            name: "permits_are_really_given",
            states: "half of the permits come at once after a rest, and half a window to who keeps asking",
            topics: &[Topic::Given],
            plan: plan_given,
            ..Predicate::default()
        },
        Predicate {
            name: "retry_after_is_true",
            states: "a refused take is allowed after the time it was told and not before, also to who asks meanwhile",
            topics: &[Topic::Retry],
            instances: 2,
            plan: plan_retry,
            ..Predicate::default()
        },
    ]
}

fn timeless() -> [Predicate; 6] {
    [
        Predicate {
            name: "remaining_is_true",
            states: "each take says how many more are allowed right now",
            topics: &[Topic::Remaining],
            slower: UNHURRIED,
            plan: |_, _| vec![Step::Countdown, Step::Fresh, Step::Countdown],
            ..Predicate::default()
        },
        Predicate {
            name: "last_permit_once",
            states: "two clients that ask at the same moment never get the same permit",
            topics: &[Topic::Race],
            needs_fault: true,
            slower: UNHURRIED,
            plan: |_, _| vec![Step::LastPermit],
            ..Predicate::default()
        },
        Predicate {
            name: "never_immortal",
            states: "what is kept of a subject expires within four windows, wherever a client crashed",
            topics: &[Topic::Leftover],
            needs_fault: true,
            slower: UNHURRIED,
            plan: plan_immortal,
            ..Predicate::default()
        },
        Predicate {
            name: "subjects_are_independent",
            states: "what one subject takes is not missing to another",
            topics: &[Topic::Given],
            slower: UNHURRIED,
            plan: plan_independent,
            ..Predicate::default()
        },
        Predicate {
            name: "one_round_trip",
            states: "a take is one round trip, the first one of a subject too",
            topics: &[Topic::Trips],
            slower: UNHURRIED,
            plan: plan_budget,
            ..Predicate::default()
        },
        Predicate {
            name: "no_keys_or_scan",
            states: "no take walks over the keys of everybody",
            topics: &[Topic::Verbs],
            slower: UNHURRIED,
            plan: plan_budget,
            ..Predicate::default()
        },
    ]
}

#[async_trait]
impl Property for Predicate {
    type Port = dyn RateLimiter;
    type Step = Step;

    fn name(&self) -> &'static str {
        self.name
    }

    fn states(&self) -> &'static str {
        self.states
    }

    fn instances(&self) -> u32 {
        self.instances
    }

    fn plan(&self, rng: &mut Rng) -> Vec<Step> {
        (self.plan)(rng, limit(self.seed, Pace(1)).permits)
    }

    async fn run(&self, subject: &Subject<'_, dyn RateLimiter>, plan: &[Step]) -> LabResult<Run> {
        let subject = subject.slower(self.slower);
        let limit = limit(self.seed, subject.pace);
        let mut world = World::new(&subject, limit).await?;
        world.lines.push(format!("          at most {} in {} ms", limit.permits, limit.window_ms));
        let mut stopped = None;
        let mut steps = 0;
        for step in plan {
            steps += 1;
            match world.step(step).await {
                Ok(()) => {}
                Err(Stop::Checker(error)) => return Err(error),
                Err(Stop::Variant(finding)) => {
                    stopped = Some(finding);
                    break;
                }
            }
            world.judge_windows();
            if self.broken(&world).is_some() {
                break;
            }
        }
        world.finish();
        let finding = match (self.broken(&world), stopped) {
            (Some(what), _) => Finding::Broken(what.replace(&world.base, "s")),
            (None, Some(finding)) => finding,
            (None, None) => self.held(&world),
        };
        let history = world.lines.iter().map(|line| line.replace(&world.base, "s")).collect();
        Ok(Run { finding, steps, history, aliases: vec![(world.base, "s".to_owned())] })
    }
}

impl Predicate {
    fn broken(&self, world: &World<'_>) -> Option<String> {
        world.facts.iter().find_map(|(topic, held)| match held {
            Err(what) if self.topics.contains(topic) => Some(what.clone()),
            _ => None,
        })
    }

    fn held(&self, world: &World<'_>) -> Finding {
        if let Some(doubt) = &world.doubt
            && self.topics.contains(&Topic::Over)
        {
            return Finding::Inconclusive(doubt.clone());
        }
        if let Some(doubt) = &world.unasked {
            return Finding::Inconclusive(doubt.clone());
        }
        if self.needs_fault && world.faults == 0 {
            return Finding::Inconclusive("no client could be crashed or overtaken".to_owned());
        }
        if world.facts.iter().any(|(topic, _)| self.topics.contains(topic)) {
            Finding::Holds
        } else {
            Finding::Inconclusive("nothing was put to the test".to_owned())
        }
    }
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
        many,
        Step::Hammer { percent: rng.random_range(120..=150) },
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
