//! `chatlab demo`: the main job. The whole path on one Redis node and on six, side by side.

mod story;

use std::{io::Write, process::ExitCode};

use anyhow::Context;
use chatlab_kit::{
    check::{CheckReport, Verdict},
    lab::{Env, VariantKind},
    prereq::ServerBinary,
    redis::{ClientKind, Redis},
    servers::Topology,
};
use chatlab_load::{report, result::RunResult, scenario::Scenario};

use super::{Global, load, setup};
use crate::{
    harness::{Stack, StackOptions},
    labs,
};

/// The lab whose checks the demo runs.
const LAB: &str = "sessions";
/// The load that the demo puts on each topology.
const SCENARIO: &str = "chat-steady";
/// Server processes on each Redis: two, so that users of different processes meet.
const SERVERS: usize = 2;
/// The exit code of a measurement that is not valid.
const EXIT_NOT_VALID: u8 = 3;

/// Options of `demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  chatlab demo            asks before it installs a Redis server, if there is none
  chatlab demo --yes      installs without asking
  chatlab demo --secs 3   a shorter load")]
pub struct Args {
    /// How long each topology is loaded, in seconds
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(2..=600))]
    secs: u64,
    /// The seed of the load and of the checks
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What one topology showed.
#[derive(serde::Serialize)]
struct Shown {
    topology: Topology,
    story: Vec<story::Step>,
    check: CheckReport,
    load: RunResult,
}

/// Runs the demo.
///
/// # Errors
/// When something could not be started, or a step of the story did not hold.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let (setting, yes) = (global.redis_server.clone(), global.yes);
    let redis = tokio::task::spawn_blocking(move || setup::ensure_server(setting.as_deref(), yes)).await??;
    let mut scenario = Scenario::find(SCENARIO)?;
    scenario.secs = args.secs;
    scenario.seed = args.seed;
    say(
        global,
        &format!("chatlab demo on {} {} ({})\n", redis.flavour, redis.version, redis.path.display()),
    )?;

    let mut shown = Vec::new();
    for topology in [Topology::Single, Topology::Cluster] {
        shown.push(Box::pin(show(topology, &redis, &scenario, args.seed, global)).await?);
    }
    conclude(&shown, global)
}

async fn show(
    topology: Topology,
    redis: &ServerBinary,
    scenario: &Scenario,
    seed: u64,
    global: &Global,
) -> anyhow::Result<Shown> {
    say(global, &format!("── {}\n", describe(topology)))?;
    let options = StackOptions { servers: SERVERS, ..StackOptions::new(topology, redis.clone())? };
    let started = std::time::Instant::now();
    let stack = Box::pin(Stack::start(options)).await?;
    let took = started.elapsed().as_secs_f64();
    say(global, &format!("  Redis and {SERVERS} chat servers are up ({took:.1} s)\n"))?;

    let story = story::tell(&stack).await.with_context(|| format!("the conversation on {topology}"))?;
    for step in &story {
        say(global, &format!("  ✓ {} ({:.0} ms)\n", step.what, step.ms))?;
    }
    let check = check_reference(&stack, seed).await?;
    let (passed, all) =
        (check.outcomes.iter().filter(|o| o.verdict == Verdict::Pass).count(), check.outcomes.len());
    let mark = if check.verdict() == Verdict::Pass { '✓' } else { '✗' };
    say(global, &format!("  {mark} the {LAB} lab: {passed} of {all} checks pass on `{}`\n", check.variant))?;
    for failure in check.failures() {
        say(global, &format!("      {}: {}\n", failure.predicate, failure.reason))?;
    }

    say(
        global,
        &format!(
            "  … loading: {} connections, {} rooms, {} messages/s for {} s\n",
            scenario.conns, scenario.rooms, scenario.rate, scenario.secs
        ),
    )?;
    let labels = load::labels(topology, ClientKind::RedisRs, redis);
    let load = Box::pin(load::measure(&stack, scenario, labels, None, &mut |_| {})).await?;
    say(global, &format!("  measured: {}\n\n", load.verdict.kind))?;
    stack.stop().await?;
    Ok(Shown { topology, story, check, load })
}

fn describe(topology: Topology) -> &'static str {
    match topology {
        Topology::Single => "single: one Redis node",
        Topology::Cluster => "cluster: 3 masters and 3 replicas",
    }
}

/// Runs the lab's checks on the variant that the server runs.
async fn check_reference(stack: &Stack, seed: u64) -> anyhow::Result<CheckReport> {
    let lab = labs::find(LAB).context("the lab is gone")?;
    let reference = lab
        .variants()
        .iter()
        .find(|variant| matches!(variant.kind, VariantKind::Reference))
        .context("the lab has no reference")?;
    let env = Env { redis: Redis::connect(&stack.redis_config()).await?, seed, server: None };
    lab.check(reference.name, &env).await.context("the lab does not know its own reference")
}

fn conclude(shown: &[Shown], global: &Global) -> anyhow::Result<ExitCode> {
    if global.json {
        writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(shown)?)?;
    } else {
        let columns: Vec<(&str, &RunResult)> = shown.iter().map(|s| (s.topology.as_str(), &s.load)).collect();
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", report::side_by_side(&columns))?;
        writeln!(out, "Where to go next:")?;
        writeln!(out, "  cargo lab read {LAB}            the lesson behind the first lab")?;
        writeln!(out, "  cargo lab check {LAB} --all     see flawed variants caught")?;
        writeln!(out, "  cargo lab load run {SCENARIO} --conns 2000 --rooms 20 --rate 200")?;
        writeln!(out, "  cargo lab serve                    the chat server, to connect to")?;
    }
    let checked = shown.iter().all(|s| s.check.verdict() == Verdict::Pass);
    let valid = shown.iter().all(|s| s.load.verdict.is_valid());
    Ok(match (checked, valid) {
        (false, _) => ExitCode::FAILURE,
        (true, false) => ExitCode::from(EXIT_NOT_VALID),
        (true, true) => ExitCode::SUCCESS,
    })
}

/// Says something to a person; with `--json` there is none.
fn say(global: &Global, text: &str) -> anyhow::Result<()> {
    if global.json {
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
