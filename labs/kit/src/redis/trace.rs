//! A record of the commands of a handle: what was sent, what came back, in how many round trips.

use std::collections::{BTreeMap, HashMap, VecDeque};
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
    /// Which handle or connection sent it.
    pub conn: String,
    /// The bytes of the command on the wire; 0 where only a handle was watched.
    #[serde(default)]
    pub bytes_out: u64,
    /// The bytes of the reply on the wire; 0 where only a handle was watched.
    #[serde(default)]
    pub bytes_in: u64,
    /// Not asked for: a message of a subscription and the like. The command is then `(push) message CHANNEL`, the reply its
    /// payload, and the round trip the number of those before it.
    #[serde(default)]
    pub push: bool,
    /// The address that the client connected to; empty where only a handle was watched.
    #[serde(default)]
    pub node: String,
}

/// A command on its way, between [`Trace::begin`] and [`Trace::answer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) at: Instant,
    pub(crate) command: Vec<String>,
    pub(crate) conn: Arc<str>,
    pub(crate) node: Arc<str>,
    pub(crate) trip: Trip,
    pub(crate) bytes_out: u64,
}

/// A reply as it goes into a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) error: bool,
    pub(crate) bytes_in: u64,
}

/// The number of a round trip, and how often the trace had been cleared before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trip {
    number: u64,
    age: u64,
}

impl fmt::Display for TraceEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.push {
            write!(f, "  ")?;
        } else {
            write!(f, "#{} {}µs ", self.round_trip, self.took_us)?;
        }
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
    /// Commands without a reply so far, by number.
    waiting: BTreeMap<u64, Sent>,
    /// The number of the next command that begins.
    next: u64,
    /// How often the trace was cleared.
    age: u64,
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
        inner.waiting.clear();
        inner.age += 1;
    }

    /// The commands that were sent and have no reply yet: connection and command, oldest first.
    pub fn waiting(&self) -> Vec<(String, Vec<String>)> {
        self.inner().waiting.values().map(|sent| (sent.conn.to_string(), sent.command.clone())).collect()
    }

    /// A new round trip.
    pub(crate) fn trip(&self) -> Trip {
        let mut inner = self.inner();
        let trip = Trip { number: inner.round_trips, age: inner.age };
        inner.round_trips += 1;
        trip
    }

    /// Whether a trip may go on: the trace was not cleared since.
    pub(crate) fn continues(&self, trip: Trip) -> bool {
        self.inner().age == trip.age
    }

    /// Whether the command of this number has no reply yet.
    pub(crate) fn is_waiting(&self, number: u64) -> bool {
        self.inner().waiting.contains_key(&number)
    }

    /// A command is on its way; [`Trace::answer`] takes the number.
    pub(crate) fn begin(&self, mut sent: Sent) -> u64 {
        let mut inner = self.inner();
        inner.name_in(&mut sent.command);
        let number = inner.next;
        inner.next += 1;
        // What was read before the trace was cleared belongs to what it has forgotten.
        if sent.trip.age == inner.age && inner.waiting.len() < TRACE_ENTRIES_MAX {
            inner.waiting.insert(number, sent);
        }
        number
    }

    /// The reply to a command has come. Without effect when the trace was cleared meanwhile.
    pub(crate) fn answer(&self, number: u64, answer: Answer) {
        let mut inner = self.inner();
        let Some(sent) = inner.waiting.remove(&number) else { return };
        let entry = TraceEntry {
            at_us: micros(sent.at.saturating_duration_since(self.began)),
            command: sent.command,
            reply: answer.text,
            took_us: micros(sent.at.elapsed()),
            round_trip: sent.trip.number,
            error: answer.error,
            conn: sent.conn.to_string(),
            bytes_out: sent.bytes_out,
            bytes_in: answer.bytes_in,
            push: false,
            node: sent.node.to_string(),
        };
        inner.add(entry);
    }

    /// Something came that nobody asked for.
    pub(crate) fn push(&self, conn: &str, node: &str, command: Vec<String>, answer: Answer) {
        let at_us = micros(self.began.elapsed());
        let mut inner = self.inner();
        let entry = TraceEntry {
            at_us,
            command,
            reply: answer.text,
            took_us: 0,
            round_trip: inner.round_trips,
            error: false,
            conn: conn.to_owned(),
            bytes_out: 0,
            bytes_in: answer.bytes_in,
            push: true,
            node: node.to_owned(),
        };
        inner.add(entry);
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
            inner.add(TraceEntry {
                at_us: micros(at),
                command,
                reply: reply.clone(),
                took_us: micros(record.took),
                round_trip,
                error: *error,
                conn: record.label.to_owned(),
                bytes_out: 0,
                bytes_in: 0,
                push: false,
                node: String::new(),
            });
        }
    }
}

impl TraceInner {
    fn add(&mut self, entry: TraceEntry) {
        if self.entries.len() == TRACE_ENTRIES_MAX {
            self.entries.pop_front();
            self.dropped += 1;
        }
        self.entries.push_back(entry);
    }

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

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("entries", &self.inner().entries.len()).finish_non_exhaustive()
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
