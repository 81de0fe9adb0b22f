//! Runs a history on a variant and holds each answer against a model of the room.

use std::sync::Arc;

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    budget::{Budget, no_walk},
    check::{self, Record, Stop, Subject, answered},
    ids::{MessageId, UserId},
    message::{Change, Draft, Epoch, Message, Position},
};

use crate::{
    Appended, History,
    model::{Look, Model},
    steps::Step,
};

mod faults;
mod reads;

/// The messages that stay in a check's rooms.
pub(crate) const HOT: u64 = 40;
/// Each call is bounded, but whoever sends them reads a whole room bit by bit.
const WHOLE_WALKS: [&str; 4] = ["SCAN", "HSCAN", "SSCAN", "ZSCAN"];

/// What an operation about a part of a room may cost.
fn part_of_a_room() -> Budget {
    Budget { linear: false, forbid: WHOLE_WALKS.map(str::to_owned).to_vec(), ..Budget::default() }
}

/// What a fact is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// The answers.
    Answers,
    /// The round trips of an append.
    Trips,
    /// The verbs that were sent.
    Verbs,
    /// What the commands cost.
    Cost,
}

/// Why a step ends early.
enum Halt {
    /// The variant answered what the port does not allow. The model does not fit any more, but what is about the commands
    /// can still be judged.
    Broken(String),
    /// The whole history ends.
    Stop(Stop),
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<LabError> for Halt {
    fn from(error: LabError) -> Self {
        Self::Stop(error.into())
    }
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
    model: Model,
    author: UserId,
    editor: UserId,
    record: Record<Topic>,
    /// The fewest round trips of an append.
    append_trips: Option<u64>,
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
            record: Record::default(),
            append_trips: None,
            sent: 0,
        }
    }

    fn line(&mut self, step: &Step, what: &str) {
        self.record.line(if what.is_empty() { step.to_string() } else { format!("{step}  → {what}") });
    }

    /// An answer was held against the model.
    fn held(&mut self, told: Result<(), String>) -> Result<(), Halt> {
        told.map_err(Halt::Broken)?;
        self.record.fact(Topic::Answers, Ok(()));
        Ok(())
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

    async fn act(&mut self, step: &Step) -> Result<(), Halt> {
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

    async fn plain(&mut self, step: &Step) -> Result<(), Halt> {
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

    async fn burst(&mut self, count: u32) -> Result<(), Halt> {
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
}

#[async_trait]
impl check::World for World<'_> {
    type Step = Step;
    type Topic = Topic;

    async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        match self.act(step).await {
            Ok(()) => Ok(()),
            Err(Halt::Broken(what)) => {
                self.record.fact(Topic::Answers, Err(what));
                Ok(())
            }
            Err(Halt::Stop(stop)) => Err(stop),
        }
    }

    fn end(&mut self) {
        if let Some(trips) = self.append_trips {
            let held = if trips <= 1 { Ok(()) } else { Err(format!("an append takes {trips} round trips")) };
            self.record.fact(Topic::Trips, held);
        }
        let sent = self.subject.trace().entries();
        if !sent.is_empty() {
            self.record.fact(Topic::Verbs, no_walk(&sent));
            self.record.fact(Topic::Cost, part_of_a_room().check(&sent));
        }
    }

    fn aliases(&self) -> Vec<(String, String)> {
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
    fn record(&mut self) -> &mut Record<Topic> {
        &mut self.record
    }
}

fn verb(call: &Call) -> &'static str {
    match call {
        Call::Append(_) => "append",
        Call::Edit(..) => "edit",
        Call::Delete(..) => "delete",
    }
}

#[cfg(test)]
mod tests {
    use chatlab_kit::redis::TraceEntry;

    use super::*;

    #[test]
    fn a_walk_through_a_whole_room_is_no_part_of_it() {
        let entries = |line: &str| {
            let command: Vec<_> = line.split(' ').map(str::to_owned).collect();
            [TraceEntry {
                at_us: 0,
                command,
                reply: String::new(),
                took_us: 1,
                round_trip: 0,
                error: false,
                conn: "w".to_owned(),
                bytes_out: 0,
                bytes_in: 0,
                push: false,
                node: String::new(),
            }]
        };
        for line in ["HSCAN k 0", "ZSCAN k 0", "SSCAN k 0", "HGETALL k", "LRANGE k 0 -1"] {
            assert!(part_of_a_room().check(&entries(line)).is_err(), "{line}");
        }
        for line in ["HGET k f", "ZRANGE k 0 9", "LRANGE k -10 -1"] {
            assert!(part_of_a_room().check(&entries(line)).is_ok(), "{line}");
        }
    }
}
