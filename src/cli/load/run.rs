//! `chatlab load run`: one run, or two against two.

use std::{path::PathBuf, process::ExitCode};

use chatlab_load::{
    compare::{self, Comparison, ORDER, Which},
    plan::By,
    recording, report,
    result::RunResult,
};

use super::{
    crew::CrewArgs,
    faults::FaultArgs,
    options::{LoadArgs, PlaceArgs},
    output::{exit_code, show},
    side::Side,
    teller::Teller,
    window::Setting,
};
use crate::{
    cli::Global,
    config::{Choice, Variants},
};

/// Options of `load run`.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub load: LoadArgs,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    crew: CrewArgs,
    /// Load this variant of a lab instead of the reference; may be repeated where the chat server
    /// is loaded. `exercise` is yours: it is built first
    #[arg(long, value_name = "LAB=NAME")]
    variant: Vec<Choice>,
    /// Load this as well, in the order A B B A, and show both sides: `reference`, LAB=NAME, peer:NAME, the path of another chatlab, or
    /// `no-slow`
    #[arg(long, value_name = "WHAT")]
    against: Option<String>,
    /// Record the run into this folder, second by second; `load report DIR` makes a page of it
    #[arg(long, value_name = "DIR", conflicts_with = "against")]
    record: Option<PathBuf>,
    /// Leave out the few seconds in which the same load goes to a responder that does nothing, which tell what the generator
    /// can do by itself
    #[arg(long)]
    no_calibration: bool,
    #[command(flatten)]
    faults: FaultArgs,
}

/// Runs `load run`.
pub(super) async fn run(args: RunArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let side = Side::new(Variants::new(args.variant.iter().cloned()));
    let other = args.against.as_deref().map(|what| Side::named(what, &side.variants)).transpose()?;
    let sides: Vec<_> = [Some(&side), other.as_ref()].into_iter().flatten().collect();
    let (scenario, record) = (args.load.scenario()?, args.record.is_some());
    let crew = args.crew.crew(&scenario, record)?;
    args.faults.check(&scenario, args.place.topology, args.load.servers)?;
    if !(args.faults.faults().is_empty() || crew.is_one() && args.load.target.is_none()) {
        anyhow::bail!("--fault needs servers that are started for the run, and one generator");
    }
    if !args.faults.faults().is_empty() && sides.iter().any(|side| side.peer.is_some()) {
        anyhow::bail!("--fault breaks our own servers: a peer has no part in it");
    }
    let Some(mut setting) = Setting::prepare(&args.load, &sides, global).await? else {
        return Ok(ExitCode::FAILURE);
    };
    setting.crew = crew;
    setting.faults = args.faults.clone();
    match other {
        None if setting.scenario.receive.is_some_and(|receive| receive.by == By::Both) => {
            polled_and_pushed(&args, setting, &side, global).await
        }
        None => one(&args, &setting, &side, global).await,
        Some(other) => two_against_two(&args, &setting, &side, &other, global).await,
    }
}

async fn one(args: &RunArgs, setting: &Setting, side: &Side, global: &Global) -> anyhow::Result<ExitCode> {
    let mut teller = Teller::new(global.json);
    teller.about(&format!("{}, {}, {}", setting.scenario.name, args.place.topology, side.title));
    let result = Box::pin(calibrated(args, setting, side, &mut teller)).await;
    teller.finish();
    let result = result?;
    let name = format!("{}-{}.json", setting.scenario.name, args.place.topology);
    show(&args.load, global, &name, &result, || report::terminal(&result))?;
    Ok(exit_code(result.verdict.is_valid(), args.load.accept))
}

/// First the generator by itself, on a machine where nothing else has been started yet; then the run.
async fn calibrated(
    args: &RunArgs,
    setting: &Setting,
    side: &Side,
    teller: &mut Teller,
) -> anyhow::Result<RunResult> {
    // The whole load offered to one generator says nothing about several.
    let calibration = match args.no_calibration || !setting.crew.is_one() {
        true => None,
        false => setting.calibrate(args.place, teller).await?,
    };
    let mut result = Box::pin(setting.window(args.place, side, args.record.as_deref(), teller)).await?;
    if let Some(calibration) = calibration {
        result.calibrate(calibration);
        if let Some(folder) = &args.record {
            recording::write_result(folder, &result)?;
        }
    }
    Ok(result)
}

/// One run of each, on servers of its own, side by side.
async fn polled_and_pushed(
    args: &RunArgs,
    mut setting: Setting,
    side: &Side,
    global: &Global,
) -> anyhow::Result<ExitCode> {
    let mut teller = Teller::new(global.json);
    let mut results = Vec::with_capacity(2);
    for (by, name) in [(By::Poll, "poll"), (By::Push, "push")] {
        teller.note(&format!("received by {name}"));
        if let Some(receive) = &mut setting.scenario.receive {
            receive.by = by;
        }
        let record = args.record.as_ref().map(|folder| folder.join(name));
        results.push(Box::pin(setting.window(args.place, side, record.as_deref(), &mut teller)).await?);
    }
    teller.finish();
    let valid = results.iter().all(|result| result.verdict.is_valid());
    let name = format!("{}-{}.json", setting.scenario.name, args.place.topology);
    show(&args.load, global, &name, &results, || {
        let (poll, push) = (&results[0], &results[1]);
        let table = report::side_by_side(&[("poll", poll), ("push", push)]);
        format!("{}\n{}\n{table}", report::terminal(poll), report::terminal(push))
    })?;
    Ok(exit_code(valid, args.load.accept))
}

async fn two_against_two(
    args: &RunArgs,
    setting: &Setting,
    a: &Side,
    b: &Side,
    global: &Global,
) -> anyhow::Result<ExitCode> {
    let mut teller = Teller::new(global.json);
    let mut runs = Vec::with_capacity(ORDER.len());
    for (i, which) in ORDER.into_iter().enumerate() {
        let side = match which {
            Which::A => a,
            Which::B => b,
        };
        teller.title(&format!("run {} of {}: {which:?}, {}", i + 1, ORDER.len(), side.title));
        runs.push(Box::pin(setting.window(args.place, side, None, &mut teller)).await?);
    }
    teller.finish();
    let runs = <[RunResult; 4]>::try_from(runs).map_err(|_| anyhow::anyhow!("there must be four runs"))?;
    let head = report::head(&runs[0]);
    let comparison = Comparison::new(&a.title, &b.title, runs);
    let name = format!("{}-{}-against.json", setting.scenario.name, args.place.topology);
    show(&args.load, global, &name, &comparison, || format!("{head}\n{}", compare::terminal(&comparison)))?;
    Ok(exit_code(comparison.valid, args.load.accept))
}
