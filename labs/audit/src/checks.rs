//! The lab's named checks: each plans histories and judges them by the facts that it is about.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{Check, Invariant, Opened, Pace, Rng, Setup, Subject},
};
use rand::Rng as _;

use crate::{
    AuditLog, Policy,
    history::Step,
    world::{Topic, World},
};

/// A holder is dead after so long at pace 1, in milliseconds.
const IDLE_MS: u64 = 50;
/// Deliveries before an event is given up.
const MAX_DELIVERIES: u64 = 3;
/// How much slower the clocks go where nobody is to count as dead within a history.
const UNHURRIED: u32 = 2_000;
/// How many places for a crash are tried: the take, and two events' work.
const CRASH_POINTS: u64 = 6;
/// What is said when nobody crashed.
const NO_FAULT: &str = "no consumer could be crashed";

/// The policy of a check.
pub(crate) fn policy(pace: Pace) -> Policy {
    Policy { idle_ms: pace.ms(IDLE_MS), max_deliveries: MAX_DELIVERIES }
}

type Predicate = Invariant<Step, Topic>;

/// The worlds of this lab: a topic with its groups.
struct Topics;

#[async_trait]
impl Setup for Topics {
    type Port = dyn AuditLog;
    type Step = Step;
    type Topic = Topic;

    async fn open<'a>(&self, subject: &'a Subject<'a, dyn AuditLog>) -> LabResult<Opened<'a, Self>> {
        Ok(Box::new(World::new(subject, policy(subject.pace))))
    }
}

/// All checks, in the order of reports.
pub(crate) fn checks() -> Vec<Check<dyn AuditLog>> {
    promises().into_iter().chain(unhurried()).map(|predicate| predicate.on(Topics)).collect()
}

fn promises() -> [Predicate; 6] {
    [
        Invariant::new(
            "nothing_unread_is_trimmed",
            "a trim drops nothing that some group has not worked, also what a consumer still holds",
            &[Topic::Unread, Topic::Missing],
            plan_unread,
        ),
        Invariant::new(
            "nothing_is_lost_by_a_crash",
            "wherever a consumer crashes, the work of each event is done in the end",
            &[Topic::Missing],
            plan_crash,
        )
        .needs_fault(NO_FAULT),
        Invariant::new(
            "nothing_is_done_twice",
            "wherever a consumer crashes, the work of no event is done twice",
            &[Topic::Twice],
            plan_crash,
        )
        .needs_fault(NO_FAULT),
        Invariant::new(
            "dead_consumers_are_taken_over",
            "what a consumer held goes to another one after its idle time, and not before, with \
             the count of deliveries",
            &[Topic::Claimed],
            plan_take_over,
        ),
        Invariant::new(
            "poison_goes_to_dead_letters",
            "an event that nobody can work is set aside after so many deliveries, and others are served",
            &[Topic::Poison],
            plan_poison,
        ),
        Invariant::new(
            "a_late_group_sees_what_is_kept",
            "a group that joins late gets all that the log still holds",
            &[Topic::Missing],
            plan_late,
        ),
    ]
}

fn unhurried() -> [Predicate; 5] {
    [
        Invariant::new(
            "lag_is_true",
            "undelivered and pending are exact, also after events were worked, erased and trimmed",
            &[Topic::Lag],
            plan_lag,
        ),
        Invariant::new(
            "replay_is_complete",
            "a replay by pages shows each event that is kept, as it was appended, in order",
            &[Topic::Replay],
            plan_replay,
        ),
        Invariant::new(
            "trimmed_to_what_is_needed",
            "after a trim at most one event is left that every group has worked",
            &[Topic::Kept],
            plan_kept,
        ),
        Invariant::new("append_is_one_round_trip", "an append is one round trip", &[Topic::Trips], |_| {
            vec![Step::Budget; 4]
        }),
        Invariant::new(
            "no_keys_or_scan",
            "no operation walks over the keys of everybody",
            &[Topic::Verbs],
            plan_lag,
        ),
    ]
    .map(|predicate| predicate.slower(UNHURRIED).instances(3))
}

fn append(rng: &mut Rng, from: usize, to: usize) -> Step {
    Step::Append { events: rng.random_range(from..=to) }
}

