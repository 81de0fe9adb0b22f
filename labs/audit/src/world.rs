//! One run of a history: a topic, its groups, a model of both, and the facts that come out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chatlab_kit::{
    LabError, LabResult,
    budget::{Budget, round_trips},
    check::{Crash, Finding, Subject, server_ms},
    ids::UserId,
    keys,
};

use crate::{
    AuditLog, Delivery, Event, EventId, Policy, TAKE_MAX,
    history::{Step, group_name},
};

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

/// Why a history ends early.
pub(crate) enum Stop {
    /// The checker or the machine failed.
    Checker(LabError),
    /// The variant did.
    Variant(Finding),
}

impl From<LabError> for Stop {
    fn from(error: LabError) -> Self {
        Self::Checker(error)
    }
}

fn stop(operation: &str, error: LabError) -> Stop {
    Finding::of_error(operation, error).map_or_else(Stop::Checker, Stop::Variant)
}

/// Between two looks at the server's clock.
const POLL: Duration = Duration::from_millis(3);
/// A page of a replay.
const PAGE: usize = 3;
/// The most pages: more than any history has.
const PAGES_MAX: usize = 100;
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
    pub(crate) topic: String,
    client: Arc<dyn AuditLog>,
    events: Vec<Known>,
    groups: BTreeMap<usize, Group>,
    pub(crate) facts: Vec<(Topic, Result<(), String>)>,
    pub(crate) lines: Vec<String>,
    /// Crashes that really happened.
    pub(crate) faults: u32,
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
            facts: Vec::new(),
            lines: Vec::new(),
            faults: 0,
            trips: None,
        }
    }

    fn fact(&mut self, topic: Topic, broken: Option<String>) {
        self.facts.push((topic, broken.map_or(Ok(()), Err)));
    }

    async fn now(&self) -> LabResult<u64> {
        server_ms(&mut self.subject.probe(), &keys::lab(&self.topic, "clock", "any")).await
    }

    async fn wait_idle(&self) -> LabResult<()> {
        let until_ms = self.now().await? + self.policy.idle_ms + 2;
        while self.now().await? < until_ms {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Runs one step.
    pub(crate) async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        self.lines.push(step.to_string());
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

    async fn append(&mut self, poison: bool) -> Result<(), Stop> {
        let n = self.events.len();
        let action = if poison { "poison" } else { "room.joined" };
        let event = Event {
            actor: format!("u{n}"),
            action: action.to_owned(),
            text: format!("event {n}: \"a\" {{b}}\n\u{e9}"),
        };
        let id = self.client.append(&self.topic, &event).await.map_err(|error| stop("append", error))?;
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
        self.client.join(&self.topic, &group_name(group)).await.map_err(|error| stop("join", error))?;
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
        let taken = taken.map_err(|error| stop("take", error))?;
        self.lines.push(format!("  → {} deliveries", taken.len()));
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
            worked.map_err(|error| stop("work", error))?;
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

    async fn crash(&mut self, group: usize, commands: u64) -> Result<(), Stop> {
        let Some(known) = self.groups.get_mut(&group) else { return Ok(()) };
        known.unsure = true;
        let crash = Crash::after(commands);
        let mortal = self.subject.hooked("B", crash.clone());
        let name = group_name(group);
        let taken = mortal.take(&self.topic, &name, "mortal", TAKE_MAX).await;
        let mut failed = taken.as_ref().err().map(ToString::to_string);
        for delivery in taken.unwrap_or_default() {
            if delivery.event.action == "poison" {
                continue;
            }
            if let Err(error) = mortal.work(&self.topic, &name, &delivery).await {
                failed = Some(error.to_string());
                break;
            }
        }
        self.faults += u32::from(crash.fired());
        match failed {
            Some(why) if !crash.fired() => {
                Err(Stop::Variant(Finding::Broken(format!("without a crash it answered: {why}"))))
            }
            _ => Ok(()),
        }
    }

    /// Not before the holder counts as dead, and all of it then.
    async fn take_over(&mut self, group: usize) -> Result<(), Stop> {
        let Some(known) = self.groups.get(&group).filter(|known| !known.unsure) else { return Ok(()) };
        let held = known.held();
        let over_ms = known.held_ms + self.policy.idle_ms;
        let early = self.take(group, "heir", TAKE_MAX).await?;
        let in_time = self.now().await? < over_ms;
        let was_held = |id| held.iter().any(|(n, _)| self.events[*n].id == id);
        let robbed = early.iter().map(|delivery| delivery.id).find(|id| was_held(*id));
        if let Some(id) = robbed.filter(|_| in_time) {
            let what = format!("{id} was given away while its holder still had time");
            self.fact(Topic::Claimed, Some(what));
        }
        let held = self.groups.get(&group).map(Group::held).unwrap_or_default();
        self.wait_idle().await?;
        let late = self.take(group, "second heir", TAKE_MAX).await?;
        let max_deliveries = self.policy.max_deliveries;
        for (n, deliveries) in held.into_iter().filter(|(_, deliveries)| *deliveries < max_deliveries) {
            let id = self.events[n].id;
            let broken = match late.iter().find(|delivery| delivery.id == id) {
                None => Some(format!("{id} is held by a dead consumer and is given to nobody")),
                Some(delivery) if delivery.deliveries != deliveries + 1 => Some(format!(
                    "{id} says that it was delivered {} times, not {}",
                    delivery.deliveries,
                    deliveries + 1
                )),
                Some(_) => None,
            };
            self.fact(Topic::Claimed, broken);
        }
        self.work_all(group, &late).await
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
        let totals = self.client.totals(&self.topic, &name).await.map_err(|error| stop("totals", error))?;
        let dead = self.client.dead(&self.topic, &name).await.map_err(|error| stop("dead", error))?;
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

    /// The lowest event that some group still needs.
    fn needed(&self) -> usize {
        let open = self.groups.values().flat_map(|group| &group.states);
        let open = open.filter(|(n, state)| **state != State::Done && !self.events[**n].erased);
        open.map(|(n, _)| *n).min().unwrap_or(self.events.len())
    }

    async fn trim(&mut self) -> Result<(), Stop> {
        if self.groups.is_empty() || self.groups.values().any(|group| group.unsure) {
            return Ok(());
        }
        let dropped = self.client.trim(&self.topic).await.map_err(|error| stop("trim", error))?;
        self.lines.push(format!("  → {dropped} dropped"));
        let left = self.read_all().await?;
        let needed = self.needed();
        let (mut lost, mut kept) = (None, 0);
        for (n, known) in self.events.iter_mut().enumerate().filter(|(_, known)| !known.erased) {
            let there = left.iter().any(|(id, _)| *id == known.id);
            if !there && !known.trimmed && n >= needed {
                lost = Some(format!("{} was dropped, and a group has not worked it", known.id));
            }
            kept += usize::from(there && n < needed);
            known.trimmed |= !there;
        }
        self.fact(Topic::Unread, lost);
        let too_many = (kept > 1).then(|| format!("{kept} events that no group needs are still there"));
        self.fact(Topic::Kept, too_many);
        Ok(())
    }

    async fn erase(&mut self, nth: usize) -> Result<(), Stop> {
        let free: Vec<usize> = (0..self.events.len())
            .filter(|n| !self.events[*n].erased && !self.events[*n].trimmed)
            .filter(|n| {
                self.groups.values().all(|g| !matches!(g.states.get(n), Some(State::Held(_))) && !g.unsure)
            })
            .collect();
        let Some(n) = free.get(nth % free.len().max(1)).copied() else { return Ok(()) };
        let id = self.events[n].id;
        let there = self.client.erase(&self.topic, id).await.map_err(|error| stop("erase", error))?;
        self.lines.push(format!("  → {id}"));
        if !there {
            self.fact(Topic::Replay, Some(format!("{id} was to be erased and is not there")));
        }
        self.events[n].erased = true;
        Ok(())
    }

    async fn lag(&mut self, group: usize) -> Result<(), Stop> {
        let Some(known) = self.groups.get(&group).filter(|known| !known.unsure) else { return Ok(()) };
        let count = |wanted: fn(&State) -> bool| {
            let all = known.states.iter().filter(|(n, state)| wanted(state) && !self.events[**n].erased);
            all.count() as u64
        };
        let undelivered = count(|state| *state == State::New);
        let pending = count(|state| matches!(state, State::Held(_)));
        let lag =
            self.client.lag(&self.topic, &group_name(group)).await.map_err(|error| stop("lag", error))?;
        let right = (lag.undelivered, lag.pending) == (undelivered, pending);
        let broken = (!right).then(|| {
            format!(
                "lag says {} undelivered and {} pending; it is {undelivered} and {pending}",
                lag.undelivered, lag.pending
            )
        });
        self.fact(Topic::Lag, broken);
        Ok(())
    }

    async fn read_all(&self) -> Result<Vec<(EventId, Event)>, Stop> {
        let mut all: Vec<(EventId, Event)> = Vec::new();
        for _ in 0..PAGES_MAX {
            let after = all.last().map_or(EventId(0, 0), |(id, _)| *id);
            let page = self.client.replay(&self.topic, after, PAGE).await;
            let page = page.map_err(|error| stop("replay", error))?;
            let last = page.len() < PAGE;
            all.extend(page);
            if last {
                break;
            }
        }
        Ok(all)
    }

    async fn replay(&mut self) -> Result<(), Stop> {
        let all = self.read_all().await?;
        let there = self.events.iter().filter(|known| !known.erased && !known.trimmed);
        let expected: Vec<(EventId, Event)> = there.map(|known| (known.id, known.event.clone())).collect();
        let broken = (all != expected).then(|| {
            format!("a replay by pages of {PAGE} showed {} events, not these {}", all.len(), expected.len())
        });
        self.fact(Topic::Replay, broken);
        Ok(())
    }

    /// Judges what is about the whole history.
    pub(crate) fn end(&mut self) {
        if self.events.is_empty() {
            return;
        }
        let budget = Budget { forbid: vec!["KEYS".to_owned(), "SCAN".to_owned()], ..Budget::default() };
        let broken = budget.check(&self.subject.trace().entries()).err();
        self.fact(Topic::Verbs, broken);
        if let Some(trips) = self.trips {
            let broken = (trips > 1).then(|| format!("each append took {trips} round trips or more"));
            self.fact(Topic::Trips, broken);
        }
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
