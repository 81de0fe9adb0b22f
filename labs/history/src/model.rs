//! What is known of a room: which messages must be there, and how they may look.

use chatlab_kit::{
    ids::{MessageId, RoomId, UserId},
    message::{Change, Changed, Draft, Epoch, Message, MessageKind, Position, Seq},
};

use crate::{Appended, Since};

/// What may have become of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) body: String,
    pub(crate) changed: Option<(Change, Option<UserId>)>,
}

impl Look {
    fn fits(&self, message: &Message) -> bool {
        let said = message.changed.map(|Changed { what, by, .. }| (what, by));
        self.body == message.draft.body
            && match (self.changed, said) {
                (None, None) | (Some((Change::Deleted, _)), Some((Change::Deleted, _))) => true,
                (Some(meant), Some(said)) => meant == said,
                _ => false,
            }
    }
}

/// A message that was sent.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// Its number in the history; 0 for one of a burst.
    pub(crate) m: u32,
    /// The first attempt.
    pub(crate) draft: Draft,
    /// The message id of every attempt.
    pub(crate) attempts: Vec<MessageId>,
    /// What was answered; none while nobody knows whether it was stored.
    pub(crate) stored: Option<Appended>,
    /// How it may look now; more than one after a crash.
    pub(crate) looks: Vec<Look>,
}

/// A room.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) room: RoomId,
    pub(crate) hot: u64,
    pub(crate) known: Vec<Known>,
    pub(crate) epoch: Option<Epoch>,
}

type Told = Result<(), String>;

impl Model {
    pub(crate) fn new(hot: u64) -> Self {
        Self { room: RoomId::new(), hot, known: Vec::new(), epoch: None }
    }

    /// Where message `m` is among the known.
    pub(crate) fn named(&self, m: u32) -> Option<usize> {
        self.known.iter().position(|known| known.m == m && m > 0)
    }

    /// The next attempt at message `m` by `from`.
    pub(crate) fn attempt(&mut self, m: u32, from: UserId, cid: &str, body: &str) -> Option<Draft> {
        let draft = Draft {
            room: self.room,
            id: MessageId::new(),
            from,
            cid: cid.parse().ok()?,
            kind: MessageKind::Text,
            about: None,
            reply_to: None,
            forwarded_from: None,
            body: body.to_owned(),
        };
        if let Some(i) = self.named(m) {
            self.known[i].attempts.push(draft.id);
        } else {
            let look = Look { body: body.to_owned(), changed: None };
            let attempts = vec![draft.id];
            self.known.push(Known { m, draft: draft.clone(), attempts, stored: None, looks: vec![look] });
        }
        Some(draft)
    }

    fn name(&self, i: usize) -> String {
        match self.known[i].m {
            0 => format!("message {}", self.known[i].draft.body),
            m => format!("m{m}"),
        }
    }

    fn of(&self, id: &MessageId) -> Option<usize> {
        self.known.iter().position(|known| known.attempts.contains(id))
    }

    /// The greatest sequence that was answered.
    pub(crate) fn last_seq(&self) -> Seq {
        self.known
            .iter()
            .filter_map(|known| known.stored.as_ref())
            .map(|stored| stored.seq)
            .max()
            .unwrap_or(0)
    }

    /// The oldest sequence that must still be there.
    fn first_kept(&self, head: Seq) -> Seq {
        (head + 1).saturating_sub(self.hot).max(1)
    }

    /// An append answered. `alone`: nobody else appended meanwhile.
    pub(crate) fn appended(&mut self, draft: &Draft, answer: Appended, alone: bool) -> Told {
        let Some(i) = self.of(&draft.id) else { return Ok(()) };
        let name = self.name(i);
        let epoch = self.epoch.get_or_insert_with(|| answer.epoch.clone());
        if *epoch != answer.epoch {
            return Err(format!("{name} begins a new epoch, and nothing was lost"));
        }
        if !self.known[i].attempts.contains(&answer.id) {
            return Err(format!("{name} was answered with the id of another message"));
        }
        if let Some(first) = &self.known[i].stored {
            let same = (first.seq, first.id, first.ts) == (answer.seq, answer.id, answer.ts);
            if !same || (alone && !answer.duplicate) {
                return Err(format!(
                    "the retry of {name} was answered with sequence {}{}, the first attempt with {}",
                    answer.seq,
                    if answer.duplicate { "" } else { " as a new message" },
                    first.seq
                ));
            }
            return Ok(());
        }
        let (last, maybe) =
            (self.last_seq(), self.known.iter().filter(|known| known.stored.is_none()).count());
        let next = last + 1;
        let first_try = self.known[i].attempts.len() == 1;
        if alone && first_try && answer.duplicate {
            return Err(format!("{name} is new, and was taken for a retry"));
        }
        // Each message of a crashed client may have taken one number; this one is among them.
        if alone && first_try && !(next..next + maybe as u64).contains(&answer.seq) {
            return Err(format!("{name} got sequence {} after {last}", answer.seq));
        }
        if let Some(other) =
            self.known.iter().position(|k| k.stored.as_ref().is_some_and(|s| s.seq == answer.seq))
        {
            return Err(format!("{name} and {} both have sequence {}", self.name(other), answer.seq));
        }
        self.known[i].stored = Some(answer);
        Ok(())
    }

