//! Response times over time: how many of an interval's answers took how long.

use super::{
    super::{
        svg::{Axis, Chart},
        timeline::Timeline,
    },
    label, log_range, ms_label, ticks,
};

/// The most columns; further intervals are merged.
const COLUMNS: usize = 120;
/// Rows for each factor of ten.
const ROWS_A_DECADE: f64 = 10.0;
/// From which share of its interval's answers a box has which class; the last that fits.
pub(in super::super) const LEVELS: [(f64, &str, &str); 5] = [
    (0.0, "h1", "under 0.1 %"),
    (0.001, "h2", "0.1 to 1 %"),
    (0.01, "h3", "1 to 10 %"),
    (0.1, "h4", "10 to 30 %"),
    (0.3, "h5", "30 % and more"),
];

/// The chart; none when no interval has a sample.
pub(in super::super) fn chart(timeline: &Timeline) -> Option<String> {
    let thin = timeline.thinned(COLUMNS);
    let latencies = || thin.seconds.iter().filter_map(|s| s.response.as_ref()).filter(|l| l.count() > 0);
    let edges = latencies()
        .flat_map(|l| [l.histogram().value_at_quantile(0.0), l.histogram().value_at_quantile(1.0)]);
    let (low, high) = log_range(edges.map(|us| us as f64 / 1000.0))?;
    let row = |ms: f64| (ms.log10() * ROWS_A_DECADE).floor() as i32;
    let edge = |row: i32| 10f64.powf(f64::from(row) / ROWS_A_DECADE);
    let start = thin.seconds.first().map_or(0.0, |s| s.at_s);
    let x = Axis { name: "seconds", range: (start, thin.end_s()), log: false };
    let y = Axis { name: "ms", range: (edge(row(low)), edge(row(high) + 1)), log: true };
    let about = "Each column is an interval; the darker a box, the more of its answers took that long";
    let mut chart = Chart::new("Response time over time", about, x, y);
    let mut boxes: [Vec<[f64; 4]>; LEVELS.len()] = Default::default();
    for second in &thin.seconds {
        let Some(latency) = second.response.as_ref().filter(|l| l.count() > 0) else { continue };
        let (left, right) = (chart.x.at(second.at_s), chart.x.at(second.at_s + second.long_s));
        for (at, count) in rows(
            latency
                .histogram()
                .iter_recorded()
                .map(|step| (row(step.value_iterated_to() as f64 / 1000.0), step.count_at_value())),
        ) {
            let share = count as f64 / latency.count() as f64;
            let level = LEVELS.iter().rposition(|(from, ..)| share >= *from).unwrap_or(0);
            let (top, bottom) = (chart.y.at(edge(at + 1)), chart.y.at(edge(at)));
            boxes[level].push([left, top, (right - left).max(0.5), bottom - top]);
        }
    }
    let y_ticks = ticks(&chart.y, ms_label);
    let x_ticks = ticks(&chart.x, label);
    chart.y_ticks(&y_ticks);
    chart.x_ticks(&x_ticks);
    for ((_, class, _), boxes) in LEVELS.iter().zip(&boxes) {
        chart.boxes(boxes, class);
    }
    Some(chart.finish())
}

/// Counts by row, from values that rise.
fn rows(values: impl Iterator<Item = (i32, u64)>) -> Vec<(i32, u64)> {
    let mut rows: Vec<(i32, u64)> = Vec::new();
    for (row, count) in values {
        match rows.last_mut() {
            Some(last) if last.0 == row => last.1 += count,
            _ => rows.push((row, count)),
        }
    }
    rows
}
