//! `chatlab bench`: criterion benches of a lab's variants, in a clone. The bench program itself prints the table.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};
use chatlab_kit::prereq::on_path;

use super::{EXIT_ERROR, Global, setup::ensure_server};
use crate::{benches, labs};

const EXAMPLES: &str = "\
Examples:
  chatlab bench sessions
  chatlab bench sessions touch        only what matches `touch`
  chatlab bench presence --exercise   yours beside the reference
  chatlab bench sessions -- --quick
  chatlab bench cpu                   codecs, slots, ledger, frames: no server
  chatlab bench --table               the tables of what was measured last";

/// Arguments of `chatlab bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The lab, as `chatlab list` shows it, or `cpu`
    #[arg(required_unless_present = "table")]
    lab: Option<String>,
    /// Measure nothing: show what was measured last, of all labs
    #[arg(long, conflicts_with_all = ["lab", "exercise"])]
    table: bool,
    /// Your exercise takes part
    #[arg(long)]
    exercise: bool,
    /// Passed on to criterion: a part of a bench's name, options
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    criterion: Vec<String>,
}

/// Runs `chatlab bench`.
///
/// # Errors
/// When there is no such lab, no clone, no cargo or no Redis server.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let clone = clone_root()?;
    let Some(lab) = args.lab else {
        print!("{}", benches::all_tables(&benches::folder()?)?);
        return Ok(ExitCode::SUCCESS);
    };
    if lab != benches::CPU {
        labs::named(&lab)?;
    }
    let cargo = cargo()?;
    let server = ensure_server(global.redis_server.as_deref(), global.yes)?;
    let mut command = tokio::process::Command::from(cargo);
    command.current_dir(clone).args(["bench", "--bench", &lab]);
    if args.exercise {
        command.args(["--features", &format!("chatlab-{lab}/exercise")]);
    }
    let status = command
        .arg("--")
        .args(&args.criterion)
        .env("CHATLAB_REDIS_SERVER", &server.path)
        .stdin(Stdio::null())
        .status()
        .await
        .context("cargo bench could not be started")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_ERROR) })
}

/// The folder of the clone that this command is used in.
///
/// # Errors
/// When the current folder is in none; the text says what to do.
pub fn clone_root() -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir().context("the current folder")?;
    match here.ancestors().find(|folder| is_clone(folder)) {
        Some(root) => Ok(root.to_owned()),
        None => bail!(
            "this needs chatlab's source: clone the repository, and run the command inside of it \
             (an installed chatlab has the lessons and the finished variants only)"
        ),
    }
}

fn is_clone(folder: &Path) -> bool {
    folder.join("labs/kit/Cargo.toml").is_file() && folder.join("lua").is_dir()
}

/// The cargo to use, as a shell would start it. What a `cargo run` around this program tells it of its own package is left out: build scripts
/// that look at it (ring's) would be run again, and all that stands on their crates be compiled anew, back and forth.
///
/// # Errors
/// When there is none; the text says what to do.
pub fn cargo() -> anyhow::Result<Command> {
    let cargo = std::env::var_os("CARGO")
        .map(PathBuf::from)
        .or_else(|| on_path("cargo"))
        .context("this needs cargo, and there is none on PATH: install Rust from https://rustup.rs")?;
    let mut command = Command::new(cargo);
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_package(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    Ok(command)
}

/// Whether cargo sets it for the programs and the build scripts of a package.
fn is_of_package(name: &str) -> bool {
    let of_all = [
        "CARGO_MANIFEST_",
        "CARGO_PKG_",
        "CARGO_BIN_",
        "CARGO_CFG_",
        "CARGO_CRATE_NAME",
        "CARGO_PRIMARY_PACKAGE",
    ];
    name == "OUT_DIR" || of_all.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_says_of_a_package_is_told_apart_from_its_settings() {
        for of_package in ["CARGO_MANIFEST_DIR", "CARGO_PKG_VERSION_PRE", "CARGO_BIN_NAME", "OUT_DIR"] {
            assert!(is_of_package(of_package), "{of_package}");
        }
        for setting in
            ["CARGO", "CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_BUILD_JOBS", "CARGO_NET_OFFLINE", "PATH"]
        {
            assert!(!is_of_package(setting), "{setting}");
        }
    }
}
