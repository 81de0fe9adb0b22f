//! `chatlab load`: load the chat server, or a variant of a lab, and judge the run.

mod measure;
mod run;
mod teller;

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::anyhow;
use chatlab_kit::{redis::ClientKind, servers::Topology};
use chatlab_load::{
    process,
    scenario::{Driver, Scenario},
};

pub use measure::{labels, measure};

use super::Global;
use crate::config::Choice;

/// The exit code of a run that is not `VALID`.
const EXIT_NOT_VALID: u8 = 3;

const EXAMPLES: &str = "\
Examples:
  chatlab load list
  chatlab load run chat-steady
  chatlab load run chat-steady --conns 2000 --rooms 20 --rate 200 --topology cluster
  chatlab load run fan-out --servers 2 --client fred --json --out results
  chatlab load run sessions --variant sessions=user_hash --against reference
  chatlab load run presence --variant presence=exercise --against reference
  chatlab load run ratelimit --variant ratelimit=exercise

Exit codes of `run`:
  0  VALID, or --accept was given
  2  the run could not be done
  3  not VALID: GENERATOR_BOUND, SERVER_BOUND or UNSTABLE; the headline is withheld";

/// Options of `load`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// The scenarios there are
    List,
    /// Start Redis and the chat server (driver `lab`: a variant without it), load it, judge the run
    #[command(after_help = EXAMPLES)]
    Run(RunArgs),
    /// The generator's own process: a plan in, a result out
    #[command(hide = true)]
    Generate,
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// Which scenario; see `load list`
    scenario: String,
    /// Connections
    #[arg(long)]
    conns: Option<usize>,
    /// Rooms; connections go round them
    #[arg(long)]
    rooms: Option<usize>,
    /// Messages a second, of all connections together
    #[arg(long)]
    rate: Option<f64>,
    /// The measured window, in seconds
    #[arg(long)]
    secs: Option<u64>,
    /// The schedule's seed
    #[arg(long)]
    seed: Option<u64>,
    /// The length of a message's body, in bytes
    #[arg(long)]
    body_bytes: Option<usize>,
    /// One Redis node or six: single or cluster
    #[arg(long, default_value = "single")]
    topology: Topology,
    /// The server's Redis client: redis-rs or fred
    #[arg(long, default_value = "redis-rs")]
    client: ClientKind,
    /// Chat server processes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    servers: u8,
    /// Load this variant of a lab instead of the reference; may be repeated where the chat server
    /// is loaded. `exercise` is yours: it is built first
    #[arg(long, value_name = "LAB=NAME")]
    variant: Vec<Choice>,
    /// Load this as well, in the order A B B A, and show both sides: `reference` or LAB=NAME
    #[arg(long, value_name = "WHAT")]
    against: Option<String>,
    /// Write the result into this folder, as SCENARIO-TOPOLOGY.json
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Exit with 0 also when the run is not VALID
    #[arg(long)]
    accept: bool,
}

/// Runs `load`.
///
/// # Errors
/// What could not be found, started or written. A run that is not `VALID` is no error: its exit
/// code says so.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::List => list(global.json),
        Verb::Run(args) => Box::pin(run::run(args, global)).await,
        Verb::Generate => {
            tokio::task::spawn_blocking(|| process::serve_plan(measure::workload)).await??;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn list(json: bool) -> anyhow::Result<ExitCode> {
    let all = Scenario::all()?;
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for s in &all {
        writeln!(out, "{:<14}{}", s.name, s.title)?;
        writeln!(out, "{:<14}{}", "", s.about)?;
        let what = match s.driver {
            Driver::Ws => format!("{} connections, {} rooms, msg/s", s.all_conns(), s.rooms),
            Driver::Lab => "without the chat server, operations/s".to_owned(),
            Driver::Redis => format!("{} connections to Redis, commands/s", s.conns),
        };
        writeln!(out, "{:<14}{what} {} {}, {} s\n", "", s.rate, s.schedule, s.secs)?;
    }
    writeln!(out, "Run one: chatlab load run {}", all.first().map_or("SCENARIO", |s| &s.name))?;
    Ok(ExitCode::SUCCESS)
}

impl RunArgs {
    fn scenario(&self) -> anyhow::Result<Scenario> {
        let mut scenario = Scenario::find(&self.scenario)?;
        fn set<T: Copy>(field: &mut T, flag: Option<T>) {
            *field = flag.unwrap_or(*field);
        }
        set(&mut scenario.conns, self.conns);
        set(&mut scenario.rooms, self.rooms);
        set(&mut scenario.rate, self.rate);
        set(&mut scenario.secs, self.secs);
        set(&mut scenario.seed, self.seed);
        set(&mut scenario.body_bytes, self.body_bytes);
        scenario.check().map_err(|why| anyhow!("{}: {why}", self.scenario))?;
        Ok(scenario)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn scenario(flags: &str) -> anyhow::Result<Scenario> {
        let words = ["load", "run"].into_iter().chain(flags.split_whitespace());
        match Cli::try_parse_from(words)?.args.verb {
            Verb::Run(args) => args.scenario(),
            _ => unreachable!(),
        }
    }

    #[test]
    fn flags_change_a_scenario_and_are_checked_with_it() {
        let changed = scenario("chat-steady --conns 2000 --rooms 20 --rate 200 --secs 15").unwrap();
        assert_eq!((changed.conns, changed.rooms, changed.rate, changed.secs), (2000, 20, 200.0, 15));
        assert_eq!(changed.body_bytes, 180);
        for (flags, named) in [
            ("chat-steady --rooms 5000", "rooms"),
            ("nope", "chat-steady"),
            ("chat-steady --topology ring", "single"),
            ("chat-steady --servers 0", "servers"),
        ] {
            let error = scenario(flags).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
