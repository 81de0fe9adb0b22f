//! `chatlab load compare`: many interleaved runs of A and B, and what may be said of them.

use std::process::ExitCode;

use anyhow::anyhow;
use chatlab_load::compare::{self, Options, Session, Which};

use super::{
    options::{LoadArgs, PlaceArgs},
    output::{exit_code, show},
    side::Side,
    teller::Teller,
    window::Setting,
};
use crate::{cli::Global, config::Variants};

/// Options of `load compare`.
#[derive(Debug, clap::Args)]
pub(super) struct CompareArgs {
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    place: PlaceArgs,
    /// One side: `reference`, LAB=NAME, peer:socketio, the path of another chatlab, or `no-slow`: without the scenario's slow readers
    #[arg(long, value_name = "WHAT", default_value = "reference")]
    a: String,
    /// The other side
    #[arg(long, value_name = "WHAT")]
    b: String,
    /// Rounds of four runs, A B B A or B A A B
    #[arg(long, default_value_t = Options::default().rounds)]
    rounds: usize,
    /// What is asked: `cpu`, `latency` (the median), `tail` (the 99th percentile) or `all`. One question needs fewer runs; choose it before you measure
    #[arg(long, default_value_t = compare::Question::All, value_name = "WHAT")]
    on: compare::Question,
    /// The effect that must not be missed; 0.1 is 10 %
    #[arg(long, default_value_t = Options::default().effect)]
    effect: f64,
}

/// Runs `load compare`.
pub(super) async fn run(args: CompareArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let none = Variants::default();
    let (a, b) = (Side::named(&args.a, &none)?, Side::named(&args.b, &none)?);
    let scenario = args.load.scenario()?;
    let options = Options {
        rounds: args.rounds,
        effect: args.effect,
        question: args.on,
        seed: scenario.seed,
        ..Options::default()
    };
    options.check().map_err(|why| anyhow!(why))?;
    let Some(setting) = Setting::prepare(&args.load, &[&a, &b], global).await? else {
        return Ok(ExitCode::FAILURE);
    };
    let mut session = Session::new(&a.title, &b.title, options).accepting(args.load.accept);
    let mut teller = Teller::new(global.json);
    while let Some(which) = session.next() {
        let side = match which {
            Which::A => &a,
            Which::B => &b,
        };
        teller.title(&format!("run {} of {}: {which:?}, {}", session.done() + 1, session.runs(), side.title));
        session.put(Box::pin(setting.window(args.place, side, None, &mut teller)).await?);
    }
    teller.finish();
    let compared = session.finish();
    let name = format!("{}-{}-compare.json", setting.scenario.name, args.place.topology);
    show(&args.load, global, &name, &compared, || compare::terminal_of_session(&compared))?;
    Ok(exit_code(compared.is_valid(), args.load.accept))
}
