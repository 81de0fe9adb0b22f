//! `chatlab dev`: for those who write labs, or change the server.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use async_trait::async_trait;
use chatlab_kit::check::{CheckReport, wrap};
use chatlab_kit::lab::{Env, Lab};
use chatlab_kit::servers::Topology;
use clap::Subcommand;
use futures_util::future::try_join_all;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::bench::clone_root;
use super::check::exercise::{self, Built};
use super::{Global, fuzz, setup::ensure_server, test::usual_at_once};
use crate::gate::{self, LabVerdict, Options, leftovers::Leftovers};
use crate::labs;
use crate::learner::compare::counted;

/// No line is wider.
const COLUMNS: usize = 80;

const EXAMPLES: &str = "\
Examples:
  chatlab dev check                       every lab
  chatlab dev check presence --seeds 3    one lab, quickly
  chatlab dev check --seed 7              other histories
  chatlab dev ids --write                 a new step or check gets its id for good
  chatlab dev fuzz ws --secs 300          bad input for the server, from seed 1
  chatlab dev fuzz ws --seed 1 --case 9   one case of it again";

/// For authors: what a lab must pass before it ships, and what the server must survive
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Hold labs against every rule that a lab must keep
    Check {
        /// These labs only
        labs: Vec<String>,
        /// How many consecutive seeds each variant is run with
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
        seeds: u64,
        /// The first seed
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// `single` or `cluster` only [default: both]
        #[arg(long)]
        topology: Option<Topology>,
        /// Only build the exercises
        #[arg(long)]
        no_run: bool,
        /// Take the exercises as they were built before, where there is no compiler
        #[arg(long, conflicts_with = "no_run")]
        built: bool,
        /// How many parts of labs are checked at a time [default: one more than there are cores]
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
        at_once: Option<u16>,
    },
    /// Compare the labs' ids with those that have shipped
    Ids {
        /// Add what is new to labs/ids.txt; nothing is taken out
        #[arg(long)]
        write: bool,
    },
    /// Send bad input to a server of its own: bytes, JSON and requests that no honest client sends
    Fuzz(fuzz::FuzzArgs),
}

/// Runs `chatlab dev`.
///
/// # Errors
/// When there is no such lab, no clone, no Redis server, or the machine fails.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Check { labs, no_run: true, .. } => {
            for lab in chosen(&labs)? {
                if let Err(why) = as_built(&exercise::build(lab, global, false).await?) {
                    bail!("{}: {why}", lab.id());
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        Verb::Check { labs, seeds, seed, topology, at_once, no_run: false, built } => {
            let server = ensure_server(global.redis_server.as_deref(), global.yes)?;
            let topologies = topology.map_or_else(|| Topology::ALL.to_vec(), |topology| vec![topology]);
            let turns = Arc::new(Semaphore::new(at_once.map_or_else(usual_at_once, usize::from)));
            let options = Options { seed, seeds, topologies, server, clone: clone_root()?, turns };
            let labs = chosen(&labs)?;
            let built = exercises(&labs, built, global).await?;
            check(&labs, &built, &options, global).await
        }
        Verb::Ids { write } => ids(write),
        Verb::Fuzz(args) => Box::pin(fuzz::run(args, global)).await,
    }
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static dyn Lab>> {
    if names.is_empty() {
        return Ok(labs::all());
    }
    names.iter().map(|name| labs::named(name)).collect()
}

fn ids(write: bool) -> anyhow::Result<ExitCode> {
    if write {
        let added = gate::ids::write(&clone_root()?, &labs::all())?;
        println!("labs/ids.txt: {added} added");
        return Ok(ExitCode::SUCCESS);
    }
    for id in labs::all().into_iter().flat_map(gate::ids::of) {
        println!("{id}");
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Serialize)]
struct Summary<'a> {
    labs: &'a [LabVerdict],
    leftovers: &'a [String],
    took_s: f64,
}

