//! `chatlab test`: install what is missing (with consent), then run every test.

use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

use super::{Global, setup};

/// Arguments of `test`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  chatlab test                    every test
  chatlab test resume             the tests whose names contain `resume`
  chatlab test -- --nocapture     with options for the test runner")]
pub struct Args {
    /// Only tests whose names contain this
    filter: Option<String>,
    /// Options for the test runner
    #[arg(last = true)]
    rest: Vec<String>,
}

/// Runs the workspace's tests with the profile that built this binary.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    if !std::path::Path::new(manifest).exists() {
        bail!("the tests need a clone of the repository; run `cargo lab test` in one");
    }
    let redis = setup::ensure_server(global.redis_server.as_deref(), global.yes)?;
    eprintln!("tests run on {} ({})", redis.path.display(), redis.version);

    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["test", "--release", "--workspace", "--manifest-path", manifest])
        .args(args.filter)
        .arg("--")
        .args(args.rest)
        .env("CHATLAB_REDIS_SERVER", &redis.path)
        .status()
        .context("starting cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
