//! One run of a history: one room, three senders, and the facts that come out.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    budget::{no_walk, round_trips},
    check::{self, Record, Stop, Subject},
    ids::{RoomId, UserId},
    redis::Redis,
};

use crate::{Draft, MAX_BATCH, MAX_READ, SendPath, Sent, history::Step, races::cid};

mod faults;

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

/// A send, and a batch, take at most so many round trips.
const FEW_TRIPS: u64 = 2;
/// The batches of which round trips are counted.
const COUNTED_BATCH: usize = 20;

pub(crate) struct World<'a> {
    subject: &'a Subject<'a, dyn SendPath>,
    probe: Redis,
    client: Arc<dyn SendPath>,
    room: RoomId,
    senders: [UserId; 3],
    /// What was answered: each message and its first answer.
    known: Vec<(Draft, u64)>,
    made: usize,
    /// Ids, and what to show in their place.
    aliases: Vec<(String, String)>,
    /// Faults are crashes and lost replies that happened, and orders of races that were driven.
    record: Record<Topic>,
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
            record: Record::default(),
        }
    }

    fn fact(&mut self, topic: Topic, held: Result<(), String>) {
        self.record.fact(topic, held);
    }

    fn draft(&mut self, who: usize) -> LabResult<Draft> {
        self.made += 1;
        let body = format!("m{}", self.made);
        Ok(Draft { room: self.room, from: self.senders[who % 3], cid: cid(&body)?, body })
    }

    fn answered<T>(&mut self, operation: &str, answer: LabResult<T>) -> Result<T, Stop> {
        answer.map_err(|error| {
            self.record.line(format!("  → {error}"));
            Stop::of(operation, error)
        })
    }

    async fn send(&mut self, draft: &Draft) -> Result<(), Stop> {
        let answer = self.client.send(&draft.room, &draft.from, &draft.cid, &draft.body).await;
        let sent = self.answered("send", answer)?;
        self.record.line(format!("  {} → {}", draft.body, shown(sent)));
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
        self.record.line(format!("  → {}", all.join(", ")));
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
}

#[async_trait]
impl check::World for World<'_> {
    type Step = Step;
    type Topic = Topic;

    async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        self.record.line(step.to_string());
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

    fn end(&mut self) {
        let entries = self.subject.trace().entries();
        if !entries.is_empty() {
            self.fact(Topic::Verbs, no_walk(&entries));
        }
    }

    fn aliases(&self) -> Vec<(String, String)> {
        self.aliases.clone()
    }

    fn record(&mut self) -> &mut Record<Topic> {
        &mut self.record
    }
}

fn shown(sent: Sent) -> String {
    if sent.duplicate { format!("{} again", sent.seq) } else { sent.seq.to_string() }
}
