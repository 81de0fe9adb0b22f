//! One run of a history: a subject after the other, three clients, and the facts that come out.

use std::sync::Arc;

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    budget::no_walk,
    check::{self, Record, Stop, Subject, server_ms},
    ids::UserId,
    keys,
    redis::Redis,
};

use crate::{Decision, Limit, RateLimiter, history::Step};

mod faults;
mod timed;

/// What a fact is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Not more than the permits in any window.
    Over,
    /// Not far less.
    Given,
    /// `remaining`.
    Remaining,
    /// `retry_after_ms`.
    Retry,
    /// A race for the last permit.
    Race,
    /// What stays.
    Leftover,
    /// Round trips.
    Trips,
    /// Forbidden commands.
    Verbs,
}

/// One answered take, and between which readings of the server's clock it happened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) subject: u32,
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
    pub(crate) decision: Decision,
}

/// A burst that took longer, or began later, than this part of a window may have missed the edge that it is meant for.
const BURST_PART: u64 = 7;
/// The subjects whose takes are planned to the point; what chance brings to later ones needs no punctuality.
const PLANNED_SUBJECTS: u32 = 3;
/// The most orders of a race tried in one step.
const ORDERS_MAX: u32 = 40;
/// What is kept of a subject is gone so many windows after its last take.
const KEPT_WINDOWS: u64 = 4;

pub(crate) struct World<'a> {
    pub(crate) subject: &'a Subject<'a, dyn RateLimiter>,
    pub(crate) limit: Limit,
    pub(crate) base: String,
    pub(crate) probe: Redis,
    pub(crate) clients: [Arc<dyn RateLimiter>; 3],
    /// Which subject it is about now.
    pub(crate) at: u32,
    /// Whether the subject has taken nothing for so long that it may have a burst.
    pub(crate) rested: bool,
    pub(crate) seen: Vec<Seen>,
    /// Faults are crashes that happened and orders of races that were driven.
    pub(crate) record: Record<Topic>,
    /// The fewest round trips of a subject's first take, and of a later one.
    trips: [Option<u64>; 2],
}

impl<'a> World<'a> {
    pub(crate) async fn new(subject: &'a Subject<'a, dyn RateLimiter>, limit: Limit) -> LabResult<Self> {
        let base = UserId::new().to_string();
        let mut probe = subject.probe();
        let began_ms = server_ms(&mut probe, &keys::rate(&base)).await?;
        let mut record = Record::since(began_ms);
        record.line(format!("          at most {} in {} ms", limit.permits, limit.window_ms));
        Ok(Self {
            clients: ["A", "B", "C"].map(|label| subject.client(label)),
            subject,
            limit,
            base,
            probe,
            at: 0,
            rested: true,
            seen: Vec::new(),
            record,
            trips: [None, None],
        })
    }

    /// The subject's name. Some are awkward, and one is the beginning of others.
    pub(crate) fn name(&self) -> String {
        let base = &self.base;
        match self.at {
            0 => base.clone(),
            1 => format!("{base}:1"),
            2 => format!("{{{base}}}:2"),
            3 => format!("{base}}}3"),
            n => format!("{base}:take n° {n}"),
        }
    }

    pub(crate) async fn now(&mut self) -> LabResult<u64> {
        let key = keys::rate(&self.name());
        server_ms(&mut self.probe, &key).await
    }

    pub(crate) fn fact(&mut self, topic: Topic, held: Result<(), String>) {
        self.record.fact(topic, held);
    }

    /// Remembers what took longer than a history about time can bear.
    fn blur(&mut self, what: &str, extra_ms: u64, part: u64) {
        if extra_ms > self.limit.window_ms / part && self.at < PLANNED_SUBJECTS {
            // It does not prove that no window holds too many, even where none was found.
            self.record.doubt(Topic::Over, format!("the machine was too slow: {what} took {extra_ms} ms"));
        }
    }

    async fn act(&mut self, step: &Step) -> Result<(), Stop> {
        match step {
            Step::Fresh => {
                self.at += 1;
                self.rested = true;
                let now = self.now().await?;
                self.record.line_at(now, &step.to_string());
                Ok(())
            }
            Step::Burst { takes } => self.burst(step, *takes).await,
            Step::Hammer { percent } => self.hammer(step, *percent).await,
            Step::Pause { percent } => Ok(self.pause(step, *percent).await?),
            Step::Rest => Ok(self.rest(step).await?),
            Step::Steady { takes } => self.steady(step, *takes).await,
            Step::Refusal => self.refusal(step).await,
            Step::Countdown => self.countdown(step).await,
            Step::Crash { commands } => self.crash(step, *commands).await,
            Step::Leftovers => Ok(self.leftovers(step).await?),
            Step::LastPermit => self.last_permit(step).await,
            Step::Budget => self.budget(step).await,
        }
    }

