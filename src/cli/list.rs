//! `chatlab list`: the labs, how far each is, and what one lab consists of.

use std::process::ExitCode;

use chatlab_kit::lab::{Lab, VariantKind};
use serde::Serialize;

use super::Global;
use crate::console::screen::Screen;
use crate::labs;
use crate::learner::compare::cut;
use crate::learner::path::Standing;
use crate::learner::{LabProgress, Store};

const EXAMPLES: &str = "\
Examples:
  chatlab list               the labs in order, and how far each is
  chatlab list sessions      one lab: variants, checks, steps, experiments
  chatlab list --json        everything";

/// The width of the bar, in characters.
const BAR: usize = 10;

/// Arguments of `chatlab list`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// One lab in detail
    lab: Option<String>,
}

#[derive(Debug, Serialize)]
struct LabRow {
    id: &'static str,
    title: &'static str,
    summary: &'static str,
    prerequisites: Vec<String>,
    variants: Vec<VariantRow>,
    checks: Vec<&'static str>,
    steps: Vec<StepRow>,
    experiments: Vec<&'static str>,
    races: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seat: Option<&'static str>,
    progress: Standing,
}

#[derive(Debug, Serialize)]
struct VariantRow {
    name: &'static str,
    kind: &'static str,
    summary: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    caught_by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    needs: Option<String>,
}

#[derive(Debug, Serialize)]
struct StepRow {
    id: String,
    passed: bool,
}

fn row(lab: &dyn Lab, done: &LabProgress) -> anyhow::Result<LabRow> {
    let manifest = lab.manifest().map_err(anyhow::Error::msg)?;
    let variants = lab.variants().iter().map(|variant| VariantRow {
        name: variant.name,
        kind: variant.kind.as_str(),
        summary: variant.summary,
        caught_by: match variant.kind {
            VariantKind::Flawed { caught_by } => Some(caught_by),
            _ => None,
        },
        needs: variant.needs.map(|needs| needs.to_string()),
    });
    let progress = Standing::of(lab, &manifest, done);
    let steps =
        manifest.steps.into_iter().map(|s| StepRow { passed: done.steps.contains_key(&s.id), id: s.id });
    Ok(LabRow {
        id: lab.id(),
        title: lab.title(),
        summary: lab.summary(),
        prerequisites: manifest.prerequisites,
        variants: variants.collect(),
        checks: lab.predicates().into_iter().map(|(name, _)| name).collect(),
        steps: steps.collect(),
        experiments: lab.experiments().iter().map(|experiment| experiment.name).collect(),
        races: lab.races().iter().map(|race| race.name).collect(),
        seat: lab.seat(),
        progress,
    })
}

/// Runs `chatlab list`.
///
/// # Errors
/// When there is no such lab, or progress cannot be read.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let chosen = match &args.lab {
        Some(id) => vec![labs::named(id)?],
        None => labs::all(),
    };
    let progress = Store::open().load()?;
    let rows: Vec<_> =
        chosen.iter().map(|lab| row(*lab, &progress.lab(lab.id()))).collect::<Result<_, _>>()?;
    if global.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(ExitCode::SUCCESS);
    }
    let screen = Screen::stdout();
    match (args.lab, rows.as_slice()) {
        (Some(_), [lab]) => detail(lab, screen),
        _ => overview(&rows, screen),
    }
    Ok(ExitCode::SUCCESS)
}

fn overview(rows: &[LabRow], screen: Screen) {
    let head = format!(
        "{:<12} {:<width$} {:<7} {:<8} {:<8} {:<12} {}",
        "lab",
        "done",
        "lesson",
        "console",
        "code",
        "experiments",
        "about",
        width = BAR + 2
    );
    println!("{}", screen.dim(&head));
    for lab in rows {
        let p = &lab.progress;
        let line = format!(
            "{:<12} {} {:<7} {:<8} {:<8} {:<12} {}",
            lab.id,
            bar(p),
            if p.read { "read" } else { "-" },
            format!("{}/{}", p.steps_done, p.steps),
            code(p),
            format!("{}/{}", p.experiments_run, p.experiments),
            lab.title,
        );
        println!("{}", cut(&line, screen.columns));
    }
    println!("\none lab in detail: chatlab list LAB    what to do now: chatlab next");
}

/// `[####......]`.
fn bar(progress: &Standing) -> String {
    let (done, all) = progress.parts();
    // Full only when everything is done, and not empty once anything is.
    let filled = (done * BAR / all.max(1)).max(usize::from(done > 0));
    format!("[{}{}]", "#".repeat(filled), ".".repeat(BAR - filled))
}

fn code(progress: &Standing) -> &'static str {
    match (progress.code_passed, progress.code_checks) {
        (true, _) if progress.code_surrendered => "shown",
        (true, _) => "passed",
        (false, 0) => "-",
        (false, _) => "begun",
    }
}

fn detail(lab: &LabRow, screen: Screen) {
    let p = &lab.progress;
    println!("{}\n{}", screen.bold(&format!("{}: {}", lab.id, lab.title)), screen.block("  ", lab.summary));
    if !lab.prerequisites.is_empty() {
        println!("{}", screen.block("  do before: ", &lab.prerequisites.join(", ")));
    }
    println!("\nVariants");
    let width = lab.variants.iter().map(|v| v.name.chars().count()).max().unwrap_or(0);
    for variant in &lab.variants {
        let line = format!("  {:<width$}  {:<11}  {}", variant.name, variant.kind, variant.summary);
        println!("{}", cut(&line, screen.columns));
    }
    println!("\nChecks\n{}", screen.block("  ", &lab.checks.join(", ")));
    println!("\nConsole steps: {} of {} passed", p.steps_done, p.steps);
    for step in &lab.steps {
        println!("  {} {}", if step.passed { screen.good("x") } else { ".".to_owned() }, step.id);
    }
    println!(
        "\nExperiments: {} of {} run, {} of {} predictions made\n{}",
        p.experiments_run,
        p.experiments,
        p.predicted,
        p.predictions,
        screen.block("  ", &lab.experiments.join(", "))
    );
    if !lab.races.is_empty() {
        println!("\nRaces\n{}", screen.block("  ", &lab.races.join(", ")));
    }
    if let Some(seat) = lab.seat {
        println!("\nIn the live server\n{}", screen.block("  ", seat));
    }
    println!(
        "\nlesson: chatlab read {0}    console: chatlab console {0}\nexercise: chatlab watch {0}",
        lab.id
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_full_only_when_all_is_done() {
        let lab = labs::named("sessions").unwrap();
        let manifest = lab.manifest().unwrap();
        let mut done = LabProgress::default();
        assert_eq!(bar(&Standing::of(lab, &manifest, &done)), "[..........]");
        done.read();
        assert_eq!(bar(&Standing::of(lab, &manifest, &done)), "[#.........]");
        for step in &manifest.steps {
            done.passed_step(&step.id, 1, 1);
        }
        done.checked(None);
        assert!(bar(&Standing::of(lab, &manifest, &done)).ends_with(".]"));
        for experiment in lab.experiments() {
            done.ran(experiment.name);
        }
        assert_eq!(bar(&Standing::of(lab, &manifest, &done)), "[##########]");
    }
}
