//! The fate of each message of the window, and sums that explain all of them.

use serde::{Deserialize, Serialize};

/// How the server answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// Not at all.
    #[default]
    None,
    /// With an ack: the message is stored.
    Acked,
    /// With an error that ended its retries.
    Refused,
}

/// What is known of one message. Instants on the run's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The room it was for.
    pub room: u32,
    /// When it was due.
    pub due_ns: u64,
    /// How often it was sent.
    pub tries: u32,
    /// The answer that counts.
    pub answer: Answer,
    /// When that came.
    pub answered_ns: u64,
    /// When the last subscriber that has it received it.
    pub last_ns: u64,
    /// Subscribers of its room.
    pub subscribers: u32,
    /// Of them, those that received it.
    pub reached: u32,
    /// Of those that did not, the ones that were told by `resync` to read the history instead.
    pub excused: u32,
    /// How often it is in the room's history after the run; none when that could not be read.
    pub stored: Option<u32>,
}

impl Record {
    /// When all subscribers had it; none when one never got it.
    pub fn completed_ns(&self) -> Option<u64> {
        (self.reached >= self.subscribers && self.subscribers > 0).then_some(self.last_ns)
    }

    /// When it was acknowledged.
    pub fn acked_ns(&self) -> Option<u64> {
        (self.answer == Answer::Acked).then_some(self.answered_ns)
    }

    /// Subscribers that neither received it nor were told that they miss something.
    pub fn missed(&self) -> u32 {
        self.subscribers.saturating_sub(self.reached + self.excused)
    }
}

/// The sums. Each group's parts add up to its first line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts {
    /// Messages that were due in the window.
    pub intended: u64,
    /// Of them, acknowledged.
    pub acked: u64,
    /// Of them, answered with an error, for good.
    pub refused: u64,
    /// Of them, sent and never answered.
    pub unanswered: u64,
    /// Of them, never sent.
    pub unsent: u64,
    /// Of the acknowledged, those that every subscriber received.
    pub delivered_to_all: u64,
    /// Of the acknowledged, those that every subscriber received who was not told to read the history instead.
    pub excused_by_resync: u64,
    /// Of the acknowledged, those that some subscriber missed, and that are in the history.
    pub missed_in_history: u64,
    /// Of the acknowledged, those that some subscriber missed, and that are not in the history either.
    pub missed_and_gone: u64,
    /// Of the acknowledged, those that some subscriber missed, of rooms whose history could not be read.
    pub missed_unknown: u64,
    /// Acknowledged and not in the history, delivered or not: what Redis forgot.
    pub acked_and_gone: u64,
    /// Acknowledged messages of rooms whose history could not be read.
    pub history_unknown: u64,
    /// Never acknowledged, and a subscriber received it all the same.
    pub unacked_but_delivered: u64,
    /// Never acknowledged, and it is in the history all the same.
    pub unacked_but_stored: u64,
    /// In the history more than once.
    pub stored_twice: u64,
    /// Messages that were sent more than once, under the same id.
    pub retried: u64,
    /// How often one was sent again, in all.
    pub retries: u64,
    /// Acks that said that an earlier attempt had stored it, from the warm-up on.
    pub dup_acks: u64,
    /// Subscribers that were told `resync`, from the warm-up on.
    pub resyncs: u64,
    /// Connections that broke and joined their rooms again after the last position they had seen.
    pub resumed: u64,
    /// Connections that broke and could not join again.
    pub not_resumed: u64,
    /// Acks that the generator's threads counted one by one, to hold against `acked`.
    pub acked_counted: u64,
    /// Sends that they counted, to hold against `intended` − `unsent`.
    pub sent_counted: u64,
}

impl Accounts {
    /// Adds up the records; what records don't tell is left at 0.
    pub fn of(records: &[Record]) -> Self {
        let mut sums = Self::default();
        for record in records {
            sums.add(record);
        }
        sums
    }

