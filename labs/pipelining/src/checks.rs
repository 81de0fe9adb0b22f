//! The lab's named checks: each plans histories and judges them by the topics that it is about.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{Check, Finding, Property, Rng, Run, Subject},
};
use rand::Rng as _;

use crate::{
    SendPath,
    history::Step,
    world::{Stop, Topic, World},
};

/// How many places for a crash are tried: more than any sensible send has commands.
const CRASH_POINTS: u64 = 10;

/// One predicate.
struct Predicate {
    name: &'static str,
    states: &'static str,
    /// The facts that it judges by.
    topics: &'static [Topic],
    /// Without a crash or a race that really happened it says nothing.
    needs_fault: bool,
    instances: u32,
    plan: fn(&mut Rng) -> Vec<Step>,
}

const fn predicate(
    name: &'static str,
    states: &'static str,
    topics: &'static [Topic],
    plan: fn(&mut Rng) -> Vec<Step>,
) -> Predicate {
    Predicate { name, states, topics, needs_fault: false, instances: 1, plan }
}

/// All checks, in the order of reports.
pub(crate) fn checks() -> Vec<Check<dyn SendPath>> {
    promises().into_iter().chain(costs()).map(Check::of).collect()
}

fn promises() -> [Predicate; 5] {
    [
        Predicate {
            needs_fault: true,
            ..predicate(
                "retry_makes_no_copy",
                "a message that is sent again gets its first number, and changes nothing",
                &[Topic::Copy, Topic::Meeting],
                plan_retries,
            )
        },
        Predicate {
            instances: 2,
            ..predicate(
                "sequence_has_no_gap",
                "the numbers of a room are 1, 2, 3, … whatever was sent again and whoever met",
                &[Topic::Gap, Topic::Meeting],
                plan_numbers,
            )
        },
        Predicate {
            needs_fault: true,
            ..predicate(
                "all_or_nothing",
                "wherever a client crashes, after a retry the message is numbered, stored and counted once",
                &[Topic::Whole, Topic::Gap, Topic::Copy],
                plan_crashes,
            )
        },
        Predicate {
            needs_fault: true,
            ..predicate(
                "conflict_is_not_the_users_problem",
                "two senders that meet both succeed, each with a number of their own",
                &[Topic::Meeting],
                |_| vec![Step::Send { who: 0 }, Step::Race { same: false }],
            )
        },
        predicate(
            "batch_keeps_order",
            "the messages of a batch get their numbers in its order",
            &[Topic::Order],
            plan_batches,
        ),
    ]
}

fn costs() -> [Predicate; 4] {
    let budget: fn(&mut Rng) -> Vec<Step> = |_| vec![Step::Budget];
    [
        predicate(
            "batch_is_bounded",
            "a batch over the bound, or of two rooms, is refused before anything is sent",
            &[Topic::Bound],
            |_| vec![Step::Batch { count: 3, repeats: false }, Step::TooMuch],
        ),
        predicate(
            "few_round_trips",
            "a send is at most two round trips, and so is a retry",
            &[Topic::Trips],
            budget,
        ),
        predicate(
            "batch_costs_no_more_trips",
            "a batch is at most two round trips, however many it has",
            &[Topic::BatchTrips],
            budget,
        ),
        predicate(
            "no_keys_or_scan",
            "no operation walks over the keys of everybody",
            &[Topic::Verbs],
            |_| {
                let batch = Step::Batch { count: 3, repeats: true };
                vec![Step::Send { who: 0 }, batch, Step::Retry { back: 1 }]
            },
        ),
    ]
}

#[async_trait]
impl Property for Predicate {
    type Port = dyn SendPath;
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
        (self.plan)(rng)
    }

    async fn run(&self, subject: &Subject<'_, dyn SendPath>, plan: &[Step]) -> LabResult<Run> {
        let mut world = World::new(subject);
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
            if self.broken(&world).is_some() {
                break;
            }
        }
        world.finish();
        let finding = match (self.broken(&world), stopped) {
            (Some(what), _) => Finding::Broken(what),
            (None, Some(finding)) => finding,
            (None, None) => self.held(&world),
        };
        let short = |line: &String| {
            world.aliases.iter().fold(line.clone(), |line, (long, short)| line.replace(long, short))
        };
        let history = world.lines.iter().map(short).collect();
        Ok(Run { finding, steps, history, aliases: world.aliases })
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

fn some_sends(rng: &mut Rng, plan: &mut Vec<Step>) {
    for _ in 0..rng.random_range(1..=4) {
        plan.push(Step::Send { who: rng.random_range(0..3) });
    }
}

fn plan_retries(rng: &mut Rng) -> Vec<Step> {
    let mut plan = Vec::new();
    some_sends(rng, &mut plan);
    plan.push(Step::Retry { back: rng.random_range(0..3) });
    plan.push(Step::Retry { back: 0 });
    plan.push(Step::Batch { count: rng.random_range(2..=6), repeats: true });
    plan.extend((0..2).map(|reply| Step::LostReply { reply }));
    plan.push(Step::Race { same: true });
    plan
}

fn plan_numbers(rng: &mut Rng) -> Vec<Step> {
    let mut plan = Vec::new();
    for _ in 0..3 {
        some_sends(rng, &mut plan);
        plan.push(match rng.random_range(0..2) {
            0 => Step::Retry { back: rng.random_range(0..2) },
            _ => Step::Batch { count: rng.random_range(1..=5), repeats: true },
        });
    }
    plan.extend([Step::Retry { back: 0 }, Step::Send { who: 1 }, Step::Race { same: false }]);
    plan
}

fn plan_crashes(rng: &mut Rng) -> Vec<Step> {
    let mut plan = Vec::new();
    some_sends(rng, &mut plan);
    for commands in 0..CRASH_POINTS {
        plan.extend([Step::Crash { commands }, Step::LostReply { reply: commands }]);
    }
    plan.push(Step::Send { who: 1 });
    plan
}

fn plan_batches(rng: &mut Rng) -> Vec<Step> {
    let mut plan = vec![Step::Batch { count: rng.random_range(4..=9), repeats: false }];
    some_sends(rng, &mut plan);
    plan.push(Step::Batch { count: rng.random_range(4..=30), repeats: true });
    plan
}
