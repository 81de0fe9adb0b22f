//! What is seen of the server from outside while it is fuzzed.

use std::{fs, path::Path};

use hyper::Method;
use serde::Serialize;

use crate::{http::HttpClient, procstat::ProcStat};

/// The most lines of a log that a report quotes.
const MAX_LINES: usize = 8;
/// What stands in every line about a panic.
const PANICKED: &str = "panicked";

/// The server at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Look {
    /// Connections that said hello, by its own count.
    pub connections: f64,
    /// WebSockets, also those that did not say hello or are saying goodbye.
    pub sockets: f64,
    /// Rooms that somebody listens to.
    pub rooms: f64,
    /// Panics, ever.
    pub panics: f64,
    /// Open descriptors of the process: none where the system does not tell.
    pub descriptors: Option<usize>,
    /// Resident memory, in bytes; none where the system does not tell.
    pub rss_bytes: Option<u64>,
}

/// Looks at it.
///
/// # Errors
/// What does not answer, or is not counted.
pub(super) async fn look(http: &HttpClient, pid: u32) -> Result<Look, String> {
    let answer = http.request(Method::GET, "/metrics", None, None).await.map_err(|e| e.to_string())?;
    let text = answer.text();
    let count = |name: &str| metric(&text, name).ok_or_else(|| format!("/metrics does not tell {name}"));
    Ok(Look {
        connections: count("chatlab_connections")?,
        sockets: count("chatlab_sockets")?,
        rooms: count("chatlab_rooms")?,
        panics: count("chatlab_panics_total")?,
        descriptors: descriptors(pid),
        rss_bytes: rss_bytes(pid),
    })
}

pub(super) fn rss_bytes(pid: u32) -> Option<u64> {
    ProcStat::of(pid).map(|stat| stat.rss_bytes)
}

fn descriptors(pid: u32) -> Option<usize> {
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
}

/// A metric without labels.
pub(crate) fn metric(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The readiness that the server tells.
///
/// # Errors
/// What it says instead of being ready.
pub(super) async fn ready(http: &HttpClient) -> Result<(), String> {
    let answer =
        http.request(Method::GET, "/health/readiness", None, None).await.map_err(|e| e.to_string())?;
    match answer.status {
        200 => Ok(()),
        status => Err(format!("readiness answers {status}: {}", answer.text())),
    }
}

/// What the server's log has of panics, and how long it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Log {
    /// In bytes.
    pub bytes: u64,
    /// Lines that tell of a panic, the first of them.
    pub panics: Vec<String>,
}

impl Log {
    pub(super) fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let panics = text.lines().filter(|line| line.contains(PANICKED)).take(MAX_LINES);
        Self { bytes: bytes.len() as u64, panics: panics.map(str::to_owned).collect() }
    }
}

/// Memory over a run, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Before anything was sent.
    pub before: u64,
    /// The median of the tenth after the middle.
    pub middle: u64,
    /// The median of the last tenth.
    pub end: u64,
    /// The highest of all.
    pub highest: u64,
}

impl Memory {
    /// From equally spaced samples; none with fewer than ten.
    pub(super) fn of(samples: &[u64]) -> Option<Self> {
        let (n, first) = (samples.len(), samples.first()?);
        if n < 10 {
            return None;
        }
        let median = |part: &[u64]| {
            let mut part = part.to_vec();
            part.sort_unstable();
            part[part.len() / 2]
        };
        let tenth = n / 10;
        Some(Self {
            before: *first,
            middle: median(&samples[n / 2..n / 2 + tenth]),
            end: median(&samples[n - tenth..]),
            highest: samples.iter().copied().max().unwrap_or(*first),
        })
    }

    /// How much it grew over the second half, in bytes.
    pub fn growth(&self) -> u64 {
        self.end.saturating_sub(self.middle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_in_the_second_half_is_told_from_a_beginning_that_fills_up() {
        let filling: Vec<u64> = (0..100u64).map(|i| 1_000 + 50 * i.min(30)).collect();
        let memory = Memory::of(&filling).unwrap();
        assert_eq!((memory.before, memory.middle, memory.end, memory.growth()), (1_000, 2_500, 2_500, 0));
        let growing: Vec<u64> = (0..100).map(|i| 1_000 + 50 * i).collect();
        assert_eq!(Memory::of(&growing).unwrap().growth(), 2_000);
        let mut peak = filling;
        peak[60] = 90_000;
        let memory = Memory::of(&peak).unwrap();
        assert_eq!((memory.growth(), memory.highest), (0, 90_000));
        assert_eq!(Memory::of(&[1; 9]), None);
    }

    #[test]
    fn a_metric_that_is_not_there_is_not_zero() {
        let text = "# TYPE a counter\na_total 3\na 0\nab 7\n";
        assert_eq!(
            (metric(text, "a"), metric(text, "a_total"), metric(text, "b")),
            (Some(0.0), Some(3.0), None)
        );
    }

    #[test]
    fn panics_are_found_in_a_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(
            &path,
            "all well\nthread 'x' panicked at src/a.rs:1:2:\nERROR server.panicked location=src/a.rs\n",
        )
        .unwrap();
        assert_eq!(Log::read(&path).panics.len(), 2);
        assert_eq!(Log::read(&folder.path().join("none")), Log::default());
    }
}
