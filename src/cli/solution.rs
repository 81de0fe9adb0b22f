//! `chatlab solution`: the reference, after a pass or as an explicit surrender.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use chatlab_kit::lab::{Cost, Lab, VariantKind, rehearse};
use chatlab_kit::redis::{Redis, RedisConfig};
use chatlab_kit::servers::{Managed, ServerOptions, Topology};
use chatlab_kit::steps::instance;

use super::check::{Built, build_exercise, compare_with_reference};
use super::{Global, setup::ensure_server};
use crate::console::screen::Screen;
use crate::labs;
use crate::learner::compare::{Comparison, counted, trace_lines};
use crate::learner::progress::CODE;
use crate::learner::{LabProgress, Store};

const EXAMPLES: &str = "\
Examples:
  chatlab solution sessions            the reference, once your exercise passed
  chatlab solution sessions --show     before that: you give up, and it is noted
  chatlab solution sessions revoke     of a console step

Exit codes:
  0  shown
  1  not passed yet, and no --show
  2  it could not be done";

/// Arguments of `chatlab solution`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The lab, as `chatlab list` shows it
    lab: String,
    /// A console step, instead of the exercise
    step: Option<String>,
    /// Show it before you have passed; this is noted
    #[arg(long)]
    show: bool,
}

/// Runs `chatlab solution`.
///
/// # Errors
/// When there is no such lab or step, or progress cannot be kept.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let lab = labs::named(&args.lab)?;
    let store = Store::open();
    let done = store.load()?.lab(lab.id());
    match &args.step {
        Some(step) => of_step(lab, step, &args, &store, &done, global),
        None => Box::pin(of_exercise(lab, &args, &store, &done, global)).await,
    }
}

/// Whether it may be shown; notes a surrender, or says why not.
fn allowed(what: &str, key: &str, passed: bool, args: &Args, store: &Store) -> anyhow::Result<bool> {
    if !passed && !args.show {
        eprintln!(
            "{what} is not passed yet. A hint: chatlab hint {}. To give up and see it: --show (this is noted)",
            args.lab
        );
        return Ok(false);
    }
    if !passed {
        store.update(|progress| progress.lab_mut(&args.lab).surrender(key))?;
    }
    Ok(true)
}

fn of_step(
    lab: &dyn Lab,
    id: &str,
    args: &Args,
    store: &Store,
    done: &LabProgress,
    global: &Global,
) -> anyhow::Result<ExitCode> {
    let manifest = lab.manifest().map_err(anyhow::Error::msg)?;
    let Some(step) = instance(&manifest, id, done.seed.unwrap_or(0)) else {
        let known: Vec<_> = manifest.steps.iter().map(|step| step.id.as_str()).collect();
        bail!("{} has no step `{id}`; there are: {}", lab.id(), known.join(", "));
    };
    let mine = done.steps.get(id);
    if !allowed(&format!("Step `{id}`"), id, mine.is_some(), args, store)? {
        return Ok(ExitCode::FAILURE);
    }
    if global.json {
        let json =
            serde_json::json!({ "step": id, "goal": step.goal, "solution": step.solution, "yours": mine });
        println!("{json:#}");
        return Ok(ExitCode::SUCCESS);
    }
    let screen = Screen::stdout();
    println!("{}\n{}\n", screen.bold(id), screen.block("  ", &step.goal));
    for line in &step.solution {
        println!("    {line}");
    }
    if !step.learnt.trim().is_empty() {
        println!("\n{}", screen.block("  ", &step.learnt));
    }
    if let Some(mine) = mine {
        let side =
            |commands, trips| format!("{} in {}", counted(commands, "command"), counted(trips, "round trip"));
        println!("  Your best: {}", side(mine.commands, mine.round_trips));
    }
    Ok(ExitCode::SUCCESS)
}

async fn of_exercise(
    lab: &'static dyn Lab,
    args: &Args,
    store: &Store,
    done: &LabProgress,
    global: &Global,
) -> anyhow::Result<ExitCode> {
    let passed = done.code.passed_ms.is_some();
    if !allowed(&format!("The exercise of `{}`", lab.id()), CODE, passed, args, store)? {
        return Ok(ExitCode::FAILURE);
    }
    let measured = measured(lab, passed, global).await;
    let mut out = std::io::stdout().lock();
    if global.json {
        let (costs, comparison) = match &measured {
            Ok((costs, comparison)) => (Some(costs), comparison.as_ref()),
            Err(_) => (None, None),
        };
        let source = lab.reference_source();
        let json = serde_json::json!({ "lab": lab.id(), "source": source, "costs": costs, "comparison": comparison });
        writeln!(out, "{json:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let screen = Screen::stdout();
    writeln!(out, "{}", lab.reference_source().trim_end())?;
    match measured {
        Ok((costs, comparison)) => {
            writeln!(out, "\n{}", screen.bold("What the reference sends"))?;
            show_traces(&mut out, "reference", &costs, screen)?;
            if let Some(comparison) = comparison {
                writeln!(out, "\n{}", screen.bold("What yours sends"))?;
                let yours: Vec<_> = comparison.operations.iter().map(|pair| pair.yours.clone()).collect();
                show_traces(&mut out, "yours", &yours, screen)?;
                writeln!(out, "\n{}", comparison.text())?;
            }
        }
        Err(why) => writeln!(out, "\nIts commands and costs are not shown: {why:#}")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show_traces(out: &mut impl Write, whose: &str, costs: &[Cost], screen: Screen) -> anyhow::Result<()> {
    for cost in costs {
        let head = format!("{} ({whose}): {}", cost.operation, counted(cost.round_trips, "round trip"));
        writeln!(out, "  {}", screen.bold(&head))?;
        for line in trace_lines(cost, screen.columns - 4) {
            writeln!(out, "    {line}")?;
        }
    }
    Ok(())
}

/// The reference's commands, and beside them the learner's where the exercise has passed and can be built.
async fn measured(
    lab: &'static dyn Lab,
    passed: bool,
    global: &Global,
) -> anyhow::Result<(Vec<Cost>, Option<Comparison>)> {
    let server = ensure_server(global.redis_server.as_deref(), global.yes)?;
    let managed = Managed::start_async(Topology::Single, &server, &ServerOptions::steady()).await?;
    let nodes = managed.addrs();
    let redis = Redis::connect(&RedisConfig::new(Topology::Single, nodes.clone())).await?;
    let reference = lab.variants().iter().find(|variant| variant.kind == VariantKind::Reference);
    let reference = reference.context("this lab has no reference")?.name;
    let costs = rehearse(lab, reference, &redis).await?;
    let mut comparison = None;
    if passed && let Built::Ready(exercise) = build_exercise(lab, global, true).await? {
        comparison = compare_with_reference(lab, &exercise, &redis, &nodes).await.ok();
    }
    managed.stop();
    Ok((costs, comparison))
}
