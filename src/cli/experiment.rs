//! `chatlab experiment`: predict, run, explain.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use chatlab_kit::check::wrap;
use chatlab_kit::lab::{Env, Experiment, Findings, Lab};
use chatlab_kit::prereq::{ServerBinary, state_dir};
use chatlab_kit::redis::{Redis, RedisConfig};
use chatlab_kit::servers::{Managed, ServerOptions, Topology};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{Global, setup::ensure_server};
use crate::learner::{Store, predict};
use crate::{labs, plot};

/// No line of an explanation is wider.
const COLUMNS: usize = 80;

const EXAMPLES: &str = "\
Examples:
  chatlab experiment sessions                        what there is to measure
  chatlab experiment sessions memory
  chatlab experiment history growth --out .          the pictures and numbers here
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
    /// What is drawn at random begins from here
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the numbers (JSON) and pictures (SVG) go [default: a folder in the state folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Ask for no prediction beforehand
    #[arg(long)]
    no_predict: bool,
    /// Write no files
    #[arg(long, conflicts_with = "out")]
    no_files: bool,
}

/// What is kept of a run: enough to tell where it comes from and to run it again.
#[derive(Debug, Serialize)]
struct Kept<'a> {
    lab: &'a str,
    experiment: &'a str,
    topology: Topology,
    seed: u64,
    server: String,
    cores: usize,
    chatlab: &'a str,
    findings: &'a Findings,
}

/// Runs `chatlab experiment`.
///
/// # Errors
/// When there is no such lab or experiment, no Redis server, or the machine fails.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let lab = labs::named(&args.lab)?;
    let Some(name) = &args.name else { return list(lab, global) };
    let known: Vec<_> = lab.experiments().iter().map(|experiment| experiment.name).collect();
    let experiment = lab
        .experiments()
        .iter()
        .find(|experiment| experiment.name == name)
        .with_context(|| format!("there is no experiment `{name}`; there are: {}", known.join(", ")))?;
    let server = ensure_server(global.redis_server.as_deref(), global.yes)?;
    if !global.json {
        print_wrapped(experiment.question);
        println!();
    }
    let store = Store::open();
    let guesses = predict::before(&store, lab, experiment.name, args.no_predict || global.json)?;
    let findings = measure(lab, experiment, &args, &server, global).await?;
    let kept = Kept {
        lab: lab.id(),
        experiment: experiment.name,
        topology: args.topology,
        seed: args.seed,
        server: format!("{} {}", server.flavour, server.version),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        chatlab: env!("CARGO_PKG_VERSION"),
        findings: &findings,
    };
    let answers = predict::after(&store, lab, experiment.name, &guesses)?;
    let files = if args.no_files { Vec::new() } else { write_files(&args, &kept)? };
    if global.json {
        println!("{}", serde_json::to_string_pretty(&kept)?);
        return Ok(ExitCode::SUCCESS);
    }
    show(experiment, &kept);
    if !answers.is_empty() {
        println!();
    }
    for line in answers {
        print_wrapped(&line);
    }
    for file in files {
        println!("wrote {}", file.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn list(lab: &dyn Lab, global: &Global) -> anyhow::Result<ExitCode> {
    if global.json {
        let rows: Vec<_> = lab
            .experiments()
            .iter()
            .map(|experiment| serde_json::json!({ "name": experiment.name, "question": experiment.question }))
            .collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(ExitCode::SUCCESS);
    }
    for experiment in lab.experiments() {
        println!("{}", experiment.name);
        print_wrapped_by(experiment.question, "  ");
        println!("  run it: chatlab experiment {} {}\n", lab.id(), experiment.name);
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(
    lab: &dyn Lab,
    experiment: &Experiment,
    args: &Args,
    server: &ServerBinary,
    global: &Global,
) -> anyhow::Result<Findings> {
    let progress = if global.json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    progress.set_style(ProgressStyle::with_template("{spinner} {msg} ({elapsed})")?);
    progress.set_message(format!("measuring {} {}, {}", lab.id(), experiment.name, args.topology));
    progress.enable_steady_tick(Duration::from_millis(120));
    let managed = Managed::start_async(args.topology, server, &ServerOptions::steady()).await?;
    let redis = Redis::connect(&RedisConfig::new(args.topology, managed.addrs())).await?;
    let env = Env { redis, seed: args.seed, server: Some(server.clone()) };
    let findings = lab.experiment(experiment.name, &env).await;
    managed.stop();
    progress.finish_and_clear();
    Ok(findings.context("the lab does not know its own experiment")??)
}

fn show(experiment: &Experiment, kept: &Kept<'_>) {
    println!("{}", kept.findings);
    for chart in &kept.findings.charts {
        println!("{}", plot::draw(chart));
    }
    for sentence in &kept.findings.conclusions {
        print_wrapped(sentence);
    }
    for note in &kept.findings.notes {
        print_wrapped(&format!("Note: {note}"));
    }
    let place = kept.findings.place.clone().unwrap_or_else(|| kept.topology.to_string());
    println!();
    print_wrapped(&format!(
        "Measured on {}, {place}, {} cores, seed {}.",
        kept.server, kept.cores, kept.seed
    ));
    println!();
    print_wrapped(experiment.explanation);
}

/// Writes the numbers and one picture a chart; which files these are.
fn write_files(args: &Args, kept: &Kept<'_>) -> anyhow::Result<Vec<PathBuf>> {
    let folder = match &args.out {
        Some(folder) => folder.clone(),
        None => state_dir().join("experiments"),
    };
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let stem = match kept.findings.place {
        Some(_) => format!("{}-{}", kept.lab, kept.experiment),
        None => format!("{}-{}-{}", kept.lab, kept.experiment, kept.topology),
    };
    let numbers = folder.join(format!("{stem}.json"));
    std::fs::write(&numbers, serde_json::to_vec_pretty(kept)?)
        .with_context(|| numbers.display().to_string())?;
    let mut files = vec![numbers];
    for (i, chart) in kept.findings.charts.iter().enumerate() {
        let file = folder.join(if i == 0 { format!("{stem}.svg") } else { format!("{stem}-{}.svg", i + 1) });
        if drawable(chart, &file)? {
            files.push(file);
        }
    }
    Ok(files)
}

/// A chart in which nothing could be measured has no picture.
fn drawable(chart: &chatlab_kit::lab::Chart, file: &Path) -> anyhow::Result<bool> {
    if chart.series.iter().all(|series| series.points.is_empty()) {
        return Ok(false);
    }
    plot::write_svg(chart, file)?;
    Ok(true)
}

fn print_wrapped(text: &str) {
    print_wrapped_by(text, "");
}

fn print_wrapped_by(text: &str, indent: &str) {
    for line in wrap(text, COLUMNS - indent.len()) {
        println!("{indent}{line}");
    }
}
