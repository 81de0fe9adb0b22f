//! The lesson's commands run as printed, and its links lead somewhere.

use std::path::Path;

use chatlab_kit::lab::Lab;
use chatlab_kit::servers::{Managed, ServerOptions, Topology};
use chatlab_kit::steps::Typist;

use super::{LabVerdict, Options};

/// The fences of a lesson whose lines are commands for a fresh single node, and for a fresh cluster.
const FENCES: [(&str, Topology); 2] = [("", Topology::Single), ("cluster", Topology::Cluster)];

/// Types every command of the lesson, from top to bottom, into fresh servers.
pub(super) async fn run(lab: &dyn Lab, options: &Options, verdict: &mut LabVerdict) -> anyhow::Result<()> {
    for (name, topology) in FENCES {
        let commands = commands(lab.lesson(), name);
        if commands.is_empty() {
            continue;
        }
        let managed = Managed::start_async(topology, &options.server, &ServerOptions::steady()).await?;
        let mut typist = Typist::new(topology, managed.addrs());
        for command in commands {
            let typed = typist.line(&command).await;
            if typed.error {
                verdict.problem("lesson", format!("`{command}` answers {}", typed.text.trim_end()));
            } else {
                verdict.lesson_commands += 1;
            }
        }
        drop(typist);
        managed.stop();
    }
    let folder = options.clone.join("labs").join(lab.id());
    for link in dead_links(lab.lesson(), &folder) {
        verdict.problem("lesson", format!("the link to {link} leads nowhere"));
    }
    Ok(())
}

/// The lines of all fences of that name.
fn commands(lesson: &str, name: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut open: Option<&str> = None;
    for line in lesson.lines() {
        match (line.trim_end().strip_prefix("```"), open) {
            (Some(fence), None) => open = Some(fence),
            (Some(_), Some(_)) => open = None,
            (None, Some(fence)) if fence == name && !line.trim().is_empty() => {
                commands.push(line.trim().to_owned());
            }
            _ => {}
        }
    }
    commands
}

/// Links to files that are not there.
fn dead_links(lesson: &str, folder: &Path) -> Vec<String> {
    let targets = lesson.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .map(|target| target.split('#').next().unwrap_or_default())
        .filter(|file| !file.is_empty() && !file.contains("://") && !folder.join(file).exists())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_fence_is_typed() {
        let lesson = "a\n```\nSET a 1\n\nGET a\n```\n```text\nnot this\n```\n```cluster\nCLUSTER INFO\n```\n";
        assert_eq!(commands(lesson, ""), ["SET a 1", "GET a"]);
        assert_eq!(commands(lesson, "cluster"), ["CLUSTER INFO"]);
    }

    #[test]
    fn a_link_to_a_file_that_is_not_there_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.md"), "").unwrap();
        let lesson = "[a](a.md) [b](b.md#x) [c](https://redis.io) [d](#here)";
        assert_eq!(dead_links(lesson, folder.path()), ["b.md"]);
    }
}
