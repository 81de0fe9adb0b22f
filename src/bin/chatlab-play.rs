//! The same program with a learner's exercises in it; `chatlab play` builds and runs it.

use std::process::ExitCode;

use chatlab::cli::{Cli, EXIT_ERROR};
use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("chatlab-play: {error:#}");
            ExitCode::from(EXIT_ERROR)
        }
    }
}
