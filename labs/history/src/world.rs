//! Runs a history on a variant, and stops at the first answer that the port does not allow.

use std::collections::BTreeMap;
use std::sync::Arc;

use chatlab_kit::{
    LabError, LabResult,
    check::{Finding, Subject},
    ids::{MessageId, UserId},
    message::{Change, Draft, Epoch, Message, Position, Seq},
    redis::Redis,
};

use crate::{
    Appended, History,
    model::{Look, Model},
    steps::{Resume, Step},
};

mod faults;

/// The messages that stay in a check's rooms.
pub(crate) const HOT: u64 = 40;
/// The size of the pages in which a room is read.
const READ_PAGE: usize = 7;
/// The most pages of one walk.
const PAGES_MAX: usize = 200;
/// How many elements more than [`HOT`] a key may hold.
const SLACK: u64 = 16;

/// Why a history ends before its last step.
pub(crate) enum Stop {
    /// The variant answered what the port does not allow.
    Broken(String),
    /// The variant answered with an error.
    Variant(Finding),
    /// The checker or the machine failed.
    Checker(LabError),
}

impl From<LabError> for Stop {
    fn from(error: LabError) -> Self {
        Self::Checker(error)
    }
}

impl From<String> for Stop {
    fn from(what: String) -> Self {
        Self::Broken(what)
    }
}

/// What `operation` answered; an error ends the history.
fn answered<T>(operation: &'static str, answer: LabResult<T>) -> Result<T, Stop> {
    answer.map_err(|error| Finding::of_error(operation, error).map_or_else(Stop::Checker, Stop::Variant))
}

/// A call whose client may crash or be overtaken.
enum Call {
    Append(Draft),
    Edit(usize, MessageId, String),
    Delete(usize, MessageId),
}

/// What it answered.
enum Answer {
    Appended(Appended),
    Changed(Option<Message>),
}

/// A room and the variant's clients.
pub(crate) struct World<'a> {
    subject: &'a Subject<'a, dyn History>,
    client: Arc<dyn History>,
    pub(crate) model: Model,
    author: UserId,
    editor: UserId,
    /// What happened, a step a line.
    pub(crate) lines: Vec<String>,
    /// Crashes and races that really happened.
    pub(crate) faults: u32,
    /// Answers that were held against the model.
    pub(crate) facts: u32,
    /// The fewest round trips of an append.
    pub(crate) append_trips: Option<u64>,
    sent: u32,
}

impl<'a> World<'a> {
    pub(crate) fn new(subject: &'a Subject<'a, dyn History>) -> Self {
        Self {
            client: subject.client("A"),
            subject,
            model: Model::new(HOT),
            author: UserId::new(),
            editor: UserId::new(),
            lines: Vec::new(),
            faults: 0,
            facts: 0,
            append_trips: None,
            sent: 0,
        }
    }

    fn line(&mut self, step: &Step, what: &str) {
        self.lines.push(if what.is_empty() { step.to_string() } else { format!("{step}  → {what}") });
    }

    fn held(&mut self, told: Result<(), String>) -> Result<(), Stop> {
        self.facts += 1;
        told.map_err(Stop::Broken)
    }

    /// The draft of the next attempt that a step stands for.
    fn draft(&mut self, step: &Step) -> Option<Draft> {
        match step {
            Step::Send { m, body } if self.model.named(*m).is_none() => {
                self.model.attempt(*m, self.author, &format!("c{m}"), body)
            }
            Step::Retry { m } => {
                let first = self.model.known[self.model.named(*m)?].draft.clone();
                self.model.attempt(*m, first.from, first.cid.as_str(), &first.body)
            }
            Step::SameCid { m, of } if self.model.named(*m).is_none() => {
                let cid = self.model.known[self.model.named(*of)?].draft.cid.clone();
                self.model.attempt(*m, UserId::new(), cid.as_str(), &format!("text {m}"))
            }
            _ => None,
        }
    }

