//! Builds all test programs with cargo and runs several of them at a time. Most of a test's time is waiting for servers, and
//! cargo would run one program after the other.

use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use tokio::process::Command;

use super::super::bench::cargo;

/// What is built and run.
pub(super) struct Plan<'a> {
    /// The workspace's manifest.
    pub(super) manifest: &'a Path,
    /// Only tests whose names contain this.
    pub(super) filter: Option<&'a str>,
    /// Options for each program.
    pub(super) rest: &'a [String],
    /// How many programs run at a time.
    pub(super) at_once: usize,
    /// What the tests find in their environment.
    pub(super) env: &'a [(&'a str, &'a Path)],
}

/// The tests with containers are built when there is an engine: what they need is much, and of use to nothing else.
const CONTAINERS: &str = "chatlab-container-tests";
/// Whether they may be left out: not when this says `required`, and always when it says `off`.
const CONTAINERS_SETTING: &str = "CHATLAB_CONTAINERS";

/// Tests in modules of this name judge how long something took: they run when nothing else does, one at a time.
const ALONE: &str = "accuracy::";

/// Builds the programs, runs them, prints what each says when it has ended, and then how all went. Whether every test passed.
///
/// # Errors
/// When cargo or a program cannot be started. What does not compile was said by cargo.
pub(super) async fn run(plan: &Plan<'_>) -> anyhow::Result<bool> {
    let others = ["--workspace", "--exclude", CONTAINERS];
    let Some(programs) = build(plan, &others).await? else { return Ok(false) };
    eprintln!("{} test programs, {} at a time", programs.len(), plan.at_once);
    let began = Instant::now();
    let (mut together, mut alone) = (Vec::new(), Vec::new());
    for program in programs {
        let tests = list(&program, plan).await?;
        let (timed, others): (Vec<_>, Vec<_>) = tests.into_iter().partition(|test| test.contains(ALONE));
        if !others.is_empty() {
            together.push(Job { program: program.clone(), only: Vec::new() });
        }
        if !timed.is_empty() {
            alone.push(Job { program, only: timed });
        }
    }
    let mut summary = Summary::default();
    for (jobs, at_once) in [(together, plan.at_once), (alone, 1)] {
        let mut running = stream::iter(jobs).map(|job| one(job, plan)).buffer_unordered(at_once);
        while let Some(ran) = running.next().await {
            summary.add(ran?)?;
        }
    }
    let contained = match no_engine().await {
        Some(why) => Err(why),
        // At last, and alone: whole suites run in them.
        None => Ok(containers(plan, &mut summary).await?),
    };
    summary.show(began.elapsed());
    if let Err(why) = &contained {
        println!("skipped: the tests with containers, 1 program: {why}");
    }
    let lacking = contained.is_err() && std::env::var(CONTAINERS_SETTING).is_ok_and(|set| set == "required");
    Ok(summary.failed.is_empty() && contained != Ok(false) && !lacking)
}

/// Why there are no containers here, if there are none.
async fn no_engine() -> Option<String> {
    if std::env::var(CONTAINERS_SETTING).is_ok_and(|set| set == "off") {
        return Some(format!("{CONTAINERS_SETTING} is `off`"));
    }
    let asked = Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]).output().await;
    let why = match asked {
        Ok(output) if output.status.success() => return None,
        Ok(output) => String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned(),
        Err(error) => format!("docker: {error}"),
    };
    Some(format!("no Docker engine answers ({why})"))
}

/// Builds and runs the tests with containers. Whether they were built.
async fn containers(plan: &Plan<'_>, summary: &mut Summary) -> anyhow::Result<bool> {
    let Some(programs) = build(plan, &["-p", CONTAINERS]).await? else { return Ok(false) };
    for program in programs {
        if !list(&program, plan).await?.is_empty() {
            summary.add(one(Job { program, only: Vec::new() }, plan).await?)?;
        }
    }
    Ok(true)
}

