//! `chatlab load matrix`: variants × client × topology.

use std::process::ExitCode;

use anyhow::{anyhow, bail};
use chatlab_kit::lab::VariantKind;
use chatlab_load::{
    matrix::{self, Axes, Cell, Matrix},
    resp::Client,
    result::RunResult,
    scenario::{Driver, Scenario},
};

use super::{
    options::{LoadArgs, PlaceArgs},
    output::{exit_code, show},
    side::Side,
    teller::Teller,
    window::Setting,
};
use crate::{cli::Global, config::Variants, labs};

/// Options of `load matrix`.
#[derive(Debug, clap::Args)]
pub(super) struct MatrixArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// Variants, as LAB=NAME or `reference`; of a scenario that drives a lab: all that are not flawed
    #[arg(long, value_delimiter = ',', value_name = "WHAT,…")]
    variants: Vec<String>,
    /// Redis clients
    #[arg(long, value_delimiter = ',', default_value = "redis-rs", value_name = "CLIENT,…")]
    clients: Vec<Client>,
    /// Topologies
    #[arg(long, value_delimiter = ',', default_value = "single,cluster", value_name = "TOPOLOGY,…")]
    topologies: Vec<String>,
    /// Runs of each cell
    #[arg(long, default_value_t = 2)]
    repeats: usize,
}

/// Runs `load matrix`.
pub(super) async fn run(args: MatrixArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let scenario = args.load.scenario()?;
    let variants = match args.variants.is_empty() {
        true => usual(&scenario)?,
        false => args.variants.clone(),
    };
    let none = Variants::default();
    let sides = variants.iter().map(|what| Side::named(what, &none)).collect::<anyhow::Result<Vec<_>>>()?;
    let axes = Axes {
        variants,
        clients: args.clients.iter().map(ToString::to_string).collect(),
        topologies: args.topologies.clone(),
        repeats: args.repeats,
        seed: scenario.seed,
    };
    axes.check().map_err(|why| anyhow!(why))?;
    for cell in axes.cells() {
        place(&cell)?;
    }
    let Some(setting) = Setting::prepare(&args.load, &sides.iter().collect::<Vec<_>>(), global).await? else {
        return Ok(ExitCode::FAILURE);
    };
    let mut table = Matrix::new(&setting.scenario.name, axes);
    let mut teller = Teller::new(global.json);
    while let Some(cell) = table.next() {
        let Cell { variant, client, topology } = &cell;
        let run = format!("run {} of {}", table.done() + 1, table.runs());
        teller.title(&format!("{run}: {variant}, {client}, {topology}"));
        match Box::pin(one(&setting, &cell, &none, &mut teller)).await {
            Ok(result) => table.put(result),
            // Such as a variant that this server lacks a command for: the others go on.
            Err(error) => table.skip(&format!("{error:#}")),
        }
    }
    teller.finish();
    let table = table.finish();
    let name = format!("{}-matrix.json", setting.scenario.name);
    show(&args.load, global, &name, &table, || matrix::terminal(&table))?;
    Ok(exit_code(table.is_valid(), args.load.accept))
}

async fn one(
    setting: &Setting,
    cell: &Cell,
    none: &Variants,
    teller: &mut Teller,
) -> anyhow::Result<RunResult> {
    setting.window(place(cell)?, &Side::named(&cell.variant, none)?, None, teller).await
}

fn place(cell: &Cell) -> anyhow::Result<PlaceArgs> {
    let topology = cell.topology.parse()?;
    let client = cell.client.parse().map_err(|why: String| anyhow!(why))?;
    Ok(PlaceArgs { topology, client: Some(client) })
}

/// The variants of a scenario's lab that are not flawed.
fn usual(scenario: &Scenario) -> anyhow::Result<Vec<String>> {
    if scenario.driver != Driver::Lab {
        bail!("{} drives no single lab: name --variants, such as reference,history=list", scenario.name);
    }
    let lab = labs::named(scenario.lab.as_deref().unwrap_or_default())?;
    let sound = lab
        .variants()
        .iter()
        .filter(|variant| matches!(variant.kind, VariantKind::Reference | VariantKind::Alternative));
    Ok(sound.map(|variant| format!("{}={}", lab.id(), variant.name)).collect())
}