    /// The call that a step stands for; none for steps about a message that is not there.
    fn call(&mut self, step: &Step) -> Option<Call> {
        let id = |m: &u32| {
            let i = self.model.named(*m)?;
            Some((i, self.model.known[i].stored.as_ref()?.id))
        };
        match step {
            Step::Edit { m, body } => id(m).map(|(i, id)| Call::Edit(i, id, body.clone())),
            Step::Delete { m } => id(m).map(|(i, id)| Call::Delete(i, id)),
            other => self.draft(other).map(Call::Append),
        }
    }

    async fn send(&self, client: &dyn History, call: &Call) -> LabResult<Answer> {
        let room = self.model.room;
        Ok(match call {
            Call::Append(draft) => Answer::Appended(client.append(draft).await?),
            Call::Edit(_, id, body) => Answer::Changed(client.edit(&room, id, &self.editor, body).await?),
            Call::Delete(_, id) => Answer::Changed(client.delete(&room, id).await?),
        })
    }

    /// Runs one step.
    pub(crate) async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        match step {
            Step::Send { .. }
            | Step::Retry { .. }
            | Step::SameCid { .. }
            | Step::Edit { .. }
            | Step::Delete { .. } => self.plain(step).await,
            Step::Burst { count } => {
                self.line(step, "");
                self.burst(*count).await
            }
            Step::Read => {
                let (head, messages) = self.read().await?;
                self.line(step, &format!("head {}, {} messages", head.seq, messages.len()));
                let told = self.model.whole(&head, &messages);
                self.held(told)
            }
            Step::Walk { sizes, meanwhile } => self.walk(step, sizes, *meanwhile).await,
            Step::Since { m, how } => self.since(step, *m, *how).await,
            Step::SinceStart => {
                let epoch = self.model.epoch.clone().unwrap_or_else(|| Epoch(String::new()));
                self.resume(step, Position { epoch, seq: 0, id: None }).await
            }
            Step::ChangeNone => self.change_none(step).await,
            Step::Crash { step, commands } => self.crash(step, *commands).await,
            Step::Race { first, commands, second } => self.race(first, *commands, second).await,
            Step::Size => self.size(step).await,
        }
    }

    async fn plain(&mut self, step: &Step) -> Result<(), Stop> {
        let Some(call) = self.call(step) else { return Ok(()) };
        let trips_before = self.subject.trace().round_trips();
        let answer = self.send(&*self.client, &call).await;
        let trips = self.subject.trace().round_trips() - trips_before;
        let what = match &answer {
            Ok(Answer::Appended(a)) if a.duplicate => format!("sequence {}, was there", a.seq),
            Ok(Answer::Appended(a)) => format!("sequence {}", a.seq),
            Ok(Answer::Changed(Some(message))) => format!("{:?} at {}", message.draft.body, message.seq),
            Ok(Answer::Changed(None)) => "not there".to_owned(),
            Err(error) => error.to_string(),
        };
        self.line(step, &what);
        match (&call, answered(verb(&call), answer)?) {
            (Call::Append(draft), Answer::Appended(appended)) => {
                // A retry may well be cheaper; the first call of a script may have to load it.
                if matches!(step, Step::Send { .. }) {
                    self.append_trips = Some(self.append_trips.map_or(trips, |least| least.min(trips)));
                }
                let told = self.model.appended(draft, appended, true);
                self.held(told)
            }
            (Call::Edit(i, ..) | Call::Delete(i, _), Answer::Changed(answer)) => {
                let told = self.changed(&call, *i, answer);
                self.held(told)
            }
            _ => Ok(()),
        }
    }

    /// How message `i` looks after `call`, if it looked like `look`.
    fn look_after(&self, call: &Call, look: &Look) -> Look {
        match call {
            _ if matches!(look.changed, Some((Change::Deleted, _))) => look.clone(),
            Call::Edit(_, _, body) => {
                Look { body: body.clone(), changed: Some((Change::Edited, Some(self.editor))) }
            }
            Call::Delete(..) => Look { body: String::new(), changed: Some((Change::Deleted, None)) },
            Call::Append(_) => look.clone(),
        }
    }

    fn changed(&mut self, call: &Call, i: usize, answer: Option<Message>) -> Result<(), String> {
        let known = &self.model.known[i];
        let is_gone = |look: &Look| matches!(look.changed, Some((Change::Deleted, _)));
        let kept = known.stored.as_ref().is_some_and(|s| s.seq + self.model.hot > self.model.last_seq());
        let none_is_right = !kept || (matches!(call, Call::Edit(..)) && known.looks.iter().all(is_gone));
        let after = known.looks.iter().map(|look| self.look_after(call, look)).collect();
        match answer {
            None if none_is_right => Ok(()),
            None => Err(format!("m{} is there, and the answer is that it is not", known.m)),
            Some(_) if none_is_right => {
                Err(format!("m{} is deleted or trimmed, and was changed all the same", known.m))
            }
            Some(message) => {
                self.model.known[i].looks = after;
                self.model.seen(&message)
            }
        }
    }

    async fn burst(&mut self, count: u32) -> Result<(), Stop> {
        for _ in 0..count {
            self.sent += 1;
            let n = self.sent;
            let Some(draft) = self.model.attempt(0, self.author, &format!("b{n}"), &format!("b{n}")) else {
                continue;
            };
            let appended = answered("append", self.client.append(&draft).await)?;
            let told = self.model.appended(&draft, appended, true);
            self.held(told)?;
        }
        Ok(())
    }

    /// The head, and everything in pages.
    async fn read(&self) -> Result<(Position, Vec<Message>), Stop> {
        let room = self.model.room;
        let head = answered("head", self.client.head(&room).await)?;
        let mut all: Vec<Message> = Vec::new();
        for _ in 0..PAGES_MAX {
            let before = all.first().map(|message| message.seq);
            let page = answered("page", self.client.page(&room, before, READ_PAGE).await)?;
            if page.is_empty() || all.len() > 4 * HOT as usize {
                break;
            }
            all.splice(0..0, page);
        }
        Ok((head, all))
    }

    async fn walk(&mut self, step: &Step, sizes: &[usize], meanwhile: u32) -> Result<(), Stop> {
        let room = self.model.room;
        let newest = self.model.last_seq();
        let mut seen: Vec<Message> = Vec::new();
        let mut pages: Vec<Seq> = Vec::new();
        for n in 0..PAGES_MAX {
            let Some(limit) = sizes.get(n).or(sizes.last()).copied() else { return Ok(()) };
            let before = seen.first().map(|message| message.seq);
            let page = answered("page", self.client.page(&room, before, limit).await)?;
            if page.is_empty() {
                break;
            }
            pages.extend(page.iter().rev().map(|message| message.seq));
            if page.len() > limit {
                self.line(step, &format!("a page of {}", page.len()));
                return Err(format!("a page of {limit} has {} messages", page.len()).into());
            }
            seen.splice(0..0, page);
            if n < 3 {
                self.burst(meanwhile).await?;
            }
        }
        self.line(step, &format!("{} messages", seen.len()));
        pages.reverse();
        let told = self.model.run_of(&seen, 1.max((newest + 1).saturating_sub(HOT)), newest);
        self.held(told.map_err(|why| format!("walking back in pages: {why}")))
    }

    async fn since(&mut self, step: &Step, m: u32, how: Resume) -> Result<(), Stop> {
        let stored = self.model.named(m).and_then(|i| self.model.known[i].stored.clone());
        let Some(stored) = stored else { return Ok(()) };
        let right = Position { epoch: stored.epoch, seq: stored.seq, id: Some(stored.id) };
        let position = match how {
            Resume::Right => right,
            Resume::WrongId => Position { id: Some(MessageId::new()), ..right },
            Resume::WrongEpoch => Position { epoch: Epoch("another".to_owned()), ..right },
            Resume::Ahead => Position { seq: self.model.last_seq() + 3, ..right },
        };
        self.resume(step, position).await
    }

    async fn resume(&mut self, step: &Step, position: Position) -> Result<(), Stop> {
        let room = self.model.room;
        let head = answered("head", self.client.head(&room).await)?;
        let answer = answered("since", self.client.since(&room, &position).await)?;
        let what = match &answer {
            crate::Since::Resync { .. } => "resync".to_owned(),
            crate::Since::Continued { messages, .. } => {
                let seqs: Vec<Seq> = messages.iter().map(|message| message.seq).collect();
                format!("sequences {}", crate::model::runs(&seqs))
            }
        };
        self.line(step, &what);
        let told = self.model.resumed(&position, &answer, &head);
        self.held(told)
    }

    async fn change_none(&mut self, step: &Step) -> Result<(), Stop> {
        let (room, id) = (self.model.room, MessageId::new());
        let edited = answered("edit", self.client.edit(&room, &id, &self.editor, "nothing").await)?;
        let deleted = answered("delete", self.client.delete(&room, &id).await)?;
        self.line(step, "");
        let held = edited.is_none() && deleted.is_none();
        self.held(if held { Ok(()) } else { Err("a message that never was has been changed".to_owned()) })
    }

    async fn size(&mut self, step: &Step) -> Result<(), Stop> {
        let sizes = sizes(&self.subject.probe(), &self.model.room.to_string()).await?;
        let (most, over) = sizes.iter().fold((0, None), |(most, over), (key, size)| {
            (most.max(*size), if *size > HOT + SLACK { Some((key, size)) } else { over })
        });
        self.line(step, &format!("at most {most} elements in a key"));
        let told = match over {
            None => Ok(()),
            Some((key, size)) => Err(format!("{key} holds {size} elements, {HOT} messages are to stay")),
        };
        self.held(told)
    }

    /// Long names, and what reports show in their place.
    pub(crate) fn aliases(&self) -> Vec<(String, String)> {
        let mut aliases = vec![
            (self.model.room.to_string(), "ROOM".to_owned()),
            (self.author.to_string(), "AUTHOR".to_owned()),
            (self.editor.to_string(), "EDITOR".to_owned()),
        ];
        for known in &self.model.known {
            for (n, id) in known.attempts.iter().enumerate() {
                let name = if known.m == 0 { known.draft.body.clone() } else { format!("m{}", known.m) };
                let name = if n == 0 { name } else { format!("{name}′") };
                aliases.push((id.to_string(), format!("ID-{name}")));
                aliases.push((id.0.as_simple().to_string(), format!("EPOCH-{name}")));
            }
        }
        aliases
    }
}

