//! `chatlab load ceiling`: the most that each client can do, beside redis-benchmark.

use std::process::ExitCode;

use chatlab_kit::servers::{Managed, ServerOptions, Topology};
use chatlab_load::resp::ceiling::{self, CeilingPlan};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::{Global, setup};

/// Options of `load ceiling`.
#[derive(Debug, clap::Args)]
pub(super) struct CeilingArgs {
    /// How often all take their turns there and back again
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=20))]
    rounds: u8,
    /// Depths of the pipeline
    #[arg(long, value_delimiter = ',', default_value = "1,16,64", value_name = "N,…")]
    pipelines: Vec<usize>,
    /// Connections
    #[arg(long, default_value_t = 50)]
    conns: usize,
}

/// Runs `load ceiling`. Blocks.
pub(super) fn run(args: &CeilingArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let server = setup::ensure_server(global.redis_server.as_deref(), global.yes)?;
    let managed = Managed::start(Topology::Single, &server, &ServerOptions::steady())?;
    let node = managed.addrs().into_iter().next().unwrap_or_default();
    let plan = CeilingPlan {
        rounds: usize::from(args.rounds),
        pipelines: args.pipelines.clone(),
        conns: args.conns,
        ..CeilingPlan::usual(&node)
    };
    let bar = ProgressBar::new(1);
    bar.set_style(ProgressStyle::with_template("{msg:<34} {bar:36} {pos}/{len}")?);
    let measured = ceiling::ceiling(&plan, &mut |what, done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
        bar.set_message(what.to_owned());
    });
    bar.finish_and_clear();
    managed.stop();
    let measured = measured?;
    if global.json {
        println!("{}", serde_json::to_string_pretty(&measured)?);
    } else {
        print!("{}", ceiling::terminal(&measured));
    }
    Ok(ExitCode::SUCCESS)
}
