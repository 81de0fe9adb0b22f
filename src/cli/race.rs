//! `chatlab race`: the commands of several clients in every order, until one breaks the invariant.

use std::process::ExitCode;

use anyhow::{Context, bail};
use chatlab_kit::lab::{Env, Lab, Orders, Race, RaceReport, RaceStep, VariantKind};
use chatlab_kit::redis::{Redis, RedisConfig};
use chatlab_kit::servers::{Managed, ServerOptions, Topology};

use super::{EXIT_INCONCLUSIVE, Global, setup::ensure_server};
use crate::console::screen::Screen;
use crate::labs;
use crate::learner::compare::{cut, short_ids};

const EXAMPLES: &str = "\
Examples:
  chatlab race ratelimit                      the races of a lab
  chatlab race ratelimit last_permit          flawed variants, then the reference
  chatlab race ratelimit last_permit --variant gcra
  chatlab race ratelimit last_permit --variant read_then_write --order ABAB

Exit codes:
  0  only flawed variants were broken; with --variant: it was not broken
  1  a variant that must hold was broken; with --variant: that one was
  2  it could not be done
  4  not all orders were tried, and none broke it";

/// Arguments of `chatlab race`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The lab, as `chatlab list` shows it
    lab: String,
    /// The race; without it, all of the lab are named
    race: Option<String>,
    /// This variant only
    #[arg(long)]
    variant: Option<String>,
    /// This order only: a letter a command, `A` for the first client
    #[arg(long, value_parser = order)]
    order: Option<String>,
    /// The most orders to try
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max: u32,
    /// `single` or `cluster`
    #[arg(long, default_value = "single")]
    topology: Topology,
}

fn order(text: &str) -> Result<String, String> {
    let order = text.to_ascii_uppercase();
    let letters = !order.is_empty() && order.len() <= 1_000 && order.chars().all(|c| c.is_ascii_uppercase());
    if letters { Ok(order) } else { Err("letters only, such as ABAB".to_owned()) }
}

/// Runs `chatlab race`.
///
/// # Errors
/// When there is no such lab, race or variant, no Redis server, or the machine fails.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let lab = labs::named(&args.lab)?;
    let Some(name) = &args.race else { return list(lab, global) };
    let race = lab.races().iter().find(|race| race.name == *name).with_context(|| {
        let known: Vec<_> = lab.races().iter().map(|race| race.name).collect();
        format!("{} has no race `{name}`; there are: {}", lab.id(), known.join(", "))
    })?;
    let variants = variants(lab, args.variant.as_deref())?;
    let orders = match &args.order {
        Some(order) => Orders::Only(order.clone()),
        None => Orders::All { max: args.max },
    };
    let server = ensure_server(global.redis_server.as_deref(), global.yes)?;
    let managed = Managed::start_async(args.topology, &server, &ServerOptions::steady()).await?;
    let redis = Redis::connect(&RedisConfig::new(args.topology, managed.addrs())).await?;
    let env = Env { redis, seed: 0, server: Some(server) };
    let screen = Screen::stdout();
    if !global.json {
        println!(
            "{}\n{}",
            screen.bold(&format!("{}: {}", lab.id(), race.name)),
            screen.block("  ", race.about)
        );
    }
    let mut reports = Vec::new();
    for (variant, kind) in variants {
        let Some(report) = lab.race(race.name, variant, &env, &orders).await else {
            if args.variant.is_some() {
                bail!("`{variant}` does not take part in this race");
            }
            continue;
        };
        let report = report?;
        if !global.json {
            show(&report, kind, &args, race, screen);
        }
        reports.push((report, kind));
    }
    managed.stop();
    if global.json {
        let all: Vec<_> = reports.iter().map(|(report, _)| report).collect();
        println!("{}", serde_json::to_string_pretty(&all)?);
    }
    Ok(judged(&reports, args.variant.is_some(), args.order.is_some()))
}

