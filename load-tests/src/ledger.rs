//! Who received what: a ledger for every subscriber of every room.
//!
//! Memory: a subscription that receives everything in order holds one range of sequences,
//! 16 bytes beside its fixed 64; each hole that is open adds one range. A set holds at most
//! [`MAX_RANGES`], and all sets of one ledger together at most [`MAX_ALL_RANGES`]; beyond it the sequence
//! is not recorded but counted in `overflowed`, which no valid run has. 10,000 healthy subscriptions
//! are about 1 MB; however bad the run, a ledger stays below 40 MB beside its fixed part.

use serde::{Deserialize, Serialize};

pub use crate::ranges::{MAX_RANGES, RangeSet};

/// The most ranges in all sets of one ledger: 16 MB, and up to twice that while vectors grow.
pub const MAX_ALL_RANGES: usize = 1_000_000;

/// What a delivery turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// New, and over every earlier sequence.
    Fresh,
    /// New, but a higher sequence came before.
    Late,
    /// Received before, or from before the subscription.
    Duplicate,
    /// Under another epoch than the room's.
    OtherEpoch,
}

/// The totals over all subscriptions; all zero but `delivered` in a good run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Deliveries of a message to a subscriber that had not received it.
    pub delivered: u64,
    /// Messages that were acknowledged or that another subscriber of the room received, and
    /// that a subscriber never did, counted for each subscriber.
    pub lost: u64,
    /// Deliveries of what the subscriber had received already.
    pub duplicated: u64,
    /// Deliveries after one with a higher sequence.
    pub reordered: u64,
    /// Bodies whose checksum does not match.
    pub corrupt: u64,
    /// Deliveries to a connection that is not in the room, or of another room's message.
    pub misrouted: u64,
    /// Sent messages that were stored under two sequences.
    pub stored_twice: u64,
    /// Sequences below a room's highest that nobody saw and no ack named.
    pub holes: u64,
    /// Deliveries and acks under another epoch than the one at the join.
    pub epoch_changes: u64,
    /// Well-formed messages that this run did not send.
    pub foreign: u64,
    /// Sequences that a full set could not record.
    pub overflowed: u64,
}

