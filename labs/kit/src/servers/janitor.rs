//! The janitor: a small shell that outlives its owner by a moment and cleans up after it.
//!
//! It blocks on a pipe whose other end only the owner holds. Whatever ends the owner, `kill -9` included, closes that end;
//! the janitor then kills what is left of the servers and removes their folder. On Linux the kernel has killed the servers
//! by then (see `spawn`), elsewhere this is what ends them.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use super::ServerError;
use super::poll::poll;

/// How long the owner waits for its janitor after a clean stop. It has nothing left to do then.
const EXIT_BOUND: Duration = Duration::from_secs(2);

/// `$1` is the folder. A pid is killed only while its command line still names that folder: pids are used again.
const SCRIPT: &str = r#"
trap '' INT HUP TERM QUIT
case "$1" in */chatlab-*) ;; *) exit 2 ;; esac
pids=
while read -r pid; do pids="$pids $pid"; done
for pid in $pids; do
  if [ -d /proc/self ]; then
    tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF -- "$1" && kill -9 "$pid"
  else
    case "$(ps -ww -o args= -p "$pid")" in *"$1"*) kill -9 "$pid" ;; esac
  fi
done
tries=0
while [ -d "$1" ] && [ "$tries" -lt 50 ]; do
  rm -rf -- "$1" || sleep 0.1
  tries=$((tries + 1))
done
"#;

/// A running janitor; dropping it is the signal to clean up.
#[derive(Debug)]
pub(super) struct Janitor {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Janitor {
    pub(super) fn start(folder: &Path) -> Result<Self, ServerError> {
        let spawned = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "chatlab-janitor"])
            .arg(folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Not in the owner's group: what a terminal or a supervisor sends to that group must not end the janitor.
            .process_group(0)
            .spawn();
        let mut child =
            spawned.map_err(|source| ServerError::Spawn { program: "/bin/sh".to_owned(), source })?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    /// Adds a server to what will be cleaned up.
    pub(super) fn watch(&mut self, pid: u32) -> Result<(), ServerError> {
        let Some(pipe) = self.pipe.as_mut() else { return Ok(()) };
        // One write below the pipe's atomic size: the janitor sees the whole line or none of it.
        pipe.write_all(format!("{pid}\n").as_bytes())
            .map_err(|source| ServerError::system("telling the janitor about a server", source))
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        self.pipe.take();
        let _ = poll(EXIT_BOUND, || match self.child.try_wait() {
            Ok(None) => Err(String::new()),
            _ => Ok(()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::process::Identity;

    /// Elsewhere than on Linux this alone ends the servers, so it is tested without the kernel's help.
    #[test]
    fn the_end_of_the_pipe_ends_what_is_watched_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("chatlab-1-00000000");
        std::fs::create_dir_all(folder.join("node-0")).unwrap();
        let sleeper = |name: &Path| {
            Command::new("/bin/sh").args(["-c", "while :; do sleep 1; done"]).arg(name).spawn().unwrap()
        };
        let mut ours = sleeper(&folder);
        let mut stranger = sleeper(Path::new("/elsewhere"));
        let mut janitor = Janitor::start(&folder).unwrap();
        janitor.watch(ours.id()).unwrap();
        janitor.watch(stranger.id()).unwrap();
        drop(janitor);
        let ended = ours.wait().unwrap();
        let stranger_lives = Identity::of(stranger.id()).is_some();
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        assert!(!ended.success() && stranger_lives);
        assert!(!folder.exists());
    }
}
