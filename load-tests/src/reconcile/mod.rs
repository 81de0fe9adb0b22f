//! What was sent, beside what the servers counted.
//!
//! A generator that believes its own counters may measure answers that no server gave, and a server may have done work
//! that nobody saw. Every node's `INFO commandstats` is read before the first connection and after the last answer; what
//! lies between must be what was sent. A difference is either explained (redirects, answers that never came) or makes the
//! run `UNSTABLE`. Replicas count what they replicate as calls: they are shown, and not added.

mod show;
mod snapshot;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use show::terminal;
pub use snapshot::{CommandStat, NodeStat, Snapshot, SocketMemory};

use crate::{resp::Redirects, result::RunResult, sockets::Sockets, verdict};

/// Other commands than ours that are shown, the most frequent first.
const OTHERS: usize = 12;

/// What a generator says about one of its commands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sent {
    /// Its name, in lower case.
    pub command: String,
    /// Answered without an error, in the window.
    pub completed: u64,
    /// Put on a connection, from the first one on; what was sent again counts again.
    pub on_wire: u64,
    /// Of them, those of which nobody knows whether they were executed.
    pub unanswered: u64,
    /// Median from the actual send, in microseconds.
    pub client_p50_us: Option<u64>,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name, in lower case.
    pub command: String,
    /// By us, from the first one on, with what was sent again; none when we do not know.
    pub sent: Option<u64>,
    /// Of them, without an answer.
    pub unanswered: u64,
    /// Executed, as all masters count.
    pub calls: u64,
    /// Refused before execution, as by a redirect.
    pub rejected: u64,
    /// Of the calls, those that failed.
    pub failed: u64,
    /// What is left: more (or less, negative) counted than sent. None when it is not ours, or can't be known.
    pub unexplained: Option<i64>,
    /// The server's time a call, in microseconds.
    pub server_us: Option<f64>,
    /// Our median from the actual send, in microseconds.
    pub client_p50_us: Option<u64>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeRow {
    /// `HOST:PORT`.
    pub address: String,
    /// `master` or `slave`, at the end.
    pub role: String,
    /// Calls of our commands; of a replica, what it replicated.
    pub calls: u64,
    /// CPU time, in seconds.
    pub cpu_s: f64,
    /// Resident memory at the end, in bytes.
    pub rss_bytes: u64,
    /// What the kernel held for its side of its clients' connections at the end; none where the system does not tell.
    #[serde(default)]
    pub sockets: Option<Sockets>,
}

/// How unevenly a cluster was used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Skew {
    /// The busiest master's calls over the mean of all masters.
    pub busiest_node: f64,
    /// Slots that were used at all.
    pub slots: u64,
    /// The busiest slot.
    pub busiest_slot: u16,
    /// Its share of all commands, 0 to 1.
    pub busiest_slot_share: f64,
    /// Its commands over the mean of all slots that were used.
    pub busiest_slot_over_mean: f64,
}

/// Both sides. Everything counts from before the first connection to after the last answer, with the warm-up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reconciliation {
    /// Ours.
    pub commands: Vec<Row>,
    /// Others that were called meanwhile: by client libraries, between nodes, by somebody else.
    pub others: BTreeMap<String, u64>,
    /// As the generator counted them; none where a library follows them by itself.
    pub redirects: Option<Redirects>,
    /// As the masters counted them, by the first word.
    pub errors: BTreeMap<String, u64>,
    /// All nodes.
    pub nodes: Vec<NodeRow>,
    /// Of a cluster.
    pub skew: Option<Skew>,
    /// The most that the kernel held for sockets in the window.
    pub sockets: Option<SocketMemory>,
    /// The sum of all differences, either way; none when nothing could be judged.
    pub unexplained: Option<u64>,
    /// Why something could not be judged.
    pub notes: Vec<String>,
}

