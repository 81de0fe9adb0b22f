//! The lab's named checks: each plans histories and judges them by the topics that it is about.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{Check, Invariant, Opened, Rng, Setup, Subject},
    ids::RoomId,
};
use rand::Rng as _;

use crate::Rooms;
use crate::history::Step;
use crate::world::{Topic, World};

/// How many places for a crash or a race are tried in one operation.
const FAULT_POINTS: u64 = 5;
/// How many rooms are placed to see how even they lie.
const SPREAD_ROOMS: usize = 4_096;
/// The number of steps of a random history.
const RANDOM_STEPS: usize = 20;
/// More replicas than anybody has.
const TOO_MANY_REPLICAS: u32 = 9;
/// How long a check's write waits for replicas at pace 1, in milliseconds.
const WAIT_MS: u64 = 40;
/// What is said when no crash and no race happened.
const NO_FAULT: &str = "no client could be crashed or overtaken";

type Predicate = Invariant<Step, Topic>;

/// The worlds of this lab: some rooms, each in a partition.
struct Partitions;

#[async_trait]
impl Setup for Partitions {
    type Port = dyn Rooms;
    type Step = Step;
    type Topic = Topic;

    const UNTESTED: &'static str = "this history put nothing to the test";

    async fn open<'a>(&self, subject: &'a Subject<'a, dyn Rooms>) -> LabResult<Opened<'a, Self>> {
        Ok(Box::new(World::new(subject).await?))
    }
}

/// All checks, in the order of reports.
pub(crate) fn checks() -> Vec<Check<dyn Rooms>> {
    predicates().into_iter().map(|predicate| predicate.on(Partitions)).collect()
}

fn predicates() -> [Predicate; 10] {
    [
        Invariant::new(
            "random_history_matches_model",
            "every answer in a random history is one that the port allows",
            &[Topic::Model],
            plan_random,
        ),
        Invariant::new(
            "keys_share_a_slot",
            "all keys of one command, script or transaction lie in one slot",
            &[Topic::Slots],
            plan_each,
        ),
        Invariant::new(
            "spread_is_even",
            "4,096 rooms fill no slot with more than 2 %, and no node of 3 to 6 with more than 1.25 shares",
            &[Topic::Spread],
            plan_spread,
        ),
        Invariant::new(
            "scripts_declare_keys",
            "every key that is stored was named as a key by a command or script",
            &[Topic::Declared],
            plan_declared,
        ),
        Invariant::new(
            "append_is_atomic",
            "sequence and message are there together or not at all, also after a crash and in a race",
            &[Topic::Model],
            plan_atomic,
        )
        .needs_fault(NO_FAULT),
        Invariant::new(
            "moved_message_survives_crash",
            "a moved message is never in neither room, and in the end once in the new one",
            &[Topic::Model],
            plan_moved,
        )
        .needs_fault(NO_FAULT),
        Invariant::new(
            "replicated_means_confirmed",
            "a receipt says replicated if and only if that many replicas confirmed",
            &[Topic::Replicated],
            plan_replicated,
        ),
        Invariant::new(
            "reads_are_fresh_enough",
            "a read has what was acknowledged before, or at least what its reader has seen",
            &[Topic::Model],
            plan_fresh,
        ),
        Invariant::new(
            "few_round_trips",
            "append and read take one round trip, heads at most one for each master",
            &[Topic::Trips],
            plan_each,
        ),
        Invariant::new(
            "no_keys_or_scan",
            "no operation walks over the keys of everybody",
            &[Topic::Verbs],
            plan_each,
        ),
    ]
    .map(|predicate| predicate.instances(2))
}

/// A text, sometimes an awkward one.
fn text(rng: &mut Rng) -> String {
    const TEXTS: [&str; 8] = [
        "hello",
        "",
        "{braces}",
        "\"quoted\" \\",
        "Grüße – γειά",
        "12",
        "1",
        "a longer message, with commas",
    ];
    TEXTS[rng.random_range(0..TEXTS.len())].to_owned()
}

fn append(room: usize, rng: &mut Rng) -> Step {
    Step::Append { room, text: text(rng) }
}

const fn read(room: usize) -> Step {
    Step::Read { room, seen: false }
}

const fn moving(from: usize, seq: u64, to: usize) -> Step {
    Step::Move { from, seq, to }
}

