//! Whatever ends chatlab, nothing of its own is left.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::common::{chatlab, redis_binary};

/// How long after the end something may still be there.
const GRACE: Duration = Duration::from_secs(2);

/// Processes whose command line names a path below `dir`.
fn processes_below(dir: &Path) -> Vec<String> {
    let needle = dir.to_string_lossy().into_owned();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .filter_map(|e| {
            let line =
                String::from_utf8_lossy(&std::fs::read(e.path().join("cmdline")).ok()?).replace('\0', " ");
            let cwd = std::fs::read_link(e.path().join("cwd")).unwrap_or_default();
            (line.contains(&needle) || cwd.starts_with(dir)).then_some(line)
        })
        .collect()
}

fn wait_until(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Starts `chatlab demo` in a temporary folder of its own, waits until its servers run, ends it by
/// `signal`, and looks at what is left.
fn nothing_is_left_after(signal: &str) {
    let temp = tempfile::tempdir().unwrap();
    let base: PathBuf = temp.path().canonicalize().unwrap();
    let mut demo = Command::new(chatlab())
        .arg("demo")
        .env("TMPDIR", &base)
        .env("CHATLAB_REDIS_SERVER", redis_binary().path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("a Redis server and a chat server run", Duration::from_secs(60), || {
        let running = processes_below(&base);
        running.iter().any(|l| l.contains("redis-server") || l.contains("valkey-server"))
            && running.iter().any(|l| l.contains("serve"))
    });
    let killed = Command::new("kill").args([signal, &demo.id().to_string()]).status().unwrap();
    assert!(killed.success());
    demo.wait().unwrap();
    wait_until("no process and no folder is left", GRACE, || {
        processes_below(&base).is_empty() && std::fs::read_dir(&base).unwrap().next().is_none()
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_killed_demo_leaves_no_process_and_no_folder() {
    nothing_is_left_after("-KILL");
}

#[test]
#[cfg(target_os = "linux")]
fn an_interrupted_demo_leaves_no_process_and_no_folder() {
    nothing_is_left_after("-INT");
}

#[test]
#[cfg(target_os = "linux")]
fn a_terminated_demo_leaves_no_process_and_no_folder() {
    nothing_is_left_after("-TERM");
}
