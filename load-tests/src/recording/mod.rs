//! A run written to a folder, while it goes on, and read back.
//!
//! | file | what |
//! | --- | --- |
//! | `result.json` | the [`RunResult`]; `docs/result.schema.json` describes it |
//! | `response.hlog` | from the intended instant, an interval a second, tags `ack` and `delivery` |
//! | `service.hlog` | the same from the actual send |
//! | `pacing.hlog` | from the intended instant to the actual send, tag `send` |
//! | `response-ack.hgrm` … | the whole window's distribution of each, where there is one |
//! | `timeline.csv` | a row a second; see [`Row`] |
//!
//! Everything in the folder is about the messages of the window, in the second in which something happened to them: merged,
//! the intervals are the histograms of the result. Memory is the same for a minute and for a day: a thread holds the current
//! second ([`Live`]) and the writer at most [`MAX_PENDING_S`] seconds.

mod hgrm;
mod live;
mod log;
mod timeline;
mod writer;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

pub use self::{
    hgrm::text as hgrm_text,
    live::{Live, Stage},
    log::{Interval, IntervalLog},
    timeline::{HEADER, Row},
    writer::{Observe, Recording},
};
use crate::{
    recorder::{Latency, Summary},
    result::{RunResult, SCHEMA},
};

/// The names of the files in a folder.
pub const RESULT: &str = "result.json";
/// Intervals from the intended instant.
pub const RESPONSE: &str = "response.hlog";
/// Intervals from the actual send.
pub const SERVICE: &str = "service.hlog";
/// Intervals of the generator's lateness.
pub const PACING: &str = "pacing.hlog";
/// A row a second.
pub const TIMELINE: &str = "timeline.csv";
/// The tags of intervals, by [`Stage`].
pub const TAGS: [&str; 2] = ["ack", "delivery"];
/// The tag in [`PACING`].
pub const TAG_SEND: &str = "send";

/// The most seconds that wait for a thread that says nothing; then they are written without it.
pub const MAX_PENDING_S: usize = 30;
/// The most bytes of one file that are read.
pub const MAX_FILE_BYTES: u64 = 512 * 1024 * 1024;

/// A folder that can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// There is a run in it already.
    #[error("{} holds a recorded run already: name another folder, or remove it", .0.display())]
    Taken(PathBuf),
    /// A file could not be written.
    #[error("writing {}: {why}", file.display())]
    Write {
        /// Which one.
        file: PathBuf,
        /// What happened.
        why: String,
    },
    /// A file is missing or can't be read.
    #[error("{}: {why}{}", file.display(), if *missing { ": is this the folder of a recorded run?" } else { "" })]
    Read {
        /// Which one.
        file: PathBuf,
        /// Whether there is none.
        missing: bool,
        /// What happened.
        why: String,
    },
    /// A file is not what it should be.
    #[error("{} is broken: {why}", file.display())]
    Broken {
        /// Which one.
        file: PathBuf,
        /// Where and what.
        why: String,
    },
    /// The writing thread could not be started, or failed.
    #[error("the recording: {0}")]
    Thread(String),
}

pub(crate) fn broken(file: &Path, why: &str) -> RecordingError {
    RecordingError::Broken { file: file.to_owned(), why: why.to_owned() }
}

fn unreadable(file: &Path, error: &io::Error) -> RecordingError {
    let missing = error.kind() == io::ErrorKind::NotFound;
    RecordingError::Read { file: file.to_owned(), missing, why: error.to_string() }
}

fn unwritable(file: &Path, why: &impl ToString) -> RecordingError {
    RecordingError::Write { file: file.to_owned(), why: why.to_string() }
}

/// A run out of its folder.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedRun {
    /// Where it was read from.
    pub dir: PathBuf,
    /// The result.
    pub result: RunResult,
    /// Intervals from the intended instant, tags `ack` and `delivery`.
    pub response: IntervalLog,
    /// The same from the actual send.
    pub service: IntervalLog,
    /// Intervals of the pacing error, tag `send`.
    pub pacing: IntervalLog,
    /// A row a second.
    pub timeline: Vec<Row>,
}

impl RecordedRun {
    /// Reads a folder, and checks every file in it.
    ///
    /// # Errors
    /// [`RecordingError`] names the file, and in it the line or the field.
    pub fn read(dir: &Path) -> Result<Self, RecordingError> {
        let file = |name: &str| dir.join(name);
        let timeline = file(TIMELINE);
        Ok(Self {
            dir: dir.to_owned(),
            result: read_result(&file(RESULT))?,
            response: IntervalLog::read(&file(RESPONSE))?,
            service: IntervalLog::read(&file(SERVICE))?,
            pacing: IntervalLog::read(&file(PACING))?,
            timeline: timeline::parse(&timeline, &read_text(&timeline)?)?,
        })
    }
}

fn read_text(file: &Path) -> Result<String, RecordingError> {
    let bytes = fs::metadata(file).map_err(|e| unreadable(file, &e))?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(broken(file, &format!("{bytes} bytes, and at most {MAX_FILE_BYTES} are read")));
    }
    fs::read_to_string(file).map_err(|e| unreadable(file, &e))
}

/// Reads a result by itself, such as one written before there were recordings.
///
/// # Errors
/// [`RecordingError`] with the line and the field.
pub fn read_result(file: &Path) -> Result<RunResult, RecordingError> {
    let text = read_text(file)?;
    let version: Version = serde_json::from_str(&text).map_err(|e| broken(file, &e.to_string()))?;
    if version.schema != SCHEMA {
        let why = format!("schema {} instead of {SCHEMA}: written by another version", version.schema);
        return Err(broken(file, &why));
    }
    serde_json::from_str(&text).map_err(|e| broken(file, &e.to_string()))
}

/// Looked at before the rest, whose fields belong to a version.
#[derive(serde::Deserialize)]
struct Version {
    schema: u32,
}

/// Writes the result into a run's folder, in place of what was there: for those who learn more about a run after its
/// generator has ended, as from the servers' own counters.
///
/// # Errors
/// [`RecordingError::Write`].
pub fn write_result(dir: &Path, result: &RunResult) -> Result<(), RecordingError> {
    let (file, new) = (dir.join(RESULT), dir.join("result.json.new"));
    let json = serde_json::to_vec_pretty(result).map_err(|e| unwritable(&file, &e))?;
    // Whole or not at all.
    fs::write(&new, json).and_then(|()| fs::rename(&new, &file)).map_err(|e| unwritable(&file, &e))
}

/// Writes the distributions that a result carries, where there are samples.
///
/// # Errors
/// [`RecordingError::Write`].
pub fn write_distributions(dir: &Path, result: &RunResult) -> Result<(), RecordingError> {
    let latency = &result.latency;
    let all: [(&str, &Summary); 5] = [
        ("response-ack.hgrm", &latency.ack),
        ("response-delivery.hgrm", &latency.delivery),
        ("service-ack.hgrm", &latency.ack_service),
        ("service-delivery.hgrm", &latency.delivery_service),
        ("pacing.hgrm", &latency.pacing),
    ];
    for (name, summary) in all.into_iter().filter(|(_, summary)| summary.count > 0) {
        let file = dir.join(name);
        let latency = Latency::from_summary(summary).map_err(|e| unwritable(&file, &e))?;
        fs::write(&file, hgrm::text(&latency)).map_err(|e| unwritable(&file, &e))?;
    }
    Ok(())
}
