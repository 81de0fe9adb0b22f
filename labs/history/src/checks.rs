//! The lab's named checks: each plans histories about one promise of the port, and fails at the first answer that breaks it.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{Check, Invariant, Opened, Rng, Setup, Subject},
};
use rand::Rng as _;

use crate::{
    Announce, History, Policy,
    steps::{Resume, Step},
    world::{HOT, Topic, World},
};

/// How many places for a crash or a race are tried in one operation.
const FAULT_POINTS: u64 = 6;
/// The same for appends: enough to come between two transactions of several commands.
const APPEND_POINTS: u64 = 10;
/// The number of steps of a random history.
const RANDOM_STEPS: usize = 20;
/// What is said when no crash and no race happened.
const NO_FAULT: &str = "no client could be crashed or overtaken";

/// How the variants of a check are set up: rooms so short that histories reach the bound.
pub(crate) const POLICY: Policy = Policy { announce: Announce::Sharded, hot_messages: HOT };

type Predicate = Invariant<Step, Topic>;

/// The worlds of this lab: a room.
struct Room;

#[async_trait]
impl Setup for Room {
    type Port = dyn History;
    type Step = Step;
    type Topic = Topic;

    async fn open<'a>(&self, subject: &'a Subject<'a, dyn History>) -> LabResult<Opened<'a, Self>> {
        Ok(Box::new(World::new(subject)))
    }
}

/// All checks, in the order of reports.
pub(crate) fn checks() -> Vec<Check<dyn History>> {
    answers().into_iter().chain(costs()).map(|predicate| predicate.on(Room)).collect()
}

/// A promise about answers; two histories each, where nothing else is said.
fn answer(name: &'static str, states: &'static str, plan: fn(&mut Rng) -> Vec<Step>) -> Predicate {
    Invariant::new(name, states, &[Topic::Answers], plan).instances(2)
}

fn answers() -> [Predicate; 9] {
    [
        answer(
            "equal_messages_both_stay",
            "two messages with the same text from the same sender are two messages",
            plan_equal,
        ),
        answer(
            "retry_makes_no_copy",
            "a message that is sent again under its client id is stored once and answered as the first time",
            plan_retry,
        )
        .needs_fault(NO_FAULT),
        answer(
            "sequence_has_no_gap",
            "sequences are 1, 2, 3, … for every reader, wherever a client crashes or is overtaken",
            plan_gap,
        )
        .needs_fault(NO_FAULT),
        answer(
            "pages_by_cursor_are_complete",
            "walking back page by page shows every message once, in order, also while others write",
            plan_pages,
        )
        .instances(3),
        answer(
            "resume_is_verified",
            "a resume goes on with exactly what followed, or says resync when the position is \
             not what the client saw",
            plan_resume,
        ),
        answer(
            "edit_keeps_its_place",
            "an edited message keeps id, sequence, sender and time, and says that it was edited",
            plan_edit,
        )
        .needs_fault(NO_FAULT),
        answer(
            "deleted_is_a_tombstone",
            "a deleted message leaves an empty one in its place, for good",
            plan_delete,
        )
        .needs_fault(NO_FAULT),
        answer(
            "trimmed_to_the_bound",
            "the newest messages stay, the oldest go, and nothing grows with the number of \
             messages ever sent",
            plan_trim,
        ),
        answer(
            "random_history_matches_model",
            "every answer in a random history is one that the port allows",
            plan_random,
        )
        .instances(4),
    ]
}

fn costs() -> [Predicate; 3] {
    use Topic::{Cost, Trips, Verbs};
    [
        Invariant::new("append_is_one_round_trip", "an append takes one round trip", &[Trips], plan_budget),
        Invariant::new(
            "no_keys_or_scan",
            "no operation walks over the keys of everybody",
            &[Verbs],
            plan_budget,
        ),
        Invariant::new(
            "nothing_linear",
            "no operation reads the whole room to answer about a part of it",
            &[Cost],
            plan_budget,
        ),
    ]
}