impl Totals {
    /// How much went wrong, of every kind that concerns this run's messages.
    pub fn faults(&self) -> u64 {
        self.lost
            + self.duplicated
            + self.reordered
            + self.corrupt
            + self.misrouted
            + self.stored_twice
            + self.holes
            + self.epoch_changes
            + self.overflowed
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Room {
    epoch: Option<Box<str>>,
    known: RangeSet,
    lowest_base: Option<u64>,
}

impl Room {
    fn is_epoch(&mut self, epoch: &str) -> bool {
        match &self.epoch {
            Some(known) => **known == *epoch,
            None => {
                self.epoch = Some(epoch.into());
                true
            }
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Subscription {
    room: u32,
    base: u64,
    received: RangeSet,
}

/// The ledger of one generator thread; ledgers of several are merged before they are settled.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ledger {
    rooms: Vec<Room>,
    subscriptions: Vec<Subscription>,
    /// Ranges that may still be opened.
    spare: usize,
    /// What is counted while the run goes on; `lost` and `holes` come from [`Ledger::settle`].
    pub counts: Totals,
}

impl Ledger {
    /// An empty ledger for rooms `0..rooms`.
    pub fn new(rooms: usize) -> Self {
        Self {
            rooms: vec![Room::default(); rooms],
            subscriptions: Vec::new(),
            spare: MAX_ALL_RANGES,
            counts: Totals::default(),
        }
    }

    /// Opens a subscription to a room whose history stands at `base`; its number is returned.
    /// A room without messages has no epoch yet (none, or empty): its first message brings it.
    pub fn subscribe(&mut self, room: u32, epoch: Option<&str>, base: u64) -> usize {
        if let Some(entry) = self.rooms.get_mut(room as usize) {
            if epoch.is_some_and(|epoch| !epoch.is_empty() && !entry.is_epoch(epoch)) {
                self.counts.epoch_changes += 1;
            }
            entry.lowest_base = Some(entry.lowest_base.map_or(base, |low| low.min(base)));
        }
        self.subscriptions.push(Subscription { room, base, received: RangeSet::default() });
        self.subscriptions.len() - 1
    }

    /// Notes a delivery to a subscription.
    pub fn deliver(&mut self, subscription: usize, epoch: &str, seq: u64) -> Seen {
        let Some(sub) = self.subscriptions.get_mut(subscription) else {
            self.counts.misrouted += 1;
            return Seen::Duplicate;
        };
        if !self.rooms[sub.room as usize].is_epoch(epoch) {
            self.counts.epoch_changes += 1;
            return Seen::OtherEpoch;
        }
        let highest = sub.received.highest();
        if seq <= sub.base || !sub.received.insert_within(seq, &mut self.spare) {
            self.counts.duplicated += 1;
            return Seen::Duplicate;
        }
        self.counts.delivered += 1;
        if seq < highest {
            self.counts.reordered += 1;
            return Seen::Late;
        }
        Seen::Fresh
    }

    /// The same where sequences were given by the generator, as it sent: messages of several senders may overtake each other, and
    /// what is new is [`Seen::Fresh`] whatever came before.
    pub fn deliver_any_order(&mut self, subscription: usize, epoch: &str, seq: u64) -> Seen {
        let reordered = self.counts.reordered;
        match self.deliver(subscription, epoch, seq) {
            Seen::Late => {
                self.counts.reordered = reordered;
                Seen::Fresh
            }
            seen => seen,
        }
    }

    /// Notes that the server acknowledged a message: each subscriber must receive it.
    pub fn acknowledge(&mut self, room: u32, epoch: &str, seq: u64) {
        if let Some(entry) = self.rooms.get_mut(room as usize) {
            if entry.is_epoch(epoch) {
                entry.known.insert_within(seq, &mut self.spare);
            } else {
                self.counts.epoch_changes += 1;
            }
        }
    }

    /// Takes over another thread's ledger of the same rooms.
    pub fn merge(&mut self, other: Self) {
        for (mine, theirs) in self.rooms.iter_mut().zip(other.rooms) {
            if let Some(epoch) = &theirs.epoch
                && !mine.is_epoch(epoch)
            {
                self.counts.epoch_changes += 1;
            }
            mine.known.merge(&theirs.known);
            mine.lowest_base = match (mine.lowest_base, theirs.lowest_base) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        self.subscriptions.extend(other.subscriptions);
        let (a, b) = (&mut self.counts, other.counts);
        a.delivered += b.delivered;
        a.duplicated += b.duplicated;
        a.reordered += b.reordered;
        a.corrupt += b.corrupt;
        a.misrouted += b.misrouted;
        a.stored_twice += b.stored_twice;
        a.epoch_changes += b.epoch_changes;
        a.foreign += b.foreign;
        a.overflowed += b.overflowed;
    }

    /// Closes the books: what each room is known to hold, against what each subscriber received.
    pub fn settle(mut self) -> Totals {
        let mut received: Vec<Vec<&RangeSet>> = vec![Vec::new(); self.rooms.len()];
        for sub in &self.subscriptions {
            received[sub.room as usize].push(&sub.received);
        }
        for (room, received) in self.rooms.iter_mut().zip(received) {
            room.known.merge_all(received.into_iter());
        }
        let mut totals = self.counts;
        for sub in &self.subscriptions {
            let known = self.rooms[sub.room as usize].known.count_over(sub.base);
            totals.lost += known.saturating_sub(sub.received.count_over(sub.base));
        }
        for room in &self.rooms {
            totals.holes += room.known.holes_over(room.lowest_base.unwrap_or(0));
            totals.overflowed += room.known.overflowed;
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rooms, three subscribers of room 0, one of room 1; 100 messages each, acknowledged.
    fn run(fault: impl Fn(usize, u64) -> Vec<u64>) -> Totals {
        let mut ledger = Ledger::new(2);
        let subs: Vec<_> = [0, 0, 0, 1].map(|room| ledger.subscribe(room, Some("e"), 10)).into();
        for seq in 11..=110 {
            for room in 0..2 {
                ledger.acknowledge(room, "e", seq);
            }
            for &sub in &subs {
                for seen in fault(sub, seq) {
                    ledger.deliver(sub, "e", seen);
                }
            }
        }
        ledger.settle()
    }

    #[test]
    fn a_good_run_has_no_fault() {
        let totals = run(|_, seq| vec![seq]);
        assert_eq!(totals, Totals { delivered: 400, ..Totals::default() });
        assert_eq!(totals.faults(), 0);
    }

    #[test]
    fn a_lost_message_is_found_in_the_middle_and_at_the_tail() {
        let middle = run(|sub, seq| if sub == 1 && seq == 50 { vec![] } else { vec![seq] });
        assert_eq!((middle.lost, middle.faults()), (1, 1));
        let tail = run(|sub, seq| if sub == 1 && seq > 107 { vec![] } else { vec![seq] });
        assert_eq!((tail.lost, tail.faults()), (3, 3));
        // Nobody received it; only the ack tells of it.
        let nobody = run(|_, seq| if seq == 110 { vec![] } else { vec![seq] });
        assert_eq!((nobody.lost, nobody.faults()), (4, 4));
    }

    #[test]
    fn a_duplicate_is_counted_also_much_later_and_from_before_the_join() {
        let totals = run(|sub, seq| match (sub, seq) {
            (0, 20) => vec![20, 20],
            (2, 100) => vec![100, 30, 10],
            _ => vec![seq],
        });
        assert_eq!((totals.duplicated, totals.faults()), (3, 3));
    }

    #[test]
    fn a_late_message_is_reordered_and_not_lost() {
        let totals = run(|sub, seq| match (sub, seq) {
            (0, 20) => vec![],
            (0, 21) => vec![21, 20],
            _ => vec![seq],
        });
        assert_eq!((totals.reordered, totals.lost, totals.faults()), (1, 0, 1));
    }

    #[test]
    fn a_hole_in_the_sequence_and_another_epoch_are_found() {
        let mut ledger = Ledger::new(1);
        let sub = ledger.subscribe(0, Some(""), 0);
        for seq in [1, 2, 4] {
            assert_eq!(ledger.deliver(sub, "e", seq), Seen::Fresh);
        }
        assert_eq!(ledger.deliver(sub, "f", 5), Seen::OtherEpoch);
        let totals = ledger.settle();
        assert_eq!((totals.holes, totals.epoch_changes, totals.lost), (1, 1, 0));
    }

    #[test]
    fn ledgers_of_two_threads_settle_as_one() {
        let (mut a, mut b) = (Ledger::new(1), Ledger::new(1));
        let (sub_a, sub_b) = (a.subscribe(0, Some("e"), 0), b.subscribe(0, Some("e"), 0));
        for seq in 1..=10 {
            a.acknowledge(0, "e", seq);
            a.deliver(sub_a, "e", seq);
            if seq != 10 {
                b.deliver(sub_b, "e", seq);
            }
        }
        a.merge(b);
        assert_eq!(a.settle().lost, 1);
    }

    #[test]
    fn ten_thousand_subscribers_stay_bounded_whatever_they_lose() {
        // 100 rooms of 100, each subscriber misses every other message of its own half: the worst for ranges.
        let mut ledger = Ledger::new(100);
        let subs: Vec<_> = (0..10_000).map(|i| ledger.subscribe(i % 100, Some("e"), 0)).collect();
        for seq in 1..=300 {
            for sub in subs.iter().filter(|sub| (seq + **sub as u64).is_multiple_of(2)) {
                ledger.deliver(*sub, "e", seq);
            }
        }
        let ranges = ledger.subscriptions.iter().map(|sub| sub.received.len()).sum::<usize>();
        assert_eq!((ranges, ledger.spare), (MAX_ALL_RANGES, 0), "1,500,000 would be needed");
        assert!(size_of::<Subscription>() <= 64);
        let totals = ledger.settle();
        // What could not be recorded is said, and never taken for a delivery.
        assert_eq!((totals.delivered, totals.overflowed), (1_000_000, 500_000));
        assert!(totals.faults() > 0);
    }

    #[test]
    fn a_budget_gets_back_what_is_closed() {
        let mut ledger = Ledger::new(1);
        let sub = ledger.subscribe(0, Some("e"), 0);
        for seq in [2, 4, 6, 5, 3, 1] {
            ledger.deliver(sub, "e", seq);
        }
        assert_eq!(ledger.spare, MAX_ALL_RANGES - 1, "1 to 6 in one");
    }
}
