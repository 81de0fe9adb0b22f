//! The lab's named checks: each plans histories and judges them by the topics that it is about.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{Check, Invariant, Opened, Rng, Setup, Subject},
};
use rand::Rng as _;

use crate::{
    SendPath,
    history::Step,
    world::{Topic, World},
};

/// How many places for a crash are tried: more than any sensible send has commands.
const CRASH_POINTS: u64 = 10;
/// What is said when no crash and no race happened.
const NO_FAULT: &str = "no client could be crashed or overtaken";

type Predicate = Invariant<Step, Topic>;

/// The worlds of this lab: a room and its senders.
struct Rooms;

#[async_trait]
impl Setup for Rooms {
    type Port = dyn SendPath;
    type Step = Step;
    type Topic = Topic;

    async fn open<'a>(&self, subject: &'a Subject<'a, dyn SendPath>) -> LabResult<Opened<'a, Self>> {
        Ok(Box::new(World::new(subject)))
    }
}

/// All checks, in the order of reports.
pub(crate) fn checks() -> Vec<Check<dyn SendPath>> {
    promises().into_iter().chain(costs()).map(|predicate| predicate.on(Rooms)).collect()
}

fn promises() -> [Predicate; 5] {
    [
        Invariant::new(
            "retry_makes_no_copy",
            "a message that is sent again gets its first number, and changes nothing",
            &[Topic::Copy, Topic::Meeting],
            plan_retries,
        )
        .needs_fault(NO_FAULT),
        Invariant::new(
            "sequence_has_no_gap",
            "the numbers of a room are 1, 2, 3, … whatever was sent again and whoever met",
            &[Topic::Gap, Topic::Meeting],
            plan_numbers,
        )
        .instances(2),
        Invariant::new(
            "all_or_nothing",
            "wherever a client crashes, after a retry the message is numbered, stored and counted once",
            &[Topic::Whole, Topic::Gap, Topic::Copy],
            plan_crashes,
        )
        .needs_fault(NO_FAULT),
        Invariant::new(
            "conflict_is_not_the_users_problem",
            "two senders that meet both succeed, each with a number of their own",
            &[Topic::Meeting],
            |_| vec![Step::Send { who: 0 }, Step::Race { same: false }],
        )
        .needs_fault(NO_FAULT),
        Invariant::new(
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
        Invariant::new(
            "batch_is_bounded",
            "a batch over the bound, or of two rooms, is refused before anything is sent",
            &[Topic::Bound],
            |_| vec![Step::Batch { count: 3, repeats: false }, Step::TooMuch],
        ),
        Invariant::new(
            "few_round_trips",
            "a send is at most two round trips, and so is a retry",
            &[Topic::Trips],
            budget,
        ),
        Invariant::new(
            "batch_costs_no_more_trips",
            "a batch is at most two round trips, however many it has",
            &[Topic::BatchTrips],
            budget,
        ),
        Invariant::new(
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