/// A text, sometimes an awkward one, that no other message has.
fn text(m: u32, rng: &mut Rng) -> String {
    const TEXTS: [&str; 8] = [
        "hello",
        "\"quoted\" \\ slashed / both",
        "{braces} [brackets] %d %s",
        "Grüße – Ελλάδα 🙂",
        "line\none\ttab",
        "{\"id\":\"not me\"}",
        "  spaces  ",
        "1e400",
    ];
    format!("{} {m}", TEXTS[rng.random_range(0..TEXTS.len())])
}

fn send(m: u32, rng: &mut Rng) -> Step {
    Step::Send { m, body: text(m, rng) }
}

fn crash(step: Step, commands: u64) -> Step {
    Step::Crash { step: Box::new(step), commands }
}

fn race(first: Step, commands: u64, second: Step) -> Step {
    Step::Race { first: Box::new(first), commands, second: Box::new(second) }
}

fn plan_equal(rng: &mut Rng) -> Vec<Step> {
    let same = text(0, rng);
    let mut plan = Vec::new();
    for m in 1..=rng.random_range(4..=8) {
        let body = if m <= 2 || rng.random_bool(0.5) { same.clone() } else { text(m, rng) };
        plan.push(Step::Send { m, body });
    }
    plan.push(Step::Read);
    plan
}

fn plan_retry(rng: &mut Rng) -> Vec<Step> {
    let mut plan =
        vec![send(1, rng), send(2, rng), Step::Retry { m: 1 }, Step::SameCid { m: 3, of: 1 }, Step::Read];
    for commands in 0..FAULT_POINTS {
        let m = 10 + 2 * u32::try_from(commands).unwrap_or(0);
        plan.extend([crash(send(m, rng), commands), Step::Retry { m }, Step::Retry { m }]);
        plan.extend([race(send(m + 1, rng), commands, Step::Retry { m: 2 }), Step::Read]);
        plan.extend([race(Step::Retry { m: 1 }, commands, Step::Retry { m: 1 }), Step::Read]);
    }
    // The first attempt and its retry at the same time: the client gave up waiting, the server had not.
    for commands in 0..FAULT_POINTS {
        let m = 50 + u32::try_from(commands).unwrap_or(0);
        plan.extend([race(send(m, rng), commands, Step::Retry { m }), Step::Read]);
    }
    plan
}

fn plan_gap(rng: &mut Rng) -> Vec<Step> {
    let mut plan = vec![send(1, rng), Step::Read];
    for commands in 0..APPEND_POINTS {
        let m = 10 + 4 * u32::try_from(commands).unwrap_or(0);
        plan.extend([crash(send(m, rng), commands), send(m + 1, rng), Step::Read]);
        plan.extend([race(send(m + 2, rng), commands, send(m + 3, rng)), Step::Read]);
    }
    plan
}

fn plan_pages(rng: &mut Rng) -> Vec<Step> {
    let mut plan = vec![Step::Burst { count: rng.random_range(8..=20) }];
    for _ in 0..2 {
        let sizes = (0..rng.random_range(1..=4)).map(|_| rng.random_range(1..=6)).collect();
        plan.push(Step::Walk { sizes, meanwhile: rng.random_range(1..=3) });
    }
    plan
}

fn plan_resume(rng: &mut Rng) -> Vec<Step> {
    let mut plan = vec![Step::SinceStart];
    for m in 1..=5 {
        plan.push(send(m, rng));
    }
    plan.push(Step::SinceStart);
    for how in [Resume::Right, Resume::WrongId, Resume::WrongEpoch, Resume::Ahead] {
        plan.push(Step::Since { m: rng.random_range(1..=5), how });
    }
    plan.extend([Step::Since { m: 5, how: Resume::Right }, Step::Since { m: 5, how: Resume::WrongId }]);
    plan.extend([
        Step::Delete { m: 3 },
        Step::Since { m: 3, how: Resume::Right },
        Step::Since { m: 2, how: Resume::Right },
    ]);
    // So many that the first ones are gone.
    plan.push(Step::Burst { count: u32::try_from(HOT).unwrap_or(0) - rng.random_range(1..=2) });
    for m in 1..=5 {
        plan.push(Step::Since { m, how: Resume::Right });
    }
    plan.push(Step::SinceStart);
    plan
}

