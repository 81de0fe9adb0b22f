//! How a server would be installed, as one line that a person could type.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use super::private;
use super::{MIN_VERSION, PrereqError, ServerBinary, Version, find_unnamed, on_path, output_of};

/// The environment variable that fixes the way: `system` or `private`.
const INSTALL_SETTING: &str = "CHATLAB_INSTALL";

/// How many of its last lines a failed command is quoted with.
const QUOTED_LINES: usize = 8;

/// A way to get a server that should work here. Nothing happens before [`InstallPlan::run`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallPlan {
    command: String,
    private: bool,
}

impl InstallPlan {
    /// Exactly what [`run`](Self::run) does, for a person to type.
    pub fn command_line(&self) -> &str {
        &self.command
    }

    /// Whether this puts a private copy into chatlab's cache folder and leaves the system alone.
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// Installs, and finds what was installed. `progress` gets plain lines.
    ///
    /// # Errors
    /// [`PrereqError::Install`] with the last lines of the command that failed, [`PrereqError::Hash`] for a download
    /// that is not the pinned one, or [`PrereqError::NotFound`] when what was installed is not new enough.
    pub fn run(&self, progress: &mut dyn FnMut(&str)) -> Result<ServerBinary, PrereqError> {
        progress(&format!("running: {}", self.command));
        if self.private {
            private::install(progress)?;
        } else if let Err(failure) = self.run_on_system(progress) {
            let fallback = if private_allowed() { private_plan() } else { None };
            let Some(fallback) = fallback else { return Err(failure) };
            progress(&failure.to_string());
            return fallback.run(progress);
        }
        let server = found_now()?;
        progress(&format!("found {server}"));
        Ok(server)
    }

    /// The package manager may succeed and bring a server that is too old: that counts as a failure.
    fn run_on_system(&self, progress: &mut dyn FnMut(&str)) -> Result<(), PrereqError> {
        run_shell(&self.command, progress)?;
        found_now().map(drop)
    }
}

fn found_now() -> Result<ServerBinary, PrereqError> {
    find_unnamed().map_err(|rejected| PrereqError::NotFound { rejected, command: None })
}

/// Whether a private copy may be tried after the package manager failed.
fn private_allowed() -> bool {
    std::env::var(INSTALL_SETTING).as_deref() != Ok("system")
}

/// What would be done to get a server: the system's package manager where there is the right to use it, else a private
/// copy. `None` when neither is possible. `CHATLAB_INSTALL=system|private` allows only one of them.
pub fn install_plan() -> Option<InstallPlan> {
    match std::env::var(INSTALL_SETTING).as_deref() {
        Ok("private") => private_plan(),
        Ok("system") => system_plan(),
        _ => system_plan().or_else(private_plan),
    }
}

fn private_plan() -> Option<InstallPlan> {
    private::command_line().map(|command| InstallPlan { command, private: true })
}

fn system_plan() -> Option<InstallPlan> {
    let root = rustix::process::geteuid().is_root();
    if !root && on_path("brew").is_some() {
        return Some(InstallPlan { command: "brew install redis".to_owned(), private: false });
    }
    package_manager_command(system_prefix()?).map(|command| InstallPlan { command, private: false })
}

/// What a command for the whole system begins with; `None` without the right to it.
pub(super) fn system_prefix() -> Option<&'static str> {
    if std::env::var(INSTALL_SETTING).as_deref() == Ok("private") {
        return None;
    }
    if rustix::process::geteuid().is_root() {
        return Some("");
    }
    sudo_without_password().then_some("sudo ")
}

fn sudo_without_password() -> bool {
    on_path("sudo").is_some_and(|sudo| output_of(&sudo, &["-n", "true"]).is_ok())
}

