//! The page of a search for the knee.

use super::super::{
    chart::knee as drawn,
    html::{Tone, badge, charts, escape, figure, list, page as whole, paragraph, section, table, tiles},
};
use crate::knee::{End, Hysteresis, Knee, headline, way_back};

/// The page of a search.
pub fn page(knee: &Knee) -> String {
    let mut body = format!(
        "<h1>Knee: {}</h1>\n{}",
        escape(&knee.title),
        paragraph(
            "about",
            &format!("The highest rate whose 99th percentile is at most {} ms.", knee.options.objective_ms)
        )
    );
    let (tone, word) = match &knee.end {
        End::Found => (Tone::Good, "found"),
        End::AtMost | End::Generator => (Tone::Open, "a lower bound"),
        End::BelowLeast | End::TooFewSamples { .. } | End::OutOfProbes => (Tone::Bad, "not found"),
    };
    body += &badge(tone, word);
    if let (true, Some(kept)) = (knee.is_found(), knee.kept) {
        let back = match knee.hysteresis {
            Hysteresis::Recovered { .. } => "recovers",
            Hysteresis::NotChecked => "not looked at",
            Hysteresis::LetGoAt { .. } | Hysteresis::Stuck { .. } => "does not recover",
        };
        body += &tiles(&[(format!("{kept:.0}"), "a second are kept"), (back.into(), "after an overload")]);
    }
    body += &paragraph("", &headline(knee));
    body += &paragraph("", &way_back(knee));
    let chart = drawn::chart(knee).map(|svg| {
        let caption =
            "One mark a probe; at the upper edge: no percentile. Marks above the line miss the objective.";
        figure("99th percentile by rate", &drawn::LEGEND, &svg, caption)
    });
    body += &section("Probes", &(charts(&chart.into_iter().collect::<Vec<_>>()) + &probes(knee)));
    body += &section("How it was searched", &how(knee));
    whole(&format!("Knee: {}", knee.title), &body)
}

fn probes(knee: &Knee) -> String {
    let rows: Vec<Vec<String>> = knee
        .probes
        .iter()
        .enumerate()
        .map(|(at, probe)| {
            let p99 = probe.seen.p99_us.map_or_else(|| "–".into(), |us| format!("{:.2}", us as f64 / 1000.0));
            vec![
                (at + 1).to_string(),
                probe.ask.why.to_string(),
                format!("{:.1}", probe.ask.rate),
                format!("{:.1}", probe.seen.achieved_per_s),
                p99,
                probe.seen.kind.to_string(),
                probe.outcome.to_string(),
            ]
        })
        .collect();
    table(&["", "why", "rate/s", "done/s", "p99 ms", "verdict", "says"], &rows, true)
}

fn how(knee: &Knee) -> String {
    let o = &knee.options;
    let entry = |name: &str, value: String| (name.to_owned(), value);
    list(&[
        entry("objective", format!("p99 ≤ {} ms", o.objective_ms)),
        entry("first rate", format!("{} a second", o.from)),
        entry("rates allowed", format!("{} to {} a second", o.least, o.most)),
        entry("resolution", format!("{:.1} %", o.resolution * 100.0)),
        entry("runs at the edge", o.repeats.to_string()),
        entry("overload", format!("{} times the missed rate", o.overload)),
        entry("runs to recover", o.recoveries.to_string()),
        entry("probes allowed", o.max_probes.to_string()),
    ])
}