/// The exercises' programs, built now unless they are taken as they are.
async fn exercises(labs: &[&'static dyn Lab], built: bool, global: &Global) -> anyhow::Result<Vec<Built>> {
    let mut programs = Vec::with_capacity(labs.len());
    for lab in labs {
        programs.push(if built {
            exercise::built(*lab)?
        } else {
            exercise::build(*lab, global, false).await?
        });
    }
    Ok(programs)
}

async fn check(
    labs: &[&'static dyn Lab],
    built: &[Built],
    options: &Options,
    global: &Global,
) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let before = Leftovers::now();
    let progress = if global.json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    progress.set_style(ProgressStyle::with_template("{spinner} {msg} ({elapsed})")?);
    progress.enable_steady_tick(Duration::from_millis(120));
    progress.set_message(format!("{}, {} seeds", counted(labs.len() as u64, "lab"), options.seeds));
    let checks = labs.iter().zip(built).map(|(lab, built)| async {
        let verdict =
            gate::check_lab(*lab, as_built(built), options).await.with_context(|| lab.id().to_owned())?;
        if !global.json {
            progress.suspend(|| show(&verdict))?;
        }
        anyhow::Ok(verdict)
    });
    let verdicts = try_join_all(checks).await?;
    progress.finish_and_clear();
    let leftovers = Leftovers::since(&before);
    let summary = Summary { labs: &verdicts, leftovers: &leftovers, took_s: began.elapsed().as_secs_f64() };
    if global.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        conclude(&summary, options);
    }
    let passed = leftovers.is_empty() && verdicts.iter().all(LabVerdict::passed);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn as_built(built: &Built) -> Result<&dyn gate::Exercise, String> {
    match built {
        Built::Ready(exercise) => Ok(exercise),
        Built::DoesNotCompile(text) => Err(format!("it does not compile: {text}")),
        Built::CannotBuild(why) => Err(why.clone()),
    }
}

fn show(verdict: &LabVerdict) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let mark = if verdict.passed() { "ok" } else { "NOT OK" };
    writeln!(
        out,
        "{:<11} {mark:<7} {:>4} checks  {:>2} hints  {:>2} steps  {:>2} mistakes  {:>3} commands  {:>4.0} s",
        verdict.lab,
        verdict.checks,
        verdict.hints,
        verdict.steps,
        verdict.mistakes,
        verdict.lesson_commands,
        verdict.took_s
    )?;
    for row in &verdict.variants {
        let fate = match (&row.skipped, row.caught_by) {
            (Some(reason), _) => format!("skipped: {reason}"),
            (None, Some(predicate)) => format!("by {predicate}"),
            (None, None) if row.kind == "exercise" => "fails, as it ships".to_owned(),
            (None, None) => "passes".to_owned(),
        };
        let line = format!(
            "  {:<8} {:<18} {:>2}/{:<2} {fate}",
            row.topology, row.variant, row.as_declared, row.seeds
        );
        writeln!(out, "{}", line.chars().take(COLUMNS).collect::<String>())?;
    }
    for problem in &verdict.problems {
        for (i, line) in wrap(&format!("{}: {}", problem.rule, problem.what), COLUMNS - 4).iter().enumerate()
        {
            writeln!(out, "{}{line}", if i == 0 { "  ! " } else { "    " })?;
        }
    }
    if verdict.more_problems > 0 {
        writeln!(out, "  ! and {} more", verdict.more_problems)?;
    }
    Ok(())
}

fn conclude(summary: &Summary<'_>, options: &Options) {
    for line in summary.leftovers {
        println!("! leftovers: {line}");
    }
    let rows = || summary.labs.iter().flat_map(|lab| &lab.variants);
    let names = |kind: &'static str, held: bool| {
        let named = summary.labs.iter().flat_map(move |lab| {
            let rows = lab.variants.iter().filter(move |row| row.kind == kind);
            rows.filter(move |row| (row.as_declared == row.seeds) == held)
                .map(move |row| (lab.lab, row.variant))
        });
        named.collect::<std::collections::BTreeSet<_>>()
    };
    let as_declared = |kind, what| {
        let wrong = names(kind, false);
        let all = names(kind, true).union(&wrong).count() as u64;
        let right = all - wrong.len() as u64;
        if right == all { counted(all, what) } else { format!("{right} of {}", counted(all, what)) }
    };
    let failed = summary.labs.iter().filter(|lab| !lab.passed()).count();
    println!(
        "\n{}: {}, {}, {} killed by the declared predicate, {}",
        counted(summary.labs.len() as u64, "lab"),
        as_declared("reference", "reference"),
        as_declared("alternative", "alternative"),
        as_declared("flawed", "flawed variant"),
        as_declared("exercise", "exercise"),
    );
    println!(
        "{} checks with seeds {} to {}, {} of {} runs as declared, {} skipped variants, {:.0} s",
        summary.labs.iter().map(|lab| lab.checks).sum::<usize>(),
        options.seed,
        options.seed.wrapping_add(options.seeds - 1),
        rows().map(|row| row.as_declared).sum::<u64>(),
        rows().map(|row| row.seeds).sum::<u64>(),
        rows().filter(|row| row.skipped.is_some()).count(),
        summary.took_s,
    );
    match failed {
        0 if summary.leftovers.is_empty() => println!("the gate is green"),
        0 => println!("the gate is red: something was left behind"),
        _ => println!("the gate is RED: {failed} of {} labs", summary.labs.len()),
    }
}

#[async_trait]
impl gate::Exercise for exercise::Exercise {
    fn unfinished(&self) -> bool {
        self.unfinished
    }

    async fn check(&self, env: &Env, nodes: &[String]) -> anyhow::Result<CheckReport> {
        Self::check(self, env, nodes).await
    }
}
