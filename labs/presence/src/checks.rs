//! The lab's named checks: each plans histories and judges them by the topics that it is about.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    check::{Check, Finding, Pace, Property, Rng, Run, Subject},
};

use crate::{
    Policy,
    fleet::Fleet,
    history::Step,
    model::Topic,
    plans,
    world::{Stop, World},
};

/// The lease of a check's instances at pace 1, in milliseconds.
const LEASE_MS: u64 = 150;
/// How much slower the clocks go where time is not what is tested.
const UNHURRIED: u32 = 40;

/// The policy of a check's instances.
pub(crate) fn policy(pace: Pace) -> Policy {
    let lease_ms = pace.ms(LEASE_MS);
    Policy { lease_ms, refresh_ms: lease_ms / 8 }
}

/// One predicate.
struct Predicate {
    name: &'static str,
    states: &'static str,
    /// The facts that it judges by.
    topics: &'static [Topic],
    /// Without a crash or a race that really happened it says nothing.
    needs_fault: bool,
    /// See [`UNHURRIED`].
    slower: u32,
    instances: u32,
    plan: fn(&mut Rng) -> Vec<Step>,
}

impl Default for Predicate {
    fn default() -> Self {
        Self {
            name: "",
            states: "",
            topics: &[],
            needs_fault: false,
            slower: 1,
            instances: 2,
            plan: |_| Vec::new(),
        }
    }
}

/// All checks, in the order of reports.
pub(crate) fn checks() -> Vec<Check<Fleet>> {
    timeless().into_iter().chain(timed()).map(Check::of).collect()
}

fn timeless() -> [Predicate; 5] {
    [
        Predicate {
            name: "online_answers_in_order",
            states: "who is connected is shown at once, who has left is not, in the order asked, with all devices",
            topics: &[Topic::Shown],
            slower: UNHURRIED,
            plan: plans::visible,
            ..Predicate::default()
        },
        Predicate {
            name: "other_device_stays_online",
            states: "a user is online until the last device has left",
            topics: &[Topic::OtherDevice],
            slower: UNHURRIED,
            plan: plans::other_device,
            ..Predicate::default()
        },
        Predicate {
            name: "one_online_one_offline",
            states: "what connect and disconnect tell alternates, also when devices come and go at the same time",
            topics: &[Topic::Told],
            needs_fault: true,
            slower: UNHURRIED,
            plan: plans::told,
            ..Predicate::default()
        },
        Predicate {
            name: "few_round_trips",
            states: "online, devices and an idle reap take one round trip, connect, disconnect and refresh at most two",
            topics: &[Topic::Trips],
            slower: UNHURRIED,
            instances: 1,
            plan: plans::budget,
            ..Predicate::default()
        },
        Predicate {
            name: "no_keys_or_scan",
            states: "no operation walks over the keys of everybody",
            topics: &[Topic::Verbs],
            slower: UNHURRIED,
            instances: 1,
            plan: plans::budget,
            ..Predicate::default()
        },
    ]
}

fn timed() -> [Predicate; 6] {
    [
        Predicate {
            name: "refreshed_instance_stays",
            states: "as long as an instance refreshes, its users are online",
            topics: &[Topic::Stays],
            plan: plans::stays,
            ..Predicate::default()
        },
        Predicate {
            name: "crashed_instance_leaves_no_ghosts",
            states: "when an instance has died and another one has reaped, its users are shown offline",
            topics: &[Topic::Ghost],
            plan: plans::ghosts,
            ..Predicate::default()
        },
        Predicate {
            name: "reaped_users_told_once",
            states: "who goes offline by a dead instance is told to one reaper, even if several reap or one dies half-way",
            topics: &[Topic::Reaped],
            needs_fault: true,
            plan: plans::reaped,
            ..Predicate::default()
        },
        Predicate {
            name: "paused_instance_comes_back",
            states: "an instance that was only paused takes its connections back, and names who is online by that",
            topics: &[Topic::Returned],
            instances: 3,
            plan: plans::paused,
            ..Predicate::default()
        },
        Predicate {
            name: "never_immortal",
            states: "when everybody is gone nothing stays that never expires, wherever an instance died",
            topics: &[Topic::Leftover],
            needs_fault: true,
            plan: plans::immortal,
            ..Predicate::default()
        },
        Predicate {
            name: "random_history_matches_model",
            states: "every answer in a random history is one that the port allows",
            topics: &[
                Topic::Shown,
                Topic::OtherDevice,
                Topic::Told,
                Topic::Stays,
                Topic::Ghost,
                Topic::Reaped,
                Topic::Returned,
            ],
            instances: 4,
            plan: plans::random,
            ..Predicate::default()
        },
    ]
}

#[async_trait]
impl Property for Predicate {
    type Port = Fleet;
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

    async fn run(&self, subject: &Subject<'_, Fleet>, plan: &[Step]) -> LabResult<Run> {
        let subject = subject.slower(self.slower);
        let mut world = World::new(&subject, policy(subject.pace)).await?;
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
        world.finish();
        let finding = match (self.broken(&world), stopped) {
            (Some(what), _) => Finding::Broken(what),
            (None, Some(finding)) => finding,
            (None, None) => self.held(&world),
        };
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
    fn broken(&self, world: &World<'_>) -> Option<String> {
        world.facts.iter().find_map(|(topic, held)| match held {
            Err(what) if self.topics.contains(topic) => Some(what.clone()),
            _ => None,
        })
    }

    fn held(&self, world: &World<'_>) -> Finding {
        if self.needs_fault && world.faults == 0 {
            return Finding::Inconclusive("no instance could be crashed or overtaken".to_owned());
        }
        if world.facts.iter().any(|(topic, _)| self.topics.contains(topic)) {
            Finding::Holds
        } else {
            Finding::Inconclusive("nothing of what this is about came up".to_owned())
        }
    }
}
