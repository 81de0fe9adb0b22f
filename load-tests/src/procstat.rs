//! CPU time and memory of processes, and of this process' threads, from `/proc`.
//!
//! On systems without `/proc` everything is `None`: a report then says "unknown", not zero.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

/// What a process has used up to now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcStat {
    /// User and system time, in seconds, to the kernel's tick (10 ms).
    pub cpu_s: f64,
    /// Resident memory, in bytes.
    pub rss_bytes: u64,
    /// Of that, what is no part of a file and shared with nobody, in bytes: two copies of one program differ in the rest, by how
    /// the kernel happens to keep the file.
    pub private_bytes: u64,
}

impl ProcStat {
    /// Of one process; none when it is gone or the system has no `/proc`.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command's name is in parentheses and may hold spaces and parentheses itself.
        let (_, after_name) = stat.rsplit_once(')')?;
        let mut fields = after_name.split_ascii_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<u64>().ok();
        let used = ticks()? + ticks()?;
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        let mut pages = statm.split_ascii_whitespace().skip(1);
        let mut bytes = || Some(pages.next()?.parse::<u64>().ok()? * rustix::param::page_size() as u64);
        let (rss_bytes, shared_bytes) = (bytes()?, bytes()?);
        Some(Self {
            cpu_s: used as f64 / rustix::param::clock_ticks_per_second() as f64,
            rss_bytes,
            private_bytes: rss_bytes.saturating_sub(shared_bytes),
        })
    }

    /// Of several processes together; none when there are none or one is unknown.
    pub fn sum(pids: &[u32]) -> Option<Self> {
        if pids.is_empty() {
            return None;
        }
        pids.iter().try_fold(Self::default(), |sum, pid| {
            let one = Self::of(*pid)?;
            Some(Self {
                cpu_s: sum.cpu_s + one.cpu_s,
                rss_bytes: sum.rss_bytes + one.rss_bytes,
                private_bytes: sum.private_bytes + one.private_bytes,
            })
        })
    }
}

/// One thread of this process.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreadStat {
    /// The kernel's number for it.
    pub tid: u32,
    /// Its name.
    pub name: String,
    /// Time on a CPU, in seconds, to the nanosecond.
    pub cpu_s: f64,
}

/// This process' threads; empty where the system does not tell.
pub fn own_threads() -> Vec<ThreadStat> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    tasks.flatten().filter_map(|entry| thread(&entry.path())).collect()
}

fn thread(path: &Path) -> Option<ThreadStat> {
    let tid = path.file_name()?.to_str()?.parse().ok()?;
    let name = fs::read_to_string(path.join("comm")).ok()?.trim_end().to_owned();
    let schedstat = fs::read_to_string(path.join("schedstat")).ok()?;
    let on_cpu_ns: u64 = schedstat.split_ascii_whitespace().next()?.parse().ok()?;
    Some(ThreadStat { tid, name, cpu_s: on_cpu_ns as f64 / 1e9 })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn work_shows_up_as_cpu_time_of_process_and_thread() {
        let pid = std::process::id();
        let before = ProcStat::of(pid).unwrap();
        let started = std::time::Instant::now();
        while started.elapsed().as_millis() < 60 {
            std::hint::black_box(0);
        }
        let after = ProcStat::of(pid).unwrap();
        assert!(after.cpu_s > before.cpu_s && after.rss_bytes > 100_000);
        assert!(own_threads().iter().any(|t| t.cpu_s > 0.01));
    }

    #[test]
    fn a_process_that_is_gone_is_unknown_and_not_zero() {
        assert_eq!(ProcStat::of(u32::MAX), None);
        assert_eq!(ProcStat::sum(&[std::process::id(), u32::MAX]), None);
        assert_eq!(ProcStat::sum(&[]), None);
    }
}