fn plan_edit(rng: &mut Rng) -> Vec<Step> {
    let mut plan: Vec<Step> = (1..=5).map(|m| send(m, rng)).collect();
    let m = rng.random_range(1..=4);
    plan.extend([Step::Edit { m, body: text(100, rng) }, Step::Read, Step::Edit { m, body: text(101, rng) }]);
    plan.extend([Step::Since { m: 1, how: Resume::Right }, Step::Retry { m }, Step::ChangeNone, Step::Read]);
    for commands in 0..FAULT_POINTS {
        let m = rng.random_range(1..=5);
        let n = 200 + u32::try_from(commands).unwrap_or(0);
        plan.extend([crash(Step::Edit { m, body: text(n, rng) }, commands), Step::Read]);
    }
    plan
}

fn plan_delete(rng: &mut Rng) -> Vec<Step> {
    let mut plan: Vec<Step> = (1..=9).map(|m| send(m, rng)).collect();
    let m = rng.random_range(1..=3);
    plan.extend([Step::Delete { m }, Step::Read, Step::Delete { m }, Step::Edit { m, body: text(100, rng) }]);
    plan.extend([Step::Retry { m }, Step::Since { m, how: Resume::Right }, Step::Read]);
    for commands in 0..FAULT_POINTS {
        let m = 4 + u32::try_from(commands).unwrap_or(0);
        plan.push(crash(Step::Delete { m }, commands));
        plan.push(Step::Read);
        plan.push(race(Step::Edit { m, body: text(200 + m, rng) }, commands, Step::Delete { m }));
        plan.push(Step::Read);
    }
    plan
}

fn plan_trim(rng: &mut Rng) -> Vec<Step> {
    let hot = u32::try_from(HOT).unwrap_or(0);
    let mut plan = vec![send(1, rng), send(2, rng), Step::Edit { m: 2, body: text(100, rng) }];
    plan.push(Step::Burst { count: hot - 2 });
    plan.extend([Step::Read, Step::Burst { count: rng.random_range(3..=9) }, Step::Read]);
    plan.extend([Step::Edit { m: 1, body: text(101, rng) }, Step::Delete { m: 2 }]);
    plan.extend([Step::Burst { count: hot }, Step::Read, Step::Size]);
    plan
}

fn plan_budget(rng: &mut Rng) -> Vec<Step> {
    let mut plan = vec![Step::Burst { count: 12 }];
    // Twice: the first call of a script may have to load it.
    for m in [1, 2] {
        plan.extend([send(m, rng), Step::Retry { m }, Step::Read, Step::Since { m, how: Resume::Right }]);
        plan.extend([Step::Edit { m, body: text(100 + m, rng) }, Step::Delete { m }]);
    }
    plan
}

fn plan_random(rng: &mut Rng) -> Vec<Step> {
    let mut plan = Vec::with_capacity(RANDOM_STEPS);
    let mut named = 0;
    while plan.len() < RANDOM_STEPS {
        let m = rng.random_range(1..=named.max(1));
        plan.push(match rng.random_range(0..100) {
            0..35 => {
                named += 1;
                send(named, rng)
            }
            35..45 => Step::Retry { m },
            45..52 => Step::Burst { count: rng.random_range(1..=8) },
            52..62 => Step::Read,
            62..68 => Step::SinceStart,
            68..78 => {
                let how =
                    [Resume::Right, Resume::Right, Resume::WrongId, Resume::Ahead][rng.random_range(0..4)];
                Step::Since { m, how }
            }
            78..92 => Step::Edit { m, body: text(rng.random_range(100..1_000), rng) },
            _ => Step::Delete { m },
        });
    }
    plan.push(Step::Read);
    plan
}
