//! Getting the one thing that everything needs, a Redis server, with the user's consent.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use anyhow::Context;
use chatlab_kit::prereq::{InstallPlan, PrereqError, ServerBinary, find_server, install_plan};

/// Finds a Redis server. When there is none: with `yes` installs one, on a terminal asks whether to, and otherwise fails
/// with the command that would do it. Blocks; what an installation prints goes to standard error line by line.
///
/// # Errors
/// What is missing or went wrong, with the command to type.
pub fn ensure_server(setting: Option<&Path>, yes: bool) -> anyhow::Result<ServerBinary> {
    let missing = match find_server(setting) {
        Ok(server) => return Ok(server),
        Err(missing @ PrereqError::NotFound { .. }) => missing,
        Err(other) => return Err(other.into()),
    };
    let Some(plan) = install_plan() else { return Err(missing.into()) };
    if yes || (std::io::stdin().is_terminal() && std::io::stderr().is_terminal() && ask(&plan)?) {
        return plan.run(&mut |line| eprintln!("{line}")).context("there is still no Redis server");
    }
    Err(missing.into())
}

/// Asks on standard error, so that standard output stays the command's own.
fn ask(plan: &InstallPlan) -> anyhow::Result<bool> {
    let what = if plan.is_private() {
        "a private copy, without touching the system"
    } else {
        "for the whole system"
    };
    let mut screen = std::io::stderr();
    write!(
        screen,
        "chatlab needs a Redis server and found none. Install one now ({what}) by\n\n    {}\n\n[y/N] ",
        plan.command_line()
    )?;
    screen.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
