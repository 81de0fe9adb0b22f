//! `chatlab watch`: checks the exercise whenever it is saved.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::{Global, bench::clone_root, check};
use crate::labs;
use crate::learner::{Store, path};

const EXAMPLES: &str = "\
Examples:
  chatlab watch sessions
  chatlab watch                    the lab that `chatlab next` names
  chatlab watch sessions --poll    where file events do not arrive (shared folders)

Ctrl-C ends it.";

/// Between two looks at the file with --poll.
const POLL: Duration = Duration::from_millis(500);
/// Editors write a file in several steps: so long nothing may happen before the check begins.
const SETTLED: Duration = Duration::from_millis(200);
/// File events that wait; more say nothing new.
const EVENTS: usize = 16;

/// Arguments of `chatlab watch`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The lab [default: the one to do now]
    lab: Option<String>,
    /// Look at the file twice a second instead of waiting for events
    #[arg(long)]
    poll: bool,
}

/// Runs `chatlab watch`.
///
/// # Errors
/// When there is no such lab, no clone, no exercise, or a check cannot be run.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let id = match args.lab {
        Some(id) => id,
        None => {
            let next = path::next(&labs::all(), &Store::open().load()?).map_err(anyhow::Error::msg)?;
            next.lab.context("every lab is done; name one to go on with it")?
        }
    };
    let lab = labs::named(&id)?;
    let file = clone_root()?.join(format!("labs/{}/src/exercise.rs", lab.id()));
    if !file.is_file() {
        bail!("there is no {}", file.display());
    }
    let mut changes = Changes::of(&file, args.poll);
    eprintln!("watching labs/{}/src/exercise.rs{}; Ctrl-C ends it", lab.id(), changes.how());
    loop {
        let (seen, check) = (stamp(&file), check::Args::exercise(lab.id()));
        tokio::select! {
            result = Box::pin(check::run(check, global)) => {
                // What cannot be checked now may be after the next save.
                if let Err(error) = result {
                    eprintln!("chatlab: {error:#}");
                }
            }
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        }
        eprintln!("\nwaiting for the next save of labs/{}/src/exercise.rs", lab.id());
        tokio::select! {
            () = changes.next(&file, seen) => {}
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        }
    }
}

/// What changes with each save; `None` while the file is missing, as between an editor's remove and rename.
fn stamp(file: &Path) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(file).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

/// How to learn of a save.
enum Changes {
    /// File events; the watcher ends when dropped.
    Events { events: mpsc::Receiver<()>, _watcher: RecommendedWatcher },
    /// Looking.
    Polling,
}

impl Changes {
    /// File events where they work, looking otherwise.
    fn of(file: &Path, poll: bool) -> Self {
        if poll {
            return Self::Polling;
        }
        let (sender, events) = mpsc::channel(EVENTS);
        let name = file.file_name().map(PathBuf::from).unwrap_or_default();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let ours = event.is_ok_and(|event| {
                event.need_rescan()
                    || event.paths.iter().any(|path| path.file_name() == Some(name.as_os_str()))
            });
            if ours {
                // A full channel has the news already.
                let _ = sender.try_send(());
            }
        });
        // The folder, not the file: many editors put a new file in its place.
        let folder = file.parent().unwrap_or(file);
        let watching = watcher.and_then(|mut watcher| {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        match watching {
            Ok(watcher) => Self::Events { events, _watcher: watcher },
            Err(error) => {
                eprintln!("file events do not work here ({error}): looking twice a second instead");
                Self::Polling
            }
        }
    }

    fn how(&self) -> &'static str {
        match self {
            Self::Events { .. } => "",
            Self::Polling => " (by looking twice a second)",
        }
    }

    /// Waits until the file is another than `seen`, and has stayed the same for a moment.
    async fn next(&mut self, file: &Path, seen: Option<(SystemTime, u64)>) {
        loop {
            let now = stamp(file);
            if now.is_some() && now != seen {
                tokio::time::sleep(SETTLED).await;
                if stamp(file) == now {
                    return;
                }
                continue;
            }
            match self {
                Self::Events { events, .. } => {
                    if events.recv().await.is_none() {
                        *self = Self::Polling;
                    }
                }
                Self::Polling => tokio::time::sleep(POLL).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Far more than it takes.
    const SOON: Duration = Duration::from_secs(20);

    async fn a_save_is_noticed(poll: bool) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("exercise.rs");
        std::fs::write(&file, "one").unwrap();
        let mut changes = Changes::of(&file, poll);
        let seen = stamp(&file);
        // As editors save: a new file, renamed into place.
        let new = folder.path().join("new");
        std::fs::write(&new, "two, longer").unwrap();
        std::fs::rename(&new, &file).unwrap();
        tokio::time::timeout(SOON, changes.next(&file, seen)).await.unwrap();
        assert_ne!(stamp(&file), seen);
    }

    #[tokio::test]
    async fn a_save_is_noticed_by_events_and_by_looking() {
        a_save_is_noticed(false).await;
        a_save_is_noticed(true).await;
    }
}
