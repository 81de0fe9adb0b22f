//! `*.hlog`: HdrHistogram's interval log, V2 histograms, one line an interval and tag; written and read.
//!
//! Values are microseconds, times are seconds after the window's start, which is the log's `StartTime` and `BaseTime`.

use std::{
    fs,
    path::{Path, PathBuf},
    str,
};

use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry, LogIteratorError};

use super::{MAX_FILE_BYTES, RecordingError, broken, unreadable};
use crate::recorder::Latency;

/// One line of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Interval {
    /// What was measured: `ack`, `delivery` or `send`.
    pub tag: String,
    /// When it began, in seconds after the window's start.
    pub start_s: f64,
    /// How long it was, in seconds: 1, or more where the writer fell behind.
    pub len_s: f64,
    /// What completed in it.
    pub latency: Latency,
}

/// A log as it was read. Histograms are taken out of it one by one, so that a long log does not need much memory.
#[derive(Clone, Debug, PartialEq)]
pub struct IntervalLog {
    file: PathBuf,
    text: Vec<u8>,
}

impl IntervalLog {
    /// Reads a log and checks every line of it.
    ///
    /// # Errors
    /// [`RecordingError`] with the file and the line.
    pub fn read(file: &Path) -> Result<Self, RecordingError> {
        let bytes = fs::metadata(file).map_err(|e| unreadable(file, &e))?.len();
        if bytes > MAX_FILE_BYTES {
            return Err(broken(file, &format!("{bytes} bytes, and at most {MAX_FILE_BYTES} are read")));
        }
        let log = Self { file: file.to_owned(), text: fs::read(file).map_err(|e| unreadable(file, &e))? };
        log.intervals().try_for_each(|interval| interval.map(drop))?;
        Ok(log)
    }

    /// All lines, in the file's order.
    pub fn intervals(&self) -> impl Iterator<Item = Result<Interval, RecordingError>> + '_ {
        let mut nth = 0;
        IntervalLogIterator::new(&self.text).filter_map(move |entry| match entry {
            Ok(LogEntry::Interval(interval)) => {
                nth += 1;
                let fail = |why: String| broken(&self.file, &format!("interval {nth}: {why}"));
                Some(Latency::decode(interval.encoded_histogram()).map_err(|e| fail(e.to_string())).map(
                    |latency| Interval {
                        tag: interval.tag().map_or_else(String::new, |tag| tag.as_str().to_owned()),
                        start_s: interval.start_timestamp().as_secs_f64(),
                        len_s: interval.duration().as_secs_f64(),
                        latency,
                    },
                ))
            }
            Ok(LogEntry::StartTime(_) | LogEntry::BaseTime(_)) => None,
            Err(LogIteratorError::ParseError { offset }) => {
                let line = 1 + self.text[..offset].iter().filter(|byte| **byte == b'\n').count();
                Some(Err(broken(
                    &self.file,
                    &format!("line {line} is no line of an interval log, or not a whole one"),
                )))
            }
        })
    }

    /// When the window began, in seconds since 1970; none when the log does not say.
    pub fn start_unix_s(&self) -> Option<f64> {
        IntervalLogIterator::new(&self.text).find_map(|entry| match entry {
            Ok(LogEntry::StartTime(since)) => Some(since.as_secs_f64()),
            _ => None,
        })
    }

    /// Everything under one tag, merged.
    ///
    /// # Errors
    /// As [`IntervalLog::read`].
    pub fn merged(&self, tag: &str) -> Result<Latency, RecordingError> {
        let mut all = Latency::new().map_err(|e| broken(&self.file, &e.to_string()))?;
        for interval in self.intervals() {
            let interval = interval?;
            if interval.tag == tag {
                all.merge(&interval.latency);
            }
        }
        Ok(all)
    }
}
