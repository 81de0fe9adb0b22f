//! One run of a history: one room, three senders, and the facts that come out.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    budget::round_trips,
    check::{Crash, Finding, Subject, explore},
    ids::{RoomId, UserId},
    lab::Orders,
    redis::{Hook, Redis},
};
use redis::RedisError;

use crate::{
    Draft, MAX_BATCH, MAX_READ, SendPath, Sent,
    history::Step,
    races::{Senders, cid},
};

/// What a fact is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// A message is there once.
    Copy,
    /// Numbers are 1, 2, 3, …
    Gap,
    /// What was answered is stored and counted.
    Whole,
    /// Order in a batch.
    Order,
    /// Bounds of a batch.
    Bound,
    /// Two clients that meet.
    Meeting,
    /// Round trips of a send.
    Trips,
    /// Round trips of a batch.
    BatchTrips,
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

/// The most orders of a race tried in one step.
const ORDERS_MAX: u32 = 24;
/// A send, and a batch, take at most so many round trips.
const FEW_TRIPS: u64 = 2;
/// The batches of which round trips are counted.
const COUNTED_BATCH: usize = 20;

/// A client to which one reply does not come: the command ran.
struct LostReply {
    reply: u64,
}

#[async_trait]
impl Hook for LostReply {
    async fn before(&self, _n: u64, _command: &[String]) -> Result<(), RedisError> {
        Ok(())
    }

    async fn after(&self, n: u64, _command: &[String]) -> Result<(), RedisError> {
        if n == self.reply {
            let why = "cut: the reply is lost";
            return Err(std::io::Error::new(std::io::ErrorKind::BrokenPipe, why).into());
        }
        Ok(())
    }
}

pub(crate) struct World<'a> {
    subject: &'a Subject<'a, dyn SendPath>,
    probe: Redis,
    client: Arc<dyn SendPath>,
    room: RoomId,
    senders: [UserId; 3],
    /// What was answered: each message and its first answer.
    known: Vec<(Draft, u64)>,
    made: usize,
    pub(crate) facts: Vec<(Topic, Result<(), String>)>,
    pub(crate) lines: Vec<String>,
    /// Ids, and what to show in their place.
    pub(crate) aliases: Vec<(String, String)>,
    /// Crashes and lost replies that happened, and orders of races that were driven.
    pub(crate) faults: u32,
}

impl<'a> World<'a> {
    pub(crate) fn new(subject: &'a Subject<'a, dyn SendPath>) -> Self {
        let (room, senders) = (RoomId::new(), [UserId::new(), UserId::new(), UserId::new()]);
        let mut aliases = vec![(room.to_string(), "r".to_owned())];
        aliases.extend(senders.iter().zip(1..).map(|(user, n)| (user.to_string(), format!("u{n}"))));
        Self {
            client: subject.client("A"),
            probe: subject.probe(),
            subject,
            room,
            senders,
            aliases,
            known: Vec::new(),
            made: 0,
            facts: Vec::new(),
            lines: Vec::new(),
            faults: 0,
        }
    }

    fn fact(&mut self, topic: Topic, held: Result<(), String>) {
        self.facts.push((topic, held));
    }

    fn draft(&mut self, who: usize) -> LabResult<Draft> {
        self.made += 1;
        let body = format!("m{}", self.made);
        Ok(Draft { room: self.room, from: self.senders[who % 3], cid: cid(&body)?, body })
    }

