//! Arrivals that were recorded somewhere else, to be repeated.
//!
//! A line an arrival: microseconds after the beginning, in order, and optionally the client's number, after a space, a tab
//! or a comma. Empty lines and lines that begin with `#` are skipped.

use std::{
    fmt::Write,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{MAX_SECS, Schedule, ScheduleError};

/// The longest trace file, in bytes.
pub const MAX_TRACE_BYTES: u64 = 32 * 1024 * 1024;
/// The most arrivals of one trace.
pub const MAX_TRACE_ARRIVALS: usize = 1_000_000;

/// One recorded arrival: microseconds after the beginning, and the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceArrival(u64, Option<u32>);

impl TraceArrival {
    /// When, in microseconds after the trace's beginning.
    pub fn at_us(&self) -> u64 {
        self.0
    }

    /// Who; none lets the clients take turns. A run with fewer clients counts round them.
    pub fn client(&self) -> Option<u32> {
        self.1
    }
}

/// A recorded trace. A scenario names its file; what is in it goes along with the plan, so that a generator elsewhere needs
/// no file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// Where it comes from.
    pub file: PathBuf,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    arrivals: Arc<[TraceArrival]>,
}

impl Trace {
    /// Reads a trace file.
    ///
    /// # Errors
    /// [`ScheduleError::Trace`] with the file and the line.
    pub fn read(file: &Path) -> Result<Self, ScheduleError> {
        let fail = |why: String| ScheduleError::Trace { file: file.display().to_string(), line: None, why };
        let opened = File::open(file).map_err(|e| fail(e.to_string()))?;
        let mut text = String::new();
        opened.take(MAX_TRACE_BYTES + 1).read_to_string(&mut text).map_err(|e| fail(e.to_string()))?;
        if text.len() as u64 > MAX_TRACE_BYTES {
            return Err(fail(format!("longer than {MAX_TRACE_BYTES} bytes: cut it into parts")));
        }
        Self::parse(file, &text)
    }

    /// Reads a trace's text; `file` is its name in messages and results.
    ///
    /// # Errors
    /// As [`Trace::read`].
    pub fn parse(file: &Path, text: &str) -> Result<Self, ScheduleError> {
        let mut arrivals: Vec<TraceArrival> = Vec::new();
        for (nth, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let earlier = arrivals.last().map_or(0, TraceArrival::at_us);
            let arrival = parse_line(line, earlier).map_err(|why| ScheduleError::Trace {
                file: file.display().to_string(),
                line: Some(nth + 1),
                why,
            })?;
            if arrivals.len() == MAX_TRACE_ARRIVALS {
                let why = format!("more than {MAX_TRACE_ARRIVALS} arrivals: cut it into parts");
                return Err(ScheduleError::Trace {
                    file: file.display().to_string(),
                    line: Some(nth + 1),
                    why,
                });
            }
            arrivals.push(arrival);
        }
        let trace = Self { file: file.to_owned(), arrivals: arrivals.into() };
        trace.check()?;
        Ok(trace)
    }

    /// A trace's text of any schedule's arrivals: what a run did can be repeated elsewhere.
    pub fn text(schedule: &Schedule) -> String {
        let mut text = String::from("# offset in microseconds, client\n");
        for arrival in schedule.arrivals() {
            let _ = writeln!(text, "{} {}", arrival.at_ns / 1000, arrival.client);
        }
        text
    }

    /// The arrivals, in order.
    pub fn arrivals(&self) -> &[TraceArrival] {
        &self.arrivals
    }

    /// Those that are due before `duration_ns`.
    pub(super) fn within(&self, duration_ns: u64) -> &[TraceArrival] {
        &self.arrivals[..self.arrivals.partition_point(|a| a.at_us() * 1000 < duration_ns)]
    }

    /// Checks a trace that came from elsewhere, such as a plan's JSON.
    ///
    /// # Errors
    /// [`ScheduleError::Trace`]: nothing in it, too much, or not in order.
    pub fn check(&self) -> Result<(), ScheduleError> {
        let why = if self.arrivals.is_empty() {
            "there is no arrival in it, or it has not been read"
        } else if self.arrivals.len() > MAX_TRACE_ARRIVALS {
            "too many arrivals"
        } else if !self.arrivals.is_sorted_by_key(TraceArrival::at_us) {
            "not in order"
        } else if self.arrivals.last().is_some_and(|a| a.at_us() > MAX_SECS * 1_000_000) {
            "longer than a day"
        } else {
            return Ok(());
        };
        Err(ScheduleError::Trace { file: self.file.display().to_string(), line: None, why: why.into() })
    }
}

fn parse_line(line: &str, earlier_us: u64) -> Result<TraceArrival, String> {
    let mut fields = line.split([' ', '\t', ',']).filter(|field| !field.is_empty());
    let offset = fields.next().unwrap_or_default();
    let at_us = offset.parse().map_err(|_| format!("`{offset}` is no whole number of microseconds"))?;
    let client = match fields.next() {
        None => None,
        Some(client) => Some(client.parse().map_err(|_| format!("`{client}` is no client's number"))?),
    };
    if let Some(more) = fields.next() {
        return Err(format!("`{more}` after offset and client"));
    }
    if at_us < earlier_us {
        return Err(format!("{at_us} comes after {earlier_us}: arrivals must be in order"));
    }
    if at_us > MAX_SECS * 1_000_000 {
        return Err(format!("{at_us} µs is more than a day after the beginning"));
    }
    Ok(TraceArrival(at_us, client))
}
