//! `chatlab check`: a lab's checks on the exercise, on one variant, or on all.

pub(super) mod exercise;
mod learner;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use chatlab_kit::check::{CheckReport, Verdict};
use chatlab_kit::lab::{Env, Lab, Variant, VariantKind};
use chatlab_kit::redis::{Redis, RedisConfig};
use chatlab_kit::servers::{Managed, ServerOptions, Topology};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{EXIT_ERROR, EXIT_INCONCLUSIVE, Global, setup::ensure_server};
use crate::labs;
use crate::learner::compare::Comparison;
use exercise::Exercise;
pub(super) use exercise::{Built, build as build_exercise};
pub(super) use learner::compare_with_reference;

const EXAMPLES: &str = "\
Examples:
  chatlab check sessions                             your exercise
  chatlab check sessions --variant read_then_write   watch a flaw being caught
  chatlab check sessions --seed 7 --topology both
  chatlab check sessions --all                       the lab checks itself

After a failure of your exercise comes a hint (more of it: chatlab hint LAB),
after a pass a comparison with the reference. Both are noted in your progress.

Exit codes:
  0  passed; with --all: every variant is what it is declared to be
  1  a check failed, or the exercise does not compile
  2  it could not be done
  4  inconclusive: the fault never happened, or the machine was too slow";

/// Arguments of `chatlab check`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The lab, as `chatlab list` shows it
    lab: String,
    /// This variant instead of your exercise
    #[arg(long, conflicts_with = "all")]
    variant: Option<String>,
    /// All variants, each against what it is declared to be
    #[arg(long)]
    all: bool,
    /// Where to run [default: single; both with --all]
    #[arg(long, value_enum)]
    topology: Option<Where>,
    /// The seed of the random histories [default: a new one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// Run everything so many times, with consecutive seeds
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    repeat: u64,
}

impl Args {
    /// The learner's exercise on a single node.
    pub(super) fn exercise(lab: &str) -> Self {
        let lab = lab.to_owned();
        Self { lab, variant: None, all: false, topology: None, seed: None, repeat: 1 }
    }

    /// Whether this is about the learner's exercise alone.
    fn is_learners(&self) -> bool {
        !self.all && self.variant.as_deref().is_none_or(|name| name == "exercise")
    }
}

/// The topologies to run on.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Where {
    Single,
    Cluster,
    Both,
}

impl Where {
    fn topologies(self) -> &'static [Topology] {
        match self {
            Self::Single => &[Topology::Single],
            Self::Cluster => &[Topology::Cluster],
            Self::Both => &Topology::ALL,
        }
    }
}

/// One variant on one topology with one seed.
#[derive(Debug, Serialize)]
struct Row {
    variant: &'static str,
    kind: &'static str,
    /// None when it is what it is declared to be.
    differs: Option<String>,
    report: CheckReport,
    /// Of a learner's exercise that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<learner::Help>,
    /// Of a learner's exercise that passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<Comparison>,
}

