//! What ran on which server, as a table at the end.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// A suite on a topology of a server.
pub struct Row {
    server: String,
    topology: &'static str,
    suite: &'static str,
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
    /// Of the suite on all topologies, where they run together.
    took: Duration,
}

static ROWS: Mutex<Vec<Row>> = Mutex::new(Vec::new());

impl Row {
    pub fn new(server: &str, topology: &'static str, suite: &'static str, took: Duration) -> Self {
        Self { server: server.to_owned(), topology, suite, passed: 0, failed: 0, skipped: 0, took }
    }

    /// A row of one test that passed.
    pub fn passed(server: &str, topology: &'static str, suite: &'static str, took: Duration) -> Self {
        Self { passed: 1, ..Self::new(server, topology, suite, took) }
    }
}

/// Puts a row into the table.
pub fn add(row: Row) {
    ROWS.lock().unwrap_or_else(PoisonError::into_inner).push(row);
}

/// Prints the table, unless it is empty.
pub fn show() {
    let mut rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
    if rows.is_empty() {
        return;
    }
    rows.sort_by(|a, b| (&a.server, a.suite, a.topology).cmp(&(&b.server, b.suite, b.topology)));
    println!(
        "\n{:<16} {:<11} {:<12} {:>6} {:>6} {:>7} {:>8}",
        "server", "topology", "suite", "passed", "failed", "skipped", "wall s"
    );
    for row in rows.iter() {
        let Row { server, topology, suite, passed, failed, skipped, took } = row;
        let took = took.as_secs_f64();
        println!("{server:<16} {topology:<11} {suite:<12} {passed:>6} {failed:>6} {skipped:>7} {took:>8.1}");
    }
    println!(
        "author gate: runs of variants. Topologies of a suite run beside each other, and versions, too."
    );
}
