//! The lab's named checks: each plans histories and judges them by the topics that it is about.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{Check, Invariant, Opened, Pace, Rng, Setup, Subject},
};

use crate::{Policy, fleet::Fleet, history::Step, model::Topic, plans, world::World};

/// The lease of a check's instances at pace 1, in milliseconds.
const LEASE_MS: u64 = 150;
/// How much slower the clocks go where time is not what is tested.
const UNHURRIED: u32 = 40;
/// What is said when no crash and no race happened.
const NO_FAULT: &str = "no instance could be crashed or overtaken";

/// The policy of a check's instances.
pub(crate) fn policy(pace: Pace) -> Policy {
    let lease_ms = pace.ms(LEASE_MS);
    Policy { lease_ms, refresh_ms: lease_ms / 8 }
}

type Predicate = Invariant<Step, Topic>;

/// The worlds of this lab: server instances with their users' connections.
struct Instances;

#[async_trait]
impl Setup for Instances {
    type Port = Fleet;
    type Step = Step;
    type Topic = Topic;

    const UNTESTED: &'static str = "nothing of what this is about came up";

    async fn open<'a>(&self, subject: &'a Subject<'a, Fleet>) -> LabResult<Opened<'a, Self>> {
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
pub(crate) fn checks() -> Vec<Check<Fleet>> {
    timeless().into_iter().chain(timed()).map(|predicate| predicate.on(Instances)).collect()
}

fn timeless() -> [Predicate; 5] {
    [
        predicate(
            "online_answers_in_order",
            "who is connected is shown at once, who has left is not, in the order asked, with all devices",
            &[Topic::Shown],
            plans::visible,
        )
        .slower(UNHURRIED),
        predicate(
            "other_device_stays_online",
            "a user is online until the last device has left",
            &[Topic::OtherDevice],
            plans::other_device,
        )
        .slower(UNHURRIED),
        predicate(
            "one_online_one_offline",
            "what connect and disconnect tell alternates, also when devices come and go at the same time",
            &[Topic::Told],
            plans::told,
        )
        .slower(UNHURRIED)
        .needs_fault(NO_FAULT),
        predicate(
            "few_round_trips",
            "online, devices and an idle reap take one round trip, connect, disconnect and \
             refresh at most two",
            &[Topic::Trips],
            plans::budget,
        )
        .instances(1)
        .slower(UNHURRIED),
        predicate(
            "no_keys_or_scan",
            "no operation walks over the keys of everybody",
            &[Topic::Verbs],
            plans::budget,
        )
        .instances(1)
        .slower(UNHURRIED),
    ]
}

fn timed() -> [Predicate; 6] {
    [
        predicate(
            "refreshed_instance_stays",
            "as long as an instance refreshes, its users are online",
            &[Topic::Stays],
            plans::stays,
        ),
        predicate(
            "crashed_instance_leaves_no_ghosts",
            "when an instance has died and another one has reaped, its users are shown offline",
            &[Topic::Ghost],
            plans::ghosts,
        ),
        predicate(
            "reaped_users_told_once",
            "who goes offline by a dead instance is told to one reaper, even if several reap or \
             one dies half-way",
            &[Topic::Reaped],
            plans::reaped,
        )
        .needs_fault(NO_FAULT),
        predicate(
            "paused_instance_comes_back",
            "an instance that was only paused takes its connections back, and names who is online by that",
            &[Topic::Returned],
            plans::paused,
        )
        .instances(3),
        predicate(
            "never_immortal",
            "when everybody is gone nothing stays that never expires, wherever an instance died",
            &[Topic::Leftover],
            plans::immortal,
        )
        .needs_fault(NO_FAULT),
        predicate(
            "random_history_matches_model",
            "every answer in a random history is one that the port allows",
            &[
                Topic::Shown,
                Topic::OtherDevice,
                Topic::Told,
                Topic::Stays,
                Topic::Ghost,
                Topic::Reaped,
                Topic::Returned,
            ],
            plans::random,
        )
        .instances(4),
    ]
}
