//! `chatlab load knee`: the highest rate within an objective.

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use chatlab_load::knee::{self, Options, Search, Seen};

use super::{
    options::{LoadArgs, PlaceArgs},
    output::{exit_code, show},
    side::Side,
    teller::Teller,
    window::{Setting, Started},
};
use crate::{
    cli::Global,
    config::{Choice, Variants},
};

/// Options of `load knee`.
#[derive(Debug, clap::Args)]
pub(super) struct KneeArgs {
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    place: PlaceArgs,
    /// Load this variant of a lab instead of the reference
    #[arg(long, value_name = "LAB=NAME")]
    variant: Vec<Choice>,
    /// The objective: 99 % of the answers (of a chat: of the deliveries) within so many milliseconds of the intended instant
    #[arg(long, value_name = "MS", default_value_t = Options::default().objective_ms)]
    p99_ms: f64,
    /// No rate over this is tried
    #[arg(long, value_name = "RATE", default_value_t = knee::MAX_RATE)]
    most: f64,
    /// How near the rates beside the edge must be; 0.05 is 5 %
    #[arg(long, default_value_t = Options::default().resolution)]
    resolution: f64,
    /// Runs at each side of the edge; odd, a majority decides
    #[arg(long, default_value_t = Options::default().repeats)]
    repeats: usize,
    /// The most runs in all
    #[arg(long, default_value_t = Options::default().max_probes)]
    max_probes: usize,
}

/// Runs `load knee`.
pub(super) async fn run(args: KneeArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let side = Side::new(Variants::new(args.variant.iter().cloned()));
    let options = Options {
        objective_ms: args.p99_ms,
        from: args.load.scenario()?.rate,
        most: args.most,
        resolution: args.resolution,
        repeats: args.repeats,
        max_probes: args.max_probes,
        ..Options::default()
    };
    options.check().map_err(|why| anyhow!(why))?;
    let Some(setting) = Setting::prepare(&args.load, &[&side], global).await? else {
        return Ok(ExitCode::FAILURE);
    };
    let title = format!("{}, {}, {}", setting.scenario.name, args.place.topology, side.title);
    let mut search = Search::new(&title, options);
    let mut teller = Teller::new(global.json);
    let mut started: Option<Started<'_>> = None;
    while let Some(ask) = search.next() {
        teller.title(&format!("probe {}: {:.0} a second ({})", search.done() + 1, ask.rate, ask.why));
        if !ask.same_servers
            && let Some(old) = started.take()
        {
            old.stop().await?;
        }
        if started.is_none() {
            started = Some(setting.start(args.place, &side, &mut teller).await?);
        }
        let servers = started.as_ref().context("no servers were started")?;
        let mut scenario = setting.scenario.clone();
        scenario.rate = ask.rate;
        let result = Box::pin(servers.load(&scenario, None, &mut teller)).await?;
        search.put(Seen::of(&result));
    }
    if let Some(last) = started {
        last.stop().await?;
    }
    teller.finish();
    let found = search.finish();
    let name = format!("{}-{}-knee.json", setting.scenario.name, args.place.topology);
    show(&args.load, global, &name, &found, || knee::terminal(&found))?;
    Ok(exit_code(found.is_found(), args.load.accept))
}
