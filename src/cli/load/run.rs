//! `chatlab load run`: one run, or two against two.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use chatlab_kit::{
    prereq::ServerBinary,
    servers::{Managed, ServerOptions},
};
use chatlab_load::{
    compare::{self, Comparison, ORDER, Which},
    preflight::preflight,
    report,
    result::RunResult,
    scenario::{Driver, Scenario},
};
use serde::Serialize;

use super::{
    EXIT_NOT_VALID, RunArgs,
    measure::{labels, measure, measure_lab, measure_redis},
    teller::Teller,
};
use crate::{
    cli::{Global, play, setup},
    config::{Choice, Variants},
    harness::{Stack, StackOptions},
    labs, seats,
};

/// What is loaded: variants, and the program that has them.
struct Side {
    title: String,
    variants: Variants,
}

impl Side {
    fn new(variants: Variants) -> Self {
        let names: Vec<_> = variants.choices().map(|choice| choice.to_string()).collect();
        let title = if names.is_empty() { "reference".to_owned() } else { names.join(", ") };
        Self { title, variants }
    }
}

/// Everything that is the same for each window.
struct Setting<'a> {
    args: &'a RunArgs,
    scenario: Scenario,
    redis: ServerBinary,
    program: PathBuf,
}

/// Runs `load run`.
pub(super) async fn run(args: RunArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let scenario = args.scenario()?;
    let side = Side::new(Variants::new(args.variant.iter().cloned()));
    let other = args.against.as_deref().map(|what| against(&side, what)).transpose()?;
    let mut exercises: Vec<String> = Vec::new();
    for side in [Some(&side), other.as_ref()].into_iter().flatten() {
        check(&scenario, side)?;
        exercises.extend(side.variants.choices().filter(|c| c.variant == "exercise").map(|c| c.lab));
    }
    exercises.sort_unstable();
    exercises.dedup();
    // Also raises the limit for the server processes, which inherit it.
    preflight(scenario.all_conns())?;
    let (server, yes) = (global.redis_server.clone(), global.yes);
    let redis = tokio::task::spawn_blocking(move || setup::ensure_server(server.as_deref(), yes)).await??;
    let program = match exercises.is_empty() {
        true => std::env::current_exe().context("finding the running binary")?,
        // For both sides: they shall differ by nothing but the variant.
        false => match play::build(&exercises).await? {
            Some(program) => program,
            None => return Ok(ExitCode::FAILURE),
        },
    };
    let setting = Setting { args: &args, scenario, redis, program };
    match other {
        None => one(&setting, &side, global).await,
        Some(other) => two_against_two(&setting, &side, &other, global).await,
    }
}

/// The other side: the references, or the same with another variant of one lab.
fn against(side: &Side, what: &str) -> anyhow::Result<Side> {
    if what == "reference" {
        return Ok(Side::new(Variants::default()));
    }
    let choice: Choice =
        what.parse().map_err(|why| anyhow::anyhow!("--against {what}: {why}, or reference"))?;
    Ok(Side::new(Variants::new(side.variants.choices().chain([choice]))))
}

/// Whether there is what a side names.
fn check(scenario: &Scenario, side: &Side) -> anyhow::Result<()> {
    match scenario.driver {
        Driver::Ws => seats::all(&side.variants).map(drop),
        Driver::Lab => {
            let lab = scenario.lab.as_deref().unwrap_or_default();
            if let Some(other) = side.variants.choices().find(|choice| choice.lab != lab) {
                bail!(
                    "{} drives the lab `{lab}` without the chat server: {other} has no part in it; \
                     write --variant {lab}=NAME",
                    scenario.name
                );
            }
            variant_of(scenario, side).map(drop)
        }
        Driver::Redis => match side.variants.choices().next() {
            Some(choice) => bail!("{} sends commands to Redis: {choice} has no part in it", scenario.name),
            None => Ok(()),
        },
    }
}

/// The variant that the driver `lab` drives.
fn variant_of<'a>(scenario: &'a Scenario, side: &'a Side) -> anyhow::Result<&'static str> {
    let lab = labs::named(scenario.lab.as_deref().unwrap_or_default())?;
    match side.variants.of(lab.id()).or(scenario.variant.as_deref()) {
        Some(name) => Ok(seats::variant_of(lab, name)?.name),
        None => lab.variants().first().map(|reference| reference.name).context("the lab has no variant"),
    }
}

