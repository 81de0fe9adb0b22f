//! The histories that the checks try.

use chatlab_kit::check::Rng;
use rand::{Rng as _, seq::SliceRandom as _};

use crate::history::Step;

/// How many places for a crash or a race are tried in one operation.
const FAULT_POINTS: u64 = 5;
/// How far apart the places are at which a reaper is held in one history.
const FAULT_STRIDE: u64 = 3;
/// Users that never connect have numbers from here on.
const STRANGERS: u32 = 50;
/// The number of steps of a random history.
const RANDOM_STEPS: usize = 12;

fn connect(u: u32, i: u32, c: u32) -> Step {
    Step::Connect { u, i, c }
}

fn number(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(0)
}

/// Users 1 to `users`, some strangers, and one user twice, in any order.
fn ask(users: u32, rng: &mut Rng) -> Step {
    let mut asked: Vec<u32> = (1..=users).chain(STRANGERS..STRANGERS + 3).chain([1]).collect();
    asked.shuffle(rng);
    Step::Online { users: asked }
}

pub(crate) fn visible(rng: &mut Rng) -> Vec<Step> {
    let users = rng.random_range(2..=4);
    let mut plan = Vec::new();
    for u in 1..=users {
        plan.extend([connect(u, rng.random_range(1..=2), u), ask(users, rng), Step::Devices { u }]);
    }
    for u in 1..users {
        plan.extend([Step::Disconnect { c: u }, ask(users, rng), Step::Devices { u }]);
    }
    plan
}

pub(crate) fn other_device(rng: &mut Rng) -> Vec<Step> {
    let i = rng.random_range(1..=2);
    vec![
        connect(1, 1, 1),
        connect(1, i, 2),
        Step::Disconnect { c: 1 },
        ask(1, rng),
        Step::Devices { u: 1 },
        connect(1, 2, 3),
        Step::Disconnect { c: 2 },
        ask(1, rng),
        Step::Devices { u: 1 },
    ]
}

pub(crate) fn told(_: &mut Rng) -> Vec<Step> {
    let mut plan =
        vec![connect(1, 1, 1), connect(1, 2, 2), Step::Disconnect { c: 1 }, Step::Disconnect { c: 2 }];
    for commands in 0..FAULT_POINTS {
        let (u, c) = (10 + number(commands), 10 * (1 + number(commands)));
        let race = |first, second| Step::Race { first: Box::new(first), commands, second: Box::new(second) };
        plan.push(race(connect(u, 1, c), connect(u, 2, c + 1)));
        plan.push(race(Step::Disconnect { c }, Step::Disconnect { c: c + 1 }));
        plan.push(connect(u, 1, c + 2));
        plan.push(race(Step::Disconnect { c: c + 2 }, connect(u, 2, c + 3)));
        plan.push(Step::Online { users: vec![u] });
    }
    plan
}

pub(crate) fn budget(_: &mut Rng) -> Vec<Step> {
    let mut plan = Vec::new();
    // Twice: the first call of a script may have to load it.
    for c in [10, 20] {
        plan.extend([connect(1, 1, c), connect(2, 1, c + 1), connect(3, 1, c + 2), Step::Refresh { i: 1 }]);
        plan.push(Step::Online { users: (1..=20).collect() });
        plan.extend([Step::Devices { u: 1 }, Step::Reap { i: 1 }, Step::Disconnect { c }]);
    }
    plan
}

pub(crate) fn stays(rng: &mut Rng) -> Vec<Step> {
    vec![
        connect(1, 1, 1),
        connect(2, 2, 2),
        connect(2, 1, 3),
        Step::Stay { quarters: rng.random_range(6..=8) },
        ask(2, rng),
        Step::Devices { u: 1 },
        Step::Devices { u: 2 },
    ]
}

pub(crate) fn ghosts(rng: &mut Rng) -> Vec<Step> {
    let crash = Step::Crash { step: Box::new(connect(4, 3, 6)), commands: rng.random_range(1..FAULT_POINTS) };
    vec![
        connect(1, 1, 1),
        connect(2, 1, 2),
        connect(2, 2, 3),
        connect(3, 2, 4),
        connect(1, 1, 5),
        crash,
        Step::Kill { i: 1 },
        Step::Settle,
        ask(4, rng),
        Step::Devices { u: 2 },
        Step::Devices { u: 1 },
    ]
}

