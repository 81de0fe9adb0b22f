//! `chatlab test`: install what is missing (with consent), then run every test.

mod run;

use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;

use super::{Global, setup};

/// How much runs at a time that mostly waits for servers: one more than there are cores.
pub(super) fn usual_at_once() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from) + 1
}

/// Arguments of `test`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  chatlab test                    every test
  chatlab test resume             the tests whose names contain `resume`
  chatlab test --at-once 1        one test program after the other
  chatlab test -- --nocapture     with options for the test runner

Each program's output comes whole, when it has ended.")]
pub struct Args {
    /// Only tests whose names contain this
    filter: Option<String>,
    /// How many test programs run at a time [default: one more than there are cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    at_once: Option<u16>,
    /// Options for the test runner
    #[arg(last = true)]
    rest: Vec<String>,
}

/// Whether a filter means tests that talk to the server with clients of others.
fn needs_clients(filter: &str) -> bool {
    ["socketio", "rest"].iter().any(|of| filter.contains(of))
}

/// Whether a filter means tests that run a PostgreSQL server.
fn needs_postgres(filter: &str) -> bool {
    ["archive", "postgres"].iter().any(|of| filter.contains(of))
}

/// Runs the workspace's tests with the profile that built this binary.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    if !Path::new(manifest).exists() {
        bail!("the tests need a clone of the repository; run `cargo lab test` in one");
    }
    let redis = setup::ensure_server(global.redis_server.as_deref(), global.yes)?;
    eprintln!("tests run on {} ({})", redis.path.display(), redis.version);
    if args.filter.as_deref().is_none_or(needs_clients)
        && let Err(error) = setup::ensure_clients(global.yes)
    {
        // The others are run all the same; those that need them fail, and say so.
        eprintln!("{error:#}");
    }

    if args.filter.as_deref().is_none_or(needs_postgres)
        && let Err(error) = setup::ensure_postgres(global.yes)
    {
        eprintln!("{error:#}");
    }
    let passed = run::run(&run::Plan {
        manifest: Path::new(manifest),
        filter: args.filter.as_deref(),
        rest: &args.rest,
        at_once: args.at_once.map_or_else(usual_at_once, usize::from),
        env: &[("CHATLAB_REDIS_SERVER", &redis.path)],
    })
    .await?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
