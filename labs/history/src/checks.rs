//! The lab's named checks: each plans histories about one promise of the port, and fails at the first answer that breaks it.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{Check, Finding, Property, Rng, Run, Subject},
};
use rand::Rng as _;

use crate::{
    Announce, History, Policy,
    linear::is_linear,
    steps::{Resume, Step},
    world::{HOT, Stop, World},
};

/// How many places for a crash or a race are tried in one operation.
const FAULT_POINTS: u64 = 6;
/// The same for appends: enough to come between two transactions of several commands.
const APPEND_POINTS: u64 = 10;
/// The number of steps of a random history.
const RANDOM_STEPS: usize = 20;

/// How the variants of a check are set up: rooms so short that histories reach the bound.
pub(crate) const POLICY: Policy = Policy { announce: Announce::Sharded, hot_messages: HOT };

/// What a predicate judges by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    /// The answers.
    Answers,
    /// The answers, after a crash or a race that really happened.
    Faults,
    /// The round trips of an append.
    Trips,
    /// The verbs that were sent.
    Verbs,
    /// What the commands cost.
    Cost,
}

/// One predicate.
struct Predicate {
    name: &'static str,
    states: &'static str,
    about: About,
    instances: u32,
    plan: fn(&mut Rng) -> Vec<Step>,
}

/// All checks, in the order of reports.
pub(crate) fn checks() -> Vec<Check<dyn History>> {
    predicates().into_iter().map(Check::of).collect()
}

fn predicate(
    name: &'static str,
    about: About,
    instances: u32,
    plan: fn(&mut Rng) -> Vec<Step>,
    states: &'static str,
) -> Predicate {
    Predicate { name, states, about, instances, plan }
}

// A table of data is as long as it is.
#[allow(clippy::too_many_lines)]
fn predicates() -> [Predicate; 12] {
    use About::{Answers, Cost, Faults, Trips, Verbs};
    [
        predicate(
            "equal_messages_both_stay",
            Answers,
            2,
            plan_equal,
            "two messages with the same text from the same sender are two messages",
        ),
        predicate(
            "retry_makes_no_copy",
            Faults,
            2,
            plan_retry,
            "a message that is sent again under its client id is stored once and answered as the first time",
        ),
        predicate(
            "sequence_has_no_gap",
            Faults,
            2,
            plan_gap,
            "sequences are 1, 2, 3, … for every reader, wherever a client crashes or is overtaken",
        ),
        predicate(
            "pages_by_cursor_are_complete",
            Answers,
            3,
            plan_pages,
            "walking back page by page shows every message once, in order, also while others write",
        ),
        predicate(
            "resume_is_verified",
            Answers,
            2,
            plan_resume,
            "a resume goes on with exactly what followed, or says resync when the position is not what the client saw",
        ),
        predicate(
            "edit_keeps_its_place",
            Faults,
            2,
            plan_edit,
            "an edited message keeps id, sequence, sender and time, and says that it was edited",
        ),
        predicate(
            "deleted_is_a_tombstone",
            Faults,
            2,
            plan_delete,
            "a deleted message leaves an empty one in its place, for good",
        ),
        predicate(
            "trimmed_to_the_bound",
            Answers,
            2,
            plan_trim,
            "the newest messages stay, the oldest go, and nothing grows with the number of messages ever sent",
        ),
        predicate(
            "random_history_matches_model",
            Answers,
            4,
            plan_random,
            "every answer in a random history is one that the port allows",
        ),
        predicate("append_is_one_round_trip", Trips, 1, plan_budget, "an append takes one round trip"),
        predicate("no_keys_or_scan", Verbs, 1, plan_budget, "no operation walks over the keys of everybody"),
        predicate(
            "nothing_linear",
            Cost,
            1,
            plan_budget,
            "no operation reads the whole room to answer about a part of it",
        ),
    ]
}

#[async_trait]
impl Property for Predicate {
    type Port = dyn History;
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

    async fn run(&self, subject: &Subject<'_, dyn History>, plan: &[Step]) -> LabResult<Run> {
        let mut world = World::new(subject);
        let mut finding = None;
        let mut steps = 0;
        for step in plan {
            steps += 1;
            finding = match world.step(step).await {
                Ok(()) => None,
                Err(Stop::Checker(error)) => return Err(error),
                Err(Stop::Variant(finding)) => Some(finding),
                // What is wrong about the answers is for the predicates about answers.
                Err(Stop::Broken(_)) if matches!(self.about, About::Trips | About::Verbs | About::Cost) => {
                    None
                }
                Err(Stop::Broken(what)) => Some(Finding::Broken(what)),
            };
            if finding.is_some() {
                break;
            }
        }
        let finding = finding.unwrap_or_else(|| self.in_the_end(subject, &world));
        let aliases = world.aliases();
        let shorten = |line: &String| {
            aliases.iter().fold(line.clone(), |line, (long, short)| line.replace(long, short))
        };
        let history = world.lines.iter().map(shorten).collect();
        let finding = match finding {
            Finding::Broken(what) => Finding::Broken(shorten(&what)),
            other => other,
        };
        Ok(Run { finding, steps, history, aliases })
    }
}

impl Predicate {
    fn in_the_end(&self, subject: &Subject<'_, dyn History>, world: &World<'_>) -> Finding {
        let sent = subject.trace().entries();
        let broken = match self.about {
            About::Trips => world
                .append_trips
                .filter(|trips| *trips > 1)
                .map(|trips| format!("an append takes {trips} round trips")),
            About::Verbs => sent.iter().find_map(|entry| {
                let verb = entry.command.first()?.to_ascii_uppercase();
                matches!(verb.as_str(), "KEYS" | "SCAN").then(|| format!("{verb} was sent"))
            }),
            About::Cost => sent.iter().find_map(|entry| {
                is_linear(&entry.command).map(|why| format!("`{}` {why}", entry.command.join(" ")))
            }),
            About::Answers | About::Faults => None,
        };
        match broken {
            Some(what) => Finding::Broken(what),
            None if world.facts == 0 => Finding::Inconclusive("nothing was put to the test".to_owned()),
            None if self.about == About::Faults && world.faults == 0 => {
                Finding::Inconclusive("no client could be crashed or overtaken".to_owned())
            }
            None => Finding::Holds,
        }
    }
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
