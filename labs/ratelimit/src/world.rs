//! One run of a history: a subject after the other, three clients, and the facts that come out.

use std::sync::Arc;
use std::time::Duration;

use chatlab_kit::{
    LabError, LabResult,
    check::{Finding, Subject, server_ms},
    ids::UserId,
    keys,
    redis::Redis,
};

use crate::{Decision, Limit, RateLimiter, history::Step};

mod faults;

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

/// One answered take, and between which readings of the server's clock it happened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) subject: u32,
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
    pub(crate) decision: Decision,
}

/// How long to sleep between two looks at the server's clock.
pub(crate) const POLL: Duration = Duration::from_millis(2);
/// A burst that took longer, or began later, than this part of a window may have missed the edge that it is meant for.
const BURST_PART: u64 = 7;
/// Who asks all the time must not pause for longer than this part of a window, or too much is forgotten meanwhile.
const HAMMER_PART: u64 = 3;
/// A longer pause between two asks does not count as asking all the time.
const COVERED_PART: u64 = 8;
/// The subjects whose takes are planned to the point; what chance brings to later ones needs no punctuality.
const PLANNED_SUBJECTS: u32 = 2;
/// The most orders of a race tried in one step.
const ORDERS_MAX: u32 = 40;
/// The most takes in one step that waits for the end of something.
const ASKS_MAX: u32 = 20_000;
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
    pub(crate) facts: Vec<(Topic, Result<(), String>)>,
    pub(crate) lines: Vec<String>,
    /// Why the history does not prove that no window holds too many, even where none was found.
    pub(crate) doubt: Option<String>,
    /// Why nothing is known of who asks all the time.
    pub(crate) unasked: Option<String>,
    /// Crashes that happened and orders of races that were driven.
    pub(crate) faults: u32,
    began_ms: u64,
    /// The fewest round trips of a subject's first take, and of a later one.
    trips: [Option<u64>; 2],
}

