//! Closing the books of a run with faults.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Fault, FaultResult, Faulted, Injected,
    account::{Accounts, Answer, Record},
    spans::{done_ns, longest_away, recovered_after, usual},
};

/// What was acknowledged so shortly before a fault, in nanoseconds, may be lost by it.
pub(super) const LOST_BEFORE_NS: u64 = 1_000_000_000;

/// What a [`Note`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// An error frame, or a frame that could not be understood.
    Frame,
    /// A connection broke.
    Disconnect,
    /// A delivery that should not have been so: twice, out of order, damaged.
    Ledger,
    /// Any other error.
    Other,
}

/// Something that went wrong, and when, on the run's clock.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub at_ns: u64,
    pub class: Class,
    pub kind: String,
}

/// Everything that a generator knows at the end. Instants in nanoseconds on the run's clock unless said otherwise.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Every message of the window.
    pub records: Vec<Record>,
    /// In any order.
    pub notes: Vec<Note>,
    pub plan: Vec<Fault>,
    pub injected: Vec<Injected>,
    /// The run's start on the clock that `injected` uses.
    pub origin_ns: u64,
    /// The window's start and end.
    pub window_ns: (u64, u64),
    /// When the last connection was closed.
    pub end_ns: u64,
    /// What is counted elsewhere: acks, sends, resumed connections and the like.
    pub counted: Accounts,
}

/// Adds everything up.
pub(crate) fn close(books: &Books) -> Faulted {
    let sums = Accounts::of(&books.records);
    let counted = books.counted;
    let accounts = Accounts {
        dup_acks: counted.dup_acks,
        resyncs: counted.resyncs,
        resumed: counted.resumed,
        not_resumed: counted.not_resumed,
        acked_counted: counted.acked_counted,
        sent_counted: counted.sent_counted,
        ..sums
    };
    let faults = (0..books.plan.len()).map(|nth| one(books, nth)).collect();
    Faulted { faults, accounts }
}

impl Books {
    fn injected(&self, nth: usize) -> Option<&Injected> {
        self.injected.iter().find(|injected| injected.nth == nth)
    }

    /// When fault `nth` began; when it was due, if it was never done.
    pub(super) fn began_ns(&self, nth: usize) -> u64 {
        match self.injected(nth) {
            Some(injected) => injected.began_ns.saturating_sub(self.origin_ns),
            None => {
                let (start, end) = self.window_ns;
                start + self.plan[nth].due_ms(end.saturating_sub(start) / 1_000_000) * 1_000_000
            }
        }
    }

    /// Where what follows fault `nth` is no longer its own: at the next fault, or at the window's end.
    fn own_until_ns(&self, nth: usize) -> u64 {
        let began = self.began_ns(nth);
        let later = (0..self.plan.len()).map(|other| self.began_ns(other)).filter(|at| *at > began);
        later.chain([self.window_ns.1]).min().unwrap_or(self.window_ns.1)
    }

    /// Milliseconds after the window's start.
    fn ms(&self, at_ns: u64) -> f64 {
        (at_ns as f64 - self.window_ns.0 as f64) / 1e6
    }
}

fn one(books: &Books, nth: usize) -> FaultResult {
    let (began_ns, until_ns) = (books.began_ns(nth), books.own_until_ns(nth));
    let (p99_ns, limit_ns) = usual(&books.records, books.window_ns.0, began_ns);
    let recovered_ns = recovered_after(&books.records, (began_ns, until_ns), limit_ns);
    let injected = books.injected(nth);
    let ended_ns = injected.map(|i| i.ended_ns.saturating_sub(books.origin_ns));
    let over_ns = recovered_ns.map_or(until_ns, |ns| (began_ns + ns).max(ended_ns.unwrap_or(0)));
    let away = Away::of(books, (began_ns, until_ns), limit_ns);
    let fault = &books.plan[nth];
    let mut found = FaultResult {
        fault: fault.to_string(),
        kind: fault.kind,
        target: injected.map(|i| i.target.clone()).unwrap_or_default(),
        at_ms: books.ms(began_ns),
        ended_ms: ended_ns.map(|ns| books.ms(ns)),
        injected: injected.is_some_and(|i| i.proved),
        proof: injected.map(|i| i.facts.clone()).unwrap_or_default(),
        unacknowledged_ms: away.acks_ns as f64 / 1e6,
        unacknowledged_all_ms: away.all_ns as f64 / 1e6,
        undelivered_ms: away.deliveries_ns as f64 / 1e6,
        rooms_affected: away.rooms,
        p99_before_ms: p99_ns as f64 / 1e6,
        limit_ms: limit_ns as f64 / 1e6,
        recovered_ms: recovered_ns.map(|ns| ns as f64 / 1e6),
        errors: BTreeMap::new(),
        due: 0,
        acked: 0,
        refused: 0,
        unanswered: 0,
        unsent: 0,
        retried: 0,
        acked_but_lost: 0,
        acked_but_undelivered: 0,
    };
    count(&mut found, books, began_ns..over_ns.min(until_ns.max(began_ns)));
    for note in books.notes.iter().filter(|note| (began_ns..over_ns).contains(&note.at_ns)) {
        *found.errors.entry(note.kind.clone()).or_default() += 1;
    }
    found
}

