//! `chatlab reset`: begin a lab, or a part of it, afresh.

use std::fs::OpenOptions;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};

use super::{Global, bench::clone_root};
use crate::labs;
use crate::learner::{LabProgress, Store};

const EXAMPLES: &str = "\
Examples:
  chatlab reset sessions               the console track from its first step
  chatlab reset sessions --progress    everything noted about this lab
  chatlab reset sessions --exercise    the shipped exercise.rs; yours is kept

It asks first; --yes answers. The servers of labs are private and new each time:
there is nothing to reset in them.";

/// How many copies of an exercise may lie beside it.
const COPIES_MAX: u32 = 1_000;

/// Arguments of `chatlab reset`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The lab, as `chatlab list` shows it
    lab: String,
    /// Forget all progress in this lab
    #[arg(long)]
    progress: bool,
    /// Restore labs/LAB/src/exercise.rs as it was shipped
    #[arg(long)]
    exercise: bool,
}

/// Runs `chatlab reset`.
///
/// # Errors
/// When there is no such lab, nobody can be asked, or a file cannot be written.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let lab = labs::named(&args.lab)?;
    let mut parts = Vec::new();
    if args.progress {
        parts.push(format!("forget all progress in `{}`", lab.id()));
    } else if !args.exercise {
        parts.push(format!("begin the console track of `{}` from its first step", lab.id()));
    }
    if args.exercise {
        parts.push(format!("restore labs/{}/src/exercise.rs (yours is kept beside it)", lab.id()));
    }
    if !global.yes && !confirmed(&parts.join(" and "))? {
        println!("Nothing was changed.");
        return Ok(ExitCode::FAILURE);
    }
    if args.exercise {
        let kept = restore(&clone_root()?, lab.id())?;
        match kept {
            Some(copy) => println!("The exercise is as it was shipped. Yours is in {}", copy.display()),
            None => println!("The exercise is as it was shipped; it was not changed."),
        }
    }
    if args.progress || !args.exercise {
        Store::open().update(|progress| {
            let entry = progress.lab_mut(lab.id());
            if args.progress { *entry = LabProgress::default() } else { entry.reset_console() }
        })?;
        println!("Forgotten. Go on with: chatlab next");
    }
    Ok(ExitCode::SUCCESS)
}

fn confirmed(what: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        bail!("this would {what}, and there is nobody to ask: --yes does it");
    }
    let mut screen = std::io::stderr();
    write!(screen, "This will {what}. Go on? [y/N] ")?;
    screen.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Puts the exercise of git's HEAD in place. The learner's is first written under a name of its own, which it returns; `None` when
/// it was the shipped one.
fn restore(root: &Path, lab: &str) -> anyhow::Result<Option<PathBuf>> {
    let path = format!("labs/{lab}/src/exercise.rs");
    let shipped = Command::new("git")
        .current_dir(root)
        .args(["show", &format!("HEAD:./{path}")])
        .stdin(Stdio::null())
        .output()
        .context("git could not be started, and only git knows the shipped exercise")?;
    if !shipped.status.success() || shipped.stdout.is_empty() {
        let said = String::from_utf8_lossy(&shipped.stderr);
        bail!("git does not know the shipped {path}: {}", said.trim());
    }
    let file = root.join(&path);
    let yours = match std::fs::read(&file) {
        Ok(yours) => yours,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(e).with_context(|| format!("{} cannot be read", file.display())),
    };
    if yours == shipped.stdout {
        return Ok(None);
    }
    let kept = if yours.is_empty() { None } else { Some(keep(&file, &yours)?) };
    // Renamed into place: a full disk must not leave half an exercise.
    let folder = file.parent().context("the exercise has no folder")?;
    let mut new = tempfile::NamedTempFile::new_in(folder).context("beside the exercise")?;
    new.write_all(&shipped.stdout)?;
    new.as_file().sync_all()?;
    new.persist(&file).with_context(|| format!("{} cannot be replaced", file.display()))?;
    Ok(kept)
}

/// Writes a copy as `exercise.rs.bak-N`, with the first N that is free.
fn keep(file: &Path, yours: &[u8]) -> anyhow::Result<PathBuf> {
    for n in 1..=COPIES_MAX {
        let copy = PathBuf::from(format!("{}.bak-{n}", file.display()));
        match OpenOptions::new().write(true).create_new(true).open(&copy) {
            Ok(mut open) => {
                open.write_all(yours)?;
                open.sync_all()?;
                return Ok(copy);
            }
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e).with_context(|| format!("{} cannot be written", copy.display())),
        }
    }
    bail!("too many copies lie beside {}: remove some", file.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(root: &Path, args: &[&str]) {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"];
        let status = Command::new("git").current_dir(root).args(identity).args(args).output().unwrap().status;
        assert!(status.success(), "{args:?}");
    }

    #[test]
    fn the_exercise_comes_back_and_the_learners_is_never_lost() {
        let clone = tempfile::tempdir().unwrap();
        let folder = clone.path().join("labs/sessions/src");
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("exercise.rs");
        std::fs::write(&file, "shipped").unwrap();
        git(clone.path(), &["init", "-q"]);
        git(clone.path(), &["add", "."]);
        git(clone.path(), &["commit", "-qm", "all"]);
        assert_eq!(restore(clone.path(), "sessions").unwrap(), None);
        for n in 1..=2 {
            let yours = format!("mine {n}");
            std::fs::write(&file, &yours).unwrap();
            let kept = restore(clone.path(), "sessions").unwrap().unwrap();
            assert!(kept.ends_with(format!("exercise.rs.bak-{n}")));
            assert_eq!(std::fs::read_to_string(kept).unwrap(), yours);
            assert_eq!(std::fs::read_to_string(&file).unwrap(), "shipped");
        }
    }
}
