//! Getting, with the user's consent, the one thing that everything needs, a Redis server, and what the tests need besides.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, bail};
use chatlab_kit::prereq::{
    POSTGRES, PrereqError, Program, ProgramsPlan, ServerBinary, find_server, install_plan,
};

use crate::clients;

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
    let how = if plan.is_private() {
        "a private copy, without touching the system"
    } else {
        "for the whole system"
    };
    let question = format!("chatlab needs a Redis server and found none. Install one now ({how}) by");
    if yes || ask(&question, plan.command_line())? {
        return plan.run(&mut |line| eprintln!("{line}")).context("there is still no Redis server");
    }
    Err(missing.into())
}

/// Sees to the clients of others that the tests use, and to the programs that run them, in the same way.
///
/// # Errors
/// What is missing or went wrong, with what to do.
pub fn ensure_clients(yes: bool) -> anyhow::Result<()> {
    ensure_programs(&clients::PROGRAMS, "the tests with clients of others", yes)?;
    clients::get()
}

/// Sees to the PostgreSQL server that tests run their own of, in the same way.
///
/// # Errors
/// As [`ensure_clients`].
pub fn ensure_postgres(yes: bool) -> anyhow::Result<()> {
    ensure_programs(&[&POSTGRES], "the tests of the archive on PostgreSQL", yes)
}

fn ensure_programs(programs: &[&'static Program], who: &str, yes: bool) -> anyhow::Result<()> {
    let missing = || -> Vec<(&Program, String)> {
        programs.iter().filter_map(|program| Some((*program, program.find().err()?))).collect()
    };
    let lacking = missing();
    if !lacking.is_empty() {
        let programs: Vec<_> = lacking.iter().map(|(program, _)| *program).collect();
        let Some(plan) = ProgramsPlan::new(&programs) else {
            bail!("{who} need {}: install that", told(&lacking));
        };
        let question = format!("{who} need {}. Install that by", told(&lacking));
        if !yes && !ask(&question, plan.command_line())? {
            let (lacking, line) = (told(&lacking), plan.command_line());
            bail!("{who} need {lacking}\n\n    {line}\n\nor `cargo lab test --yes`");
        }
        plan.run(&mut |line| eprintln!("{line}"))?;
        let still = missing();
        if !still.is_empty() {
            bail!("{who} still need {}", told(&still));
        }
    }
    Ok(())
}

fn told(lacking: &[(&Program, String)]) -> String {
    let each = lacking
        .iter()
        .map(|(program, why)| format!("{} ({})", program.name, why.lines().last().unwrap_or_default()));
    each.collect::<Vec<_>>().join(", ")
}

/// Asks on standard error, so that standard output stays the command's own. Without a terminal the answer is no.
fn ask(question: &str, command: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(false);
    }
    let mut screen = std::io::stderr();
    write!(screen, "{question}\n\n    {command}\n\n[y/N] ")?;
    screen.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
