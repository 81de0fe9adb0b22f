//! A record of the commands of a handle: what was sent, what came back, in how many round trips.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// A trace keeps this many of the newest commands.
pub const TRACE_ENTRIES_MAX: usize = 10_000;
/// The most scripts that one trace knows by name.
const SCRIPT_NAMES_MAX: usize = 1_000;

/// One command and its reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceEntry {
    /// When it was sent, in microseconds since the trace began.
    pub at_us: u64,
    /// Its arguments, printable, each cut at [`ARG_PRINT_BYTES`](super::ARG_PRINT_BYTES).
    pub command: Vec<String>,
    /// The reply much as redis-cli shows it, on one line and cut.
    pub reply: String,
    /// From sending to the reply, in microseconds; of a pipeline, the whole pipeline.
    pub took_us: u64,
    /// Which round trip, from 0; the commands of one pipeline share it.
    pub round_trip: u64,
    /// The server or the connection answered with an error.
    pub error: bool,
    /// Which handle sent it.
    pub conn: String,
}

impl fmt::Display for TraceEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {}µs ", self.round_trip, self.took_us)?;
        for arg in &self.command {
            if arg.is_empty() || arg.contains([' ', '"', '\'']) {
                write!(f, " {arg:?}")?;
            } else {
                write!(f, " {arg}")?;
            }
        }
        write!(f, "  → {}", self.reply)
    }
}

/// One round trip on its way into a trace.
pub(super) struct Record<'a> {
    pub(super) start: Instant,
    pub(super) took: Duration,
    pub(super) label: &'a str,
    pub(super) commands: &'a [Vec<String>],
    pub(super) replies: &'a [(String, bool)],
}

/// A bounded record of commands; clones share it.
#[derive(Clone)]
pub struct Trace {
    began: Instant,
    inner: Arc<Mutex<TraceInner>>,
}

#[derive(Default)]
struct TraceInner {
    entries: VecDeque<TraceEntry>,
    round_trips: u64,
    dropped: u64,
    script_names: HashMap<String, String>,
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

impl Trace {
    /// An empty trace that begins now.
    pub fn new() -> Self {
        Self { began: Instant::now(), inner: Arc::default() }
    }

    fn inner(&self) -> MutexGuard<'_, TraceInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest [`TRACE_ENTRIES_MAX`] commands, in the order in which their replies came.
    pub fn entries(&self) -> Vec<TraceEntry> {
        self.inner().entries.iter().cloned().collect()
    }

    /// Forgets the commands and counts round trips from 0 again.
    pub fn clear(&self) {
        let mut inner = self.inner();
        inner.entries.clear();
        inner.round_trips = 0;
        inner.dropped = 0;
    }

    /// How many round trips there were; a pipeline is one.
    pub fn round_trips(&self) -> u64 {
        self.inner().round_trips
    }

    /// How many commands were forgotten to stay within the bound.
    pub fn dropped(&self) -> u64 {
        self.inner().dropped
    }

    /// From now on shows the script of `EVALSHA sha` as `name`.
    pub fn name_script(&self, sha: &str, name: &str) {
        let mut inner = self.inner();
        if inner.script_names.len() < SCRIPT_NAMES_MAX {
            inner.script_names.insert(sha.to_owned(), name.to_owned());
        }
    }

    pub(super) fn record(&self, record: &Record<'_>) {
        let at = record.start.saturating_duration_since(self.began);
        let mut inner = self.inner();
        let round_trip = inner.round_trips;
        inner.round_trips += 1;
        for (command, (reply, error)) in record.commands.iter().zip(record.replies) {
            let mut command = command.clone();
            inner.name_in(&mut command);
            if inner.entries.len() == TRACE_ENTRIES_MAX {
                inner.entries.pop_front();
                inner.dropped += 1;
            }
            inner.entries.push_back(TraceEntry {
                at_us: micros(at),
                command,
                reply: reply.clone(),
                took_us: micros(record.took),
                round_trip,
                error: *error,
                conn: record.label.to_owned(),
            });
        }
    }
}

impl TraceInner {
    /// Replaces the SHA-1 of a script that has a name.
    fn name_in(&self, command: &mut [String]) {
        let is_evalsha =
            |verb: &String| verb.eq_ignore_ascii_case("EVALSHA") || verb.eq_ignore_ascii_case("EVALSHA_RO");
        if let [verb, sha, ..] = command
            && is_evalsha(verb)
            && let Some(name) = self.script_names.get(sha.as_str())
        {
            sha.clone_from(name);
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.inner().entries {
            writeln!(f, "{entry}")?;
        }
        Ok(())
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(trace: &Trace, command: &[&str]) {
        let command: Vec<_> = command.iter().map(ToString::to_string).collect();
        trace.record(&Record {
            start: Instant::now(),
            took: Duration::from_micros(412),
            label: "a",
            commands: &[command],
            replies: &[("(integer) 1".to_owned(), false)],
        });
    }

    #[test]
    fn an_entry_is_one_line() {
        let trace = Trace::new();
        record(&trace, &["HSET", "{u:1}:profile", "name", "Ada L"]);
        let line = trace.to_string();
        assert_eq!(line, "#0 412µs  HSET {u:1}:profile name \"Ada L\"  → (integer) 1\n");
    }

    #[test]
    fn the_ring_is_bounded_and_says_what_it_dropped() {
        let trace = Trace::new();
        for _ in 0..TRACE_ENTRIES_MAX + 3 {
            record(&trace, &["PING"]);
        }
        assert_eq!(trace.entries().len(), TRACE_ENTRIES_MAX);
        assert_eq!(trace.dropped(), 3);
        trace.clear();
        assert_eq!(trace.round_trips(), 0);
    }

    #[test]
    fn named_scripts_are_shown_by_name() {
        let trace = Trace::new();
        trace.name_script("abc123", "sessions/touch");
        record(&trace, &["evalsha", "abc123", "1", "k"]);
        assert_eq!(trace.entries()[0].command[1], "sessions/touch");
    }
}
