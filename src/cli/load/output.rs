//! Where results go: into a folder, as JSON, as text.

use std::{fs, io::Write, process::ExitCode};

use anyhow::Context;
use serde::Serialize;

use super::{EXIT_NOT_VALID, options::LoadArgs};
use crate::cli::Global;

/// Writes a result where it was asked for.
pub(super) fn show(
    args: &LoadArgs,
    global: &Global,
    name: &str,
    result: &impl Serialize,
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    keep(args, name, result)?;
    tell(global, result, text)
}

/// Into the folder, if one was given.
pub(super) fn keep(args: &LoadArgs, name: &str, result: &impl Serialize) -> anyhow::Result<()> {
    let Some(folder) = &args.out else { return Ok(()) };
    let file = folder.join(name);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&file, serde_json::to_vec_pretty(result)?))
        .with_context(|| format!("writing {}", file.display()))
}

/// On standard output.
pub(super) fn tell(
    global: &Global,
    result: &impl Serialize,
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if global.json {
        writeln!(out, "{}", serde_json::to_string_pretty(result)?)?;
    } else {
        write!(out, "{}", text())?;
    }
    Ok(())
}

/// 0 for what may be believed, or was accepted.
pub(super) fn exit_code(valid: bool, accept: bool) -> ExitCode {
    if valid || accept { ExitCode::SUCCESS } else { ExitCode::from(EXIT_NOT_VALID) }
}
