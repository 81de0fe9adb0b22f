//! `chatlab proxy`: a lab's steps for the learner's own redis-cli, or a program in any language.

use std::process::ExitCode;

use chatlab_kit::servers::Topology;

use super::{Global, setup::ensure_server};
use crate::console::course::{Course, Start};
use crate::console::outside::{self, AfterPass};
use crate::labs;
use crate::learner::Store;

const EXAMPLES: &str = "\
Examples:
  chatlab proxy sessions                 prints an address to connect to
  chatlab proxy pubsub --once            ends when the step is passed
  chatlab proxy sessions revoke --seed 7

Connect redis-cli, or a program in any language. The server behind the address
is private and holds what the step lays out. What you do is judged whenever it
falls quiet; type check, hint, trace or quit meanwhile.

Exit codes:
  0  what was tried is passed
  1  it is not
  2  it could not be done";

/// Arguments of `chatlab proxy`.
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
    /// End when the step is passed, instead of going on to the next
    #[arg(long)]
    once: bool,
}

/// Runs `chatlab proxy`.
///
/// # Errors
/// When there is no such lab or step, no Redis server, or the machine fails.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let lab = labs::named(&args.lab)?;
    let server = ensure_server(global.redis_server.as_deref(), global.yes)?;
    let start = Start { step: args.step, seed: args.seed, topology: args.topology };
    let course = Course::open(lab, server, Store::open(), start).await?;
    let after = if args.once { AfterPass::End } else { AfterPass::GoOn };
    let passed = Box::pin(outside::run(course, after)).await?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