fn replicated(room: usize, replicas: u32, rng: &mut Rng) -> Step {
    Step::Replicated { room, text: text(rng), replicas, wait_ms: WAIT_MS }
}

fn crash(step: Step, commands: u64) -> Step {
    Step::Crash { step: Box::new(step), commands }
}

fn race(first: Step, commands: u64, second: Step) -> Step {
    Step::Race { first: Box::new(first), commands, second: Box::new(second) }
}

/// Each operation, twice: the first call of a script may have to load it.
fn plan_each(rng: &mut Rng) -> Vec<Step> {
    let mut plan = Vec::new();
    for _ in 0..2 {
        plan.extend([append(0, rng), append(0, rng), replicated(1, 0, rng), read(0), Step::Heads]);
        plan.extend([moving(0, 1, 1), moving(0, 2, 2), read(1)]);
    }
    plan
}

fn plan_random(rng: &mut Rng) -> Vec<Step> {
    let mut plan = Vec::with_capacity(RANDOM_STEPS + 2);
    while plan.len() < RANDOM_STEPS {
        let room = rng.random_range(0..3);
        plan.push(match rng.random_range(0..100) {
            0..40 => append(room, rng),
            40..50 => replicated(room, 0, rng),
            50..70 => read(room),
            70..80 => Step::Heads,
            _ => moving(room, rng.random_range(1..=4), (room + rng.random_range(1..=2)) % 3),
        });
    }
    plan.extend([read(0), Step::Heads]);
    plan
}

/// A room's id as the server makes them, from the check's own numbers: UUIDv7 of one month.
fn room_id(rng: &mut Rng) -> Option<RoomId> {
    const FIRST_MS: u64 = 1_767_225_600_000;
    const MONTH_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
    let ms = FIRST_MS + rng.random_range(0..MONTH_MS);
    let (a, b): (u16, u64) = (rng.random(), rng.random());
    let text = format!(
        "{:08x}-{:04x}-7{:03x}-{:04x}-{:012x}",
        ms >> 16,
        ms & 0xffff,
        a & 0xfff,
        0x8000 | (b >> 50),
        b & 0xffff_ffff_ffff
    );
    text.parse().ok()
}

fn plan_spread(rng: &mut Rng) -> Vec<Step> {
    let rooms = (0..SPREAD_ROOMS).filter_map(|_| room_id(rng)).collect();
    vec![Step::Spread { rooms }]
}

fn plan_declared(rng: &mut Rng) -> Vec<Step> {
    vec![append(0, rng), append(0, rng), replicated(1, 0, rng), moving(0, 1, 2), Step::Declared]
}

fn plan_atomic(rng: &mut Rng) -> Vec<Step> {
    let mut plan = vec![append(0, rng), read(0)];
    for commands in 0..FAULT_POINTS {
        plan.extend([crash(append(0, rng), commands), read(0), append(0, rng), read(0)]);
    }
    for commands in 0..FAULT_POINTS {
        plan.extend([race(append(1, rng), commands, append(1, rng)), read(1)]);
        plan.extend([race(append(2, rng), commands, read(2)), read(2)]);
    }
    plan
}

fn plan_moved(rng: &mut Rng) -> Vec<Step> {
    let mut plan = Vec::new();
    for commands in 0..FAULT_POINTS {
        let seq = commands + 1;
        plan.extend([append(0, rng), crash(moving(0, seq, 1), commands), read(1), read(0)]);
        plan.extend([moving(0, seq, 1), read(0), read(1)]);
    }
    for commands in 0..FAULT_POINTS {
        let seq = commands + 1;
        plan.extend([append(2, rng), race(moving(2, seq, 1), commands, moving(2, seq, 1)), read(2)]);
    }
    plan.push(read(1));
    plan
}

fn plan_replicated(rng: &mut Rng) -> Vec<Step> {
    vec![
        append(0, rng),
        replicated(0, 0, rng),
        replicated(0, 1, rng),
        replicated(0, TOO_MANY_REPLICAS, rng),
        read(0),
        replicated(1, rng.random_range(1..=3), rng),
        read(1),
    ]
}

fn plan_fresh(rng: &mut Rng) -> Vec<Step> {
    let mut plan = Vec::new();
    for _ in 0..8 {
        let room = rng.random_range(0..2);
        plan.extend([append(room, rng), Step::Read { room, seen: true }]);
        plan.extend([append(room, rng), read(room)]);
    }
    plan
}
