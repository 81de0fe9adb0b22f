//! What people do, and its answer against the model's.

use std::{collections::BTreeMap, fmt::Debug};

use chatlab_kit::wire::{ErrorCode, MarkRoom, Role};
use chatlab_load::client::{Ack, ClientError};
use rand::{
    Rng,
    seq::{IndexedRandom, IteratorRandom},
};
use rand_chacha::ChaCha8Rng;

use super::{
    PEOPLE,
    model::{Model, Text, Verdict},
    person::Person,
};

const EMOJIS: [&str; 3] = ["👍", "🎉", "👨‍👩‍👧‍👦"];

pub struct Acts {
    pub(super) people: Vec<Person>,
    pub(super) model: Model,
    pub(super) rng: ChaCha8Rng,
    /// Makes names of messages.
    said: usize,
    /// How often what was done, and how often refused.
    pub counts: BTreeMap<&'static str, (u32, u32)>,
}

/// The answer to a request, as the model speaks of it.
fn verdict<T>(answer: Result<T, ClientError>) -> Result<T, ErrorCode> {
    answer.map_err(|error| match error {
        ClientError::Refused { code, .. } => code,
        other => panic!("{other}"),
    })
}

impl Acts {
    pub fn new(people: Vec<Person>, model: Model, rng: ChaCha8Rng) -> Self {
        Self { people, model, rng, said: 0, counts: BTreeMap::new() }
    }

    /// Something that somebody does, about somebody.
    pub async fn deed(&mut self) {
        let (by, whom) = (self.somebody(), self.rng.random_range(0..PEOPLE));
        match self.rng.random_range(0..100) {
            0..=15 => self.say(by).await,
            16..=23 => self.edit(by).await,
            24..=28 => self.delete(by).await,
            29..=35 => self.pin(by).await,
            36..=43 => self.react(by).await,
            44..=50 => self.mark(by).await,
            51..=58 => self.role(by, whom).await,
            59..=63 => self.remove(by, whom).await,
            64..=69 => self.unban(by, whom).await,
            70..=73 => self.add(by, whom).await,
            74..=76 => self.read_only(by).await,
            77..=84 => self.join(by).await,
            85..=87 => self.storm(by, whom).await,
            88..=90 => self.block(by, whom).await,
            91..=95 => self.write_to(by, whom).await,
            96 => self.end(by, whom).await,
            _ => self.leave(by).await,
        }
        for person in &mut self.people {
            person.drain().await;
        }
    }

    /// Anybody; as often one who may do something to others.
    fn somebody(&mut self) -> usize {
        if self.rng.random_bool(0.5) {
            let may = self.model.roles.iter().filter(|(_, role)| **role > Role::Member).map(|(who, _)| *who);
            return may.choose(&mut self.rng).unwrap_or_default();
        }
        self.rng.random_range(0..PEOPLE)
    }

    /// Whether an answer is as the model says; whether it was done.
    pub(super) fn judge<T: Debug>(
        &mut self,
        what: &'static str,
        expected: Verdict,
        answer: Result<T, ClientError>,
    ) -> Option<T> {
        let answer = verdict(answer);
        let got = answer.as_ref().map(drop).map_err(|code| *code);
        assert_eq!(got, expected, "{what}: {answer:?}");
        let count = self.counts.entry(what).or_default();
        if got.is_ok() {
            count.0 += 1;
        } else {
            count.1 += 1;
        }
        answer.ok()
    }

    pub(super) fn cid(&mut self) -> String {
        self.said += 1;
        format!("c{}", self.said)
    }

    pub(super) fn listens(&self, who: usize) -> bool {
        self.people[who].at.contains_key(&self.model.room)
    }

    /// A text that is there, and its sequence.
    fn some_text(&mut self) -> Option<(u64, Text)> {
        let there = self.model.texts.iter().filter(|(_, text)| !text.deleted);
        let (seq, text) = there.choose(&mut self.rng)?;
        Some((*seq, text.clone()))
    }

    pub(super) fn wrote(&mut self, by: usize, body: String, ack: &Ack) {
        let text = Text {
            id: ack.msg,
            by,
            body,
            edited: false,
            deleted: false,
            reactions: std::collections::BTreeSet::new(),
        };
        assert!(self.model.texts.insert(ack.seq, text).is_none(), "a place given twice: {ack:?}");
    }