fn judged(reports: &[(RaceReport, VariantKind)], one: bool, one_order: bool) -> ExitCode {
    let wrong = reports.iter().any(|(report, kind)| {
        report.broken.is_some() && (one || !matches!(kind, VariantKind::Flawed { .. }))
    });
    let open = reports.iter().any(|(report, _)| {
        report.broken.is_none()
            && (report.undriven > 0 || report.explored == 0 || !(report.exhausted || one_order))
    });
    if wrong {
        ExitCode::FAILURE
    } else if open || reports.is_empty() {
        ExitCode::from(EXIT_INCONCLUSIVE)
    } else {
        ExitCode::SUCCESS
    }
}

fn list(lab: &dyn Lab, global: &Global) -> anyhow::Result<ExitCode> {
    let screen = Screen::stdout();
    if global.json {
        let races: Vec<_> = lab
            .races()
            .iter()
            .map(|race| serde_json::json!({ "name": race.name, "about": race.about }))
            .collect();
        println!("{}", serde_json::to_string_pretty(&races)?);
        return Ok(ExitCode::SUCCESS);
    }
    if lab.races().is_empty() {
        println!("{} has no races to step through.", lab.id());
    }
    for race in lab.races() {
        println!("{}\n{}", screen.bold(race.name), screen.block("  ", race.about));
    }
    Ok(ExitCode::SUCCESS)
}

/// The flawed variants first, then the reference; or the one that was asked for.
fn variants(lab: &'static dyn Lab, chosen: Option<&str>) -> anyhow::Result<Vec<(&'static str, VariantKind)>> {
    if let Some(name) = chosen {
        let variant = lab.variant(name).with_context(|| {
            let known: Vec<_> = lab.variants().iter().map(|variant| variant.name).collect();
            format!("there is no variant `{name}`; there are: {}", known.join(", "))
        })?;
        return Ok(vec![(variant.name, variant.kind)]);
    }
    let flawed = lab.variants().iter().filter(|v| matches!(v.kind, VariantKind::Flawed { .. }));
    let reference = lab.variants().iter().filter(|v| v.kind == VariantKind::Reference);
    Ok(flawed.chain(reference).map(|variant| (variant.name, variant.kind)).collect())
}

fn show(report: &RaceReport, kind: VariantKind, args: &Args, race: &Race, screen: Screen) {
    let tried = match (report.exhausted, report.explored) {
        (_, 1) => "1 order".to_owned(),
        (true, n) => format!("all {n} orders"),
        (false, n) => format!("{n} orders"),
    };
    println!("\n{} {}", screen.bold(&report.variant), screen.dim(&format!("({kind})")));
    match &report.broken {
        Some(broken) => {
            println!("  {} after {tried}, by {}", screen.bad("broken"), screen.bold(&broken.order));
            steps(&broken.steps, screen);
            println!("{}", screen.block("  but: ", &broken.reason));
            if args.order.is_none() {
                let again = format!(
                    "  again: chatlab race {} {} --variant {} --order {}",
                    args.lab, race.name, report.variant, broken.order
                );
                println!("{}", screen.dim(&again));
            }
        }
        None if report.explored == 0 => println!("  no order could be driven: nothing is proven"),
        None => {
            println!("  {} in {tried}; the last one:", screen.good("holds"));
            steps(&report.last, screen);
        }
    }
    if report.undriven > 0 && report.broken.is_none() {
        println!("  {} more could not be driven as planned and prove nothing", report.undriven);
    }
}

/// A line a command: the client's letter, the command, the reply.
fn steps(steps: &[RaceStep], screen: Screen) {
    let room = screen.columns.saturating_sub(8);
    let lines: Vec<_> =
        steps.iter().map(|step| (step.client, short_ids(&step.command), short_ids(&step.reply))).collect();
    let widest = |of: fn(&(char, String, String)) -> &String| {
        lines.iter().map(|line| of(line).chars().count()).max().unwrap_or(0)
    };
    // What the replies do not need is the commands', and they get two thirds at least.
    let left = widest(|line| &line.1).min(room.saturating_sub(widest(|line| &line.2) + 1).max(room * 2 / 3));
    for (client, command, reply) in &lines {
        // Each client has a column of its own for its letter, so that the turns can be seen.
        let at = (*client as usize).saturating_sub('A' as usize).min(3);
        let lane = format!("{:at$}{client}", "");
        let command = cut(command, left);
        println!("  {lane:<4} {command:<left$}  {}", cut(reply, room.saturating_sub(left + 1)));
    }
}
