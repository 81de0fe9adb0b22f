//! The page of a table of runs.

use super::super::html::{Tone, badge, escape, page as whole, paragraph, section, table};
use crate::matrix::{Row, Table};

/// The page of a table.
pub fn page(matrix: &Table) -> String {
    let axes = &matrix.axes;
    let about = format!(
        "{} runs, {} of each cell, taken in turns; order of seed {}.",
        matrix.runs.len(),
        axes.repeats,
        axes.seed
    );
    let mut body = format!("<h1>{}</h1>\n{}", escape(&matrix.title), paragraph("about", &about));
    body += &match matrix.is_valid() {
        true => badge(Tone::Good, "every run VALID"),
        false => badge(Tone::Bad, "not every cell has valid runs"),
    };
    for topology in &axes.topologies {
        for client in &axes.clients {
            let of = matrix.rows.iter().filter(|r| r.cell.topology == *topology && r.cell.client == *client);
            let rows: Vec<Vec<String>> = of.map(cells).collect();
            let head =
                ["variant", "verdict", "a second", "p50 ms", "p99 ms", "p99 of each run", "CPU µs each"];
            body += &section(&format!("{topology}, {client}"), &table(&head, &rows, true));
        }
    }
    body += &paragraph(
        "note",
        "Latencies: all runs of a cell merged, from the intended instant. CPU: server and Redis, each delivery or operation. \
         Whether two cells differ is a comparison's question: load compare.",
    );
    whole(&matrix.title, &body)
}

fn cells(row: &Row) -> Vec<String> {
    const NONE: &str = "–";
    let ms = |us: Option<u64>| us.map_or_else(|| NONE.into(), |us| format!("{:.2}", us as f64 / 1000.0));
    let kind = match (&row.skipped, row.kind) {
        (Some(why), _) => format!("not run: {why}"),
        (None, Some(kind)) => kind.to_string(),
        (None, None) => "not run".into(),
    };
    let range =
        row.p99_range_us.map_or_else(|| NONE.into(), |[a, b]| format!("{} … {}", ms(Some(a)), ms(Some(b))));
    vec![
        row.cell.variant.clone(),
        kind,
        row.per_s.map_or_else(|| NONE.into(), |rate| format!("{rate:.0}")),
        ms(row.response.as_ref().and_then(|r| r.p50_us)),
        ms(row.response.as_ref().and_then(|r| r.p99_us)),
        range,
        row.us_each.map_or_else(|| NONE.into(), |us| format!("{us:.1}")),
    ]
}
