//! The lab's named checks: each plans histories and judges them by the topics that it is about.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{Check, Invariant, Opened, Pace, Rng, Setup, Subject},
};
use rand::Rng as _;

use crate::{MAX_SESSIONS, Policy, Sessions, history::Step, model::Topic, world::World};

/// The idle time of a check's sessions at pace 1, in milliseconds.
pub(crate) const IDLE_MS: u64 = 150;
/// Their absolute time at pace 1, in milliseconds.
pub(crate) const ABSOLUTE_MS: u64 = 400;
/// How much slower the clocks go where time is not what is tested.
const UNHURRIED: u32 = 40;
/// How many places for a crash or a race are tried in one operation.
const FAULT_POINTS: u64 = 5;
/// The same for `revoke_all`: enough to crash among the last commands of a loop over three sessions.
const REVOKE_ALL_POINTS: u64 = 12;
/// The number of steps of a random history.
const RANDOM_STEPS: usize = 14;
/// What is said when no crash and no race happened.
const NO_FAULT: &str = "no client could be crashed or overtaken";

/// The policy of a check's sessions.
pub(crate) fn policy(pace: Pace) -> Policy {
    Policy { idle_ms: pace.ms(IDLE_MS), absolute_ms: pace.ms(ABSOLUTE_MS) }
}

type Predicate = Invariant<Step, Topic>;

/// The worlds of this lab: a user who logs in on some devices.
struct Devices;

#[async_trait]
impl Setup for Devices {
    type Port = dyn Sessions;
    type Step = Step;
    type Topic = Topic;

    const UNTESTED: &'static str = "the machine was too slow for the clocks of this history";

    async fn open<'a>(&self, subject: &'a Subject<'a, dyn Sessions>) -> LabResult<Opened<'a, Self>> {
        Ok(Box::new(World::new(subject, policy(subject.pace)).await?))
    }
}

/// Two histories each, where nothing else is said.
fn predicate(
    name: &'static str,
    states: &'static str,
    topics: &'static [Topic],
    plan: fn(&mut Rng) -> Vec<Step>,
) -> Predicate {
    Invariant::new(name, states, topics, plan).instances(2)
}

/// All checks, in the order of reports.
pub(crate) fn checks() -> Vec<Check<dyn Sessions>> {
    timeless().into_iter().chain(timed()).map(|predicate| predicate.on(Devices)).collect()
}

fn timeless() -> [Predicate; 7] {
    [
        predicate(
            "create_then_visible",
            "a new session is found at once by touch and by list, as it was created",
            &[Topic::Visible, Topic::Answer],
            plan_visible,
        )
        .slower(UNHURRIED),
        predicate(
            "revoked_stays_revoked",
            "a revoked session is over for good, also when it is in use at that moment",
            &[Topic::Revoked],
            plan_revoked,
        )
        .slower(UNHURRIED)
        .needs_fault(NO_FAULT),
        predicate(
            "revoke_all_ends_every_device",
            "revoke_all ends all of a user's sessions, all or none when its client crashes",
            &[Topic::RevokedAll],
            plan_revoke_all,
        )
        .slower(UNHURRIED)
        .needs_fault(NO_FAULT),
        predicate(
            "stolen_refresh_token_ends_the_session",
            "each refresh token is exchanged once; when one comes a second time the session is over",
            &[Topic::Stolen],
            plan_stolen,
        )
        .slower(UNHURRIED)
        .needs_fault(NO_FAULT),
        predicate(
            "session_cap_holds",
            "one login too many ends the session that would have ended first",
            &[Topic::Cap],
            plan_cap,
        )
        .instances(1)
        .slower(UNHURRIED),
        predicate(
            "one_round_trip",
            "create, touch, rotate and revoke take one round trip, list and revoke_all at most two",
            &[Topic::Trips],
            plan_budget,
        )
        .instances(1)
        .slower(UNHURRIED),
        predicate(
            "no_keys_or_scan",
            "no operation walks over the keys of everybody",
            &[Topic::Verbs],
            plan_budget,
        )
        .instances(1)
        .slower(UNHURRIED),
    ]
}