/// Runs `chatlab check`.
///
/// # Errors
/// When there is no such lab or variant, no Redis server, or the machine fails.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let lab = labs::named(&args.lab)?;
    let variants = chosen(lab, &args)?;
    let wants_exercise = variants.iter().any(|variant| variant.kind == VariantKind::Exercise);
    let exercise = if wants_exercise { Some(exercise::build(lab, global, args.all).await?) } else { None };
    if let Some(Built::DoesNotCompile(text)) = &exercise {
        return does_not_compile(lab, text, global);
    }
    let server = ensure_server(global.redis_server.as_deref(), global.yes)?;
    let default = if args.all { Where::Both } else { Where::Single };
    let first_seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let progress = spinner(global);
    let mut rows = Vec::new();
    let mut compared = None;
    for topology in args.topology.unwrap_or(default).topologies() {
        progress.set_message(format!("starting Redis: {topology}"));
        let managed = Managed::start_async(*topology, &server, &ServerOptions::steady()).await?;
        let nodes = managed.addrs();
        let redis = Redis::connect(&RedisConfig::new(*topology, nodes.clone())).await?;
        for seed in (0..args.repeat).map(|i| first_seed.wrapping_add(i)) {
            let env = Env { redis: redis.clone(), seed, server: Some(server.clone()) };
            for variant in &variants {
                progress.set_message(format!("{} on {topology}, seed {seed}", variant.name));
                let Some(report) = check(lab, variant, &env, exercise.as_ref(), &nodes).await? else {
                    continue;
                };
                let differs = declared(variant, &report, exercise.as_ref()).err();
                let kind = variant.kind.as_str();
                let row = Row { variant: variant.name, kind, differs, report, help: None, comparison: None };
                if !global.json {
                    progress.suspend(|| show(&row, variant, args.all))?;
                }
                rows.push(row);
            }
        }
        let passed = rows.iter().all(|row| row.report.verdict() == Verdict::Pass);
        if let (true, true, None, Some(Built::Ready(exercise))) =
            (args.is_learners(), passed, &compared, &exercise)
        {
            progress.set_message("comparing with the reference");
            compared = Some(compare_with_reference(lab, exercise, &redis, &nodes).await);
        }
        managed.stop();
    }
    progress.finish_and_clear();
    if args.is_learners() {
        tell_learner(lab, &mut rows, compared, global)?;
    }
    conclude(&rows, args.all, exercise.as_ref(), global)
}

/// Notes how the exercise did, and helps on.
fn tell_learner(
    lab: &'static dyn Lab,
    rows: &mut [Row],
    compared: Option<anyhow::Result<Comparison>>,
    global: &Global,
) -> anyhow::Result<()> {
    let reports: Vec<_> = rows.iter().map(|row| &row.report).collect();
    let help = learner::note(lab, &reports);
    let passed = !rows.is_empty() && rows.iter().all(|row| row.report.verdict() == Verdict::Pass);
    let compared = compared.filter(|_| passed).map(|result| result.map_err(|error| format!("{error:#}")));
    if !global.json {
        let mut out = std::io::stdout().lock();
        if let Some(help) = &help {
            learner::show_help(&mut out, lab, help)?;
        }
        if let Some(compared) = &compared {
            learner::show_comparison(&mut out, lab, compared)?;
        }
    }
    if let Some(last) = rows.last_mut() {
        last.help = help;
        last.comparison = compared.and_then(Result::ok);
    }
    Ok(())
}

fn chosen(lab: &dyn Lab, args: &Args) -> anyhow::Result<Vec<&'static Variant>> {
    if args.all {
        return Ok(lab.variants().iter().collect());
    }
    if let Some(name) = &args.variant {
        let variant = lab.variant(name).with_context(|| {
            let known: Vec<_> = lab.variants().iter().map(|variant| variant.name).collect();
            format!("there is no variant `{name}`; there are: {}", known.join(", "))
        })?;
        return Ok(vec![variant]);
    }
    let exercise = lab.variants().iter().find(|variant| variant.kind == VariantKind::Exercise);
    Ok(vec![exercise.context("this lab has no exercise")?])
}

/// `None` for an exercise that cannot be built here, which was said before.
async fn check(
    lab: &dyn Lab,
    variant: &Variant,
    env: &Env,
    exercise: Option<&Built>,
    nodes: &[String],
) -> anyhow::Result<Option<CheckReport>> {
    if variant.kind == VariantKind::Exercise {
        return match exercise {
            Some(Built::Ready(exercise)) => Ok(Some(exercise.check(env, nodes).await?)),
            _ => Ok(None),
        };
    }
    let report = lab.check(variant.name, env).await;
    Ok(Some(report.with_context(|| format!("the lab does not know its own variant {}", variant.name))?))
}

