//! The verdict of a run with faults: the usual rules, held against what lies outside the faults' spans, and rules of its own.

use super::{
    Faulted,
    account::{Answer, Record},
    close::{Books, Class, LOST_BEFORE_NS, spans, touches},
    spans::{done_ns, quantile},
};
use crate::verdict::{self, Evidence, Kind, Limits, Observed, Verdict};

/// So many samples must lie beyond the tail that a standstill is looked for in.
const BEYOND: usize = 10;

/// Judges a run with faults. `whole` is what was seen in all of it: of that, the generator's own figures, the in-flight cap and
/// the connections that never opened stand, and the rest is seen again outside the faults' spans.
pub(crate) fn judge(whole: Observed, books: &Books, faulted: &Faulted, limits: &Limits) -> Verdict {
    let spans = spans(books, faulted);
    let seen = outside(whole, books, &spans);
    let mut verdict = verdict::judge(&seen, limits);
    for rule in own_rules(books, faulted, &spans) {
        verdict.add(rule);
    }
    verdict.apart_from = Some(told(faulted));
    verdict
}

fn told(faulted: &Faulted) -> String {
    let one = |fault: &super::FaultResult| {
        let from = fault.at_ms / 1000.0;
        match fault.span_end_ms() {
            Some(to) => format!("{} ({from:.1} to {:.1} s)", fault.kind, to / 1000.0),
            None => format!("{} (from {from:.1} s on)", fault.kind),
        }
    };
    faulted.faults.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn outside(whole: Observed, books: &Books, spans: &[(u64, u64)]) -> Observed {
    let records: Vec<&Record> = books.records.iter().filter(|r| !touches(r, spans)).collect();
    let count = |keep: &dyn Fn(&Record) -> bool| records.iter().filter(|r| keep(r)).count() as u64;
    let notes = |class: Class| {
        let inside = |at: u64| spans.iter().any(|(from, to)| (*from..*to).contains(&at));
        books.notes.iter().filter(|note| note.class == class && !inside(note.at_ns)).count() as u64
    };
    let missed: u64 =
        records.iter().filter(|r| r.answer == Answer::Acked).map(|r| u64::from(r.missed())).sum();
    let (start, end) = books.window_ns;
    let third = |nth: u64| {
        let long = (end - start) / 3;
        let from = start + nth * long;
        let own = records.iter().filter(|r| (from..from + long).contains(&r.due_ns));
        quantile(&mut own.filter_map(|r| done_ns(r)).collect::<Vec<_>>(), 0.5).map(|ns| ns / 1000)
    };
    let mut done: Vec<u64> = records.iter().filter_map(|r| done_ns(r)).collect();
    let tail = match done.len() / 1000 >= BEYOND {
        true => quantile(&mut done, 0.999),
        false => quantile(&mut done, 1.0),
    };
    // The thirds at the ends may lie in a span altogether: then there is nothing to compare.
    let (first, last) = (third(0), third(2));
    Observed {
        intended: records.len() as u64,
        sent: count(&|r| r.tries > 0),
        acked: count(&|r| r.answer == Answer::Acked),
        disconnects: notes(Class::Disconnect),
        error_frames: notes(Class::Frame),
        ledger_faults: notes(Class::Ledger) + missed,
        delivery_first_us: first.filter(|_| last.is_some()),
        delivery_last_us: last,
        delivery_p50_us: quantile(&mut done, 0.5).map(|ns| ns / 1000),
        delivery_tail_us: tail.map(|ns| ns / 1000),
        ..whole
    }
}

fn own_rules(books: &Books, faulted: &Faulted, spans: &[(u64, u64)]) -> Vec<Evidence> {
    let (faults, sums) = (&faulted.faults, &faulted.accounts);
    let rule = |name: &str, kept: bool, seen: String, limit: &str| Evidence {
        rule: name.to_owned(),
        means: Kind::Unstable,
        seen,
        limit: limit.to_owned(),
        kept,
    };
    let of = |n: usize| format!("{n} of {}", faults.len());
    let injected = faults.iter().filter(|fault| fault.injected).count();
    let recovered = faults.iter().filter(|fault| fault.recovered_ms.is_some()).count();
    let may_lose = faults.iter().any(|fault| fault.kind.may_lose());
    let by_fault = |r: &Record| {
        r.acked_ns().is_some_and(|at| spans.iter().any(|(from, to)| at + LOST_BEFORE_NS >= *from && at < *to))
    };
    let gone = |r: &&Record| r.answer == Answer::Acked && r.stored == Some(0);
    let unrelated = books.records.iter().filter(gone).filter(|r| !by_fault(r)).count();
    let allowed = if may_lose { "within the fault's span only" } else { "0" };
    let unseen = sums.missed_in_history + sums.missed_unknown;
    vec![
        rule("faults_injected", injected == faults.len(), of(injected), "all"),
        rule("faults_recovered", recovered == faults.len(), of(recovered), "all, in the window"),
        rule(
            "messages_explained",
            sums.explained() && sums.history_unknown == 0,
            format!("{} of {}", sums.intended - sums.unaccounted(), sums.intended),
            "all, and every room's history read",
        ),
        rule(
            "acknowledged_and_gone",
            unrelated == 0 && (may_lose || sums.acked_and_gone == 0),
            format!("{}, {unrelated} of them outside", sums.acked_and_gone),
            allowed,
        ),
        rule("delivered_or_told", unseen == 0, format!("{unseen} missed silently"), "0 missed silently"),
        rule("kept_once", sums.stored_twice == 0, format!("{} stored twice", sums.stored_twice), "0"),
        rule("all_resumed", sums.not_resumed == 0, format!("{} not resumed", sums.not_resumed), "0"),
    ]
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            account::Accounts,
            close::{
                Note, close,
                tests::{MS, books},
            },
        },
        *,
    };

    fn verdict(change: impl Fn(&mut Books)) -> (Kind, Vec<String>) {
        let mut books = books();
        change(&mut books);
        // What a run without any fault in it would be judged by.
        let whole =
            Observed { delivered: 30_000, pacing_p99_us: Some(300), disconnects: 50, ..Observed::default() };
        let faulted = close(&books);
        let verdict = judge(whole, &books, &faulted, &Limits::default());
        assert!(verdict.apart_from.as_deref().is_some_and(|told| told.contains("kill-master")));
        (verdict.kind, verdict.broken().map(|e| e.rule.clone()).collect())
    }

    fn note(ms: u64, class: Class) -> Note {
        Note { at_ns: 5_000 * MS + ms * MS, class, kind: "x".into() }
    }

    #[test]
    fn what_the_fault_breaks_is_expected_and_what_breaks_elsewhere_is_not() {
        assert_eq!(verdict(|b| b.notes.clear()), (Kind::Valid, vec![]));
        let inside =
            |b: &mut Books| b.notes = vec![note(12_000, Class::Disconnect), note(13_000, Class::Ledger)];
        assert_eq!(verdict(inside).0, Kind::Valid);
        for (class, rule) in [
            (Class::Frame, "error_frames"),
            (Class::Disconnect, "disconnects"),
            (Class::Ledger, "ledger_faults"),
        ] {
            let (kind, broken) = verdict(|b| b.notes = vec![note(25_000, class)]);
            assert_eq!((kind, broken), (Kind::Unstable, vec![rule.to_owned()]));
        }
    }

    #[test]
    fn a_late_generator_is_no_fault_of_the_fault() {
        let mut books = books();
        books.notes.clear();
        let whole = Observed { delivered: 1, pacing_p99_us: Some(50_000), ..Observed::default() };
        let faulted = close(&books);
        assert_eq!(judge(whole, &books, &faulted, &Limits::default()).kind, Kind::GeneratorBound);
    }

    #[test]
    fn a_fault_must_happen_end_and_leave_no_message_unexplained() {
        let only = |rule: &str| (Kind::Unstable, vec![rule.to_owned()]);
        let quiet = |b: &mut Books| b.notes.clear();
        assert_eq!(verdict(|b| (quiet(b), b.injected[0].proved = false).0), only("faults_injected"));
        let unexplained = |b: &mut Books| {
            quiet(b);
            b.counted = Accounts { acked_counted: 3_000, sent_counted: 3_000, ..Accounts::default() };
        };
        assert_eq!(verdict(unexplained), only("messages_explained"));
        let silent = |b: &mut Books| {
            quiet(b);
            b.records[1_300].reached = 9;
        };
        assert_eq!(verdict(silent), only("delivered_or_told"));
        let elsewhere = |b: &mut Books| {
            quiet(b);
            b.records[100].stored = Some(0);
        };
        assert_eq!(verdict(elsewhere), only("acknowledged_and_gone"));
        let never = |b: &mut Books| {
            quiet(b);
            b.records.iter_mut().skip(1_000).for_each(|r| r.last_ns += 500 * MS);
        };
        assert_eq!(verdict(never), only("faults_recovered"));
    }

    #[test]
    fn a_graceful_fault_must_lose_nothing() {
        let graceful = |b: &mut Books| {
            b.notes.clear();
            b.plan = vec!["failover@10".parse().unwrap()];
        };
        let mut books = books();
        graceful(&mut books);
        let faulted = close(&books);
        let whole = Observed { delivered: 1, ..Observed::default() };
        let verdict = judge(whole, &books, &faulted, &Limits::default());
        let broken: Vec<_> = verdict.broken().map(|e| e.rule.as_str()).collect();
        assert_eq!(broken, ["acknowledged_and_gone"]);
    }
}