fn timed() -> [Predicate; 5] {
    [
        predicate(
            "idle_session_expires",
            "a session that is not used for the idle time is over, and one that is used is not",
            &[Topic::Idle],
            plan_idle,
        ),
        predicate(
            "absolute_expiry_holds",
            "no session outlives its absolute time, however much it is used",
            &[Topic::Absolute],
            plan_absolute,
        ),
        predicate(
            "list_shows_only_live",
            "the list is exactly the live sessions, each once, the newest login first",
            &[Topic::List],
            plan_list,
        ),
        predicate(
            "never_immortal",
            "when all sessions are over nothing of them is left, wherever a client crashed",
            &[Topic::Leftover],
            plan_immortal,
        )
        .needs_fault(NO_FAULT),
        predicate(
            "random_history_matches_model",
            "every answer in a random history is one that the port allows",
            &[
                Topic::Visible,
                Topic::Idle,
                Topic::Absolute,
                Topic::Revoked,
                Topic::Stolen,
                Topic::RevokedAll,
                Topic::Cap,
                Topic::List,
                Topic::Answer,
            ],
            plan_random,
        )
        .instances(6),
    ]
}

/// A device name, sometimes an awkward one.
fn device(rng: &mut Rng) -> String {
    const NAMES: [&str; 8] = [
        "Firefox on Linux",
        "Ada's phone",
        "\"quoted\" \\ slashed",
        "{braces} in [name]",
        "",
        "Gerät – Ελλάδα",
        "12345",
        "a:b|c,d",
    ];
    NAMES[rng.random_range(0..NAMES.len())].to_owned()
}

fn login(s: u32, rng: &mut Rng) -> Step {
    Step::Login { s, device: device(rng) }
}

fn plan_visible(rng: &mut Rng) -> Vec<Step> {
    let mut plan = Vec::new();
    for s in 1..=rng.random_range(2..=4) {
        plan.extend([login(s, rng), Step::Touch { s }, Step::List]);
    }
    plan
}

fn plan_revoked(rng: &mut Rng) -> Vec<Step> {
    let mut plan =
        vec![login(1, rng), login(2, rng), Step::Revoke { s: 1 }, Step::Touch { s: 1 }, Step::List];
    for commands in 0..FAULT_POINTS {
        let s = 10 + u32::try_from(commands).unwrap_or(0);
        plan.push(login(s, rng));
        plan.push(Step::Race {
            first: Box::new(Step::Touch { s }),
            commands,
            second: Box::new(Step::Revoke { s }),
        });
        plan.extend([Step::Touch { s }, Step::List]);
    }
    plan
}

fn plan_revoke_all(rng: &mut Rng) -> Vec<Step> {
    let mut plan = vec![login(1, rng), login(2, rng), Step::RevokeAll, Step::List, Step::Touch { s: 1 }];
    for commands in 0..REVOKE_ALL_POINTS {
        let s = 10 + 10 * u32::try_from(commands).unwrap_or(0);
        plan.extend([login(s, rng), login(s + 1, rng), login(s + 2, rng)]);
        plan.push(Step::Crash { step: Box::new(Step::RevokeAll), commands });
        plan.extend([Step::List, login(s + 3, rng)]);
        plan.push(Step::Race {
            first: Box::new(Step::Touch { s: s + 3 }),
            commands,
            second: Box::new(Step::RevokeAll),
        });
        plan.extend([Step::Touch { s: s + 3 }, Step::List]);
    }
    plan
}

fn plan_stolen(rng: &mut Rng) -> Vec<Step> {
    let mut plan = vec![login(1, rng), login(2, rng), Step::Rotate { s: 1, older: 0 }];
    if rng.random() {
        plan.push(Step::Rotate { s: 1, older: 0 });
    }
    plan.extend([Step::Rotate { s: 1, older: 1 }, Step::Touch { s: 1 }, Step::Rotate { s: 1, older: 0 }]);
    plan.extend([Step::Rotate { s: 2, older: 0 }, Step::List]);
    for commands in 0..3 {
        let s = 3 + u32::try_from(commands).unwrap_or_default();
        let rotate = || Box::new(Step::Rotate { s, older: 0 });
        plan.push(login(s, rng));
        plan.push(Step::Race { first: rotate(), commands, second: rotate() });
        plan.push(Step::Touch { s });
    }
    plan
}

