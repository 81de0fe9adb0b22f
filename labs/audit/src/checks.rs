//! The lab's named checks: each plans histories and judges them by the facts that it is about.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{Check, Finding, Pace, Property, Rng, Run, Subject},
};
use rand::Rng as _;

use crate::{
    AuditLog, Policy,
    history::Step,
    world::{Stop, Topic, World},
};

/// A holder is dead after so long at pace 1, in milliseconds.
const IDLE_MS: u64 = 50;
/// Deliveries before an event is given up.
const MAX_DELIVERIES: u64 = 3;
/// How much slower the clocks go where nobody is to count as dead within a history.
const UNHURRIED: u32 = 2_000;
/// How many places for a crash are tried: the take, and two events' work.
const CRASH_POINTS: u64 = 6;

/// The policy of a check.
pub(crate) fn policy(pace: Pace) -> Policy {
    Policy { idle_ms: pace.ms(IDLE_MS), max_deliveries: MAX_DELIVERIES }
}

/// One predicate.
#[derive(Clone, Copy)]
struct Predicate {
    name: &'static str,
    states: &'static str,
    /// The facts that it judges by.
    topics: &'static [Topic],
    /// Without a crash that really happened it says nothing.
    needs_fault: bool,
    /// See [`UNHURRIED`].
    slower: u32,
    instances: u32,
    plan: fn(&mut Rng) -> Vec<Step>,
}

const fn predicate(
    name: &'static str,
    states: &'static str,
    topics: &'static [Topic],
    plan: fn(&mut Rng) -> Vec<Step>,
) -> Predicate {
    Predicate { name, states, topics, needs_fault: false, slower: 1, instances: 1, plan }
}

const fn unhurried(of: Predicate) -> Predicate {
    Predicate { slower: UNHURRIED, instances: 3, ..of }
}

const fn crashing(of: Predicate) -> Predicate {
    Predicate { needs_fault: true, ..of }
}

const PREDICATES: &[Predicate] = &[
    predicate(
        "nothing_unread_is_trimmed",
        "a trim drops nothing that some group has not worked, also what a consumer still holds",
        &[Topic::Unread, Topic::Missing],
        plan_unread,
    ),
    crashing(predicate(
        "nothing_is_lost_by_a_crash",
        "wherever a consumer crashes, the work of each event is done in the end",
        &[Topic::Missing],
        plan_crash,
    )),
    crashing(predicate(
        "nothing_is_done_twice",
        "wherever a consumer crashes, the work of no event is done twice",
        &[Topic::Twice],
        plan_crash,
    )),
    predicate(
        "dead_consumers_are_taken_over",
        "what a consumer held goes to another one after its idle time, and not before, with the count of deliveries",
        &[Topic::Claimed],
        plan_take_over,
    ),
    predicate(
        "poison_goes_to_dead_letters",
        "an event that nobody can work is set aside after so many deliveries, and others are served",
        &[Topic::Poison],
        plan_poison,
    ),
    predicate(
        "a_late_group_sees_what_is_kept",
        "a group that joins late gets all that the log still holds",
        &[Topic::Missing],
        plan_late,
    ),
    unhurried(predicate(
        "lag_is_true",
        "undelivered and pending are exact, also after events were worked, erased and trimmed",
        &[Topic::Lag],
        plan_lag,
    )),
    unhurried(predicate(
        "replay_is_complete",
        "a replay by pages shows each event that is kept, as it was appended, in order",
        &[Topic::Replay],
        plan_replay,
    )),
    unhurried(predicate(
        "trimmed_to_what_is_needed",
        "after a trim at most one event is left that every group has worked",
        &[Topic::Kept],
        plan_kept,
    )),
    unhurried(predicate("append_is_one_round_trip", "an append is one round trip", &[Topic::Trips], |_| {
        vec![Step::Budget; 4]
    })),
    unhurried(predicate(
        "no_keys_or_scan",
        "no operation walks over the keys of everybody",
        &[Topic::Verbs],
        plan_lag,
    )),
];

/// All checks, in the order of reports.
pub(crate) fn checks() -> Vec<Check<dyn AuditLog>> {
    PREDICATES.iter().map(|predicate| Check::of(*predicate)).collect()
}

#[async_trait]
impl Property for Predicate {
    type Port = dyn AuditLog;
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

    async fn run(&self, subject: &Subject<'_, dyn AuditLog>, plan: &[Step]) -> LabResult<Run> {
        let subject = subject.slower(self.slower);
        let mut world = World::new(&subject, policy(subject.pace));
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
        world.end();
        let finding = match (self.broken(&world), stopped) {
            (Some(what), _) => Finding::Broken(what),
            (None, Some(finding)) => finding,
            (None, None) => self.held(&world),
        };
        Ok(Run { finding, steps, history: world.lines, aliases: vec![(world.topic, "t".to_owned())] })
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
            return Finding::Inconclusive("no consumer could be crashed".to_owned());
        }
        if world.facts.iter().any(|(topic, _)| self.topics.contains(topic)) {
            Finding::Holds
        } else {
            Finding::Inconclusive("nothing was put to the test".to_owned())
        }
    }
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
