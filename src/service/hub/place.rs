//! How places in a room's order relate.

use std::collections::VecDeque;

use chatlab_kit::{ids::MessageId, message::Position};

/// Of as many messages, the latest, it is remembered which they were.
const MAX_RECENT: usize = 128;

/// Whether two positions are of one run of numbers; the place before the first message is of every run.
pub(super) fn same_run(a: &Position, b: &Position) -> bool {
    a.epoch == b.epoch || (a.seq == 0 && a.epoch.0.is_empty()) || (b.seq == 0 && b.epoch.0.is_empty())
}

/// Whether a stream that begins with `first` leaves no hole after `last`.
pub(super) fn follows_or_before(last: &Position, first: &Position) -> bool {
    same_run(last, first) && first.seq <= last.seq + 1
}

/// What an announced message means to someone who stands at `position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Seen already.
    Old,
    /// The next one.
    Next,
    /// Something is missing before it, or it is of another run.
    Hole,
}

/// Classifies a message by its run and sequence.
pub fn arrival(position: &Position, epoch: &str, seq: u64) -> Arrival {
    let fresh = position.seq == 0 && position.epoch.0.is_empty();
    if position.epoch.0 != epoch && !fresh {
        return Arrival::Hole;
    }
    match seq {
        _ if seq <= position.seq => Arrival::Old,
        _ if seq == position.seq + 1 => Arrival::Next,
        _ => Arrival::Hole,
    }
}

/// Which messages were at the latest places. A number alone does not tell: who lost the end of a room gives its numbers once more.
pub(super) struct Recent(VecDeque<(u64, MessageId)>);

impl Recent {
    /// Nothing but the message at a position.
    pub(super) fn at(position: &Position) -> Self {
        let mut recent = Self(VecDeque::new());
        recent.add(position);
        recent
    }

    /// One more place, if there is a message at it.
    pub(super) fn add(&mut self, position: &Position) {
        let Some(id) = position.id else { return };
        if self.0.len() == MAX_RECENT {
            self.0.pop_front();
        }
        self.0.push_back((position.seq, id));
    }

    /// Whether this very message was there; none where that is not remembered.
    pub(super) fn had(&self, seq: u64, id: MessageId) -> Option<bool> {
        let place = self.0.iter().rev().find(|place| place.0 == seq)?;
        Some(place.1 == id)
    }
}

#[cfg(test)]
mod tests {
    use chatlab_kit::message::Epoch;

    use super::*;

    fn at(epoch: &str, seq: u64) -> Position {
        Position { epoch: Epoch(epoch.into()), seq, id: (seq > 0).then(MessageId::new) }
    }

    #[test]
    fn arrivals_are_old_next_or_leave_a_hole() {
        let cases = [
            (at("e", 5), "e", 5, Arrival::Old),
            (at("e", 5), "e", 6, Arrival::Next),
            (at("e", 5), "e", 7, Arrival::Hole),
            (at("e", 5), "f", 6, Arrival::Hole),
            (at("", 0), "f", 1, Arrival::Next),
            (at("", 0), "f", 2, Arrival::Hole),
        ];
        for (position, epoch, seq, expected) in cases {
            assert_eq!(arrival(&position, epoch, seq), expected, "{position:?} {epoch} {seq}");
        }
    }

    #[test]
    fn a_number_is_known_by_its_message_and_for_a_while() {
        let first = at("e", 1);
        let mut recent = Recent::at(&first);
        assert_eq!(recent.had(1, first.id.unwrap()), Some(true));
        assert_eq!(recent.had(1, MessageId::new()), Some(false), "the number was given again");
        assert_eq!(recent.had(2, first.id.unwrap()), None);
        let later: Vec<_> = (2..).map(|seq| at("e", seq)).take(MAX_RECENT).collect();
        later.iter().for_each(|position| recent.add(position));
        assert!(later.iter().all(|position| recent.had(position.seq, position.id.unwrap()) == Some(true)));
        assert_eq!(recent.had(1, first.id.unwrap()), None, "kept for ever");
    }
}
