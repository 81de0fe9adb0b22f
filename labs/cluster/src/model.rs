//! What the port promises, as a machine: every state that the rooms may be in, and the answers that each allows.

use std::collections::BTreeMap;

use crate::history::{Answer, Call};
use crate::{Freshness, Message, Receipt, View};

/// One room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) seq: u64,
    messages: BTreeMap<u64, String>,
}

/// All rooms, and what was moved: origin room, sequence, target room, and the sequence there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) rooms: Vec<Room>,
    moved: BTreeMap<(usize, u64, usize), u64>,
}

impl State {
    pub(crate) fn new(rooms: usize) -> Self {
        Self { rooms: vec![Room::default(); rooms], moved: BTreeMap::new() }
    }

    fn append(&mut self, room: usize, text: &str) -> u64 {
        let room = &mut self.rooms[room];
        room.seq += 1;
        room.messages.insert(room.seq, text.to_owned());
        room.seq
    }

    fn view(&self, room: usize) -> View {
        let Room { seq, messages } = &self.rooms[room];
        let messages = messages.iter().map(|(seq, text)| Message { seq: *seq, text: text.clone() });
        View { seq: *seq, messages: messages.collect() }
    }

    /// The first half of a move: the message is in both rooms.
    fn copy(&mut self, from: usize, seq: u64, to: usize) -> Option<u64> {
        if let Some(there) = self.moved.get(&(from, seq, to)) {
            return Some(*there);
        }
        let text = self.rooms[from].messages.get(&seq)?.clone();
        let there = self.append(to, &text);
        self.moved.insert((from, seq, to), there);
        Some(there)
    }

    /// Does what the call asks; what it must answer.
    pub(crate) fn apply(&mut self, call: &Call) -> Answer {
        match call {
            Call::Append { room, text } => Answer::Seq(self.append(*room, text)),
            Call::Replicated { room, text, .. } => {
                Answer::Receipt(Receipt { seq: self.append(*room, text), replicated: true })
            }
            Call::Read { room, .. } => Answer::View(self.view(*room)),
            Call::Heads => Answer::Heads(self.rooms.iter().map(|room| room.seq).collect()),
            Call::Move { from, seq, to } => {
                let there = self.copy(*from, *seq, *to);
                if there.is_some() {
                    self.rooms[*from].messages.remove(seq);
                }
                Answer::Moved(there)
            }
        }
    }

    /// What may be so after a client died in the middle of the call: each prefix that the port allows.
    pub(crate) fn after_crash(&self, call: &Call) -> Vec<Self> {
        let mut done = self.clone();
        done.apply(call);
        let mut all = vec![self.clone(), done];
        if let Call::Move { from, seq, to } = call {
            let mut copied = self.clone();
            copied.copy(*from, *seq, *to);
            all.push(copied);
        }
        all
    }
}

/// Whether `given` is an answer that the call allows where the model says `expected`. Whether a receipt may say
/// `replicated` is judged by what the servers said, not here.
pub(crate) fn allowed(call: &Call, expected: &Answer, given: &Answer) -> bool {
    match (call, expected, given) {
        (_, Answer::Receipt(expected), Answer::Receipt(given)) => expected.seq == given.seq,
        (
            Call::Read { freshness: Freshness::AtLeast(seen), .. },
            Answer::View(expected),
            Answer::View(given),
        ) => {
            // An older view: it may still show what was moved away since, and lacks what came later.
            let newer = |seq| seq > given.seq;
            (*seen..=expected.seq).contains(&given.seq)
                && expected.messages.iter().all(|m| newer(m.seq) || given.messages.contains(m))
        }
        (_, expected, given) => expected == given,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_in_neither_room_is_no_state_of_a_crashed_move() {
        let mut state = State::new(2);
        state.apply(&Call::Append { room: 0, text: "a".into() });
        let crashed = state.after_crash(&Call::Move { from: 0, seq: 1, to: 1 });
        assert_eq!(crashed.len(), 3);
        let somewhere = |state: &State| state.rooms.iter().any(|room| !room.messages.is_empty());
        assert!(crashed.iter().all(somewhere));
        // The retry of each completes it, once.
        for mut state in crashed {
            let again = state.apply(&Call::Move { from: 0, seq: 1, to: 1 });
            assert_eq!(again, Answer::Moved(Some(1)));
            assert_eq!(state.rooms[1].messages.len(), 1);
            assert!(state.rooms[0].messages.is_empty());
        }
    }

    #[test]
    fn an_older_view_is_allowed_down_to_what_was_seen() {
        let mut state = State::new(1);
        for text in ["a", "b", "c"] {
            state.apply(&Call::Append { room: 0, text: text.into() });
        }
        let expected = Answer::View(state.view(0));
        let mut older = state.view(0);
        older.seq = 2;
        older.messages.pop();
        let read = |seen| Call::Read { room: 0, freshness: Freshness::AtLeast(seen) };
        assert!(allowed(&read(2), &expected, &Answer::View(older.clone())));
        assert!(!allowed(&read(3), &expected, &Answer::View(older.clone())));
        older.messages.pop();
        assert!(!allowed(&read(2), &expected, &Answer::View(older)), "a hole below its own newest");
    }
}
