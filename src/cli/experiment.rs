//! `chatlab experiment`: predict, run, explain.

use std::process::ExitCode;

use anyhow::Context;
use chatlab_kit::lab::Env;
use chatlab_kit::redis::{Redis, RedisConfig};
use chatlab_kit::servers::{Managed, ServerOptions, Topology};

use super::{Global, setup::ensure_server};
use crate::labs;

const EXAMPLES: &str = "\
Examples:
  chatlab experiment sessions memory
  chatlab experiment sessions memory --topology cluster";

/// Arguments of `chatlab experiment`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The lab, as `chatlab list` shows it
    lab: String,
    /// The experiment; without it, all of the lab are named
    name: Option<String>,
    /// `single` or `cluster`
    #[arg(long, default_value = "single")]
    topology: Topology,
}

/// Runs `chatlab experiment`.
///
/// # Errors
/// When there is no such lab or experiment, no Redis server, or the machine fails.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let lab = labs::named(&args.lab)?;
    let Some(name) = args.name else {
        for experiment in lab.experiments() {
            println!("{}\n  {}", experiment.name, experiment.question);
        }
        return Ok(ExitCode::SUCCESS);
    };
    let known: Vec<_> = lab.experiments().iter().map(|experiment| experiment.name).collect();
    let experiment = lab
        .experiments()
        .iter()
        .find(|experiment| experiment.name == name)
        .with_context(|| format!("there is no experiment `{name}`; there are: {}", known.join(", ")))?;
    let server = ensure_server(global.redis_server.as_deref(), global.yes)?;
    let managed = Managed::start_async(args.topology, &server, &ServerOptions::default()).await?;
    let redis = Redis::connect(&RedisConfig::new(args.topology, managed.addrs())).await?;
    let findings = lab
        .experiment(experiment.name, &Env { redis, seed: 0, server: Some(server.clone()) })
        .await
        .context("the lab does not know its own experiment")??;
    managed.stop();
    if global.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}\n", experiment.question);
    println!("{findings}");
    for sentence in findings.conclusions.iter().chain(&findings.notes) {
        println!("{sentence}");
    }
    println!("{} on {}: {}", server.flavour, args.topology, server.version);
    println!("\n{}", experiment.explanation);
    Ok(ExitCode::SUCCESS)
}
