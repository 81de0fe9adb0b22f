//! A reconciliation for people.

use std::{collections::BTreeMap, fmt::Write};

use super::Reconciliation;
use crate::report::WIDTH;

/// Rows of commands that are shown; the result file has all.
const ROWS: usize = 16;
const NONE: &str = "–";

/// Aligned text; lines are clipped by the caller.
pub fn terminal(seen: &Reconciliation) -> String {
    let mut out = String::new();
    commands(&mut out, seen);
    list(&mut out, "other commands meanwhile", &seen.others);
    list(&mut out, "errors, as the servers count", &seen.errors);
    if let Some(redirects) = seen.redirects.filter(|r| *r != super::Redirects::default()) {
        let _ = writeln!(
            out,
            "  redirects: {} MOVED, {} ASK, {} TRYAGAIN, {} CLUSTERDOWN; slots asked for {} times",
            redirects.moved, redirects.ask, redirects.tryagain, redirects.clusterdown, redirects.refreshed
        );
    }
    nodes(&mut out, seen);
    for note in &seen.notes {
        let _ = writeln!(out, "  not judged: {note}");
    }
    out
}

/// Names and how often each came, over as many lines as it takes.
fn list(out: &mut String, what: &str, counts: &BTreeMap<String, u64>) {
    let mut line = format!("  {what}:");
    for (name, n) in counts {
        if line.chars().count() + name.len() + 12 > WIDTH {
            let _ = writeln!(out, "{line}");
            "   ".clone_into(&mut line);
        }
        let _ = write!(line, " {n} {name}");
    }
    if !counts.is_empty() {
        let _ = writeln!(out, "{line}");
    }
}

fn commands(out: &mut String, seen: &Reconciliation) {
    let [sent, calls, rejected, left] = ["sent", "executed", "rejected", "unexplained"];
    let [server, client] = ["server µs", "client p50 µs"];
    let _ = writeln!(
        out,
        "\n{:<14}{sent:>10}{calls:>10}{rejected:>10}{left:>12}{server:>10}{client:>14}",
        "Reconciled"
    );
    for row in seen.commands.iter().take(ROWS) {
        let some = |n: Option<u64>| n.map_or_else(|| NONE.to_owned(), |n| n.to_string());
        let left = row.unexplained.map_or_else(|| NONE.to_owned(), |n| n.to_string());
        let server = row.server_us.map_or_else(|| NONE.to_owned(), |us| format!("{us:.2}"));
        let _ = writeln!(
            out,
            "{:<14}{:>10}{:>10}{:>10}{left:>12}{server:>10}{:>14}",
            row.command,
            some(row.sent),
            row.calls,
            row.rejected,
            some(row.client_p50_us)
        );
    }
    if seen.commands.len() > ROWS {
        let _ = writeln!(out, "  and {} more", seen.commands.len() - ROWS);
    }
}

fn nodes(out: &mut String, seen: &Reconciliation) {
    let _ = writeln!(out, "\n{:<24}{:>8}{:>12}{:>10}{:>10}", "Nodes", "role", "calls", "CPU s", "RSS MiB");
    for node in &seen.nodes {
        let rss = node.rss_bytes as f64 / (1024.0 * 1024.0);
        let _ = writeln!(
            out,
            "{:<24}{:>8}{:>12}{:>10.2}{rss:>10.1}",
            node.address, node.role, node.calls, node.cpu_s
        );
    }
    if let Some(skew) = &seen.skew {
        let _ = writeln!(
            out,
            "  busiest master {:.2} × the mean of all; {} slots used\n  busiest slot {}: {:.1} % of all, {:.1} × the mean",
            skew.busiest_node,
            skew.slots,
            skew.busiest_slot,
            skew.busiest_slot_share * 100.0,
            skew.busiest_slot_over_mean
        );
    }
    if let Some(sockets) = seen.sockets {
        let _ = writeln!(
            out,
            "  kernel memory for TCP, all processes: {:.1} MiB at most, {} sockets",
            sockets.bytes as f64 / (1024.0 * 1024.0),
            sockets.sockets
        );
    }
}