    /// Runs one step and looks at the room.
    pub(crate) async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        self.lines.push(step.to_string());
        match step {
            Step::Send { who } => {
                let draft = self.draft(*who)?;
                self.send(&draft).await?;
            }
            Step::Retry { back } => {
                let Some(at) = self.known.len().checked_sub(back + 1) else { return Ok(()) };
                let draft = self.known[at].0.clone();
                self.send(&draft).await?;
            }
            Step::Batch { count, repeats } => self.batch(*count, *repeats).await?,
            Step::Crash { commands } => self.crash(*commands).await?,
            Step::LostReply { reply } => self.lost_reply(*reply).await?,
            Step::Race { same } => self.race(*same).await?,
            Step::TooMuch => self.too_much().await?,
            Step::Budget => self.budget().await?,
        }
        self.look().await
    }

    fn answered<T>(&mut self, operation: &str, answer: LabResult<T>) -> Result<T, Stop> {
        answer.map_err(|error| {
            self.lines.push(format!("  → {error}"));
            Finding::of_error(operation, error).map_or_else(Stop::Checker, Stop::Variant)
        })
    }

    async fn send(&mut self, draft: &Draft) -> Result<(), Stop> {
        let answer = self.client.send(&draft.room, &draft.from, &draft.cid, &draft.body).await;
        let sent = self.answered("send", answer)?;
        self.lines.push(format!("  {} → {}", draft.body, shown(sent)));
        self.judge(draft, sent);
        Ok(())
    }

    /// An answer, without any fault in between.
    fn judge(&mut self, draft: &Draft, sent: Sent) {
        let before = self.known.iter().find(|(known, _)| known.cid == draft.cid).map(|(_, seq)| *seq);
        let held = match before {
            None if sent.duplicate => Err(format!("{} was never sent before, and is a retry", draft.body)),
            Some(_) if !sent.duplicate => Err(format!("{} is taken for a new message", draft.body)),
            Some(seq) if seq != sent.seq => {
                Err(format!("{} had number {seq}, its retry has {}", draft.body, sent.seq))
            }
            _ => Ok(()),
        };
        self.fact(Topic::Copy, held);
        if before.is_none() {
            self.known.push((draft.clone(), sent.seq));
        }
    }

    async fn batch(&mut self, count: usize, repeats: bool) -> Result<(), Stop> {
        let mut drafts = Vec::new();
        if repeats && let Some((known, _)) = self.known.first() {
            drafts.push(known.clone());
        }
        for who in 0..count {
            // Not by the senders' own order, which is that of their ids.
            drafts.push(self.draft(2 * who)?);
        }
        if repeats && let Some(last) = drafts.last() {
            drafts.push(last.clone());
        }
        let answer = self.client.send_many(&drafts).await;
        let answers = self.answered("send_many", answer)?;
        let all: Vec<String> = answers.iter().map(|sent| shown(*sent)).collect();
        self.lines.push(format!("  → {}", all.join(", ")));
        if answers.len() != drafts.len() {
            let what = format!("{} messages got {} answers", drafts.len(), answers.len());
            self.fact(Topic::Order, Err(what));
            return Ok(());
        }
        let mut last = self.known.iter().map(|(_, seq)| *seq).max().unwrap_or(0);
        let mut held = Ok(());
        for (draft, sent) in drafts.iter().zip(answers) {
            let is_new = !self.known.iter().any(|(known, _)| known.cid == draft.cid);
            if is_new && sent.seq <= last {
                held = Err(format!("{} has number {}, after one with {last}", draft.body, sent.seq));
            }
            if is_new {
                last = sent.seq;
            }
            self.judge(draft, sent);
        }
        self.fact(Topic::Order, held);
        Ok(())
    }

    async fn crash(&mut self, commands: u64) -> Result<(), Stop> {
        let crash = Crash::after(commands);
        let client = self.subject.hooked("crashing", crash.clone());
        self.faulty(client, || crash.fired()).await
    }

    async fn lost_reply(&mut self, reply: u64) -> Result<(), Stop> {
        let client = self.subject.hooked("cut off", Arc::new(LostReply { reply }));
        self.faulty(client, || true).await
    }

    /// A send by a client that may get no answer; the sender then tries again.
    async fn faulty(
        &mut self,
        client: Arc<dyn SendPath>,
        happened: impl Fn() -> bool + Send,
    ) -> Result<(), Stop> {
        let draft = self.draft(0)?;
        let first = client.send(&draft.room, &draft.from, &draft.cid, &draft.body).await;
        match first {
            Err(LabError::Redis(error)) if happened() && error.is_io_error() => {
                self.faults += 1;
                let again = self.client.send(&draft.room, &draft.from, &draft.cid, &draft.body).await;
                let sent = self.answered("send", again)?;
                self.lines.push(format!("  {}: no answer; again → {}", draft.body, shown(sent)));
                // Whether the first attempt came through is not known: both answers are true.
                self.known.push((draft, sent.seq));
            }
            other => {
                let sent = self.answered("send", other)?;
                self.lines.push(format!("  {} → {} (done before)", draft.body, shown(sent)));
                self.judge(&draft, sent);
            }
        }
        Ok(())
    }

    async fn race(&mut self, same: bool) -> Result<(), Stop> {
        let make = |redis: Redis| self.subject.over(redis);
        let racers = Senders { make: &make, same, unseen: self.probe.clone(), places: Mutex::default() };
        let shown = self.probe.traced_into(self.subject.trace(), "A or B");
        let orders = Orders::All { max: ORDERS_MAX };
        let report = explore(&racers, &shown, self.subject.scripts(), &orders).await?;
        for (place, n) in racers.places.into_inner().unwrap_or_else(PoisonError::into_inner).iter().zip(1..) {
            self.aliases.push((place.room.to_string(), format!("r{n}")));
            self.aliases.push((place.from.to_string(), "u1".to_owned()));
        }
        self.faults += report.explored;
        self.lines.push(format!("  {} orders of their commands tried", report.explored));
        let held = match report.broken {
            Some(broken) => {
                for step in &broken.steps {
                    self.lines.push(format!("  {}: {} → {}", step.client, step.command, step.reply));
                }
                Err(format!("{} (commands in the order {})", broken.reason, broken.order))
            }
            None if report.explored == 0 => return Ok(()),
            None => Ok(()),
        };
        self.fact(Topic::Meeting, held);
        Ok(())
    }

    async fn too_much(&mut self) -> Result<(), Stop> {
        let before = self.made;
        let mut many = Vec::with_capacity(MAX_BATCH + 1);
        for who in 0..=MAX_BATCH {
            many.push(self.draft(who)?);
        }
        let mut mixed = vec![self.draft(0)?, self.draft(0)?];
        mixed[1].room = RoomId::new();
        self.made = before;
        for (drafts, what) in [(many, "one message more than a batch may have"), (mixed, "two rooms")] {
            let held = match self.client.send_many(&drafts).await {
                Err(LabError::Bound { .. }) => Ok(()),
                Ok(_) => Err(format!("a batch of {what} was accepted")),
                Err(error @ LabError::Redis(_)) => Err(format!("a batch of {what} was answered: {error}")),
                Err(error) => self.answered("send_many", Err(error))?,
            };
            self.fact(Topic::Bound, held);
        }
        Ok(())
    }

    /// The fewest of three: the first of a process may load code.
    async fn budget(&mut self) -> Result<(), Stop> {
        let mut fewest = [u64::MAX; 3];
        for _ in 0..3 {
            let draft = self.draft(0)?;
            for fewest in fewest.iter_mut().take(2) {
                let before = self.trips();
                self.send(&draft).await?;
                *fewest = (*fewest).min(self.trips() - before);
            }
            let before = self.trips();
            self.batch(COUNTED_BATCH, false).await?;
            fewest[2] = fewest[2].min(self.trips() - before);
        }
        let names = ["a send", "a retry", "a batch"];
        let topics = [Topic::Trips, Topic::Trips, Topic::BatchTrips];
        for ((trips, name), topic) in fewest.into_iter().zip(names).zip(topics) {
            let what = format!("{name} is {trips} round trips, at most {FEW_TRIPS} are allowed");
            self.fact(topic, if trips <= FEW_TRIPS { Ok(()) } else { Err(what) });
        }
        Ok(())
    }

    fn trips(&self) -> u64 {
        round_trips(&self.subject.trace().entries())
    }

    /// Compares what is stored with what was answered.
    async fn look(&mut self) -> Result<(), Stop> {
        let mut stored: Vec<(u64, String)> = Vec::new();
        loop {
            let after = stored.last().map_or(0, |(seq, _)| *seq);
            let page = self.client.read(&self.room, after, MAX_READ).await;
            let page = self.answered("read", page)?;
            let last = page.last().map(|(seq, _)| *seq);
            stored.extend(page);
            // A page that does not lead on would be asked for again and again.
            if last.is_none_or(|last| last <= after) {
                break;
            }
        }
        let unread = self.client.unread(&self.room).await;
        let unread = self.answered("unread", unread)?;
        let wrong = stored.iter().zip(1_u64..).find(|((seq, _), due)| seq != due);
        self.fact(
            Topic::Gap,
            wrong.map_or(Ok(()), |((seq, _), due)| Err(format!("number {due} is missing before {seq}"))),
        );
        let mut seen = HashSet::new();
        let twice = stored.iter().find(|(_, body)| !seen.insert(body.as_str())).map(|(_, body)| body);
        let copy = twice.map_or(Ok(()), |body| Err(format!("{body} is stored twice")));
        let lost = self.known.iter().find(|(draft, seq)| !stored.contains(&(*seq, draft.body.clone())));
        let whole = match lost {
            Some((draft, seq)) => {
                Err(format!("{} was answered with number {seq}; it is not there", draft.body))
            }
            None if unread != stored.len() as u64 => {
                Err(format!("{} messages are stored, {unread} are counted", stored.len()))
            }
            None => Ok(()),
        };
        self.fact(Topic::Copy, copy);
        self.fact(Topic::Whole, whole);
        Ok(())
    }

    /// The fact that only the whole history shows.
    pub(crate) fn finish(&mut self) {
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
    }
}

fn shown(sent: Sent) -> String {
    if sent.duplicate { format!("{} again", sent.seq) } else { sent.seq.to_string() }
}