    fn add(&mut self, record: &Record) {
        self.intended += 1;
        self.retried += u64::from(record.tries > 1);
        self.retries += u64::from(record.tries.saturating_sub(1));
        self.stored_twice += u64::from(record.stored.is_some_and(|times| times > 1));
        match record.answer {
            Answer::Acked => self.acked += 1,
            Answer::Refused => self.refused += 1,
            Answer::None if record.tries > 0 => self.unanswered += 1,
            Answer::None => self.unsent += 1,
        }
        if record.answer != Answer::Acked {
            self.unacked_but_delivered += u64::from(record.reached > 0);
            self.unacked_but_stored += u64::from(record.stored.is_some_and(|times| times > 0));
            return;
        }
        match record.stored {
            Some(0) => self.acked_and_gone += 1,
            Some(_) => {}
            None => self.history_unknown += 1,
        }
        if record.reached >= record.subscribers {
            self.delivered_to_all += 1;
        } else if record.missed() == 0 {
            self.excused_by_resync += 1;
        } else {
            match record.stored {
                Some(0) => self.missed_and_gone += 1,
                Some(_) => self.missed_in_history += 1,
                None => self.missed_unknown += 1,
            }
        }
    }

    /// Acknowledged messages that some subscriber missed without being told.
    pub fn missed(&self) -> u64 {
        self.missed_in_history + self.missed_and_gone + self.missed_unknown
    }

    /// By how many messages the sums differ from each other and from what the generator's threads counted.
    pub fn unaccounted(&self) -> u64 {
        let answered = self.acked + self.refused + self.unanswered;
        let fates = self.delivered_to_all + self.excused_by_resync + self.missed();
        let differences = [
            self.intended.abs_diff(answered + self.unsent),
            self.acked.abs_diff(fates),
            self.acked_counted.abs_diff(self.acked),
            self.sent_counted.abs_diff(answered),
        ];
        differences.into_iter().max().unwrap_or(0).min(self.intended)
    }

    /// Whether the sums add up, and are what the generator's threads counted.
    pub fn explained(&self) -> bool {
        self.unaccounted() == 0
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Acknowledged and with all ten subscribers after 2 ms, in the history.
    pub(crate) fn good(room: u32, due_ns: u64) -> Record {
        let done = due_ns + 2_000_000;
        Record {
            room,
            due_ns,
            tries: 1,
            answer: Answer::Acked,
            answered_ns: done,
            last_ns: done,
            subscribers: 10,
            reached: 10,
            excused: 0,
            stored: Some(1),
        }
    }

    #[test]
    fn every_message_is_in_one_line_of_each_group() {
        let good = good(0, 0);
        let records = [
            good,
            Record { tries: 3, stored: Some(2), ..good },
            Record { reached: 9, excused: 1, ..good },
            Record { reached: 8, excused: 1, ..good },
            Record { reached: 0, stored: Some(0), ..good },
            Record { reached: 10, stored: Some(0), ..good },
            Record { reached: 4, stored: None, ..good },
            Record { answer: Answer::Refused, reached: 0, stored: Some(0), ..good },
            Record { answer: Answer::None, reached: 2, ..good },
            Record { answer: Answer::None, tries: 0, reached: 0, stored: Some(0), ..good },
        ];
        let sums = Accounts { acked_counted: 7, sent_counted: 9, ..Accounts::of(&records) };
        assert_eq!((sums.intended, sums.acked, sums.refused, sums.unanswered, sums.unsent), (10, 7, 1, 1, 1));
        assert_eq!((sums.delivered_to_all, sums.excused_by_resync), (3, 1));
        assert_eq!((sums.missed_in_history, sums.missed_and_gone, sums.missed_unknown), (1, 1, 1));
        assert_eq!((sums.acked_and_gone, sums.history_unknown, sums.missed()), (2, 1, 3));
        assert_eq!((sums.unacked_but_delivered, sums.unacked_but_stored), (1, 1));
        assert_eq!((sums.stored_twice, sums.retried, sums.retries), (1, 1, 2));
        assert!(sums.explained());
    }

    #[test]
    fn sums_that_differ_from_what_was_counted_explain_nothing() {
        let sums = Accounts { acked_counted: 2, sent_counted: 2, ..Accounts::of(&[good(0, 0); 2]) };
        assert!(sums.explained());
        assert!(!Accounts { acked_counted: 3, ..sums }.explained());
        assert!(!Accounts { sent_counted: 1, ..sums }.explained());
        assert!(!Accounts { excused_by_resync: 1, ..sums }.explained());
    }
}
