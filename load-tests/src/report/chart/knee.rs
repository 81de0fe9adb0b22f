//! The probes of a search for the knee.

use super::{
    super::svg::{Axis, Chart, Shape},
    label, log_range, ms_label, ticks,
};
use crate::knee::{Knee, Outcome, Probe, Why};

/// Rate and 99th percentile of every probe; none when there is none.
pub(in super::super) fn chart(knee: &Knee) -> Option<String> {
    let objective = knee.options.objective_ms;
    let x_range = log_range(knee.probes.iter().map(|p| p.ask.rate))?;
    let y_range = log_range(knee.probes.iter().filter_map(ms).chain([objective]))?;
    let x = Axis { name: "rate, a second", range: x_range, log: true };
    let y = Axis { name: "p99, ms", range: y_range, log: true };
    let about = format!("{} probes; the objective is {objective} ms", knee.probes.len());
    let mut chart = Chart::new("99th percentile by rate", &about, x, y);
    let y_ticks = ticks(&chart.y, ms_label);
    let x_ticks = ticks(&chart.x, label);
    chart.y_ticks(&y_ticks);
    chart.x_ticks(&x_ticks);
    let [left, _, right, _] = chart.area();
    let line = chart.y.at(objective);
    chart.segment((left, line), (right, line), "limit");
    chart.text((left + 4.0, line - 5.0), "start", "tick", &format!("objective {} ms", ms_label(objective)));
    for (at, probe) in knee.probes.iter().enumerate() {
        // What gave no percentile stands at the upper edge.
        let place = (chart.x.at(probe.ask.rate), chart.y.at(ms(probe).unwrap_or(f64::INFINITY)));
        let says = format!(
            "probe {}, {}: {:.1}/s, {}, {}",
            at + 1,
            probe.ask.why,
            probe.ask.rate,
            probe.seen.kind,
            probe.outcome
        );
        let (shape, class) = look(probe);
        chart.mark(place, shape, class, &says);
    }
    Some(chart.finish())
}

/// The highest percentile up to the 99th that there is, in milliseconds.
fn ms(probe: &Probe) -> Option<f64> {
    probe.seen.p99_us.or(probe.seen.max_us).map(|us| us as f64 / 1000.0)
}

/// What the marks mean, for the legend.
pub(in super::super) const LEGEND: [(&str, &str); 4] = [
    ("m1", "kept"),
    ("m2", "missed"),
    ("m3", "says nothing of the server"),
    ("m4", "overload, and the way back"),
];

fn look(probe: &Probe) -> (Shape, &'static str) {
    match (probe.ask.why, probe.outcome) {
        (Why::Overload | Why::Recovery | Why::Descent, _) => (Shape::Triangle, "m4"),
        (_, Outcome::Kept) => (Shape::Disc, "m1"),
        (_, Outcome::Missed) => (Shape::Cross, "m2"),
        (_, Outcome::Generator | Outcome::TooFew) => (Shape::Square, "m3"),
    }
}
