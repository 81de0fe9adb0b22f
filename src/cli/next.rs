//! `chatlab next`: the one thing to do now.

use std::process::ExitCode;

use super::Global;
use crate::console::screen::Screen;
use crate::labs;
use crate::learner::{Store, path};

const EXAMPLES: &str = "\
Examples:
  chatlab next
  chatlab next --json | jq -r .command";

/// Arguments of `chatlab next`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

/// Runs `chatlab next`.
///
/// # Errors
/// When progress cannot be read.
pub async fn run(_args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let next = path::next(&labs::all(), &Store::open().load()?).map_err(anyhow::Error::msg)?;
    if global.json {
        println!("{}", serde_json::to_string_pretty(&next)?);
        return Ok(ExitCode::SUCCESS);
    }
    let screen = Screen::stdout();
    println!("{}\n\n    {}", screen.block("", &next.what), screen.bold(&next.command));
    Ok(ExitCode::SUCCESS)
}
