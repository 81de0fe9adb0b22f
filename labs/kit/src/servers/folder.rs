//! The temporary folder of one set of servers: who owns it, and sweeping up those whose owner is dead.

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::ServerError;
use super::process::{self, Identity};

/// What every folder of ours starts with.
const PREFIX: &str = "chatlab-";
/// The file that names the owner.
const OWNER_FILE: &str = "owner";
/// A folder without an owner file is either being made or half removed; after this long it is the latter.
const ORPHAN_AGE: Duration = Duration::from_secs(60);

/// The content of the owner file.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    process: Identity,
    /// Processes of different containers can share a temporary folder without seeing each other.
    view: process::View,
}

/// Makes a fresh folder that only this user can look into, with this process as its owner.
pub(super) fn create() -> Result<PathBuf, ServerError> {
    let name = format!("{PREFIX}{}-{:08x}", std::process::id(), rand::rng().random::<u32>());
    let folder = std::env::temp_dir().join(name);
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&folder)
        .map_err(|source| ServerError::io(&folder, source))?;
    let owner = Owner { process: Identity::own(), view: process::View::own() };
    let file = folder.join(OWNER_FILE);
    let text = serde_json::to_string(&owner).map_err(|error| ServerError::io(&file, error.into()))?;
    std::fs::write(&file, text).map_err(|source| ServerError::io(&file, source))?;
    Ok(folder)
}

/// Removes this user's chatlab folders whose owner is dead, after ending servers that still run in them, and returns
/// what it removed. The folders of living owners are not touched.
pub fn sweep() -> Vec<PathBuf> {
    sweep_in(&std::env::temp_dir())
}

fn sweep_in(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let ours = |name: &str| name.strip_prefix(PREFIX).and_then(pid_in_name).is_some();
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_str().is_some_and(ours))
        .map(|entry| entry.path())
        .filter(|folder| is_abandoned(folder))
        .filter(|folder| {
            end_servers_in(folder);
            std::fs::remove_dir_all(folder).is_ok()
        })
        .collect()
}

/// The pid in `<pid>-<8 hex digits>`.
fn pid_in_name(rest: &str) -> Option<u32> {
    let (pid, random) = rest.split_once('-')?;
    let hex = random.len() == 8 && random.chars().all(|c| c.is_ascii_hexdigit());
    pid.parse().ok().filter(|_| hex)
}

fn is_abandoned(folder: &Path) -> bool {
    let Ok(meta) = folder.symlink_metadata() else { return false };
    // Others' folders are theirs to sweep, also when root looks.
    if !meta.is_dir() || meta.uid() != rustix::process::geteuid().as_raw() {
        return false;
    }
    let owner: Option<Owner> = std::fs::read_to_string(folder.join(OWNER_FILE))
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok());
    match owner {
        Some(owner) => match process::View::own().can_judge(&owner.view) {
            process::Judgement::Rebooted => true,
            process::Judgement::Same => !owner.process.is_alive(),
            process::Judgement::Foreign => false,
        },
        None => meta.modified().ok().and_then(|time| time.elapsed().ok()).is_some_and(|age| age > ORPHAN_AGE),
    }
}

/// Only needed where neither the kernel nor a janitor did it: an owner and its janitor killed together, not on Linux.
fn end_servers_in(folder: &Path) {
    let Ok(nodes) = std::fs::read_dir(folder) else { return };
    for node in nodes.filter_map(Result::ok) {
        let recorded = std::fs::read_to_string(node.path().join("redis.pid"));
        let Some(pid) = recorded.ok().and_then(|text| text.trim().parse().ok()) else { continue };
        if process::command_line(pid).is_some_and(|line| line.contains(&folder.display().to_string())) {
            let _ = process::signal(pid, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_owned_by(parent: &Path, name: &str, owner: &Owner) -> PathBuf {
        let folder = parent.join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join(OWNER_FILE), serde_json::to_string(owner).unwrap()).unwrap();
        folder
    }

    #[test]
    fn only_folders_of_dead_owners_are_swept() {
        let parent = tempfile::tempdir().unwrap();
        let view = process::View::own;
        let mut dead = Identity::own();
        dead.started = "long ago".to_owned();
        let dead =
            folder_owned_by(parent.path(), "chatlab-7-0a0a0a0a", &Owner { process: dead, view: view() });
        let alive = Owner { process: Identity::own(), view: view() };
        let alive = folder_owned_by(parent.path(), "chatlab-8-0b0b0b0b", &alive);
        let fresh = parent.path().join("chatlab-9-0c0c0c0c");
        let foreign = parent.path().join("chatlab-notes");
        std::fs::create_dir(&fresh).unwrap();
        std::fs::create_dir(&foreign).unwrap();

        assert_eq!(sweep_in(parent.path()), std::slice::from_ref(&dead));
        assert!(!dead.exists());
        assert!(alive.exists() && fresh.exists() && foreign.exists());
    }

    #[test]
    fn only_names_that_we_give_count_as_ours() {
        assert_eq!(pid_in_name("12-00c0ffee"), Some(12));
        for other in ["12", "12-", "x-00c0ffee", "12-00c0ffe", "12-00c0ffeg", "user-0"] {
            assert_eq!(pid_in_name(other), None, "{other}");
        }
    }
}