fn verb(call: &Call) -> &'static str {
    match call {
        Call::Append(_) => "append",
        Call::Edit(..) => "edit",
        Call::Delete(..) => "delete",
    }
}

/// The keys whose names hold `room`, and the elements in each; strings are left out, they expire.
async fn sizes(redis: &Redis, room: &str) -> LabResult<BTreeMap<String, u64>> {
    let masters = redis.primaries().await?;
    let mut sizes = BTreeMap::new();
    for (address, mut node) in redis.each_node().await? {
        if !masters.contains(&address) {
            continue;
        }
        let mut cursor = 0_u64;
        loop {
            let (next, keys): (u64, Vec<String>) = redis::cmd("SCAN")
                .arg(cursor)
                .arg("MATCH")
                .arg(format!("*{room}*"))
                .arg("COUNT")
                .arg(1_000)
                .query_async(&mut node)
                .await?;
            for key in keys {
                let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut node).await?;
                let verb = match kind.as_str() {
                    "list" => "LLEN",
                    "hash" => "HLEN",
                    "set" => "SCARD",
                    "zset" => "ZCARD",
                    "stream" => "XLEN",
                    _ => continue,
                };
                let size: u64 = redis::cmd(verb).arg(&key).query_async(&mut node).await?;
                sizes.insert(key, size);
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
    }
    Ok(sizes)
}
