//! The lab's named checks: each plans histories and judges them by the topics that it is about.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{Check, Finding, Property, Rng, Run, Subject},
};
use rand::Rng as _;

use crate::{
    Fanout, KEEP,
    feedback::Topic,
    steps::Step,
    world::{Stop, World},
};

/// Messages between two looks at the feeds: a subscriber that is not cut keeps up with so many.
const BURST: u64 = 32;
/// Messages while nobody reads: more than may wait for anyone.
const FLOOD: u64 = 6_000;

/// One predicate.
struct Predicate {
    name: &'static str,
    states: &'static str,
    /// The facts that it judges by.
    topics: &'static [Topic],
    instances: u32,
    plan: fn(&mut Rng) -> Vec<Step>,
}

/// All checks, in the order of reports.
pub(crate) fn checks() -> Vec<Check<dyn Fanout>> {
    [
        Predicate {
            name: "subscribed_means_subscribed",
            states: "a message published right after `subscribe` has returned is heard",
            topics: &[Topic::Subscribed],
            instances: 2,
            plan: plan_subscribed,
        },
        Predicate {
            name: "delivers_in_order_once",
            states: "every message is heard once, in order, for as long as nobody is cut off",
            topics: &[Topic::Order],
            instances: 1,
            plan: plan_order,
        },
        Predicate {
            name: "rooms_are_separate",
            states: "a feed hears its own room and no other",
            topics: &[Topic::Rooms],
            instances: 1,
            plan: plan_rooms,
        },
        Predicate {
            name: "tells_of_every_gap",
            states: "where messages are missing after a cut, the subscriber is told of a gap",
            topics: &[Topic::Gap],
            instances: 2,
            plan: plan_cuts,
        },
        Predicate {
            name: "resumes_after_cut",
            states: "after a cut messages arrive again, without anybody's doing",
            topics: &[Topic::Resumed],
            instances: 1,
            plan: plan_cuts,
        },
        Predicate {
            name: "slow_subscriber_is_bounded",
            states: "for one who does not read, and in the store, at most 5,000 messages wait; it is told of the others",
            topics: &[Topic::Slow],
            instances: 1,
            plan: plan_slow,
        },
        Predicate {
            name: "notify_is_one_round_trip",
            states: "a notify takes one round trip",
            topics: &[Topic::Trips],
            instances: 1,
            plan: plan_budget,
        },
        Predicate {
            name: "no_keys_or_scan",
            states: "no operation walks over the keys of everybody",
            topics: &[Topic::Verbs],
            instances: 1,
            plan: plan_budget,
        },
    ]
    .into_iter()
    .map(Check::of)
    .collect()
}

#[async_trait]
impl Property for Predicate {
    type Port = dyn Fanout;
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

    async fn run(&self, subject: &Subject<'_, dyn Fanout>, plan: &[Step]) -> LabResult<Run> {
        let mut world = World::new(subject).await?;
        let (mut stopped, mut failed, mut steps) = (None, None, 0);
        for step in plan {
            steps += 1;
            match world.step(step).await {
                Ok(()) => {}
                Err(Stop::Checker(error)) => {
                    failed = Some(error);
                    break;
                }
                Err(Stop::Variant(finding)) => {
                    stopped = Some(finding);
                    break;
                }
            }
            if self.broken(&world).is_some() {
                break;
            }
        }
        let finding = match (self.broken(&world), stopped) {
            (Some(what), _) => Finding::Broken(what),
            (None, Some(finding)) => finding,
            (None, None) => self.held(&world),
        };
        let (aliases, history) = (world.aliases(), std::mem::take(&mut world.lines));
        let cleaned = world.clean_up().await;
        match failed {
            Some(error) => Err(error),
            None => cleaned.map(|()| Run { finding: shorten(finding, &aliases), steps, history, aliases }),
        }
    }
}

fn shorten(finding: Finding, aliases: &[(String, String)]) -> Finding {
    match finding {
        Finding::Broken(what) => {
            Finding::Broken(aliases.iter().fold(what, |line, (long, short)| line.replace(long, short)))
        }
        other => other,
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
        if world.facts.iter().any(|(topic, _)| self.topics.contains(topic)) {
            return Finding::Holds;
        }
        let doubt = world.doubts.first().cloned();
        Finding::Inconclusive(doubt.unwrap_or_else(|| "nothing of the kind happened".to_owned()))
    }
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