impl Reconciliation {
    /// The servers' side.
    pub fn new(before: &Snapshot, after: &Snapshot) -> Self {
        let mut result = Self::default();
        let mut totals: BTreeMap<String, CommandStat> = BTreeMap::new();
        for (address, now) in &after.nodes {
            let (earlier, now) = match (before.of(address), now) {
                (Some(earlier), Ok(now)) => (earlier, now),
                (None, _) => {
                    result.notes.push(format!("{address} did not answer before the run"));
                    continue;
                }
                (_, Err(why)) => {
                    result.notes.push(format!("{address} did not answer after the run: {why}"));
                    continue;
                }
            };
            if earlier.run_id != now.run_id {
                result.notes.push(format!("{address} was restarted"));
            } else if earlier.role != now.role {
                result.notes.push(format!("{address} was {} and is {}", earlier.role, now.role));
            }
            let mut calls = 0;
            for (command, stat) in &now.commands {
                let stat = stat.since(earlier.commands.get(command).copied().unwrap_or_default());
                // Our own look at the node before the run.
                if command != "info" {
                    calls += stat.calls;
                }
                if now.role == "master" {
                    totals.entry(command.clone()).or_default().add(stat);
                }
            }
            if now.role == "master" {
                for (error, n) in &now.errors {
                    let n = n.saturating_sub(earlier.errors.get(error).copied().unwrap_or(0));
                    *result.errors.entry(error.clone()).or_default() += n;
                }
            }
            result.nodes.push(NodeRow {
                address: address.clone(),
                role: now.role.clone(),
                calls,
                cpu_s: now.cpu_s - earlier.cpu_s,
                rss_bytes: now.rss_bytes,
                sockets: now.sockets,
            });
        }
        result.errors.retain(|_, n| *n > 0);
        let used = |stat: &CommandStat| stat.calls + stat.rejected > 0;
        for (command, stat) in totals.into_iter().filter(|(_, stat)| used(stat)) {
            result.commands.push(Row {
                command,
                sent: None,
                unanswered: 0,
                calls: stat.calls,
                rejected: stat.rejected,
                failed: stat.failed,
                unexplained: None,
                server_us: (stat.calls > 0).then(|| stat.usec as f64 / stat.calls as f64),
                client_p50_us: None,
            });
        }
        result.commands.retain(|row| row.command != "info");
        result.commands.sort_by_key(|row| std::cmp::Reverse(row.calls));
        result
    }

    /// The generator's side. `redirects` are none where a library sends again what was redirected without telling.
    #[must_use]
    pub fn sent(mut self, sent: &[Sent], redirects: Option<Redirects>) -> Self {
        let counted = std::mem::take(&mut self.commands);
        let (mut ours, others): (Vec<Row>, Vec<Row>) =
            counted.into_iter().partition(|row| sent.iter().any(|one| one.command == row.command));
        self.others = others.into_iter().take(OTHERS).map(|row| (row.command, row.calls)).collect();
        for one in sent {
            let at = ours.iter().position(|row| row.command == one.command).unwrap_or_else(|| {
                ours.push(Row {
                    command: one.command.clone(),
                    sent: None,
                    unanswered: 0,
                    calls: 0,
                    rejected: 0,
                    failed: 0,
                    unexplained: None,
                    server_us: None,
                    client_p50_us: None,
                });
                ours.len() - 1
            });
            let row = &mut ours[at];
            row.sent = Some(one.on_wire);
            row.unanswered = one.unanswered;
            row.client_p50_us = one.client_p50_us;
            // Whoever counts its redirects counts what it sent again; a library sends each rejected one once more.
            let counted = if redirects.is_some() { row.calls + row.rejected } else { row.calls };
            row.unexplained = Some(difference(counted, one.on_wire, one.unanswered));
        }
        let sum = ours.iter().filter_map(|row| row.unexplained).map(i64::unsigned_abs).sum();
        self.unexplained = self.notes.is_empty().then_some(sum);
        self.redirects = redirects;
        self.commands = ours;
        self
    }

    /// How the commands lay over slots, and over the masters; nothing where there is no cluster.
    #[must_use]
    pub fn slots(mut self, slots: &[u64]) -> Self {
        let sum: u64 = slots.iter().sum();
        let used = slots.iter().filter(|n| **n > 0).count() as u64;
        let Some((busiest, most)) = slots.iter().enumerate().max_by_key(|(_, n)| **n) else { return self };
        if sum == 0 {
            return self;
        }
        let masters: Vec<u64> =
            self.nodes.iter().filter(|node| node.role == "master").map(|node| node.calls).collect();
        let mean = masters.iter().sum::<u64>() as f64 / masters.len().max(1) as f64;
        let busiest_node = masters.iter().max().map_or(0.0, |calls| *calls as f64 / mean.max(1.0));
        self.skew = Some(Skew {
            busiest_node,
            slots: used,
            busiest_slot: busiest as u16,
            busiest_slot_share: *most as f64 / sum as f64,
            busiest_slot_over_mean: *most as f64 * used as f64 / sum as f64,
        });
        self
    }

    /// What the kernel held for sockets.
    #[must_use]
    pub fn sockets(mut self, sockets: Option<SocketMemory>) -> Self {
        self.sockets = sockets;
        self
    }
}