/// A line of cargo's messages, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    package_id: String,
    manifest_path: PathBuf,
    target: Target,
    profile: Profile,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// A program full of tests.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Program {
    path: PathBuf,
    /// Where its package is: as with cargo, tests run there.
    folder: PathBuf,
    /// How cargo is told to run it alone.
    selection: String,
}

impl Program {
    /// The program that a line of cargo's tells of, if it tells of one.
    fn of(line: &str) -> Option<Self> {
        let message: Message = serde_json::from_str(line).ok()?;
        if !message.profile.test {
            return None;
        }
        let target = &message.target;
        let what = match target.kind.first()?.as_str() {
            kind @ ("test" | "bin" | "bench" | "example") => format!("--{kind} {}", target.name),
            _ => "--lib".to_owned(),
        };
        Some(Self {
            path: message.executable?,
            folder: message.manifest_path.parent()?.to_owned(),
            selection: format!("-p {} {what}", package(&message.package_id)?),
        })
    }

    /// Large programs take long, as a rule; those that begin first do not keep the others waiting at the end.
    fn size(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |file| file.len())
    }
}

/// The name in `path+file:///clone/labs/kit#chatlab-kit@0.1.0`, or in `path+file:///clone/chatlab#0.1.0`.
fn package(id: &str) -> Option<&str> {
    let (path, rest) = id.rsplit_once('#')?;
    match rest.split_once('@') {
        Some((name, _)) => Some(name),
        None => path.rsplit('/').next(),
    }
}

/// The test programs of some packages, in the order to run them; none when something does not compile.
async fn build(plan: &Plan<'_>, packages: &[&str]) -> anyhow::Result<Option<Vec<Program>>> {
    // `output` would take cargo's messages for people as well.
    let cargo = Command::from(cargo()?)
        .args(["test", "--release", "--no-run", "--message-format=json-render-diagnostics"])
        .args(packages)
        .arg("--manifest-path")
        .arg(plan.manifest)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .context("starting cargo")?;
    let output = cargo.wait_with_output().await.context("waiting for cargo")?;
    if !output.status.success() {
        eprintln!("the tests were not built: cargo ended with {}", output.status);
        return Ok(None);
    }
    let mut programs: Vec<_> =
        String::from_utf8_lossy(&output.stdout).lines().filter_map(Program::of).collect();
    if programs.is_empty() {
        bail!("cargo built no test program");
    }
    programs.sort_by_key(|program| std::cmp::Reverse(program.size()));
    Ok(Some(programs))
}

/// The names of the tests that the plan wants of a program.
async fn list(program: &Program, plan: &Plan<'_>) -> anyhow::Result<Vec<String>> {
    let output = command(program, plan)
        .args(plan.filter)
        .args(plan.rest)
        .args(["--list", "--format", "terse"])
        .output()
        .await
        .with_context(|| format!("starting {}", program.path.display()))?;
    if !output.status.success() {
        bail!("{}: {}", program.selection, String::from_utf8_lossy(&output.stderr).trim());
    }
    let names = String::from_utf8_lossy(&output.stdout);
    Ok(names.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

fn command(program: &Program, plan: &Plan<'_>) -> Command {
    let mut command = Command::new(&program.path);
    command.envs(plan.env.iter().copied()).env("CARGO_MANIFEST_DIR", &program.folder);
    command.current_dir(&program.folder).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A run of a program.
struct Job {
    program: Program,
    /// These tests; with none, all but those that run alone.
    only: Vec<String>,
}

/// A run that has ended.
struct Ran {
    program: Program,
    status: ExitStatus,
    /// Both streams, in the order of what was written.
    output: String,
    took: Duration,
}

async fn one(job: Job, plan: &Plan<'_>) -> anyhow::Result<Ran> {
    let Job { program, only } = job;
    let mut command = command(&program, plan);
    if only.is_empty() {
        command.args(plan.filter).args(plan.rest).args(["--skip", ALONE]);
    } else {
        let rest = plan.rest.iter().filter(|option| *option != "--exact");
        command.args(only).args(rest).args(["--exact", "--test-threads=1"]);
    }
    let began = Instant::now();
    let mut both = tempfile::tempfile().context("a file for what the tests print")?;
    command.stdout(both.try_clone()?).stderr(both.try_clone()?);
    let status = command.status().await.with_context(|| format!("starting {}", program.path.display()))?;
    let took = began.elapsed();
    let mut bytes = Vec::new();
    both.rewind()?;
    both.read_to_end(&mut bytes)?;
    let output = String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ran { program, status, output, took })
}

impl Ran {
    fn show(&self) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "\n== {}, {:.0} s", self.program.selection, self.took.as_secs_f64())?;
        writeln!(out, "{}", self.output.trim())?;
        // A program that was killed has not said so itself.
        if !self.status.success() {
            writeln!(out, "it ended with {}", self.status)?;
        }
        Ok(out.flush()?)
    }
}