/// Starts everything anew, loads it for one window, and stops it: no window inherits from another.
async fn window(setting: &Setting<'_>, side: &Side, teller: &mut Teller) -> anyhow::Result<RunResult> {
    let Setting { args, scenario, redis, program } = setting;
    let mut labels = labels(args.topology, args.client, redis);
    match scenario.driver {
        Driver::Ws => {
            if side.variants != Variants::default() {
                labels.insert("variants".to_owned(), side.title.clone());
            }
            teller.note(&format!("starting {} Redis and {} chat server(s)", args.topology, args.servers));
            let options = StackOptions {
                client: args.client,
                servers: usize::from(args.servers),
                chatlab: program.clone(),
                variants: side.variants.clone(),
                ..StackOptions::new(args.topology, redis.clone())?
            };
            let stack = Box::pin(Stack::start(options)).await?;
            let result = measure(&stack, scenario, labels, &mut |progress| teller.tell(progress)).await;
            stack.stop().await?;
            result
        }
        Driver::Lab => {
            teller.note(&format!("starting {} Redis", args.topology));
            let managed = Managed::start_async(args.topology, redis, &ServerOptions::steady()).await?;
            let what = (scenario, variant_of(scenario, side)?);
            let tell = &mut |progress| teller.tell(progress);
            let result = measure_lab(&managed, args.client, what, program, labels, tell).await;
            tokio::task::spawn_blocking(move || managed.stop()).await?;
            result
        }
        Driver::Redis => {
            teller.note(&format!("starting {} Redis", args.topology));
            let managed = Managed::start_async(args.topology, redis, &ServerOptions::steady()).await?;
            let tell = &mut |progress| teller.tell(progress);
            let result = measure_redis(&managed, scenario, program, labels, tell).await;
            tokio::task::spawn_blocking(move || managed.stop()).await?;
            result
        }
    }
}

async fn one(setting: &Setting<'_>, side: &Side, global: &Global) -> anyhow::Result<ExitCode> {
    let mut teller = Teller::new();
    let result = Box::pin(window(setting, side, &mut teller)).await;
    teller.finish();
    let result = result?;
    let name = format!("{}-{}.json", setting.scenario.name, setting.args.topology);
    show(setting.args, global, &name, &result, || report::terminal(&result))?;
    Ok(exit_code(setting.args, result.verdict.is_valid()))
}

async fn two_against_two(
    setting: &Setting<'_>,
    a: &Side,
    b: &Side,
    global: &Global,
) -> anyhow::Result<ExitCode> {
    let mut teller = Teller::new();
    let mut runs = Vec::with_capacity(ORDER.len());
    for (i, which) in ORDER.into_iter().enumerate() {
        let side = match which {
            Which::A => a,
            Which::B => b,
        };
        teller.note(&format!("run {} of {}: {which:?}, {}", i + 1, ORDER.len(), side.title));
        runs.push(Box::pin(window(setting, side, &mut teller)).await?);
    }
    teller.finish();
    let runs = <[RunResult; 4]>::try_from(runs).map_err(|_| anyhow::anyhow!("there must be four runs"))?;
    let head = report::head(&runs[0]);
    let comparison = Comparison::new(&a.title, &b.title, runs);
    let name = format!("{}-{}-against.json", setting.scenario.name, setting.args.topology);
    show(setting.args, global, &name, &comparison, || format!("{head}\n{}", compare::terminal(&comparison)))?;
    Ok(exit_code(setting.args, comparison.valid))
}

fn exit_code(args: &RunArgs, valid: bool) -> ExitCode {
    if valid || args.accept { ExitCode::SUCCESS } else { ExitCode::from(EXIT_NOT_VALID) }
}

/// Writes a result where it was asked for: into a folder, as JSON, as text.
fn show(
    args: &RunArgs,
    global: &Global,
    name: &str,
    result: &impl Serialize,
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    if let Some(folder) = &args.out {
        write_result(folder, name, result)?;
    }
    let mut out = std::io::stdout().lock();
    if global.json {
        writeln!(out, "{}", serde_json::to_string_pretty(result)?)?;
    } else {
        write!(out, "{}", text())?;
    }
    Ok(())
}

fn write_result(folder: &Path, name: &str, result: &impl Serialize) -> anyhow::Result<()> {
    let file = folder.join(name);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&file, serde_json::to_vec_pretty(result)?))
        .with_context(|| format!("writing {}", file.display()))
}
