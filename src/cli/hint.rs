//! `chatlab hint`: the next layer of the hint that fits.

use std::process::ExitCode;

use anyhow::bail;
use chatlab_kit::steps::instance;

use super::Global;
use crate::console::screen::Screen;
use crate::labs;
use crate::learner::hints::{Layer, next_layer};
use crate::learner::progress::code_hint;
use crate::learner::{Store, path};

const EXAMPLES: &str = "\
Examples:
  chatlab hint sessions              the next layer, for what failed last
  chatlab hint sessions --more       all layers that are left
  chatlab hint sessions revoke       of a console step

After a failed `chatlab check` the hint is about that failure, else about the
console step under way. At the console, :hint also knows what you typed.";

/// Arguments of `chatlab hint`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The lab, as `chatlab list` shows it
    lab: String,
    /// A console step, instead of what failed last
    step: Option<String>,
    /// All layers that are left, not one
    #[arg(long)]
    more: bool,
}

/// What the hint is about.
struct About {
    what: String,
    key: String,
    layers: Vec<String>,
}

/// Runs `chatlab hint`.
///
/// # Errors
/// When there is no such lab or step, or progress cannot be kept.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let lab = labs::named(&args.lab)?;
    let manifest = lab.manifest().map_err(anyhow::Error::msg)?;
    let store = Store::open();
    let done = store.load()?.lab(lab.id());
    let about = match (&args.step, &done.code.failing) {
        (None, Some(failing)) => About {
            what: format!("check {}: {}", failing.predicate, failing.reason),
            key: code_hint(&failing.predicate),
            layers: failing.layers.clone(),
        },
        (step, _) => {
            let Some(id) = step.clone().or_else(|| path::step_to_do(&manifest, &done)) else {
                println!(
                    "Nothing failed last, and every console step is passed. `chatlab next` says how to go on."
                );
                return Ok(ExitCode::SUCCESS);
            };
            let Some(step) = instance(&manifest, &id, done.seed.unwrap_or(0)) else {
                let known: Vec<_> = manifest.steps.iter().map(|step| step.id.as_str()).collect();
                bail!("{} has no step `{id}`; there are: {}", lab.id(), known.join(", "));
            };
            About { what: format!("step {id}: {}", step.goal.trim()), key: id, layers: step.hints }
        }
    };
    let layers = store.update(|progress| {
        let shown = progress.lab_mut(lab.id()).hints.entry(about.key.clone()).or_default();
        let mut layers: Vec<Layer> = Vec::new();
        while let Some(layer) = next_layer(&about.layers, *shown) {
            *shown = layer.number;
            let last = layer.number == layer.of;
            layers.push(layer);
            if last || !args.more {
                break;
            }
        }
        layers
    })?;
    if global.json {
        let texts: Vec<_> = layers.iter().map(|layer| &layer.text).collect();
        println!(
            "{:#}",
            serde_json::json!({ "about": about.what, "hints": texts, "of": about.layers.len() })
        );
        return Ok(ExitCode::SUCCESS);
    }
    let screen = Screen::stdout();
    println!("{}", screen.block("", &about.what));
    if layers.is_empty() {
        println!("  There is no hint for it. The lesson may help: chatlab read {}", lab.id());
    }
    for layer in &layers {
        println!("{}", screen.block(&format!("  hint {} of {}: ", layer.number, layer.of), &layer.text));
    }
    Ok(ExitCode::SUCCESS)
}
