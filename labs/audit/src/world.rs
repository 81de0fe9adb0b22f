//! One run of a history: a topic, its groups, a model of both, and the facts that come out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    budget::{no_walk, round_trips},
    check::{self, Record, Stop, Subject, answered, server_ms},
    ids::UserId,
    keys,
};

use crate::{
    AuditLog, Delivery, Event, EventId, Policy, TAKE_MAX,
    history::{Step, group_name},
};

mod dead;
mod log;

/// What a fact is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Each event of a group is worked.
    Missing,
    /// None twice.
    Twice,
    /// What a dead consumer held.
    Claimed,
    /// What cannot be worked.
    Poison,
    /// What a trim dropped.
    Unread,
    /// What a trim left.
    Kept,
    /// How far a group is behind.
    Lag,
    /// What a replay shows.
    Replay,
    /// Round trips.
    Trips,
    /// Forbidden commands.
    Verbs,
}

/// Between two looks at the server's clock.
const POLL: Duration = Duration::from_millis(3);
/// So many takes beyond the deliveries of a policy must bring everything to its end.
const SPARE_ROUNDS: u64 = 2;

/// An event as the model knows it.
pub(crate) struct Known {
    id: EventId,
    event: Event,
    poison: bool,
    erased: bool,
    trimmed: bool,
}

/// What has become of an event in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Held(u64),
    Done,
}

/// A group as the model knows it.
pub(crate) struct Group {
    states: BTreeMap<usize, State>,
    /// A crash happened: who holds what is not known.
    unsure: bool,
    /// The clock before the last take.
    held_ms: u64,
}

pub(crate) struct World<'a> {
    subject: &'a Subject<'a, dyn AuditLog>,
    policy: Policy,
    topic: String,
    client: Arc<dyn AuditLog>,
    events: Vec<Known>,
    groups: BTreeMap<usize, Group>,
    record: Record<Topic>,
    trips: Option<u64>,
}

impl<'a> World<'a> {
    pub(crate) fn new(subject: &'a Subject<'a, dyn AuditLog>, policy: Policy) -> Self {
        Self {
            client: subject.client("A"),
            subject,
            policy,
            topic: UserId::new().to_string(),
            events: Vec::new(),
            groups: BTreeMap::new(),
            record: Record::default(),
            trips: None,
        }
    }

    fn fact(&mut self, topic: Topic, broken: Option<String>) {
        self.record.fact(topic, broken.map_or(Ok(()), Err));
    }

    async fn now(&self) -> LabResult<u64> {
        server_ms(&mut self.subject.probe(), &keys::lab(&self.topic, "clock", "any")).await
    }