fn count(found: &mut FaultResult, books: &Books, span: std::ops::Range<u64>) {
    for record in &books.records {
        if span.contains(&record.due_ns) {
            found.due += 1;
            found.retried += u64::from(record.tries > 1);
            match record.answer {
                Answer::Acked => found.acked += 1,
                Answer::Refused => found.refused += 1,
                Answer::None if record.tries > 0 => found.unanswered += 1,
                Answer::None => found.unsent += 1,
            }
        }
        let may = record.acked_ns().is_some_and(|at| at + LOST_BEFORE_NS >= span.start && at < span.end);
        if may {
            found.acked_but_lost += u64::from(record.stored == Some(0));
            found.acked_but_undelivered += u64::from(record.missed() > 0);
        }
    }
}

/// For how long nothing was done.
struct Away {
    acks_ns: u64,
    all_ns: u64,
    deliveries_ns: u64,
    rooms: usize,
}

impl Away {
    fn of(books: &Books, span: (u64, u64), limit_ns: u64) -> Self {
        let mut rooms: BTreeMap<u32, [Vec<u64>; 3]> = BTreeMap::new();
        for record in &books.records {
            let [due, acked, completed] = rooms.entry(record.room).or_default();
            due.push(record.due_ns);
            acked.extend(record.acked_ns());
            completed.extend(record.completed_ns());
        }
        let mut found = Self { acks_ns: 0, all_ns: 0, deliveries_ns: 0, rooms: 0 };
        let mut affected = BTreeSet::new();
        for (room, [due, acked, completed]) in rooms {
            let acks = longest_away(&due, acked, span, books.end_ns);
            let deliveries = longest_away(&due, completed, span, books.end_ns);
            found.acks_ns = found.acks_ns.max(acks);
            found.deliveries_ns = found.deliveries_ns.max(deliveries);
            if acks.max(deliveries) > limit_ns {
                affected.insert(room);
            }
        }
        found.rooms = affected.len();
        let due: Vec<u64> = books.records.iter().map(|r| r.due_ns).collect();
        let acked = books.records.iter().filter_map(Record::acked_ns).collect();
        found.all_ns = longest_away(&due, acked, span, books.end_ns);
        found
    }
}

/// The spans in which the verdict expects trouble.
pub(super) fn spans(books: &Books, faulted: &Faulted) -> Vec<(u64, u64)> {
    let end = |nth: usize| match faulted.faults[nth].span_end_ms() {
        Some(ms) => books.window_ns.0 + (ms.max(0.0) * 1e6) as u64,
        None => u64::MAX,
    };
    (0..faulted.faults.len()).map(|nth| (books.began_ns(nth), end(nth))).collect()
}

