//! Faults for people: the same rows for a terminal and for a page.

use std::fmt::Write;

use super::{FaultResult, account::Accounts};
use crate::report::wrap;

/// Where values begin on a terminal.
const LEAD: usize = 29;

fn ms(ms: f64) -> String {
    format!("{ms:.0} ms")
}

/// What was found of a fault, as names and values.
pub fn found(fault: &FaultResult) -> Vec<(String, String)> {
    let mut rows = vec![
        ("target", fault.target.clone()),
        ("injected", if fault.injected { "proved".into() } else { "NOT PROVED".into() }),
        ("done and repaired after", fault.ended_ms.map_or("never".into(), |to| ms(to - fault.at_ms))),
    ];
    rows.extend(fault.proof.iter().map(|fact| (fact.name.as_str(), fact.value.clone())));
    let recovered = fault.recovered_ms.map_or("not before the next fault or the end".into(), ms);
    rows.extend([
        ("as before after", recovered),
        ("which is", format!("within {} (p99 before: {:.1} ms)", ms(fault.limit_ms), fault.p99_before_ms)),
        ("longest without an ack", format!("{} in the worst room", ms(fault.unacknowledged_ms))),
        ("  of all rooms together", ms(fault.unacknowledged_all_ms)),
        ("longest without delivery", format!("{} in the worst room", ms(fault.undelivered_ms))),
        ("rooms affected", fault.rooms_affected.to_string()),
        ("due in its span", fault.due.to_string()),
        (
            "of them",
            format!(
                "{} acknowledged, {} refused, {} unanswered, {} unsent; {} sent again",
                fault.acked, fault.refused, fault.unanswered, fault.unsent, fault.retried
            ),
        ),
        ("acknowledged but lost", format!("{} (not in the history)", fault.acked_but_lost)),
        ("acknowledged, undelivered", format!("{} (missed, and nothing told)", fault.acked_but_undelivered)),
    ]);
    let mut rows: Vec<_> = rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    rows.extend(fault.errors.iter().map(|(kind, n)| (format!("error, {n} times"), kind.clone())));
    rows
}

/// The sums: how deep a line is, its name, its number. A line's parts are the deeper lines after it.
pub fn sums(accounts: &Accounts) -> Vec<(usize, &'static str, u64)> {
    let a = accounts;
    vec![
        (0, "due in the window", a.intended),
        (1, "acknowledged", a.acked),
        (2, "delivered to all subscribers", a.delivered_to_all),
        (2, "excused: who missed it was told resync", a.excused_by_resync),
        (2, "missed by some, in the history", a.missed_in_history),
        (2, "missed by some, gone from the history", a.missed_and_gone),
        (2, "missed by some, history not readable", a.missed_unknown),
        (1, "answered with an error, for good", a.refused),
        (1, "sent and unanswered", a.unanswered),
        (1, "never sent", a.unsent),
        (0, "not explained", a.unaccounted()),
    ]
}

/// What cuts across the sums.
pub fn beside(accounts: &Accounts) -> Vec<(&'static str, u64)> {
    let a = accounts;
    vec![
        ("acknowledged and gone from the history", a.acked_and_gone),
        ("acknowledged, history not readable", a.history_unknown),
        ("not acknowledged, yet delivered to some", a.unacked_but_delivered),
        ("not acknowledged, yet in the history", a.unacked_but_stored),
        ("in the history twice", a.stored_twice),
        ("sent again under the same id, messages", a.retried),
        ("sent again, times", a.retries),
        ("acks of an earlier attempt", a.dup_acks),
        ("connections resumed", a.resumed),
        ("connections not resumed", a.not_resumed),
        ("resync told", a.resyncs),
    ]
}

/// For a terminal.
pub fn terminal(faults: &[FaultResult], accounts: Option<&Accounts>) -> String {
    let mut out = String::new();
    for fault in faults {
        let _ = writeln!(out, "\nFault  {} at {:.1} s", fault.fault, fault.at_ms / 1000.0);
        for (name, value) in found(fault) {
            let lead = " ".repeat(LEAD);
            // The value is wrapped beside its name, which takes the place of the first line's lead.
            let value = wrap(&format!("{lead}{value}"), &lead);
            let _ = writeln!(out, "  {name:<26} {}", value.trim_start());
        }
    }
    if let Some(accounts) = accounts {
        let _ = writeln!(out, "\nWhere every message went");
        for (depth, name, n) in sums(accounts) {
            let _ = writeln!(out, "  {:<46}{n:>9}", format!("{}{name}", "  ".repeat(depth)));
        }
        for (name, n) in beside(accounts).iter().filter(|(_, n)| *n > 0) {
            let _ = writeln!(out, "  {name:<46}{n:>9}");
        }
    }
    out
}