    async fn wait_idle(&self) -> LabResult<()> {
        let until_ms = self.now().await? + self.policy.idle_ms + 2;
        while self.now().await? < until_ms {
            // A poll, bounded by the server's clock.
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn append(&mut self, poison: bool) -> Result<(), Stop> {
        let n = self.events.len();
        let action = if poison { "poison" } else { "room.joined" };
        let event = Event {
            actor: format!("u{n}"),
            action: action.to_owned(),
            text: format!("event {n}: \"a\" {{b}}\n\u{e9}"),
        };
        let id = answered("append", self.client.append(&self.topic, &event).await)?;
        let grown = self.events.last().is_none_or(|last| last.id < id);
        if !grown {
            self.fact(Topic::Replay, Some(format!("the id {id} is not greater than the one before")));
        }
        self.events.push(Known { id, event, poison, erased: false, trimmed: false });
        for group in self.groups.values_mut() {
            group.states.insert(n, State::New);
        }
        Ok(())
    }

    async fn join(&mut self, group: usize) -> Result<(), Stop> {
        answered("join", self.client.join(&self.topic, &group_name(group)).await)?;
        let there = self.events.iter().enumerate().filter(|(_, known)| !known.erased && !known.trimmed);
        let states = there.map(|(n, _)| (n, State::New)).collect();
        self.groups.entry(group).or_insert(Group { states, unsure: false, held_ms: 0 });
        Ok(())
    }

    /// A take of a group that has joined; the model follows.
    async fn take(&mut self, group: usize, consumer: &str, count: usize) -> Result<Vec<Delivery>, Stop> {
        if !self.groups.contains_key(&group) {
            return Ok(Vec::new());
        }
        let held_ms = self.now().await?;
        let taken = self.client.take(&self.topic, &group_name(group), consumer, count).await;
        let taken = answered("take", taken)?;
        self.record.line(format!("  → {} deliveries", taken.len()));
        if taken.len() > count {
            self.fact(Topic::Missing, Some(format!("a take of {count} brought {}", taken.len())));
        }
        for delivery in &taken {
            let n = self.events.iter().position(|known| known.id == delivery.id);
            let sound = n.is_some_and(|n| self.events[n].event == delivery.event && !self.events[n].erased);
            if !sound {
                self.fact(
                    Topic::Missing,
                    Some(format!("{} was delivered, but is no such event", delivery.id)),
                );
            }
            if let (Some(n), Some(group)) = (n, self.groups.get_mut(&group)) {
                group.states.insert(n, State::Held(delivery.deliveries));
                group.held_ms = held_ms;
            }
        }
        Ok(taken)
    }

    async fn work_all(&mut self, group: usize, taken: &[Delivery]) -> Result<(), Stop> {
        for delivery in taken.iter().filter(|delivery| delivery.event.action != "poison") {
            let worked = self.client.work(&self.topic, &group_name(group), delivery).await;
            answered("work", worked)?;
            let n = self.events.iter().position(|known| known.id == delivery.id);
            if let (Some(n), Some(group)) = (n, self.groups.get_mut(&group)) {
                group.states.insert(n, State::Done);
            }
        }
        Ok(())
    }

    async fn work(&mut self, group: usize, count: usize) -> Result<(), Stop> {
        let taken = self.take(group, "worker", count).await?;
        self.work_all(group, &taken).await
    }

    async fn finish(&mut self, group: usize) -> Result<(), Stop> {
        if !self.groups.contains_key(&group) {
            return Ok(());
        }
        for round in 0..=self.policy.max_deliveries + SPARE_ROUNDS {
            if round > 0 {
                self.wait_idle().await?;
            }
            let taken = self.take(group, "finisher", TAKE_MAX).await?;
            if taken.is_empty() && round > 0 {
                break;
            }
            self.work_all(group, &taken).await?;
        }
        let name = group_name(group);
        let totals = answered("totals", self.client.totals(&self.topic, &name).await)?;
        let dead = answered("dead", self.client.dead(&self.topic, &name).await)?;
        let Some(known) = self.groups.get_mut(&group) else { return Ok(()) };
        let mut facts = Vec::new();
        for (n, state) in &mut known.states {
            let event = &self.events[*n];
            if event.erased {
                continue;
            }
            let id = event.id;
            let total = totals.get(&event.event.actor).copied().unwrap_or(0);
            if event.poison {
                let letter = dead.iter().find(|letter| letter.id == id);
                facts.push((
                    Topic::Poison,
                    match letter {
                        None => Some(format!("{id} cannot be worked and is no dead letter")),
                        Some(letter) if letter.event != event.event => {
                            Some(format!("the dead letter {id} is another event"))
                        }
                        Some(letter) if letter.deliveries != self.policy.max_deliveries => Some(format!(
                            "{id} was given up after {} deliveries, not {}",
                            letter.deliveries, self.policy.max_deliveries
                        )),
                        Some(_) => None,
                    },
                ));
            } else {
                let missing = (total == 0).then(|| format!("the work of {id} was never done by {name}"));
                if known.unsure || missing.is_none() {
                    let twice =
                        (total > 1).then(|| format!("the work of {id} was done {total} times by {name}"));
                    facts.push((Topic::Twice, twice));
                }
                if missing.is_some() && facts.iter().all(|(topic, _)| *topic != Topic::Poison) {
                    // Poison must not keep others from being served.
                    facts.push((Topic::Poison, missing.clone()));
                }
                facts.push((Topic::Missing, missing));
            }
            *state = State::Done;
        }
        for (topic, broken) in facts {
            self.fact(topic, broken);
        }
        Ok(())
    }
}

#[async_trait]
impl check::World for World<'_> {
    type Step = Step;
    type Topic = Topic;

    async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        self.record.line(step.to_string());
        match step {
            Step::Append { events } => {
                for _ in 0..*events {
                    self.append(false).await?;
                }
                Ok(())
            }
            Step::Poison => self.append(true).await,
            Step::Join { group } => self.join(*group).await,
            Step::Work { group, count } => self.work(*group, *count).await,
            Step::Hold { group, count } => self.take(*group, "mortal", *count).await.map(drop),
            Step::Crash { group, commands } => self.crash(*group, *commands).await,
            Step::TakeOver { group } => self.take_over(*group).await,
            Step::Finish { group } => self.finish(*group).await,
            Step::Trim => self.trim().await,
            Step::Erase { nth } => self.erase(*nth).await,
            Step::Lag { group } => self.lag(*group).await,
            Step::Replay => self.replay().await,
            Step::Budget => {
                let before = self.subject.trace().entries().len();
                self.append(false).await?;
                let entries = self.subject.trace().entries();
                let trips = round_trips(&entries[before.min(entries.len())..]);
                self.trips = Some(self.trips.map_or(trips, |fewest| fewest.min(trips)));
                Ok(())
            }
        }
    }

    fn end(&mut self) {
        if self.events.is_empty() {
            return;
        }
        self.record.fact(Topic::Verbs, no_walk(&self.subject.trace().entries()));
        if let Some(trips) = self.trips {
            let broken = (trips > 1).then(|| format!("each append took {trips} round trips or more"));
            self.fact(Topic::Trips, broken);
        }
    }

    fn aliases(&self) -> Vec<(String, String)> {
        vec![(self.topic.clone(), "t".to_owned())]
    }

    fn record(&mut self) -> &mut Record<Topic> {
        &mut self.record
    }
}

impl Group {
    fn held(&self) -> Vec<(usize, u64)> {
        let held = self.states.iter().filter_map(|(n, state)| match state {
            State::Held(deliveries) => Some((*n, *deliveries)),
            _ => None,
        });
        held.collect()
    }
}