/// How all runs went.
#[derive(Default)]
struct Summary {
    runs: usize,
    tally: Tally,
    failed: Vec<Program>,
}

impl Summary {
    fn add(&mut self, ran: Ran) -> anyhow::Result<()> {
        ran.show()?;
        self.runs += 1;
        self.tally.add(&ran.output);
        if !ran.status.success() {
            self.failed.push(ran.program);
        }
        Ok(())
    }

    fn show(&self, took: Duration) {
        let Tally { passed, failed, ignored } = self.tally;
        println!(
            "\n{} runs of test programs in {:.0} s: {passed} tests passed, {failed} failed, {ignored} ignored",
            self.runs,
            took.as_secs_f64()
        );
        for program in &self.failed {
            println!("FAILED: cargo test --release {}", program.selection);
        }
    }
}

/// How many tests there were.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tally {
    /// Adds what is in `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s`.
    fn add(&mut self, output: &str) {
        let Some((_, line)) = output.rsplit_once("test result: ") else { return };
        let words: Vec<&str> = line.lines().next().unwrap_or_default().split([' ', ';']).collect();
        for pair in words.windows(2) {
            let Ok(count) = pair[0].parse::<u64>() else { continue };
            match pair[1] {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, kind: &str, test: bool, executable: &str) -> String {
        format!(
            r#"{{"reason":"compiler-artifact","package_id":"{id}","manifest_path":"/clone/labs/kit/Cargo.toml",
               "target":{{"kind":["{kind}"],"name":"steps"}},"profile":{{"test":{test}}},"executable":{executable}}}"#
        )
    }

    #[test]
    fn the_test_programs_are_told_apart_from_all_else_that_cargo_builds() {
        let id = "path+file:///clone/labs/kit#chatlab-kit@0.1.0";
        let of = |line: &str| Program::of(line).map(|program| (program.folder, program.selection));
        let folder = PathBuf::from("/clone/labs/kit");
        let steps = of(&line(id, "test", true, r#""/t/steps-1""#));
        assert_eq!(steps, Some((folder.clone(), "-p chatlab-kit --test steps".to_owned())));
        let unit = of(&line("path+file:///somewhere/chatlab#0.1.0", "lib", true, r#""/t/chatlab-1""#));
        assert_eq!(unit, Some((folder, "-p chatlab --lib".to_owned())));
        assert_eq!(of(&line(id, "bin", false, r#""/t/chatlab""#)), None, "a program without tests");
        assert_eq!(of(&line(id, "test", true, "null")), None, "not built");
        assert_eq!(of(r#"{"reason":"build-finished","success":true}"#), None);
    }

    #[test]
    fn the_last_result_of_a_program_counts() {
        let mut tally = Tally::default();
        tally.add(
            "test a ... ok\ntest result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; ",
        );
        tally.add("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished");
        tally.add("killed before it said anything");
        assert_eq!(tally, Tally { passed: 6, failed: 2, ignored: 1 });
    }
}
