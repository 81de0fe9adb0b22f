//! The one binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    chatlab::cli::main("chatlab")
}
