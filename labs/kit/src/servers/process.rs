//! Who a pid is: pids are used again, so one alone names nobody.

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

/// A process, told apart from a later one with the same pid by its start time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The pid.
    pub pid: u32,
    /// When it started, in the platform's own notation; compared, never read.
    pub started: String,
}

impl Identity {
    /// The process `pid`, if there is one.
    pub fn of(pid: u32) -> Option<Self> {
        start_time(pid).map(|started| Self { pid, started })
    }

    /// This process.
    pub fn own() -> Self {
        let pid = std::process::id();
        Self { pid, started: start_time(pid).unwrap_or_default() }
    }

    /// Whether exactly this process still runs. One that ended but was not waited for does not.
    pub fn is_alive(&self) -> bool {
        start_time(self.pid).is_some_and(|started| started == self.started)
    }
}

/// Sends a signal. `false`: there is no such process, or it is not ours.
pub fn signal(pid: u32, signal: Signal) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::kill_process(pid, signal).is_ok())
}

/// Which processes can be seen from here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct View {
    boot: String,
    namespace: String,
}

/// What a process can say about the pids that another one recorded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It sees the same pids.
    Same,
    /// The machine was started again since: all recorded processes are dead.
    Rebooted,
    /// The recorder lives in another container: nothing is known.
    Foreign,
}

impl View {
    #[cfg(target_os = "linux")]
    pub(super) fn own() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        Self { boot: boot.trim().to_owned(), namespace: namespace.display().to_string() }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn own() -> Self {
        Self { boot: String::new(), namespace: String::new() }
    }

    pub(super) fn can_judge(&self, recorded: &Self) -> Judgement {
        match (self.boot == recorded.boot, self.namespace == recorded.namespace) {
            (false, _) => Judgement::Rebooted,
            (true, true) => Judgement::Same,
            (true, false) => Judgement::Foreign,
        }
    }
}

/// Field 22 of `/proc/PID/stat`, clock ticks since boot. `None` for a zombie: it has ended.
#[cfg(target_os = "linux")]
fn start_time(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses and may itself hold blanks and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18).map(str::to_owned) }
}

#[cfg(not(target_os = "linux"))]
fn start_time(pid: u32) -> Option<String> {
    ps(pid, "stat=").filter(|state| !state.starts_with('Z'))?;
    ps(pid, "lstart=")
}

/// The command line of `pid`, words separated by blanks.
#[cfg(target_os = "linux")]
pub(super) fn command_line(pid: u32) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn command_line(pid: u32) -> Option<String> {
    ps(pid, "args=")
}

#[cfg(not(target_os = "linux"))]
fn ps(pid: u32, field: &str) -> Option<String> {
    let output = std::process::Command::new("ps")
        .args(["-ww", "-o", field, "-p", &pid.to_string()])
        .stdin(std::process::Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_another_with_the_same_pid() {
        let own = Identity::own();
        assert!(own.is_alive());
        assert!(!Identity { started: "0".to_owned(), ..own.clone() }.is_alive());
        assert_eq!(Identity::of(own.pid), Some(own));
    }

    #[test]
    fn a_child_that_ended_is_dead_before_it_is_waited_for() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let gone = crate::servers::poll(std::time::Duration::from_secs(5), || {
            Identity::of(child.id()).map_or(Ok(()), |_| Err("alive".to_owned()))
        });
        child.wait().unwrap();
        gone.unwrap();
    }

    #[test]
    fn pids_of_another_container_are_not_judged() {
        let view = |boot: &str, namespace: &str| View { boot: boot.into(), namespace: namespace.into() };
        assert_eq!(view("a", "1").can_judge(&view("a", "1")), Judgement::Same);
        assert_eq!(view("a", "1").can_judge(&view("a", "2")), Judgement::Foreign);
        assert_eq!(view("b", "1").can_judge(&view("a", "2")), Judgement::Rebooted);
    }
}
