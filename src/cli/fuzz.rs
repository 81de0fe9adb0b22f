//! `chatlab dev fuzz`: bad input for a server of its own, and what it must do all the same.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use chatlab_kit::{prereq::ServerBinary, servers::Topology};
use chatlab_load::fuzz::{self, Kind, Options, Target, report::Report};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Global, setup::ensure_server};
use crate::harness::{Stack, StackOptions};

/// How often the fuzzed server pings: short, so that connections that say nothing end within a run.
const HEARTBEAT_MS: u64 = 2_000;

/// Options of `dev fuzz`.
#[derive(Debug, clap::Args)]
pub(super) struct FuzzArgs {
    /// What is fuzzed: ws or socketio
    what: Kind,
    /// For how long, in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    secs: u64,
    /// All inputs follow from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// This case only, once: as a failure names it
    #[arg(long, value_name = "NUMBER")]
    case: Option<u64>,
    /// Connections at a time
    #[arg(long, default_value_t = fuzz::CLIENTS, value_name = "N")]
    clients: usize,
    /// One Redis node or six: single or cluster
    #[arg(long, default_value = "single")]
    topology: Topology,
    /// Where a failure is written to: its case, and the server's log
    #[arg(long, default_value = ".", value_name = "DIR")]
    out: PathBuf,
}

/// Runs `chatlab dev fuzz`.
///
/// # Errors
/// When there is nothing to fuzz, or a server can't be started.
pub(super) async fn run(args: FuzzArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let redis = ensure_server(global.redis_server.as_deref(), global.yes)?;
    let folder = tempfile::tempdir().context("making a folder for the server's log")?;
    let log = folder.path().join("server.log");
    let stack = Stack::start(stack_options(args.topology, redis, &log)?).await?;
    let options = Options {
        kind: args.what,
        seed: args.seed,
        time: Duration::from_secs(args.secs),
        clients: args.clients,
        first: args.case.unwrap_or(0),
        cases: args.case.map(|_| 1),
    };
    let progress = if global.json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    progress.set_style(ProgressStyle::with_template("{spinner} {msg} ({elapsed})")?);
    let mut tell = |cases, inputs| progress.set_message(format!("{cases} cases, {inputs} inputs"));
    let report = fuzz::run(&target(&stack, &log).await?, &options, &mut tell).await;
    progress.finish_and_clear();
    let report = report?;
    let mut out = std::io::stdout().lock();
    if global.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        write!(out, "{}", report.terminal())?;
    }
    for file in keep(&report, &log, &args.out)? {
        eprintln!("written: {}", file.display());
    }
    stack.stop().await?;
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A server as it is fuzzed: with a log in a file, and short heartbeats.
///
/// # Errors
/// When the running program can't be found.
pub fn stack_options(topology: Topology, redis: ServerBinary, log: &Path) -> anyhow::Result<StackOptions> {
    Ok(StackOptions {
        serve_args: vec!["--heartbeat-ms".to_owned(), HEARTBEAT_MS.to_string()],
        log_file: Some(log.to_owned()),
        ..StackOptions::new(topology, redis)?
    })
}

/// The stack's first server, with users and rooms made for it.
///
/// # Errors
/// When they can't be made.
pub async fn target(stack: &Stack, log: &Path) -> anyhow::Result<Target> {
    let made = stack.provision(fuzz::USERS, fuzz::ROOMS).await?;
    Ok(Target {
        server: stack.addr(0).parse().context("the server's address")?,
        pid: stack.server_pid(0),
        log: log.to_owned(),
        tokens: made.tokens,
        rooms: made.rooms,
    })
}

/// Writes what is needed to see each failure again.
fn keep(report: &Report, log: &Path, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    if report.passed() {
        return Ok(written);
    }
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let name = format!("fuzz-{}-{}", report.kind, report.seed);
    for failure in &report.failures {
        if let (Some(number), Some(reproduction)) = (failure.case, &failure.reproduction) {
            let file = folder.join(format!("{name}-{number}.json"));
            let json = serde_json::to_string_pretty(reproduction)?;
            fs::write(&file, json).with_context(|| format!("writing {}", file.display()))?;
            written.push(file);
        }
    }
    let file = folder.join(format!("{name}.log"));
    fs::copy(log, &file).with_context(|| format!("writing {}", file.display()))?;
    written.push(file);
    Ok(written)
}