/// What a variant is declared to be; an exercise that still says that it is unfinished must fail.
fn declared(variant: &Variant, report: &CheckReport, exercise: Option<&Built>) -> Result<(), String> {
    if let (Some(Built::Ready(Exercise { unfinished: true, .. })), Verdict::Pass) =
        (exercise, report.verdict())
        && variant.kind == VariantKind::Exercise
    {
        return Err("it is unfinished, and passes".to_owned());
    }
    variant.as_declared(report)
}

fn show(row: &Row, variant: &Variant, all: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let report = &row.report;
    if !all {
        write!(out, "{report}")?;
        return Ok(());
    }
    let mark = if row.differs.is_none() { "as declared" } else { "NOT AS DECLARED" };
    writeln!(
        out,
        "{:<8} {:<16} {:<12} {:<13} {mark}",
        report.topology,
        row.variant,
        row.kind,
        report.verdict()
    )?;
    if let Some(differs) = &row.differs {
        writeln!(out, "  {differs}")?;
        for outcome in
            report.outcomes.iter().filter(|o| !matches!(o.verdict, Verdict::Pass | Verdict::Skipped))
        {
            write!(out, "{outcome}")?;
        }
        return Ok(());
    }
    match variant.kind {
        VariantKind::Flawed { caught_by } => {
            if let Some(outcome) = report.outcome(caught_by) {
                write!(out, "{outcome}")?;
            }
            let others: Vec<_> =
                report.failures().map(|o| o.predicate.as_str()).filter(|name| *name != caught_by).collect();
            for (i, name) in others.iter().enumerate() {
                writeln!(out, "  {:<12}  {name}", if i == 0 { "also fails" } else { "" })?;
            }
        }
        VariantKind::Exercise => {
            if let Some(outcome) = report.failures().next() {
                write!(out, "{outcome}")?;
            }
            writeln!(out, "  fails {} of {} checks", report.failures().count(), report.outcomes.len())?;
        }
        VariantKind::Reference | VariantKind::Alternative if report.verdict() == Verdict::Skipped => {
            let reason = report.outcomes.first().map_or("", |outcome| outcome.reason.as_str());
            writeln!(out, "  {reason}")?;
        }
        VariantKind::Reference | VariantKind::Alternative => {}
    }
    Ok(())
}

fn conclude(rows: &[Row], all: bool, exercise: Option<&Built>, global: &Global) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    if global.json {
        writeln!(out, "{}", serde_json::to_string_pretty(rows)?)?;
    }
    if all {
        let wrong = rows.iter().filter(|row| row.differs.is_some()).count();
        if !global.json {
            if let Some(Built::CannotBuild(why)) = exercise {
                writeln!(out, "exercise: not checked: {why}")?;
            }
            writeln!(out, "{} of {} variants are as declared", rows.len() - wrong, rows.len())?;
        }
        return Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let any = |verdict| rows.iter().any(|row| row.report.verdict() == verdict);
    Ok(if any(Verdict::Fail) {
        ExitCode::FAILURE
    } else if any(Verdict::Error) {
        ExitCode::from(EXIT_ERROR)
    } else if any(Verdict::Inconclusive) || any(Verdict::Skipped) {
        ExitCode::from(EXIT_INCONCLUSIVE)
    } else if rows.is_empty() {
        bail!("nothing was checked")
    } else {
        ExitCode::SUCCESS
    })
}

fn does_not_compile(lab: &dyn Lab, text: &str, global: &Global) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    if global.json {
        let json = serde_json::json!({ "lab": lab.id(), "variant": "exercise", "does_not_compile": text });
        writeln!(out, "{json:#}")?;
    } else {
        writeln!(out, "Your exercise does not compile yet. The compiler says:\n\n{}", text.trim_end())?;
    }
    Ok(ExitCode::FAILURE)
}

/// Shown on a terminal only; progress is no part of the output.
fn spinner(global: &Global) -> ProgressBar {
    if global.json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
