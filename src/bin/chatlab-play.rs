//! The same program with a learner's exercises in it; `chatlab play` builds and runs it.

use std::process::ExitCode;

fn main() -> ExitCode {
    chatlab::cli::main("chatlab-play")
}