/// Counted less sent; what has no answer may have been executed, or not.
fn difference(counted: u64, sent: u64, unanswered: u64) -> i64 {
    let less = sent.saturating_sub(counted);
    let left = less.saturating_sub(unanswered);
    let more = counted.saturating_sub(sent);
    i64::try_from(more).unwrap_or(i64::MAX) - i64::try_from(left).unwrap_or(i64::MAX)
}

impl RunResult {
    /// Adds what the servers counted, and judges it.
    pub fn reconcile(&mut self, reconciliation: Reconciliation) {
        if reconciliation.commands.iter().any(|row| row.sent.is_some()) {
            self.verdict.add(verdict::reconciled(reconciliation.unexplained));
        }
        if !self.verdict.is_valid() {
            self.headline = None;
        }
        self.reconciliation = Some(reconciliation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(role: &str, calls: u64, rejected: u64) -> NodeStat {
        let get = CommandStat { calls, usec: calls * 2, rejected, failed: 0 };
        NodeStat {
            run_id: "a".into(),
            role: role.into(),
            commands: BTreeMap::from([("get".into(), get), ("ping".into(), get)]),
            ..NodeStat::default()
        }
    }

    fn snapshot(nodes: Vec<NodeStat>) -> Snapshot {
        let nodes = nodes.into_iter().enumerate();
        Snapshot { nodes: nodes.map(|(at, node)| (format!("h:{at}"), Ok(node))).collect() }
    }

    fn get(on_wire: u64, unanswered: u64) -> [Sent; 1] {
        [Sent { command: "get".into(), completed: 90, on_wire, unanswered, client_p50_us: Some(80) }]
    }

    fn of(sent: &[Sent], redirects: Option<Redirects>) -> Reconciliation {
        let before = snapshot(vec![node("master", 10, 0), node("slave", 0, 0)]);
        let after = snapshot(vec![node("master", 110, 5), node("slave", 100, 0)]);
        Reconciliation::new(&before, &after).sent(sent, redirects)
    }

    #[test]
    fn masters_are_counted_and_what_is_missing_or_too_much_is_told() {
        let some = Some(Redirects::default());
        for (on_wire, unanswered, redirects, unexplained) in [
            (105, 0, some, 0),
            (107, 2, some, 0),
            (107, 1, some, 1),
            (100, 0, some, 5),
            // The five that were rejected were sent again by the library.
            (100, 0, None, 0),
            (103, 3, None, 0),
            (99, 0, None, 1),
        ] {
            let seen = of(&get(on_wire, unanswered), redirects);
            assert_eq!(seen.unexplained, Some(unexplained), "{on_wire} {unanswered} {redirects:?}");
        }
        let seen = of(&get(105, 0), some);
        assert_eq!((seen.commands.len(), seen.commands[0].server_us), (1, Some(2.0)));
        assert_eq!(seen.others, BTreeMap::from([("ping".to_owned(), 100)]));
        assert_eq!(seen.nodes[1].calls, 200);
    }

    #[test]
    fn a_restarted_or_promoted_node_leaves_nothing_to_judge() {
        let before = snapshot(vec![node("slave", 10, 0)]);
        let after = snapshot(vec![node("master", 110, 0)]);
        let seen = Reconciliation::new(&before, &after).sent(&get(1, 0), Some(Redirects::default()));
        assert_eq!((seen.unexplained, seen.notes.len()), (None, 1));
    }

    #[test]
    fn a_command_that_no_server_counted_is_a_difference() {
        let sent = [Sent { command: "set".into(), on_wire: 3, ..Sent::default() }];
        assert_eq!(of(&sent, Some(Redirects::default())).unexplained, Some(3));
    }

    #[test]
    fn skew_is_that_of_the_busiest() {
        let after = snapshot(vec![node("master", 30, 0), node("master", 10, 0)]);
        let before = snapshot(vec![node("master", 0, 0), node("master", 0, 0)]);
        let mut slots = vec![0; 16_384];
        (slots[3], slots[9]) = (30, 10);
        let seen = Reconciliation::new(&before, &after).slots(&slots);
        let skew = seen.skew.unwrap();
        assert_eq!((skew.slots, skew.busiest_slot), (2, 3));
        assert!((skew.busiest_node - 1.5).abs() < 1e-9 && (skew.busiest_slot_over_mean - 1.5).abs() < 1e-9);
        assert!((skew.busiest_slot_share - 0.75).abs() < 1e-9);
    }
}