pub(crate) fn reaped(rng: &mut Rng) -> Vec<Step> {
    let race = |commands, second| {
        let first = Box::new(Step::Reap { i: 4 });
        Step::Race { first, commands, second: Box::new(second) }
    };
    let from = rng.random_range(0..FAULT_STRIDE);
    let mut plan = vec![connect(4, 3, 1)];
    // Each wave is held at another place, so that every place comes up in some history, whatever the seed.
    for wave in 0..3 {
        let (i, c) = (10 + number(wave), 10 * (1 + number(wave)));
        plan.extend([connect(1, i, c), connect(2, i, c + 1), connect(3, i, c + 2), connect(4, i, c + 3)]);
        plan.extend([Step::Kill { i }, Step::Lapse]);
        let commands = from + wave * FAULT_STRIDE;
        plan.push(race(commands, Step::Reap { i: 3 }));
    }
    plan.extend([connect(1, 1, 50), connect(2, 1, 51), connect(4, 1, 52), Step::Kill { i: 1 }, Step::Lapse]);
    let commands = rng.random_range(0..3 * FAULT_STRIDE);
    plan.push(if rng.random_bool(0.5) {
        Step::Crash { step: Box::new(Step::Reap { i: 4 }), commands }
    } else {
        race(commands, connect(1, 3, 60))
    });
    plan.extend([Step::Settle, ask(4, rng)]);
    plan
}

pub(crate) fn paused(rng: &mut Rng) -> Vec<Step> {
    let mut plan = vec![connect(1, 1, 1), connect(2, 1, 2), connect(2, 2, 3), Step::Pause { i: 1 }];
    if rng.random_bool(0.5) {
        plan.extend([Step::Settle, Step::Refresh { i: 1 }]);
    } else {
        let (refresh, reap) = (Box::new(Step::Refresh { i: 1 }), Box::new(Step::Reap { i: 2 }));
        let commands = rng.random_range(0..FAULT_POINTS);
        plan.push(Step::Lapse);
        plan.push(if rng.random_bool(0.5) {
            Step::Race { first: refresh, commands, second: reap }
        } else {
            Step::Race { first: reap, commands, second: refresh }
        });
    }
    plan.extend([Step::Stay { quarters: 1 }, ask(2, rng), Step::Devices { u: 2 }]);
    plan.extend([Step::Disconnect { c: 1 }, ask(2, rng)]);
    plan
}

pub(crate) fn immortal(_: &mut Rng) -> Vec<Step> {
    let mut plan = Vec::new();
    for commands in 0..FAULT_POINTS {
        let (n, step) = (number(commands), |step| Step::Crash { step: Box::new(step), commands });
        plan.push(step(connect(10 + n, 10 + n, 10 + n)));
        plan.push(connect(20 + n, 20 + n, 20 + n));
        plan.push(step(Step::Disconnect { c: 20 + n }));
    }
    plan.extend([connect(1, 1, 1), connect(2, 1, 2), Step::Disconnect { c: 1 }, Step::Leftovers]);
    plan
}

pub(crate) fn random(rng: &mut Rng) -> Vec<Step> {
    let mut plan = vec![connect(1, 1, 1)];
    let (mut c, mut kills, mut instances) = (1, 0, vec![1, 2, 3]);
    while plan.len() < RANDOM_STEPS {
        let i = instances[rng.random_range(0..instances.len())];
        let step = match rng.random_range(0..100) {
            0..35 => {
                c += 1;
                connect(rng.random_range(1..=3), i, c)
            }
            35..60 => Step::Disconnect { c: rng.random_range(1..=c) },
            60..70 => ask(3, rng),
            70..75 => Step::Devices { u: rng.random_range(1..=3) },
            75..80 => Step::Reap { i },
            80..88 if kills < 1 => {
                kills += 1;
                instances.retain(|other| *other != i);
                Step::Kill { i }
            }
            88..93 => Step::Pause { i },
            93..97 => Step::Refresh { i },
            _ => Step::Lapse,
        };
        plan.push(step);
    }
    plan.extend([Step::Settle, ask(3, rng), Step::Devices { u: 1 }]);
    plan
}