impl<'a> World<'a> {
    pub(crate) async fn new(subject: &'a Subject<'a, dyn RateLimiter>, limit: Limit) -> LabResult<Self> {
        let base = UserId::new().to_string();
        let mut probe = subject.probe();
        let began_ms = server_ms(&mut probe, &keys::rate(&base)).await?;
        Ok(Self {
            clients: ["A", "B", "C"].map(|label| subject.client(label)),
            subject,
            limit,
            base,
            probe,
            at: 0,
            rested: true,
            seen: Vec::new(),
            facts: Vec::new(),
            lines: Vec::new(),
            doubt: None,
            unasked: None,
            faults: 0,
            began_ms,
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
        self.facts.push((topic, held));
    }

    pub(crate) fn line(&mut self, at_ms: u64, what: &str) {
        self.lines.push(format!("{:>5} ms  {what}", at_ms.saturating_sub(self.began_ms)));
    }

    /// Remembers what took longer than a history about time can bear.
    fn blur(&mut self, what: &str, extra_ms: u64, part: u64) {
        if extra_ms > self.limit.window_ms / part && self.at < PLANNED_SUBJECTS {
            self.doubt = Some(format!("the machine was too slow: {what} took {extra_ms} ms"));
        }
    }

    /// Runs one step.
    pub(crate) async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        match step {
            Step::Fresh => {
                self.at += 1;
                self.rested = true;
                let now = self.now().await?;
                self.line(now, &step.to_string());
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
                self.line(from_ms, &format!("a take  → {error}"));
                Err(Finding::of_error("take", error).map_or_else(Stop::Checker, Stop::Variant))
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
        self.line(from_ms, &format!("{step}  → {allowed} allowed"));
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

    /// Asks all the time; three windows of that give at least half of the permits each. Where the machine paused, the time
    /// does not count: nothing is lost by it but what would have been given meanwhile.
    async fn hammer(&mut self, step: &Step, percent: u64) -> Result<(), Stop> {
        let window_ms = self.limit.window_ms;
        let from_ms = self.now().await?;
        let (mut asks, mut allowed, mut last_ms, mut covered_ms, mut gap_ms) = (0_u32, 0_u32, from_ms, 0, 0);
        while covered_ms < window_ms * percent / 100 && asks < ASKS_MAX {
            // As many as there are permits each time: enough to fill up whatever remembers refused takes, on a slow machine too.
            let (round_ms, to_ms, more) = self.round(self.limit.permits).await?;
            gap_ms = gap_ms.max(to_ms.saturating_sub(last_ms));
            covered_ms += round_ms.saturating_sub(last_ms).min(window_ms / COVERED_PART);
            last_ms = round_ms;
            asks += self.limit.permits;
            allowed += more;
            tokio::time::sleep(POLL).await;
        }
        self.line(from_ms, &format!("{step}  → {allowed} of {asks} allowed"));
        self.blur("asking once", gap_ms, HAMMER_PART);
        let windows = u32::try_from(percent / 100).unwrap_or(0);
        if std::mem::take(&mut self.rested) && windows >= 3 {
            // In a longer pause whatever remembers refused takes forgets them: it would look sound.
            if gap_ms > window_ms / 2 {
                self.unasked =
                    Some(format!("the machine was too slow to ask all the time: {gap_ms} ms once"));
            }
            let promised = windows * self.limit.permits / 2;
            let held = if allowed >= promised {
                Ok(())
            } else {
                let what = format!("who asked all the time for {windows} windows got {allowed} takes");
                Err(format!("{what}, at least {promised} are promised"))
            };
            self.fact(Topic::Given, held);
        }
        Ok(())
    }

    async fn wait_until(&mut self, until_ms: u64) -> LabResult<u64> {
        loop {
            let now = self.now().await?;
            if now >= until_ms {
                return Ok(now);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn pause(&mut self, step: &Step, percent: u64) -> LabResult<()> {
        let from_ms = self.now().await?;
        self.line(from_ms, &step.to_string());
        let until_ms = from_ms + self.limit.window_ms * percent / 100;
        let woke_ms = self.wait_until(until_ms).await?;
        self.blur("waking up", woke_ms - until_ms, BURST_PART);
        Ok(())
    }

    /// The reading of the clock after the subject's last take.
    fn last_take_ms(&self) -> Option<u64> {
        self.seen.iter().rev().find(|seen| seen.subject == self.at).map(|seen| seen.to_ms)
    }

    async fn rest(&mut self, step: &Step) -> LabResult<()> {
        let from_ms = self.now().await?;
        self.line(from_ms, &step.to_string());
        let last_ms = self.last_take_ms().unwrap_or(0);
        self.wait_until(last_ms + 2 * self.limit.window_ms + 1).await?;
        self.rested = true;
        Ok(())
    }

    async fn steady(&mut self, step: &Step, takes: u32) -> Result<(), Stop> {
        let from_ms = self.now().await?;
        let gap_ms = (2 * self.limit.window_ms).div_ceil(u64::from(self.limit.permits));
        // Without a rest before, the pace is not all that the subject has asked for.
        let rested = std::mem::take(&mut self.rested);
        let mut refused = 0;
        for i in 0..takes {
            if let Some(last_ms) = self.last_take_ms() {
                self.wait_until(last_ms + gap_ms + 1).await?;
            }
            refused += u32::from(!self.take(i as usize).await?.decision.allowed);
        }
        self.line(from_ms, &format!("{step}  → {refused} refused"));
        if rested {
            let held = match refused {
                0 => Ok(()),
                _ => Err(format!("{refused} of {takes} takes were refused at half the limit's pace")),
            };
            self.fact(Topic::Given, held);
        }
        Ok(())
    }

    /// Whether a refusal says truly when to come back: not before, and not after, however often one asks meanwhile.
    async fn refusal(&mut self, step: &Step) -> Result<(), Stop> {
        let mut refused = self.take(0).await?;
        for i in 0..=self.limit.permits {
            if !refused.decision.allowed {
                break;
            }
            refused = self.take(i as usize).await?;
        }
        self.rested = false;
        let wait_ms = refused.decision.retry_after_ms;
        self.line(refused.from_ms, &format!("{step}: in {wait_ms} ms"));
        if refused.decision.allowed {
            return Ok(());
        }
        if wait_ms == 0 || wait_ms > KEPT_WINDOWS * self.limit.window_ms {
            self.fact(Topic::Retry, Err(format!("a refused take says: retry after {wait_ms} ms")));
            return Ok(());
        }
        // What the clock's readings leave open, and the rounding, is a millisecond each.
        let (early_ms, late_ms) = (refused.from_ms + wait_ms - 1, refused.to_ms + wait_ms + 2);
        for rounds in 1..ASKS_MAX {
            let (from_ms, to_ms, allowed) = self.round(self.limit.permits).await?;
            if allowed > 0 {
                let held = if to_ms + 1 < early_ms {
                    Err(format!("allowed {} ms before the promised time", early_ms - to_ms))
                } else {
                    Ok(())
                };
                self.fact(Topic::Retry, held);
                return Ok(());
            }
            if from_ms >= late_ms {
                let late = from_ms - refused.to_ms;
                let asks = rounds * self.limit.permits;
                let what = format!("promised after {wait_ms} ms, still refused after {late} ms");
                self.fact(Topic::Retry, Err(format!("{what} and {asks} asks in between")));
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
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
        self.line(from_ms, &format!("{step}: {} remain", said.join(", ")));
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
        self.line(from_ms, &step.to_string());
        Ok(())
    }

    /// The facts that only the whole history shows.
    pub(crate) fn finish(&mut self) {
        for (trips, which) in self.trips.into_iter().zip(["first take of a subject", "later take"]) {
            let held = match trips {
                None => continue,
                Some(0 | 1) => Ok(()),
                Some(trips) => Err(format!("a {which} is {trips} round trips")),
            };
            self.fact(Topic::Trips, held);
        }
        const FORBIDDEN: [&str; 5] = ["KEYS", "SCAN", "RANDOMKEY", "FLUSHALL", "FLUSHDB"];
        let entries = self.subject.trace().entries();
        let bad = entries.iter().find_map(|entry| {
            let verb = entry.command.first()?.to_uppercase();
            FORBIDDEN.contains(&verb.as_str()).then_some(verb)
        });
        if !entries.is_empty() {
            let held = bad.map_or(Ok(()), |verb| Err(format!("{verb} walks over everybody's keys")));
            self.fact(Topic::Verbs, held);
        }
        if self.seen.iter().any(|seen| !seen.decision.allowed) {
            self.fact(Topic::Over, Ok(()));
        }
    }
}
