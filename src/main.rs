//! The one binary: parse, then dispatch.

use std::process::ExitCode;

use chatlab::cli::{Cli, EXIT_ERROR};
use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("chatlab: {error:#}");
            ExitCode::from(EXIT_ERROR)
        }
    }
}
