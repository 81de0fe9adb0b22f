//! A table for a terminal.

use std::fmt::Write;

use super::{Row, Table};
use crate::report::{clip, wrap};

const NONE: &str = "–";
/// The widest variant's name.
const NAME: usize = 26;

/// For people, at most [`crate::report::WIDTH`] columns, without colour.
pub fn terminal(table: &Table) -> String {
    let mut out = String::new();
    let axes = &table.axes;
    // Writing to a String can't fail.
    let _ = writeln!(
        out,
        "Matrix   {}\n         {} runs, {} of each, order of seed {}",
        table.title,
        table.runs.len(),
        axes.repeats,
        axes.seed
    );
    for topology in &axes.topologies {
        for client in &axes.clients {
            let _ = writeln!(
                out,
                "\n{:<NAME$}{:>9}{:>8}{:>8}{:>17}{:>9}",
                format!("{topology}, {client}"),
                "per s",
                "p50 ms",
                "p99 ms",
                "p99 of each run",
                "CPU µs"
            );
            for row in table.rows.iter().filter(|r| r.cell.topology == *topology && r.cell.client == *client)
            {
                line(&mut out, row);
            }
        }
    }
    let _ = writeln!(
        out,
        "\nLatencies: all runs of a cell merged. CPU: server and Redis, each delivery\n\
         (operation). {NONE}: too few samples. Differences: load compare says whether they are real."
    );
    wrap_long(&out)
}

fn line(out: &mut String, row: &Row) {
    let name: String = row.cell.variant.chars().take(NAME - 1).collect();
    if let Some(why) = &row.skipped {
        let _ = writeln!(out, "{name:<NAME$}not run: {why}");
        return;
    }
    match (row.kind, &row.response) {
        (Some(kind), None) => {
            let _ = writeln!(out, "{name:<NAME$}{kind}: no figures");
        }
        (None, _) => {
            let _ = writeln!(out, "{name:<NAME$}not run");
        }
        (Some(_), Some(response)) => {
            let ms =
                |us: Option<u64>| us.map_or_else(|| NONE.into(), |us| format!("{:.2}", us as f64 / 1000.0));
            let range = row
                .p99_range_us
                .map_or_else(|| NONE.into(), |[low, high]| format!("{} … {}", ms(Some(low)), ms(Some(high))));
            let _ = writeln!(
                out,
                "{name:<NAME$}{:>9}{:>8}{:>8}{range:>17}{:>9}",
                row.per_s.map_or_else(|| NONE.into(), |rate| format!("{rate:.0}")),
                ms(response.p50_us),
                ms(response.p99_us),
                row.us_each.map_or_else(|| NONE.into(), |us| format!("{us:.1}"))
            );
        }
    }
}

fn wrap_long(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(
            |line| {
                if line.chars().count() > crate::report::WIDTH { wrap(line, "  ") } else { line.to_owned() }
            },
        )
        .collect();
    clip(&(lines.join("\n") + "\n"))
}
