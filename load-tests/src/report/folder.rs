//! The report of a folder, from its recorded files alone.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;

use super::{Timeline, compare_page, knee_page, matrix_page, recorded, run_page, terminal};
use crate::{
    compare::{self, Compared},
    knee::{self, Knee},
    matrix::{self, Table},
    recording::{self, RecordedRun, RecordingError},
    result::RunResult,
};

/// The largest file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
/// The most files of a folder that are looked at.
const MAX_FILES: usize = 1000;

/// One result of the folder, written anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The result it was made from.
    pub from: PathBuf,
    /// The page that was written.
    pub page: PathBuf,
    /// Its size, in bytes.
    pub bytes: u64,
    /// The same for a terminal.
    pub text: String,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file or folder can't be read or written.
    #[error("{path}: {why}")]
    Io {
        /// Which one.
        path: String,
        /// What the system says.
        why: io::Error,
    },
    /// A file is too large to be a result.
    #[error("{0} is larger than {MAX_FILE_BYTES} bytes, which no result is")]
    TooLarge(String),
    /// A file is a result by its name and first fields, but can't be read as one.
    #[error("{path} is no result of this version: {why}")]
    Malformed {
        /// Which one.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// A recorded run can't be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// There is nothing to report on.
    #[error("{0} holds no result: write one with `chatlab load run SCENARIO --out {0}`")]
    Empty(String),
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> ReportError + '_ {
    move |why| ReportError::Io { path: path.display().to_string(), why }
}

/// Reads every result in a folder (`*.json`, not in folders inside it) and writes a page of the same name (`*.html`) beside
/// it. `result.json` beside interval logs is a recorded run ([`recording`]): its page also shows what happened over time.
/// Files that are something else are passed over.
///
/// # Errors
/// [`ReportError`]; also when there is no result at all.
pub fn folder(dir: &Path) -> Result<Vec<Report>, ReportError> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .map_err(io_error(dir))?
        .take(MAX_FILES)
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .collect();
    files.sort();
    let mut reports = Vec::new();
    for file in files {
        reports.extend(report(&file)?);
    }
    if reports.is_empty() { Err(ReportError::Empty(dir.display().to_string())) } else { Ok(reports) }
}

fn report(file: &Path) -> Result<Option<Report>, ReportError> {
    let size = fs::metadata(file).map_err(io_error(file))?.len();
    if size > MAX_FILE_BYTES {
        return Err(ReportError::TooLarge(file.display().to_string()));
    }
    let text = fs::read_to_string(file).map_err(io_error(file))?;
    let Some((page, text)) = written(file, &text)? else { return Ok(None) };
    let to = file.with_extension("html");
    fs::write(&to, &page).map_err(io_error(&to))?;
    Ok(Some(Report { from: file.to_owned(), page: to, bytes: page.len() as u64, text }))
}

/// The field that only one kind of result has.
#[derive(serde::Deserialize)]
struct Kind {
    comparison_schema: Option<u32>,
    knee_schema: Option<u32>,
    matrix_schema: Option<u32>,
    schema: Option<u32>,
    verdict: Option<serde::de::IgnoredAny>,
}

fn written(file: &Path, text: &str) -> Result<Option<(String, String)>, ReportError> {
    let Ok(kind) = serde_json::from_str::<Kind>(text) else { return Ok(None) };
    Ok(Some(if kind.comparison_schema.is_some() {
        let session: Compared = parsed(file, text)?;
        let accepted = session.withheld.is_some() && session.judgement.is_some();
        let session = session.judged_again(accepted);
        (compare_page(&session), compare::terminal_of_session(&session))
    } else if kind.knee_schema.is_some() {
        let found: Knee = parsed(file, text)?;
        (knee_page(&found), knee::terminal(&found))
    } else if kind.matrix_schema.is_some() {
        let table: Table = parsed(file, text)?;
        (matrix_page(&table), matrix::terminal(&table))
    } else if kind.schema.is_some() && kind.verdict.is_some() {
        run(file, text)?
    } else {
        return Ok(None);
    }))
}

fn run(file: &Path, text: &str) -> Result<(String, String), ReportError> {
    let recorded = file.file_name().is_some_and(|name| name == recording::RESULT);
    match file.parent().filter(|dir| recorded && dir.join(recording::RESPONSE).exists()) {
        Some(dir) => {
            let run = RecordedRun::read(dir)?;
            Ok((run_page(&run.result, &recorded::timeline(&run)?), terminal(&run.result)))
        }
        None => {
            let result: RunResult = parsed(file, text)?;
            let timeline = Timeline { seconds: Vec::new(), faults: recorded::faults(&result) };
            Ok((run_page(&result, &timeline), terminal(&result)))
        }
    }
}

fn parsed<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, ReportError> {
    serde_json::from_str(text)
        .map_err(|e| ReportError::Malformed { path: file.display().to_string(), why: e.to_string() })
}