fn plan_cap(rng: &mut Rng) -> Vec<Step> {
    let pause = || Step::Pause { ms: 1 };
    let mut plan = vec![login(1, rng), pause(), login(2, rng), pause(), login(3, rng), pause()];
    plan.push(Step::Logins { count: MAX_SESSIONS - 3 });
    // Using the oldest one makes the second the one that would end first.
    plan.extend([Step::Touch { s: 1 }, pause(), login(4, rng)]);
    plan.extend([Step::Touch { s: 2 }, Step::Touch { s: 1 }, Step::List]);
    for commands in 0..2 {
        plan.push(Step::Race { first: Box::new(login(20, rng)), commands, second: Box::new(login(21, rng)) });
        plan.push(Step::List);
    }
    plan
}

fn plan_budget(rng: &mut Rng) -> Vec<Step> {
    let mut plan = Vec::new();
    // Twice: the first call of a script may have to load it.
    for s in [1, 3] {
        plan.extend([login(s, rng), login(s + 1, rng), Step::Touch { s }, Step::List]);
        plan.push(Step::Rotate { s, older: 0 });
        plan.extend([Step::Revoke { s }, Step::RevokeAll]);
    }
    plan
}

fn plan_idle(rng: &mut Rng) -> Vec<Step> {
    let pause = rng.random_range(20..=60);
    vec![
        login(1, rng),
        login(2, rng),
        Step::Pause { ms: pause },
        Step::Touch { s: 1 },
        Step::IdleOut { s: 2 },
        Step::Touch { s: 2 },
        Step::IdleOut { s: 1 },
        Step::Touch { s: 1 },
        Step::List,
    ]
}

fn plan_absolute(rng: &mut Rng) -> Vec<Step> {
    vec![login(1, rng), Step::AgeOut { s: 1 }, Step::Touch { s: 1 }, Step::List]
}

fn plan_list(rng: &mut Rng) -> Vec<Step> {
    let mut plan = Vec::new();
    let count = rng.random_range(2..=4);
    for s in 1..=count {
        plan.push(login(s, rng));
        plan.push(Step::Pause { ms: rng.random_range(1..=15) });
    }
    plan.extend([Step::List, Step::Revoke { s: rng.random_range(1..=count) }, Step::List]);
    plan.extend([
        Step::Crash { step: Box::new(login(90, rng)), commands: rng.random_range(0..3) },
        login(91, rng),
    ]);
    plan.extend([Step::IdleOut { s: count }, Step::List, Step::IdleOut { s: 91 }, Step::List]);
    plan
}

fn plan_immortal(rng: &mut Rng) -> Vec<Step> {
    let mut plan = Vec::new();
    for commands in 0..FAULT_POINTS {
        plan.push(Step::Crash { step: Box::new(login(90, rng)), commands });
    }
    plan.push(login(1, rng));
    for commands in 0..FAULT_POINTS {
        plan.push(Step::Crash { step: Box::new(Step::Touch { s: 1 }), commands });
    }
    plan.push(Step::Leftovers);
    plan
}

fn plan_random(rng: &mut Rng) -> Vec<Step> {
    let mut plan = Vec::with_capacity(RANDOM_STEPS);
    let mut named = 0;
    while plan.len() < RANDOM_STEPS {
        let s = rng.random_range(1..=named.max(1));
        plan.push(match rng.random_range(0..100) {
            0..25 => {
                named += 1;
                login(named, rng)
            }
            25..40 => Step::Touch { s },
            40..45 => Step::Rotate { s, older: u64::from(rng.random_range(0..4) == 0) },
            45..60 => Step::List,
            60..70 => Step::Revoke { s },
            70..74 => Step::RevokeAll,
            74..90 => Step::Pause { ms: rng.random_range(5..=80) },
            90..96 => Step::IdleOut { s },
            _ => Step::AgeOut { s },
        });
    }
    plan.push(Step::List);
    plan
}