/// Two groups, a fast and a slow one that also holds something.
fn plan_unread(rng: &mut Rng) -> Vec<Step> {
    vec![
        Step::Join { group: 0 },
        Step::Join { group: 1 },
        append(rng, 8, 14),
        Step::Work { group: 0, count: 100 },
        Step::Hold { group: 1, count: rng.random_range(1..=2) },
        Step::Work { group: 1, count: rng.random_range(1..=2) },
        Step::Trim,
        append(rng, 1, 4),
        Step::Work { group: 0, count: rng.random_range(1..=3) },
        Step::Trim,
        Step::Finish { group: 1 },
        Step::Finish { group: 0 },
    ]
}

fn plan_crash(rng: &mut Rng) -> Vec<Step> {
    let mut plan = vec![Step::Join { group: 0 }, append(rng, 1, 3)];
    for commands in 0..CRASH_POINTS {
        // A group a crash: otherwise what was held before would wait for its time in each of them.
        let group = usize::try_from(commands).unwrap_or(0) + 1;
        plan.extend([Step::Join { group }, append(rng, 1, 2), Step::Crash { group, commands }]);
    }
    plan.extend((1..=CRASH_POINTS).map(|group| Step::Finish { group: usize::try_from(group).unwrap_or(0) }));
    plan
}

fn plan_take_over(rng: &mut Rng) -> Vec<Step> {
    vec![
        Step::Join { group: 0 },
        append(rng, 4, 9),
        Step::Work { group: 0, count: rng.random_range(1..=2) },
        Step::Hold { group: 0, count: rng.random_range(1..=3) },
        Step::TakeOver { group: 0 },
        append(rng, 1, 4),
        Step::Hold { group: 0, count: rng.random_range(1..=4) },
        Step::TakeOver { group: 0 },
    ]
}

fn plan_poison(rng: &mut Rng) -> Vec<Step> {
    vec![
        Step::Join { group: 0 },
        append(rng, 1, 3),
        Step::Poison,
        append(rng, 1, 3),
        Step::Work { group: 0, count: rng.random_range(1..=8) },
        Step::Finish { group: 0 },
    ]
}

fn plan_late(rng: &mut Rng) -> Vec<Step> {
    vec![
        Step::Join { group: 0 },
        append(rng, 3, 6),
        Step::Work { group: 0, count: rng.random_range(1..=3) },
        Step::Trim,
        Step::Join { group: 1 },
        append(rng, 1, 3),
        Step::Join { group: 2 },
        Step::Finish { group: 1 },
        Step::Finish { group: 2 },
    ]
}

/// Whatever chance brings, but no crash: the model knows who holds what.
fn plan_lag(rng: &mut Rng) -> Vec<Step> {
    let mut plan = vec![
        Step::Join { group: 0 },
        append(rng, 4, 8),
        Step::Lag { group: 0 },
        Step::Hold { group: 0, count: 1 },
        // The next one that the group would get: it steps over a gap then.
        Step::Erase { nth: 0 },
        Step::Work { group: 0, count: rng.random_range(1..=2) },
        Step::Lag { group: 0 },
    ];
    for round in 0..10 {
        let group = rng.random_range(0..2);
        plan.push(match rng.random_range(0..6) {
            0 => append(rng, 1, 4),
            1 => Step::Work { group, count: rng.random_range(1..=4) },
            2 => Step::Hold { group, count: rng.random_range(1..=2) },
            3 | 4 => Step::Erase { nth: rng.random_range(0..12) },
            _ => Step::Trim,
        });
        if round == 4 {
            plan.push(Step::Join { group: 1 });
        }
        plan.extend([Step::Lag { group: 0 }, Step::Lag { group: 1 }]);
    }
    plan
}

fn plan_replay(rng: &mut Rng) -> Vec<Step> {
    let mut plan = vec![append(rng, 5, 9), Step::Replay, Step::Join { group: 0 }];
    for _ in 0..5 {
        plan.push(match rng.random_range(0..4) {
            0 => append(rng, 1, 4),
            1 => Step::Work { group: 0, count: rng.random_range(1..=4) },
            2 => Step::Erase { nth: rng.random_range(0..12) },
            _ => Step::Trim,
        });
        plan.push(Step::Replay);
    }
    plan
}

fn plan_kept(rng: &mut Rng) -> Vec<Step> {
    vec![
        Step::Join { group: 0 },
        Step::Join { group: 1 },
        append(rng, 5, 12),
        Step::Work { group: 0, count: rng.random_range(3..=8) },
        Step::Work { group: 1, count: rng.random_range(3..=8) },
        Step::Trim,
        append(rng, 1, 4),
        Step::Work { group: 0, count: 100 },
        Step::Work { group: 1, count: 100 },
        Step::Trim,
    ]
}
