//! `chatlab list`: the labs and their variants.

use std::process::ExitCode;

use chatlab_kit::lab::{Lab, VariantKind};
use serde::Serialize;

use super::Global;
use crate::labs;

const EXAMPLES: &str = "\
Examples:
  chatlab list
  chatlab list --json";

/// Arguments of `chatlab list`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

#[derive(Debug, Serialize)]
struct LabRow {
    id: &'static str,
    title: &'static str,
    summary: &'static str,
    variants: Vec<VariantRow>,
    checks: Vec<&'static str>,
    experiments: Vec<&'static str>,
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

fn row(lab: &dyn Lab) -> LabRow {
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
    LabRow {
        id: lab.id(),
        title: lab.title(),
        summary: lab.summary(),
        variants: variants.collect(),
        checks: lab.predicates().into_iter().map(|(name, _)| name).collect(),
        experiments: lab.experiments().iter().map(|experiment| experiment.name).collect(),
    }
}

/// Runs `chatlab list`.
///
/// # Errors
/// None but those of printing.
pub async fn run(_args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let rows: Vec<LabRow> = labs::all().into_iter().map(row).collect();
    if global.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(ExitCode::SUCCESS);
    }
    for lab in &rows {
        println!("{}: {}\n  {}\n", lab.id, lab.title, lab.summary);
        for variant in &lab.variants {
            println!("  {:<16} {:<12} {}", variant.name, variant.kind, shortened(variant.summary));
        }
        println!("\n  {} checks; experiments: {}", lab.checks.len(), lab.experiments.join(", "));
        println!("  read it: chatlab read {0}    check your exercise: chatlab check {0}", lab.id);
    }
    Ok(ExitCode::SUCCESS)
}

/// What is left of 80 columns.
const SUMMARY_COLUMNS: usize = 48;

fn shortened(text: &str) -> String {
    if text.chars().count() <= SUMMARY_COLUMNS {
        return text.to_owned();
    }
    let kept: String = text.chars().take(SUMMARY_COLUMNS - 1).collect();
    format!("{}…", kept.trim_end())
}
