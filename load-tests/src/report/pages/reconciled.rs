//! The part of a run's page that sets what was sent beside what the servers counted.

use super::super::{
    html::{list, paragraph, table},
    terminal::{NONE, mib, share},
};
use crate::reconcile::{Reconciliation, Skew};

/// Tables of commands and nodes.
pub(super) fn part(seen: &Reconciliation) -> String {
    let mut out = commands(seen);
    let mut entries: Vec<(String, String)> = Vec::new();
    for (what, counts) in [("other commands", &seen.others), ("errors, as the servers count", &seen.errors)] {
        let all: Vec<String> = counts.iter().map(|(name, n)| format!("{n} {name}")).collect();
        if !all.is_empty() {
            entries.push((what.to_owned(), all.join(", ")));
        }
    }
    if let Some(r) = seen.redirects {
        let text = format!(
            "{} MOVED, {} ASK, {} TRYAGAIN, {} CLUSTERDOWN; slots asked for {} times",
            r.moved, r.ask, r.tryagain, r.clusterdown, r.refreshed
        );
        entries.push(("redirects".into(), text));
    }
    if let Some(unexplained) = seen.unexplained {
        entries.push(("unexplained".into(), unexplained.to_string()));
    }
    entries.extend(seen.notes.iter().map(|note| ("not judged".to_owned(), note.clone())));
    out += &list(&entries);
    out += &nodes(seen);
    out
}

fn commands(seen: &Reconciliation) -> String {
    let some = |n: Option<u64>| n.map_or_else(|| NONE.to_owned(), |n| n.to_string());
    let rows: Vec<Vec<String>> = seen
        .commands
        .iter()
        .map(|row| {
            vec![
                row.command.clone(),
                some(row.sent),
                row.calls.to_string(),
                row.rejected.to_string(),
                row.failed.to_string(),
                row.unexplained.map_or_else(|| NONE.to_owned(), |n| n.to_string()),
                row.server_us.map_or_else(|| NONE.to_owned(), |us| format!("{us:.2}")),
                some(row.client_p50_us),
            ]
        })
        .collect();
    let head = [
        "command",
        "sent",
        "executed",
        "rejected",
        "failed",
        "unexplained",
        "server µs a call",
        "client p50 µs",
    ];
    table(&head, &rows, true)
        + &paragraph(
            "note",
            "From before the first connection to after the last answer, with the warm-up. –: not known here.",
        )
}

fn nodes(seen: &Reconciliation) -> String {
    let rows: Vec<Vec<String>> = seen
        .nodes
        .iter()
        .map(|node| {
            vec![
                node.address.clone(),
                node.role.clone(),
                node.calls.to_string(),
                format!("{:.2}", node.cpu_s),
                mib(node.rss_bytes),
                node.sockets.map_or_else(|| NONE.into(), |sockets| sockets.count.to_string()),
                node.sockets.map_or_else(|| NONE.into(), |sockets| mib(sockets.bytes)),
            ]
        })
        .collect();
    let mut entries: Vec<(String, String)> = Vec::new();
    if let Some(skew) = &seen.skew {
        entries.extend(skewed(skew));
    }
    if let Some(sockets) = seen.sockets {
        let text = format!("{} MiB at most, {} sockets", mib(sockets.bytes), sockets.sockets);
        entries.push(("kernel memory for TCP, all processes".into(), text));
    }
    table(&["node", "role", "calls", "CPU s", "RSS MiB", "sockets", "held by the kernel, MiB"], &rows, true)
        + &list(&entries)
}

fn skewed(skew: &Skew) -> [(String, String); 2] {
    [
        ("busiest master".into(), format!("{:.2} × the mean of all", skew.busiest_node)),
        (
            format!("busiest of {} slots", skew.slots),
            format!(
                "{}, with {} of all commands, {:.1} × the mean",
                skew.busiest_slot,
                share(Some(skew.busiest_slot_share)),
                skew.busiest_slot_over_mean
            ),
        ),
    ]
}
