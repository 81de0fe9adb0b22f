//! `chatlab play LAB`: the chat server with the learner's variant in the lab's seat.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{ExitCode, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use chatlab_kit::{lab::Lab, servers::Topology};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

use super::{
    Global,
    bench::{cargo, clone_root},
    setup::ensure_server,
};
use crate::{config::Choice, learner::Store, seats};

/// The program that has the exercises; see `build`.
const PROGRAM: &str = "chatlab-play";
/// How long the server may take to let everybody go.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

const EXAMPLES: &str = "\
Examples:
  chatlab play presence                             yours: labs/presence/src/exercise.rs
  chatlab play presence --topology cluster --listen 127.0.0.1:0
  chatlab play sessions --variant sliding_forever   a flawed one, to watch it fail

Exit codes:
  0  the server was told to stop, and did
  1  the exercise does not compile
  2  it could not be done; also for a lab without a seat in the server";

/// Arguments of `chatlab play`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The lab, as `chatlab list` shows it
    lab: String,
    /// This variant instead of your exercise
    #[arg(long, value_name = "NAME", default_value = "exercise")]
    variant: String,
    /// Address and port; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR")]
    listen: String,
    /// The private Redis: `single` or `cluster`
    #[arg(long, default_value = "single", value_name = "TOPOLOGY")]
    topology: Topology,
}

/// Runs `chatlab play` until SIGINT or SIGTERM.
///
/// # Errors
/// When the lab has no seat, or the server can't be built or started.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let choice = Choice { lab: args.lab.clone(), variant: args.variant.clone() };
    let seats::Seated { lab, .. } = seats::one(&choice)?;
    let seat = lab.seat().context("the lab has no seat")?;
    say(&format!("{}: {seat}.\n", lab.title()))?;
    let program = if args.variant == "exercise" {
        say(&format!("{}\n", last_check(lab)))?;
        match build(&[lab.id().to_owned()]).await? {
            Some(program) => program,
            None => return Ok(ExitCode::FAILURE),
        }
    } else {
        std::env::current_exe().context("finding the running binary")?
    };
    let (setting, yes) = (global.redis_server.clone(), global.yes);
    let redis = tokio::task::spawn_blocking(move || ensure_server(setting.as_deref(), yes)).await??;
    let folder = tempfile::tempdir().context("a temporary folder for the accounts")?;
    // Before the server is started, so that a signal meanwhile is not lost.
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut server = start(&args, &choice, &program, &redis.path, folder.path())?;
    let Some(url) = first_line(&mut server).await? else {
        bail!("the server did not start (see its messages above)");
    };
    say(&how_to_use(&url, &choice))?;
    // Taken out: `wait` would close it at once, and that tells the server to stop.
    let its_stdin = server.stdin.take();
    tokio::select! {
        status = server.wait() => return ended(status?),
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    drop(its_stdin);
    let status = tokio::time::timeout(STOP_TIMEOUT, server.wait())
        .await
        .context("the server did not stop in time, and is ended")??;
    ended(status)
}

fn ended(status: ExitStatus) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(status.success(), "the server ended with {status}");
    Ok(ExitCode::SUCCESS)
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// What the last check of the exercise said, as far as it is written down.
fn last_check(lab: &dyn Lab) -> String {
    let id = lab.id();
    let Ok(progress) = Store::open().load() else { return format!("Check it with: chatlab check {id}") };
    let code = progress.lab(id).code;
    match (code.failing, code.checks > 0) {
        (Some(failing), _) => format!("The last check failed by {}: chatlab check {id}", failing.predicate),
        (None, true) => "The last check passed.".to_owned(),
        (None, false) => format!("It was not checked yet: chatlab check {id}"),
    }
}

fn how_to_use(url: &str, choice: &Choice) -> String {
    let Choice { lab, .. } = choice;
    let scenario = match lab.as_str() {
        "sessions" | "presence" => lab,
        _ => "chat-steady",
    };
    format!(
        "{url} runs {choice} on a Redis of its own; Ctrl-C stops both.\n\n\
         Load it (on servers of its own):\n  \
         chatlab load run {scenario} --variant {choice}\n\
         Compare it:\n  \
         chatlab load run {scenario} --variant {choice} --against reference\n"
    )
}

fn start(
    args: &Args,
    choice: &Choice,
    program: &Path,
    redis_server: &Path,
    folder: &Path,
) -> anyhow::Result<Child> {
    Command::new(program)
        .args(["serve", "--with-parent", "--log", "warn", "--listen", &args.listen])
        .args(["--topology", args.topology.as_str(), "--variant", &choice.to_string()])
        .arg("--redis-server")
        .arg(redis_server)
        .arg("--db")
        .arg(folder.join("chatlab.db"))
        // A Redis of its own, whatever the surroundings say.
        .env_remove("CHATLAB_REDIS_URL")
        .env_remove("CHATLAB_REDIS_NODES")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {}", program.display()))
}

/// Where it listens; none when it ends before it says so.
async fn first_line(server: &mut Child) -> anyhow::Result<Option<String>> {
    let stdout = server.stdout.take().context("the server has no output")?;
    let line = BufReader::new(stdout).lines().next_line().await?;
    Ok(line.and_then(|line| line.strip_prefix("listening on ").map(str::to_owned)))
}

/// A line of `cargo build --message-format=json`.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

/// Builds the server with the exercises of these labs, as a program beside the running one. None when they do not
/// compile, which cargo has then said on standard error.
///
/// # Errors
/// When there is no clone or no cargo.
pub(super) async fn build(labs: &[String]) -> anyhow::Result<Option<PathBuf>> {
    let (root, cargo) = clone_root()
        .and_then(|root| Ok((root, cargo()?)))
        .context("the exercise is yours to write, so the server must be built with it")?;
    eprintln!("building the server with the exercise of {} (minutes, the first time)", labs.join(", "));
    let packages = labs.iter().flat_map(|lab| ["-p".to_owned(), format!("chatlab-{lab}")]);
    let features: Vec<_> = labs.iter().map(|lab| format!("chatlab-{lab}/exercise")).collect();
    let output = Command::from(cargo)
        .current_dir(&root)
        // All packages by name: the features of their dependencies stay what they are, and only what the
        // exercise is part of is compiled again. Only this program is written: the running one stays.
        .args(["build", "--release", "--message-format=json-render-diagnostics", "-p", "chatlab"])
        .args(packages)
        .args(["--features", &format!("play,{}", features.join(","))])
        .args(["--bin", PROGRAM])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo could not be started")?
        // Not `output`: that would keep what cargo says on standard error.
        .wait_with_output()
        .await
        .context("building the server")?;
    if !output.status.success() {
        return Ok(None);
    }
    let program = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok()?.executable)
        .rfind(|program| program.file_stem().is_some_and(|stem| stem == PROGRAM));
    program.context("cargo built no program").map(Some)
}
