//! The lab's named checks: each plans histories and judges them by the topics that it is about.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{Check, Invariant, Opened, Rng, Setup, Subject},
};
use rand::Rng as _;

use crate::{Fanout, KEEP, feedback::Topic, steps::Step, world::World};

/// Messages between two looks at the feeds: a subscriber that is not cut keeps up with so many.
const BURST: u64 = 32;
/// Messages while nobody reads: more than may wait for anyone.
const FLOOD: u64 = 6_000;

/// The worlds of this lab: rooms and the feeds of their subscribers.
struct Feeds;

#[async_trait]
impl Setup for Feeds {
    type Port = dyn Fanout;
    type Step = Step;
    type Topic = Topic;

    const UNTESTED: &'static str = "nothing of the kind happened";

    async fn open<'a>(&self, subject: &'a Subject<'a, dyn Fanout>) -> LabResult<Opened<'a, Self>> {
        Ok(Box::new(World::new(subject).await?))
    }
}

/// All checks, in the order of reports.
pub(crate) fn checks() -> Vec<Check<dyn Fanout>> {
    [
        Invariant::new(
            "subscribed_means_subscribed",
            "a message published right after `subscribe` has returned is heard",
            &[Topic::Subscribed],
            plan_subscribed,
        )
        .instances(2),
        Invariant::new(
            "delivers_in_order_once",
            "every message is heard once, in order, for as long as nobody is cut off",
            &[Topic::Order],
            plan_order,
        ),
        Invariant::new(
            "rooms_are_separate",
            "a feed hears its own room and no other",
            &[Topic::Rooms],
            plan_rooms,
        ),
        Invariant::new(
            "tells_of_every_gap",
            "where messages are missing after a cut, the subscriber is told of a gap",
            &[Topic::Gap],
            plan_cuts,
        )
        .instances(2),
        Invariant::new(
            "resumes_after_cut",
            "after a cut messages arrive again, without anybody's doing",
            &[Topic::Resumed],
            plan_cuts,
        ),
        Invariant::new(
            "slow_subscriber_is_bounded",
            "for one who does not read, and in the store, at most 5,000 messages wait; it is \
             told of the others",
            &[Topic::Slow],
            plan_slow,
        ),
        Invariant::new(
            "notify_is_one_round_trip",
            "a notify takes one round trip",
            &[Topic::Trips],
            plan_budget,
        ),
        Invariant::new(
            "no_keys_or_scan",
            "no operation walks over the keys of everybody",
            &[Topic::Verbs],
            plan_budget,
        ),
    ]
    .into_iter()
    .map(|predicate| predicate.on(Feeds))
    .collect()
}

fn plan_subscribed(rng: &mut Rng) -> Vec<Step> {
    let mut plan = Vec::new();
    for f in 1..=3 {
        // Sometimes into a room that others hear already.
        let room = rng.random_range(1..=f);
        plan.extend([Step::Subscribe { f, room }, Step::Publish { room, count: 1 }, Step::Listen]);
    }
    plan.extend([Step::SubscribeRefused { f: 4, room: 4 }, Step::Listen]);
    plan
}

fn plan_order(rng: &mut Rng) -> Vec<Step> {
    let mut plan = vec![Step::Subscribe { f: 1, room: 1 }, Step::Subscribe { f: 2, room: 1 }];
    let mut published = 0;
    // More than any store keeps.
    while published <= KEEP as u64 + 2 * BURST {
        let count = rng.random_range(BURST / 2..=BURST);
        published += count;
        plan.extend([Step::Publish { room: 1, count }, Step::Listen]);
        if rng.random_bool(0.2) {
            // One leaves and comes back; the other one must not notice.
            plan.extend([Step::Leave { f: 2 }, Step::Subscribe { f: 2, room: 1 }]);
        }
    }
    plan
}

fn plan_rooms(rng: &mut Rng) -> Vec<Step> {
    let mut plan: Vec<Step> = (1..=3).map(|room| Step::Subscribe { f: room, room }).collect();
    for _ in 0..6 {
        let room = rng.random_range(1..=3);
        plan.push(Step::Publish { room, count: rng.random_range(1..=5) });
    }
    plan.extend((1..=3).map(|room| Step::Publish { room, count: 1 }));
    plan.push(Step::Listen);
    plan
}

fn plan_cuts(rng: &mut Rng) -> Vec<Step> {
    let mut plan = vec![Step::Subscribe { f: 1, room: 1 }];
    if rng.random_bool(0.5) {
        plan.push(Step::Subscribe { f: 2, room: rng.random_range(1..=2) });
    }
    plan.extend([Step::Publish { room: 1, count: rng.random_range(1..=5) }, Step::Listen]);
    if rng.random_bool(0.3) {
        // Under way when the cut comes.
        plan.push(Step::Publish { room: 1, count: 3 });
    }
    plan.extend([Step::Cut { messages: rng.random_range(1..=6) }, Step::Listen]);
    plan
}

fn plan_slow(_: &mut Rng) -> Vec<Step> {
    let room = 1;
    vec![
        Step::Subscribe { f: 1, room },
        Step::Publish { room, count: 1 },
        Step::Listen,
        Step::Flood { room, count: FLOOD },
        Step::Publish { room, count: 2 },
        Step::Listen,
    ]
}

fn plan_budget(rng: &mut Rng) -> Vec<Step> {
    vec![
        Step::Subscribe { f: 1, room: 1 },
        Step::Budget { room: 1, count: rng.random_range(5..=10) },
        Step::Listen,
    ]
}
