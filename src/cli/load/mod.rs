//! `chatlab load`: load the chat server, a variant of a lab, or Redis itself, and judge the run.

mod bare;
mod ceiling;
mod compare;
mod crew;
mod faults;
mod floor;
mod knee;
mod matrix;
mod measure;
mod options;
mod output;
pub mod peer;
mod report;
mod run;
mod side;
mod teller;
mod view;
mod window;

use std::{io::Write, process::ExitCode};

use chatlab_load::{
    process,
    scenario::{Driver, Scenario},
};

pub use measure::{labels, measure};

use super::Global;

/// The exit code of a run that is not `VALID`.
const EXIT_NOT_VALID: u8 = 3;

const EXAMPLES: &str = "\
Examples:
  chatlab load list
  chatlab load run chat-steady
  chatlab load run chat-steady --conns 2000 --rooms 20 --rate 200 --topology cluster
  chatlab load run fanout --servers 2 --client fred --json --out results
  chatlab load run sessions --variant sessions=user_hash --against reference
  chatlab load run presence --variant presence=exercise --against reference
  chatlab load run chat-steady --record results/steady
  chatlab load run chat-steady --topology cluster --secs 40 --fault kill-master@10
  chatlab load report results/steady
  chatlab load compare chat-steady --a reference --b history=list
  chatlab load compare slow-reader --a no-slow --b reference --on tail
  chatlab load knee fanout --p99-ms 50
  chatlab load knee fanout --p99-ms 50 --against peer:socketio
  chatlab load floor fanout --rate 400
  chatlab load matrix history --clients redis-rs,fred
  chatlab load run sql-5k --target postgres://chat@localhost/chat
  chatlab load run fanout --target ws://127.0.0.1:3000 --dialect load-tests/dialects/socketio.toml
  chatlab load ceiling
  chatlab load run ws-10k --generators 2
  chatlab load worker --join redis://10.0.0.9:6379/tuesday          (on each machine)
  chatlab load run ws-10k --workers 2 --join redis://10.0.0.9:6379/tuesday --host 10.0.0.7

Exit codes:
  0  VALID (`knee`: an edge was found), or --accept was given
  2  it could not be done
  3  a run is not VALID: GENERATOR_BOUND, SERVER_BOUND or UNSTABLE; figures are withheld";

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
    Run(run::RunArgs),
    /// Many interleaved runs of A and B: do they differ by more than noise?
    #[command(after_help = EXAMPLES)]
    Compare(compare::CompareArgs),
    /// The highest rate that keeps a 99th percentile within an objective
    #[command(after_help = EXAMPLES)]
    Knee(knee::KneeArgs),
    /// What a delivery costs the chat server over what a bare write to a socket costs, in turns
    #[command(after_help = EXAMPLES)]
    Floor(floor::FloorArgs),
    /// A table of variants × clients × topologies
    #[command(after_help = EXAMPLES)]
    Matrix(matrix::MatrixArgs),
    /// The most commands a second that each Redis client can send, beside redis-benchmark
    Ceiling(ceiling::CeilingArgs),
    /// Wait in a Redis for a share of a run that `load run --workers` asks for, and generate it here
    #[command(after_help = EXAMPLES)]
    Worker(crew::WorkerArgs),
    /// Pages (HTML) and summaries of recorded results
    Report(report::ReportArgs),
    /// The generator's own process: a plan in, a result out
    #[command(hide = true)]
    Generate,
    /// The bare loop's own process: writes what its readers ask for
    #[command(hide = true)]
    BareWriter,
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
        Verb::Compare(args) => Box::pin(compare::run(args, global)).await,
        Verb::Knee(args) => Box::pin(knee::run(args, global)).await,
        Verb::Floor(args) => Box::pin(floor::run(args, global)).await,
        Verb::Matrix(args) => Box::pin(matrix::run(args, global)).await,
        Verb::Ceiling(args) => {
            let global = global.clone();
            tokio::task::spawn_blocking(move || ceiling::run(&args, &global)).await?
        }
        Verb::Worker(args) => Box::pin(crew::work(args)).await,
        Verb::Report(args) => report::run(&args),
        Verb::Generate => {
            tokio::task::spawn_blocking(|| process::serve_plan(measure::workload)).await??;
            Ok(ExitCode::SUCCESS)
        }
        Verb::BareWriter => tokio::task::spawn_blocking(bare::write).await?,
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
        writeln!(out, "{:<20}{}", s.name, s.title)?;
        writeln!(out, "{:<20}{}", "", s.about)?;
        let what = match s.driver {
            Driver::Ws => format!("{} connections, {} rooms, msg/s", s.all_conns(), s.rooms),
            Driver::Lab => "without the chat server, operations/s".to_owned(),
            Driver::Redis => format!("{} connections to Redis, commands/s", s.conns),
            Driver::Sql => format!("{} connections to SQLite (or --target), operations/s", s.conns),
            Driver::Http => format!("{} connections, requests/s", s.conns),
            Driver::Bare => format!("{} sockets, {} rooms, bursts/s", s.conns, s.rooms),
        };
        let rate = s.open_load(1).map_or(s.rate, |load| load.rate_per_s);
        writeln!(out, "{:<20}{what} {rate:.0} {}, {} s\n", "", s.schedule, s.secs)?;
    }
    writeln!(out, "Run one: chatlab load run {}", all.first().map_or("SCENARIO", |s| &s.name))?;
    Ok(ExitCode::SUCCESS)
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
            Verb::Run(args) => args.load.scenario(),
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
