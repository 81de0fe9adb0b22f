//! `chatlab load knee`: the highest rate within an objective.

use std::process::ExitCode;

use anyhow::anyhow;
use chatlab_load::knee::{self, Ask, Beside, Options, Search, Seen, Turns};

use super::{
    options::{LoadArgs, PlaceArgs},
    output::{exit_code, keep, show, tell},
    side::Side,
    teller::Teller,
    window::Setting,
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
    /// Search the knee of this as well, in turns, and show all side by side: `reference`, LAB=NAME, peer:socketio or the path of
    /// another chatlab; may be repeated
    #[arg(long, value_name = "WHAT")]
    against: Vec<String>,
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
    let others = args.against.iter().map(|what| Side::named(what, &side.variants));
    let sides = std::iter::once(Ok(side.clone())).chain(others).collect::<anyhow::Result<Vec<_>>>()?;
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
    let Some(setting) = Setting::prepare(&args.load, &sides.iter().collect::<Vec<_>>(), global).await? else {
        return Ok(ExitCode::FAILURE);
    };
    let about = format!("{}, {}", setting.scenario.name, args.place.topology);
    let search = |side: &Side| Search::new(&format!("{about}, {}", side.title), options);
    let mut turns = Turns::new(sides.iter().map(search).collect());
    let mut teller = Teller::new(global.json);
    while let Some(which) = turns.next_turn() {
        let (Some(search), Some(side)) = (turns.search(which), sides.get(which)) else { break };
        Box::pin(turn(&setting, args.place, (side, search), sides.len() > 1, &mut teller)).await?;
    }
    teller.finish();
    give(&args, global, &about.replace(", ", "-"), &sides, &turns.finish())
}

/// One probe on servers that are started for it, and those that follow on the same servers.
async fn turn(
    setting: &Setting,
    place: PlaceArgs,
    (side, search): (&Side, &mut Search),
    several: bool,
    teller: &mut Teller,
) -> anyhow::Result<()> {
    let whose = if several { format!("{}, ", side.title) } else { String::new() };
    let title = |search: &Search, ask: Ask| {
        format!("{whose}probe {}: {:.0} a second ({})", search.done() + 1, ask.rate, ask.why)
    };
    let mut asked = search.next();
    if let Some(ask) = asked {
        teller.title(&title(search, ask));
    }
    let servers = setting.start(place, side, teller).await?;
    while let Some(ask) = asked {
        let mut scenario = setting.scenario.clone();
        scenario.rate = ask.rate;
        let seen = Box::pin(servers.load(&scenario, None, teller)).await;
        match seen {
            Ok(result) => search.put(Seen::of(&result)),
            Err(error) => {
                servers.stop().await?;
                return Err(error);
            }
        }
        asked = search.next().filter(|next| next.same_servers);
        if let Some(next) = asked {
            teller.title(&title(search, next));
        }
    }
    servers.stop().await
}

/// Each knee in a file of its own, from which `load report` makes its page; all of them together for whoever asked.
fn give(
    args: &KneeArgs,
    global: &Global,
    about: &str,
    sides: &[Side],
    found: &Beside,
) -> anyhow::Result<ExitCode> {
    if let [alone] = found.knees.as_slice() {
        let name = format!("{about}-knee.json");
        show(&args.load, global, &name, alone, || knee::terminal(alone))?;
        return Ok(exit_code(alone.is_found(), args.load.accept));
    }
    for (nth, (knee, side)) in found.knees.iter().zip(sides).enumerate() {
        let whose = if nth == 0 { String::new() } else { format!("{}-", side.slug()) };
        keep(&args.load, &format!("{about}-{whose}knee.json"), knee)?;
    }
    tell(global, found, || {
        let each: Vec<_> = found.knees.iter().map(knee::terminal).collect();
        format!("{}\n{}", found.terminal(), each.join("\n"))
    })?;
    Ok(exit_code(found.is_found(), args.load.accept))
}