    /// One take by client `who` between two readings of the clock.
    pub(crate) async fn take(&mut self, who: usize) -> Result<Seen, Stop> {
        let name = self.name();
        let from_ms = self.now().await?;
        let answer = self.clients[who % 3].take(&name).await;
        let to_ms = self.now().await?;
        self.saw(from_ms, to_ms, answer)
    }

    fn saw(&mut self, from_ms: u64, to_ms: u64, answer: LabResult<Decision>) -> Result<Seen, Stop> {
        match answer {
            Ok(decision) => {
                let seen = Seen { subject: self.at, from_ms, to_ms, decision };
                self.seen.push(seen);
                Ok(seen)
            }
            Err(error) => {
                self.record.line_at(from_ms, &format!("a take  → {error}"));
                Err(Stop::of("take", error))
            }
        }
    }

    /// So many takes at the same moment: the clock before and after, and how many were allowed.
    async fn round(&mut self, takes: u32) -> Result<(u64, u64, u32), Stop> {
        let name = self.name();
        let from_ms = self.now().await?;
        let all = (0..takes as usize).map(|i| self.clients[i % 3].take(&name));
        let answers = futures_util::future::join_all(all).await;
        let to_ms = self.now().await?;
        let mut allowed = 0;
        for answer in answers {
            allowed += u32::from(self.saw(from_ms, to_ms, answer)?.decision.allowed);
        }
        Ok((from_ms, to_ms, allowed))
    }

    async fn burst(&mut self, step: &Step, takes: u32) -> Result<(), Stop> {
        let (from_ms, to_ms, allowed) = self.round(takes).await?;
        self.record.line_at(from_ms, &format!("{step}  → {allowed} allowed"));
        self.blur("a burst", to_ms - from_ms, BURST_PART);
        if std::mem::take(&mut self.rested) {
            let promised = takes.min(self.limit.burst());
            let held = if allowed >= promised {
                Ok(())
            } else {
                Err(format!("a rested subject got {allowed} of {takes} at once, not {promised}"))
            };
            self.fact(Topic::Given, held);
        }
        Ok(())
    }

    async fn countdown(&mut self, step: &Step) -> Result<(), Stop> {
        let from_ms = self.now().await?;
        let mut answers = Vec::new();
        while answers.len() <= self.limit.permits as usize {
            let seen = self.take(answers.len()).await?;
            answers.push(seen.decision);
            if !seen.decision.allowed {
                break;
            }
        }
        let took_ms = self.now().await? - from_ms;
        let said: Vec<String> = answers.iter().map(|answer| answer.remaining.to_string()).collect();
        self.record.line_at(from_ms, &format!("{step}: {} remain", said.join(", ")));
        // So slow that a permit may have come back.
        if took_ms >= self.limit.window_ms / u64::from(self.limit.permits) / 4 {
            return Ok(());
        }
        let allowed = answers.iter().filter(|answer| answer.allowed).count();
        let wrong = answers.iter().enumerate().find_map(|(i, answer)| {
            let truly = allowed.saturating_sub(i + 1);
            let said = answer.remaining as usize;
            if said != truly {
                return Some(format!("take {} says that {said} remain, but {truly} do", i + 1));
            }
            let waits = answer.retry_after_ms;
            (answer.allowed && waits != 0).then(|| format!("an allowed take says: retry after {waits} ms"))
        });
        self.fact(Topic::Remaining, wrong.map_or(Ok(()), Err));
        Ok(())
    }

    async fn budget(&mut self, step: &Step) -> Result<(), Stop> {
        let from_ms = self.now().await?;
        for later in 0..2 {
            let before = self.subject.trace().round_trips();
            self.take(0).await?;
            let trips = self.subject.trace().round_trips() - before;
            self.trips[later] = Some(self.trips[later].unwrap_or(trips).min(trips));
        }
        self.record.line_at(from_ms, &step.to_string());
        Ok(())
    }
}

#[async_trait]
impl check::World for World<'_> {
    type Step = Step;
    type Topic = Topic;

    async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        self.act(step).await?;
        self.judge_windows();
        Ok(())
    }

    fn end(&mut self) {
        for (trips, which) in self.trips.into_iter().zip(["first take of a subject", "later take"]) {
            let held = match trips {
                None => continue,
                Some(0 | 1) => Ok(()),
                Some(trips) => Err(format!("a {which} is {trips} round trips")),
            };
            self.fact(Topic::Trips, held);
        }
        let entries = self.subject.trace().entries();
        if !entries.is_empty() {
            self.fact(Topic::Verbs, no_walk(&entries));
        }
        if self.seen.iter().any(|seen| !seen.decision.allowed) {
            self.fact(Topic::Over, Ok(()));
        }
    }

    fn aliases(&self) -> Vec<(String, String)> {
        vec![(self.base.clone(), "s".to_owned())]
    }

    fn record(&mut self) -> &mut Record<Topic> {
        &mut self.record
    }
}
