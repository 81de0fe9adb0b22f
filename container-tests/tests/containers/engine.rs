//! The Docker engine: whether there is one, what belongs to this run, and what a killed run left.

use std::process::{Command, Output};

use anyhow::{Context, bail, ensure};
use testcontainers::{ContainerRequest, GenericImage, ImageExt, runners::AsyncRunner};

use crate::settings::Settings;

/// On every container of these tests: who started it, as a pid and when that process began.
pub const OWNER: &str = "dev.chatlab.test";
/// Networks and Compose projects of these tests begin so; what follows is the owner.
pub const PREFIX: &str = "chatlabtest";

/// Why nothing can be run, if so. Images of `docker/build` are brought up to date first.
pub fn lacking(settings: &Settings) -> Option<String> {
    if settings.off {
        return Some("CHATLAB_CONTAINERS is `off`".to_owned());
    }
    if let Err(why) = docker(["version", "--format", "{{.Server.Version}}"]) {
        return Some(format!("no Docker engine answers: {why:#}"));
    }
    if settings.built_here {
        let made = run(Command::new(settings.root.join("docker/build")).arg("chatlab"));
        if let Err(why) = made {
            return Some(format!("docker/build chatlab: {why:#}"));
        }
    }
    let absent = |image: &&String| docker(["image", "inspect", image]).is_err();
    // Who insists may wait for the engine to pull them.
    let missing: Vec<_> = settings.images().filter(absent).cloned().collect();
    (!missing.is_empty() && !settings.required).then(|| {
        format!(
            "images are missing: {}. `docker/build` makes them here, or `docker pull`",
            missing.join(", ")
        )
    })
}

/// A command to the engine; what it printed.
pub fn docker<'a>(arguments: impl IntoIterator<Item = &'a str>) -> anyhow::Result<String> {
    let output = run(Command::new("docker").args(arguments))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A program that has to succeed.
pub fn run(command: &mut Command) -> anyhow::Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| name.clone())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{name}: {}: {}", output.status, said.trim());
    }
    Ok(output)
}

/// This run, as [`OWNER`] says it.
pub fn owner() -> String {
    let pid = std::process::id().to_string();
    format!("{pid}-{}", began(&pid).unwrap_or_default())
}

/// When a process began, in ticks since the machine did: a later process with the same pid is another one.
fn began(pid: &str) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses, and may hold anything.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
}

/// Whether who started something runs. Where the system does not tell, it does not: one run at a time there.
fn is_alive(owner: &str) -> bool {
    owner.split_once('-').is_some_and(|(pid, at)| began(pid).is_some_and(|began| began == at))
}

/// Removes what runs that were killed left: containers, networks, the volumes and networks of Compose projects.
pub fn sweep() {
    if let Err(why) = try_sweep() {
        println!("what earlier runs left could not be removed: {why:#}");
    }
}

fn try_sweep() -> anyhow::Result<()> {
    let by_label = format!("{{{{.ID}}}} {{{{.Label \"{OWNER}\"}}}}");
    let listed = docker(["ps", "-a", "--filter", &format!("label={OWNER}"), "--format", &by_label])?;
    for (id, owner) in listed.lines().filter_map(|line| line.split_once(' ')) {
        if !is_alive(owner) {
            docker(["rm", "--force", "--volumes", id])?;
        }
    }
    let project = "{{.ID}} {{.Label \"com.docker.compose.project\"}}";
    let listed = docker(["ps", "-a", "--filter", "label=com.docker.compose.project", "--format", project])?;
    for (id, project) in listed.lines().filter_map(|line| line.split_once(' ')) {
        if is_left(project) {
            docker(["rm", "--force", "--volumes", id])?;
        }
    }
    for kind in ["network", "volume"] {
        let names = docker([kind, "ls", "--filter", &format!("name={PREFIX}"), "--format", "{{.Name}}"])?;
        for name in names.lines().filter(|name| is_left(name)) {
            docker([kind, "rm", name])?;
        }
    }
    Ok(())
}

/// Whether a name is of these tests and of a run that has ended: `chatlabtest-PID-TICKS…`.
fn is_left(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('-')) else { return false };
    let mut parts = rest.split(['-', '_']);
    let owner = format!("{}-{}", parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    !is_alive(&owner)
}

/// Name and tag of an image.
pub fn generic(image: &str) -> GenericImage {
    let (name, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
    GenericImage::new(name, tag)
}

/// Marks a container as this run's.
pub fn owned(request: impl ImageExt<GenericImage>) -> ContainerRequest<GenericImage> {
    request.with_label(OWNER, owner())
}

/// A container of a process that has ended goes at the next sweep, one of a living process stays.
pub async fn is_swept(settings: &Settings) -> anyhow::Result<()> {
    let image = &settings.redis[0];
    let idle = |owner: &str| {
        let request = generic(image).with_entrypoint("sleep").with_cmd(["600"]).with_label(OWNER, owner);
        async move { request.start().await.context("starting a container") }
    };
    let ours = idle(&owner()).await?;
    // No process began at tick 1 of the machine but its first.
    let left = idle(&format!("{}-1", std::process::id())).await?;
    try_sweep()?;
    ensure!(ours.is_running().await?, "a container of this run was removed");
    ensure!(docker(["inspect", left.id()]).is_err(), "a container of a dead run is still there");
    Ok(())
}
