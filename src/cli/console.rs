//! `chatlab console`: a lab's steps at a prompt on a private server.

use std::process::ExitCode;

use chatlab_kit::servers::Topology;

use super::{Global, setup::ensure_server};
use crate::console::course::{Course, Start};
use crate::console::prompt::Console;
use crate::labs;
use crate::learner::Store;

const EXAMPLES: &str = "\
Examples:
  chatlab console sessions                   goes on where you were
  chatlab console sessions revoke --seed 7   this step, drawn by this seed
  printf 'PING\\n:check\\n' | chatlab console sessions one-session

Exit codes (piped):
  0  the chosen step passed, or every step in which commands were given
  1  it did not, or nothing was passed
  2  it could not be done";

/// Arguments of `chatlab console`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The lab, as `chatlab list` shows it
    lab: String,
    /// The step [default: where you were]
    step: Option<String>,
    /// The seed of names and numbers [default: that of last time, else a new one]
    #[arg(long)]
    seed: Option<u64>,
    /// `single` or `cluster`; a step that needs a cluster gets one
    #[arg(long)]
    topology: Option<Topology>,
}

/// Runs `chatlab console`.
///
/// # Errors
/// When there is no such lab or step, no Redis server, or the machine fails.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let lab = labs::named(&args.lab)?;
    let server = ensure_server(global.redis_server.as_deref(), global.yes)?;
    let store = Store::open();
    let start = Start { step: args.step.clone(), seed: args.seed, topology: args.topology };
    let course = Course::open(lab, server, store.clone(), start).await?;
    let terminal = {
        use std::io::IsTerminal;
        std::io::stdin().is_terminal()
    };
    let ended = Box::pin(Console::new(course, &store).await?.run()).await?;
    let passed = match &args.step {
        Some(step) => ended.passed.contains(step),
        None => !ended.passed.is_empty(),
    };
    // Whoever leaves a prompt has failed at nothing.
    let fine = terminal || (passed && ended.open.is_none());
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