    /// Holds one message against what is known of it, and learns from it what a crash left open.
    pub(crate) fn seen(&mut self, message: &Message) -> Told {
        let Some(i) = self.of(&message.draft.id) else {
            return Err(format!("at sequence {} there is a message that nobody sent", message.seq));
        };
        let name = self.name(i);
        let known = &mut self.known[i];
        if let Some(stored) = &known.stored {
            if stored.id != message.draft.id {
                return Err(format!("{name} is there under the id of another attempt than was answered"));
            }
            if (stored.seq, stored.ts, &stored.epoch) != (message.seq, message.ts, &message.epoch) {
                return Err(format!(
                    "{name} was appended with sequence {} at {}, and is read with {} at {}",
                    stored.seq, stored.ts, message.seq, message.ts
                ));
            }
        }
        let (first, now) = (&known.draft, &message.draft);
        if (first.room, first.from, &first.cid, first.kind) != (now.room, now.from, &now.cid, now.kind) {
            return Err(format!("{name} has another room, sender, client id or kind than it was sent with"));
        }
        let Some(look) = known.looks.iter().find(|look| look.fits(message)).cloned() else {
            let meant: Vec<_> = known.looks.iter().map(shown_look).collect();
            let is = Look {
                body: message.draft.body.clone(),
                changed: message.changed.map(|changed| (changed.what, changed.by)),
            };
            return Err(format!("{name} must be {}, and is {}", meant.join(" or "), shown_look(&is)));
        };
        known.looks = vec![look];
        if known.stored.is_none() {
            known.stored = Some(Appended {
                epoch: message.epoch.clone(),
                seq: message.seq,
                id: message.draft.id,
                ts: message.ts,
                duplicate: false,
            });
        }
        Ok(())
    }

    /// Holds a run of messages against the room: each known, in order, without a hole, from `from` to `to`.
    pub(crate) fn run_of(&mut self, messages: &[Message], from: Seq, to: Seq) -> Told {
        for message in messages {
            self.seen(message)?;
        }
        let seqs: Vec<Seq> = messages.iter().map(|message| message.seq).collect();
        if seqs == (from..=to).collect::<Vec<_>>() {
            return Ok(());
        }
        Err(format!(
            "the sequences {} were expected, and {} came",
            runs(&(from..=to).collect::<Vec<_>>()),
            runs(&seqs)
        ))
    }

    /// Holds the whole room against what is known.
    pub(crate) fn whole(&mut self, head: &Position, messages: &[Message]) -> Told {
        let last = self.last_seq();
        if head.seq < last {
            return Err(format!("the head is at sequence {}, and {last} was answered", head.seq));
        }
        self.run_of(messages, self.first_kept(head.seq), head.seq)?;
        if head.id != messages.last().map(|message| message.draft.id) {
            return Err("the head's id is not the newest message's".to_owned());
        }
        Ok(())
    }

    /// Holds the answer to a resume against the room, whose head is `head`.
    pub(crate) fn resumed(&mut self, after: &Position, answer: &Since, head: &Position) -> Told {
        let at = self.known.iter().filter_map(|known| known.stored.as_ref()).find(|s| Some(s.id) == after.id);
        let kept = self.first_kept(head.seq);
        let verified = match at {
            Some(stored) => stored.seq == after.seq && stored.epoch == after.epoch && stored.seq >= kept,
            None => after.id.is_none() && after.seq == 0 && kept == 1,
        };
        match answer {
            Since::Resync { head: told } if verified => Err(format!(
                "sequence {} is as the client saw it, and the answer is resync from {}",
                after.seq, told.seq
            )),
            Since::Resync { head: told } if told == head => Ok(()),
            Since::Resync { head: told } => {
                Err(format!("resync names sequence {} as the head, which is {}", told.seq, head.seq))
            }
            Since::Continued { messages, .. } if !verified => Err(format!(
                "the client's position {} cannot be verified, and the answer goes on with {} messages",
                after.seq,
                messages.len()
            )),
            Since::Continued { messages, more: false } => self.run_of(messages, after.seq + 1, head.seq),
            Since::Continued { more: true, .. } => {
                Err("there are said to be more, and there are not".to_owned())
            }
        }
    }
}

fn shown_look(look: &Look) -> String {
    match look.changed {
        None => format!("{:?}", look.body),
        Some((Change::Edited, _)) => format!("{:?}, edited", look.body),
        Some((Change::Deleted, _)) if look.body.is_empty() => "a tombstone".to_owned(),
        Some((Change::Deleted, _)) => format!("a tombstone that still says {:?}", look.body),
    }
}

/// Sequences for people: `3–7, 9`.
pub(crate) fn runs(seqs: &[Seq]) -> String {
    let mut parts: Vec<(Seq, Seq)> = Vec::new();
    for seq in seqs {
        match parts.last_mut() {
            Some((_, end)) if *end + 1 == *seq => *end = *seq,
            _ => parts.push((*seq, *seq)),
        }
    }
    let shown = parts.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}–{b}") });
    let text = shown.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "none".to_owned() } else { text }
}
