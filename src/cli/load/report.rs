//! `chatlab load report`: pages and text of recorded results.

use std::{io::Write, path::PathBuf, process::ExitCode};

use chatlab_load::report;

/// Options of `load report`.
#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// The folder that `--record` or `--out` wrote to
    dir: PathBuf,
}

/// Runs `load report`.
pub(super) fn run(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    for report in report::folder(&args.dir)? {
        writeln!(out, "{}", report.text)?;
        writeln!(out, "wrote {} ({} KB)\n", report.page.display(), report.bytes.div_ceil(1000))?;
    }
    Ok(ExitCode::SUCCESS)
}
