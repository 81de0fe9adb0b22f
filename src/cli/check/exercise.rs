//! Builds and runs the checker of a lab's exercise. The exercise is the learner's: it may not compile, and that must break
//! nothing else, so it is a program of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use chatlab_kit::check::CheckReport;
use chatlab_kit::lab::{Cost, Env, Lab};
use chatlab_kit::servers::Topology;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::Global;
use super::super::bench::{cargo, clone_root};

/// What became of the exercise.
pub(in crate::cli) enum Built {
    /// It can be run.
    Ready(Exercise),
    /// What the compiler says.
    DoesNotCompile(String),
    /// There is no clone or no cargo.
    CannotBuild(String),
}

/// An exercise that compiles.
pub(in crate::cli) struct Exercise {
    program: PathBuf,
    /// Its source still says that something is to be written.
    pub(in crate::cli) unfinished: bool,
}

/// A line of `cargo build --message-format=json`.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

/// Builds the checker. With `optional`, a machine that cannot build is no error.
pub(in crate::cli) async fn build(lab: &dyn Lab, global: &Global, optional: bool) -> anyhow::Result<Built> {
    let (root, cargo) = match clone_root().and_then(|root| Ok((root, cargo()?))) {
        Ok(found) => found,
        Err(why) if optional => return Ok(Built::CannotBuild(why.to_string())),
        Err(why) => return Err(why.context("the exercise is yours to write, so it must be built")),
    };
    if !global.json {
        eprintln!("compiling the exercise: labs/{}/src/exercise.rs", lab.id());
    }
    let package = format!("chatlab-{}", lab.id());
    let output = tokio::process::Command::from(cargo)
        .current_dir(&root)
        // Both packages: the features of all dependencies stay what they are, and nothing else is compiled again.
        .args(["build", "--release", "--quiet", "--message-format=json-render-diagnostics"])
        .args(["-p", "chatlab", "-p", &package])
        .args(["--features", &format!("{package}/exercise")])
        .args(["--bin", &format!("exercise-{}", lab.id())])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("cargo could not be started")?;
    if !output.status.success() {
        return Ok(Built::DoesNotCompile(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let program = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok()?.executable)
        .next_back()
        .context("cargo built no program")?;
    Ok(Built::Ready(Exercise { program, unfinished: is_unfinished(&root, lab) }))
}

/// The checker as it was built beside this program.
pub(in crate::cli) fn built(lab: &dyn Lab) -> anyhow::Result<Built> {
    let own = std::env::current_exe().context("finding the running program")?;
    let program = own.with_file_name(format!("exercise-{}", lab.id()));
    if !program.is_file() {
        let program = program.display();
        return Ok(Built::CannotBuild(format!("no {program}: `chatlab dev check --no-run` builds it")));
    }
    Ok(Built::Ready(Exercise { program, unfinished: is_unfinished(&clone_root()?, lab) }))
}

fn is_unfinished(root: &Path, lab: &dyn Lab) -> bool {
    std::fs::read_to_string(root.join(format!("labs/{}/src/exercise.rs", lab.id())))
        .is_ok_and(|source| source.contains("LabError::Unfinished("))
}

impl Exercise {
    /// Runs the lab's checks on the exercise, on the servers of `env`.
    pub(in crate::cli) async fn check(&self, env: &Env, nodes: &[String]) -> anyhow::Result<CheckReport> {
        self.ask("check", env.redis.topology(), nodes, env.seed).await
    }

    /// What each operation of the exercise sends and costs.
    pub(super) async fn rehearse(&self, topology: Topology, nodes: &[String]) -> anyhow::Result<Vec<Cost>> {
        self.ask("rehearse", topology, nodes, 0).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        verb: &str,
        topology: Topology,
        nodes: &[String],
        seed: u64,
    ) -> anyhow::Result<T> {
        let output = tokio::process::Command::new(&self.program)
            .args([verb, topology.as_str(), &nodes.join(","), &seed.to_string()])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("the exercise's checker could not be started")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("the exercise's checker ended with {}:\n{}", output.status, said.trim_end());
        }
        serde_json::from_slice(&output.stdout).context("the exercise's checker printed no report")
    }
}
