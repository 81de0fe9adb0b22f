//! `chatlab load`: load the chat server and judge the run.

use std::{
    collections::BTreeMap,
    fs,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, anyhow};
use chatlab_kit::{prereq::ServerBinary, redis::ClientKind, servers::Topology};
use chatlab_load::{
    plan::{Plan, Progress, Target},
    preflight::preflight,
    process, report,
    result::RunResult,
    scenario::Scenario,
};
use indicatif::{ProgressBar, ProgressStyle};

use super::Global;
use crate::harness::{Stack, StackOptions};

/// The exit code of a run that is not `VALID`.
const EXIT_NOT_VALID: u8 = 3;

const EXAMPLES: &str = "\
Examples:
  chatlab load list
  chatlab load run chat-steady
  chatlab load run chat-steady --conns 2000 --rooms 20 --rate 200 --topology cluster
  chatlab load run fan-out --servers 2 --client fred --json --out results

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
    /// Start Redis and the chat server, load them, and judge the run
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
        Verb::Run(args) => Box::pin(run_scenario(args, global)).await,
        Verb::Generate => {
            tokio::task::spawn_blocking(process::serve_plan).await??;
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
        writeln!(
            out,
            "{:<14}{} connections, {} rooms, {} msg/s {}, {} s\n",
            "", s.conns, s.rooms, s.rate, s.schedule, s.secs
        )?;
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

async fn run_scenario(args: RunArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let scenario = args.scenario()?;
    // Also raises the limit for the server processes, which inherit it.
    preflight(scenario.conns)?;
    let (setting, yes) = (global.redis_server.clone(), global.yes);
    let redis =
        tokio::task::spawn_blocking(move || super::setup::ensure_server(setting.as_deref(), yes)).await??;
    let mut teller = Teller::new();
    teller.note(&format!("starting {} Redis and {} chat server(s)", args.topology, args.servers));
    let options = StackOptions {
        client: args.client,
        servers: usize::from(args.servers),
        ..StackOptions::new(args.topology, redis.clone())?
    };
    let stack = Box::pin(Stack::start(options)).await?;
    let labels = labels(args.topology, args.client, &redis);
    let result = measure(&stack, &scenario, labels, &mut |progress| teller.tell(progress)).await;
    teller.finish();
    stack.stop().await?;
    let result = result?;
    if let Some(folder) = &args.out {
        write_result(folder, &format!("{}-{}.json", scenario.name, args.topology), &result)?;
    }
    let mut out = std::io::stdout().lock();
    if global.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&result)?)?;
    } else {
        write!(out, "{}", report::terminal(&result))?;
    }
    let good = result.verdict.is_valid() || args.accept;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(EXIT_NOT_VALID) })
}

/// What a result says about the target, beside its figures.
pub fn labels(topology: Topology, client: ClientKind, redis: &ServerBinary) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("topology".to_owned(), topology.to_string()),
        ("client".to_owned(), client.to_string()),
        ("server".to_owned(), format!("{} {}", redis.flavour, redis.version)),
    ])
}

/// Loads a running stack with a scenario, from a generator process of its own.
///
/// # Errors
/// When users can't be provisioned or the generator gives no result.
pub async fn measure(
    stack: &Stack,
    scenario: &Scenario,
    labels: BTreeMap<String, String>,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> anyhow::Result<RunResult> {
    let provisioned = stack.provision(scenario.conns, scenario.rooms).await?;
    let servers = 0..stack.servers();
    let target = Target {
        ws_urls: servers.clone().map(|i| stack.ws_url(i)).collect(),
        tokens: provisioned.tokens,
        rooms: provisioned.rooms,
        server_pids: servers.map(|i| stack.server_pid(i)).collect(),
        redis_pids: stack.redis_pids(),
        labels,
    };
    let plan = Plan::new(scenario, target)?;
    let program = std::env::current_exe().context("finding the running binary")?;
    Box::pin(process::run_plan(&program, &["load", "generate"], &plan, progress)).await
}

fn write_result(folder: &Path, name: &str, result: &RunResult) -> anyhow::Result<()> {
    let file = folder.join(name);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&file, serde_json::to_vec_pretty(result)?))
        .with_context(|| format!("writing {}", file.display()))
}

/// Tells where the run is, on standard error: a bar on a terminal, a line a phase elsewhere.
struct Teller {
    bar: Option<ProgressBar>,
    phase: &'static str,
}

impl Teller {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(1);
            let style = ProgressStyle::with_template("{msg:<34} {bar:36} {pos}/{len}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar, phase: "" }
    }

    fn note(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None => eprintln!("{text}"),
        }
    }

    fn tell(&mut self, progress: Progress) {
        let (phase, position, length) = match progress {
            Progress::Connecting { done, of } => ("connecting and joining", done, of),
            Progress::WarmUp => ("warming up", 0, 1),
            Progress::Measuring { elapsed_ms, of_ms, .. } => ("measuring", elapsed_ms / 1000, of_ms / 1000),
            Progress::Draining { unanswered } => ("waiting for what is under way", 0, unanswered),
        };
        if phase != self.phase {
            self.phase = phase;
            self.note(phase);
        }
        if let Some(bar) = &self.bar {
            bar.set_length(length);
            bar.set_position(position);
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
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
