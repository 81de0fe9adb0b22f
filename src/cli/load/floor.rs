//! `chatlab load floor`: what a delivery costs the chat server, over what a bare write costs here.

use std::process::ExitCode;

use anyhow::anyhow;
use chatlab_load::compare::{self, Options, Question, Session, Which};

use super::{
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

/// Options of `load floor`.
#[derive(Debug, clap::Args)]
pub(super) struct FloorArgs {
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    place: PlaceArgs,
    /// Load this variant of a lab instead of the reference
    #[arg(long, value_name = "LAB=NAME")]
    variant: Vec<Choice>,
    /// Rounds of four runs, two of the bare loop and two of the chat server; below 3 the spread is a guess
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The length of a bare write, in bytes
    #[arg(long, value_name = "N", default_value_t = 200)]
    write_bytes: usize,
}

/// Runs `load floor`.
pub(super) async fn run(args: FloorArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let side = Side::new(Variants::new(args.variant.iter().cloned()));
    let scenario = args.load.scenario()?;
    let bare = scenario.bare(args.write_bytes).map_err(|why| anyhow!(why))?;
    // One question: what a write costs has no latency to be compared with.
    let options =
        Options { rounds: args.rounds, question: Question::Cpu, seed: scenario.seed, ..Options::default() };
    options.check().map_err(|why| anyhow!(why))?;
    let Some(chat) = Setting::prepare(&args.load, &[&side], global).await? else {
        return Ok(ExitCode::FAILURE);
    };
    let floor = chat.of(bare)?;
    let title = format!("{} B a write, one process", args.write_bytes);
    let chat_title = format!("chat server, {}", side.title);
    let mut session =
        Session::new(&format!("bare loop, {title}"), &chat_title, options).accepting(args.load.accept);
    let mut teller = Teller::new(global.json);
    while let Some(which) = session.next() {
        let (setting, what) = match which {
            Which::A => (&floor, "the bare loop"),
            Which::B => (&chat, chat_title.as_str()),
        };
        teller.title(&format!("run {} of {}: {what}", session.done() + 1, session.runs()));
        session.put(Box::pin(setting.window(args.place, &side, None, &mut teller)).await?);
    }
    teller.finish();
    let compared = session.finish();
    let name = format!("{}-{}-floor.json", chat.scenario.name, args.place.topology);
    show(&args.load, global, &name, &compared, || compare::terminal_of_floor(&compared))?;
    Ok(exit_code(compared.is_valid(), args.load.accept))
}