/// Whether a message belongs to a span: due in it, or due within a second before it and not done when it began.
pub(super) fn touches(record: &Record, spans: &[(u64, u64)]) -> bool {
    spans.iter().any(|(from, to)| {
        let under_way = record.due_ns < *from
            && record.due_ns + LOST_BEFORE_NS >= *from
            && done_ns(record).is_none_or(|ns| record.due_ns + ns >= *from);
        under_way || (*from..*to).contains(&record.due_ns)
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::{
        super::{Fact, account::tests::good},
        *,
    };

    pub(in super::super) const MS: u64 = 1_000_000;

    /// 100 sends a second round ten rooms for 30 s, the window from 5 s on the run's clock; a master killed at 10 s of the
    /// window: rooms 0 to 2 are away for 6 s, two acknowledged messages are gone, one send is refused for good.
    pub(in super::super) fn books() -> Books {
        let start = 5_000 * MS;
        let send = |i: u64| {
            let mut record = good((i % 10) as u32, start + i * 10 * MS);
            if record.room < 3 && (1_000..1_600).contains(&i) {
                (record.answered_ns, record.last_ns) = (start + 16_001 * MS, start + 16_002 * MS);
                record.tries = 2;
            }
            record
        };
        let mut records: Vec<_> = (0..3_000).map(send).collect();
        for i in [990, 991] {
            (records[i].stored, records[i].reached) = (Some(0), 3);
        }
        records[1_201].answer = Answer::Refused;
        let note =
            |ms: u64, kind: &str| Note { at_ns: start + ms * MS, class: Class::Frame, kind: kind.into() };
        Books {
            notes: vec![note(9_000, "early"), note(12_000, "error frame: Unavailable"), note(20_000, "late")],
            plan: vec!["kill-master@10".parse().unwrap()],
            injected: vec![Injected {
                nth: 0,
                target: "node 0".into(),
                began_ns: 77 + start + 10_000 * MS,
                ended_ns: 77 + start + 18_000 * MS,
                proved: true,
                facts: vec![Fact::new("pid gone", 12)],
            }],
            origin_ns: 77,
            window_ns: (start, start + 30_000 * MS),
            end_ns: start + 31_000 * MS,
            counted: Accounts { acked_counted: 2_999, sent_counted: 3_000, ..Accounts::default() },
            records,
        }
    }

    #[test]
    fn a_killed_master_is_told_with_its_window_its_losses_and_its_end() {
        let faulted = close(&books());
        assert!(faulted.accounts.explained(), "{:?}", faulted.accounts);
        let fault = &faulted.faults[0];
        assert_eq!((fault.at_ms, fault.ended_ms, fault.injected), (10_000.0, Some(18_000.0), true));
        assert_eq!((fault.unacknowledged_ms, fault.undelivered_ms), (6_001.0, 6_002.0));
        assert!(fault.unacknowledged_all_ms < 50.0 && fault.rooms_affected == 3);
        assert_eq!((fault.p99_before_ms, fault.limit_ms), (2.0, 22.0));
        let recovered = fault.recovered_ms.unwrap();
        assert!((5_900.0..=6_000.0).contains(&recovered), "{recovered}");
        // Recovered at 16 s, repaired at 18 s: the span goes to the later one.
        assert_eq!((fault.span_end_ms(), fault.due), (Some(18_000.0), 800));
        assert_eq!((fault.acked, fault.refused, fault.retried), (799, 1, 180));
        assert_eq!((fault.acked_but_lost, fault.acked_but_undelivered), (2, 2));
        assert_eq!(fault.errors, BTreeMap::from([("error frame: Unavailable".to_owned(), 1)]));
    }

    #[test]
    fn a_fault_that_was_never_done_says_so_and_one_fault_ends_where_the_next_begins() {
        let mut books = books();
        books.plan.push("kill-pubsub@14".parse().unwrap());
        let faulted = close(&books);
        assert_eq!((faulted.faults[1].injected, faulted.faults[1].ended_ms), (false, None));
        assert_eq!(faulted.faults[1].at_ms, 14_000.0);
        assert_eq!(faulted.faults[0].recovered_ms, None, "not before the next one");
        assert!(faulted.faults[1].recovered_ms.is_some());
    }

    #[test]
    fn what_was_under_way_when_a_fault_began_belongs_to_it() {
        let spans = [(1_000 * MS, 2_000 * MS)];
        assert!(!touches(&good(0, 500 * MS), &spans));
        assert!(touches(&good(0, 999 * MS), &spans));
        assert!(touches(&Record { reached: 1, ..good(0, 500 * MS) }, &spans));
        assert!(touches(&good(0, 1_999 * MS), &spans) && !touches(&good(0, 2_000 * MS), &spans));
    }
}