    pub(super) async fn say(&mut self, by: usize) {
        let (room, cid) = (self.model.room, self.cid());
        let body = format!("{cid} by {by}");
        let expected = self.model.write(by, self.listens(by));
        let answer = self.people[by].client.send(room, &cid, &body).await;
        if let Some(ack) = self.judge("say", expected, answer) {
            self.wrote(by, body, &ack);
        }
    }

    async fn edit(&mut self, by: usize) {
        let Some((seq, text)) = self.some_text() else { return };
        let (room, cid) = (self.model.room, self.cid());
        let own = if text.by == by { Ok(()) } else { Err(ErrorCode::Forbidden) };
        let expected = self.model.write(by, self.listens(by)).and(own);
        let body = format!("{cid} once more");
        let answer = self.people[by].client.edit(room, &cid, text.id, &body).await;
        if self.judge("edit", expected, answer).is_some() {
            let text = self.model.texts.get_mut(&seq).unwrap();
            (text.body, text.edited) = (body, true);
        }
    }

    async fn delete(&mut self, by: usize) {
        let Some((seq, text)) = self.some_text() else { return };
        let (room, cid) = (self.model.room, self.cid());
        let expected = self.model.delete(by, self.listens(by), &text);
        let answer = self.people[by].client.delete(room, &cid, text.id).await;
        if self.judge("delete", expected, answer).is_some() {
            let gone = self.model.texts.get_mut(&seq).unwrap();
            (gone.body, gone.deleted) = (String::new(), true);
            gone.reactions.clear();
            self.model.pins.retain(|id| *id != text.id);
        }
    }

    async fn pin(&mut self, by: usize) {
        let Some((_, text)) = self.some_text() else { return };
        let (room, cid, on) = (self.model.room, self.cid(), self.rng.random_bool(0.7));
        let expected = self.model.pin(by, self.listens(by), (&text, on));
        let answer = self.people[by].client.pin(room, &cid, text.id, on).await;
        if self.judge("pin", expected, answer).is_some() {
            self.model.pins.retain(|id| *id != text.id);
            if on {
                self.model.pins.push(text.id);
            }
        }
    }

    async fn react(&mut self, by: usize) {
        let Some((seq, text)) = self.some_text() else { return };
        let (room, cid, on) = (self.model.room, self.cid(), self.rng.random_bool(0.7));
        let emoji = *EMOJIS.choose(&mut self.rng).unwrap();
        let expected = Model::react(by, self.listens(by), &text, (emoji, on));
        let answer = self.people[by].client.react(room, &cid, text.id, (emoji, on)).await;
        if self.judge("react", expected, answer).is_some() {
            let reactions = &mut self.model.texts.get_mut(&seq).unwrap().reactions;
            if on {
                reactions.insert((emoji, by))
            } else {
                reactions.remove(&(emoji, by))
            };
        }
    }

    async fn mark(&mut self, by: usize) {
        let room = self.model.room;
        let seq = self.model.texts.keys().choose(&mut self.rng).copied();
        let answer = self.people[by].client.mark(&[MarkRoom { room, read: seq, delivered: None }]).await;
        let expected = self.model.member(by);
        if let Some(marks) = self.judge("mark", expected, answer) {
            let read = self.model.read.entry(by).or_default();
            *read = (*read).max(seq.unwrap_or_default());
            assert_eq!((marks[0].read, marks[0].unread), (*read, self.model.unread(by)), "{by}");
        }
    }

    pub async fn join(&mut self, who: usize) {
        if self.listens(who) {
            return;
        }
        let (room, resume) = (self.model.room, self.rng.random_bool(0.5));
        let expected = self.model.join(who);
        let answer = self.people[who].join(room, resume).await;
        if self.judge("join", expected, answer).is_some() {
            self.model.roles.entry(who).or_insert(Role::Member);
        }
    }

    async fn leave(&mut self, who: usize) {
        // A room has an owner.
        if who == 0 {
            return;
        }
        let room = self.model.room;
        let expected = self.model.member(who).map_err(|_| ErrorCode::NotFound);
        let answer = self.people[who].client.leave(room).await;
        if self.judge("leave", expected, answer).is_some() {
            // Everything of the room that was written before the answer has been taken note of.
            self.people[who].drain().await;
            self.people[who].out(room);
            self.model.gone(who);
        }
    }
}