fn package_manager_command(prefix: &str) -> Option<String> {
    if let Some(apt_cache) = on_path("apt-get").and_then(|_| on_path("apt-cache")) {
        let policy = output_of(&apt_cache, &["policy", "redis-server"]).unwrap_or_default();
        let systemd = Path::new("/run/systemd/system").is_dir();
        return apt_command(prefix, apt_candidate(&policy), systemd);
    }
    if on_path("dnf").is_some() {
        return Some(format!("{prefix}dnf install -y valkey || {prefix}dnf install -y redis"));
    }
    if on_path("pacman").is_some() {
        return Some(format!("{prefix}pacman -Sy --noconfirm --needed valkey"));
    }
    on_path("apk").map(|_| format!("{prefix}apk add redis"))
}

/// The version that apt would install, out of `apt-cache policy`; the epoch (`5:`) is not part of it.
fn apt_candidate(policy: &str) -> Option<Version> {
    let candidate = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    Version::parse_prefix(candidate.split_once(':').map_or(candidate, |(_, version)| version))
}

/// Debian's package starts a server of its own on port 6379 when it is installed. chatlab never wants that one, so the
/// installation is told not to: by `RUNLEVEL=1` for classic init scripts, by masking the unit meanwhile for systemd.
fn apt_command(prefix: &str, candidate: Option<Version>, systemd: bool) -> Option<String> {
    if candidate.is_some_and(|version| version < MIN_VERSION) {
        return None;
    }
    // sudo starts from a clean environment, so the variables go through `env` there.
    let env = if prefix.is_empty() { "" } else { "env " };
    let install = format!(
        "{prefix}apt-get update && {prefix}{env}DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y \
         --no-install-recommends redis-server"
    );
    Some(if systemd {
        format!(
            "{prefix}systemctl mask redis-server.service && {{ {install}; }}; status=$?; \
             {prefix}systemctl unmask redis-server.service; (exit $status)"
        )
    } else {
        install
    })
}

/// Runs one line with `sh -c`, passing on what it prints line by line.
///
/// # Errors
/// [`PrereqError::Install`] with its last lines when it fails.
pub fn run_shell(line: &str, progress: &mut dyn FnMut(&str)) -> Result<(), PrereqError> {
    let fail = |why: String| PrereqError::Install { step: line.to_owned(), why };
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(format!("exec 2>&1; {line}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| fail(error.to_string()))?;
    let mut last = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for said in BufReader::new(stdout).lines().map_while(Result::ok) {
            progress(&format!("  {}", said.trim_end()));
            if last.len() == QUOTED_LINES {
                last.remove(0);
            }
            last.push(said);
        }
    }
    let status = child.wait().map_err(|error| fail(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(fail(format!("{status}\n{}", last.join("\n")))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str =
        "redis-server:\n  Installed: (none)\n  Candidate: 5:7.0.15-1~deb12u10\n  Version table:\n";

    #[test]
    fn the_candidate_is_read_without_its_epoch() {
        assert_eq!(apt_candidate(POLICY), Some(Version::new(7, 0, 15)));
        assert_eq!(apt_candidate("redis-server:\n  Candidate: (none)\n"), None);
        assert_eq!(apt_candidate(""), None);
    }

    #[test]
    fn apt_updates_first_and_is_not_used_for_an_old_server() {
        let fresh = apt_command("", None, false).unwrap();
        assert!(fresh.starts_with("apt-get update && "), "{fresh}");
        assert_eq!(apt_command("", Some(Version::new(6, 0, 16)), false), None);
    }

    #[test]
    fn no_service_is_started_by_the_installation() {
        let classic = apt_command("sudo ", Some(Version::new(7, 0, 15)), false).unwrap();
        assert!(
            classic.contains(" && sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install"),
            "{classic}"
        );
        let systemd = apt_command("", Some(Version::new(7, 0, 15)), true).unwrap();
        assert!(systemd.contains("systemctl mask") && systemd.contains("systemctl unmask"), "{systemd}");
    }

    #[test]
    fn a_failing_line_is_quoted_with_its_last_words() {
        let mut lines = Vec::new();
        let error = run_shell("echo first; echo last >&2; exit 7", &mut |line| lines.push(line.to_owned()))
            .unwrap_err();
        assert_eq!(lines, ["  first", "  last"]);
        assert!(error.to_string().contains("last"), "{error}");
    }
}
