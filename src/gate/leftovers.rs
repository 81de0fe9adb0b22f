//! No process and no folder is left behind.

use std::collections::BTreeSet;

/// Child processes and temporary folders of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftovers {
    children: BTreeSet<u32>,
    folders: BTreeSet<String>,
}

impl Leftovers {
    /// What there is now.
    pub fn now() -> Self {
        let own = format!("chatlab-{}-", std::process::id());
        let folders = std::fs::read_dir(std::env::temp_dir())
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with(&own));
        Self { children: children(), folders: folders.collect() }
    }

    /// What is there now and was not then, a line each.
    pub fn since(then: &Self) -> Vec<String> {
        let now = Self::now();
        let processes = now.children.difference(&then.children).map(|pid| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            format!("process {pid} is still there: {}", line.replace('\0', " ").trim_end())
        });
        let folders =
            now.folders.difference(&then.folders).map(|folder| format!("the folder {folder} is still there"));
        processes.chain(folders).collect()
    }
}

/// Living child processes of all threads, where the system tells (Linux). A child that has ended and only waits to be
/// reaped is none.
fn children() -> BTreeSet<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
        .filter(|pid| !is_zombie(*pid))
        .collect()
}

fn is_zombie(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // After the name in brackets, which may contain anything, comes the state.
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_child_that_is_left_is_seen() {
        let before = Leftovers::now();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let seen = Leftovers::since(&before);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(seen.iter().any(|line| line.contains(&child.id().to_string())), "{seen:?}");
    }
}
