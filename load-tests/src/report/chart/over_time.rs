//! Rates and shares over time, as lines.

use super::{
    super::{
        svg::{Axis, Chart},
        timeline::{Second, Timeline},
    },
    label, ticks,
};

/// The most points of a line; further intervals are merged.
const POINTS: usize = 240;

type Read = fn(&Second) -> Option<f64>;

/// A line: its name, its class, and what it shows.
pub(in super::super) type Line = (&'static str, &'static str, Read);

/// Due, answered and failed, a second.
pub(in super::super) const THROUGHPUT: [Line; 3] = [
    ("due", "s3", |s| Some(s.due? as f64 / s.long_s)),
    ("answered", "s1", |s| Some(s.done? as f64 / s.long_s)),
    ("errors", "s2", |s| Some(s.errors? as f64 / s.long_s)),
];

/// Who used the processor, in percent of one core.
pub(in super::super) const CPU: [Line; 3] = [
    ("server", "s1", |s| Some(s.server_cores? * 100.0)),
    ("Redis", "s2", |s| Some(s.redis_cores? * 100.0)),
    ("generator", "s3", |s| Some(s.generator_cores? * 100.0)),
];

/// The lines of which there is anything to show.
pub(in super::super) fn present(timeline: &Timeline, lines: &[Line]) -> Vec<(&'static str, &'static str)> {
    let some = |line: &&Line| timeline.seconds.iter().any(|second| line.2(second).is_some());
    lines.iter().filter(some).map(|(name, class, _)| (*class, *name)).collect()
}

/// The chart; none when nothing of it was recorded.
pub(in super::super) fn chart(
    timeline: &Timeline,
    title: &str,
    unit: &str,
    lines: &[Line],
) -> Option<String> {
    let thin = timeline.thinned(POINTS);
    let values = lines.iter().flat_map(|line| thin.seconds.iter().filter_map(|s| line.2(s)));
    let highest = values.reduce(f64::max)?;
    let start = thin.seconds.first().map_or(0.0, |s| s.at_s);
    let x = Axis { name: "seconds", range: (start, thin.end_s()), log: false };
    let y = Axis { name: unit, range: (0.0, (highest * 1.08).max(1.0)), log: false };
    let about: Vec<String> = lines.iter().filter_map(|line| said(&thin, line)).collect();
    let mut chart = Chart::new(title, &about.join(". "), x, y);
    let [left, top, right, bottom] = chart.area();
    let y_ticks = ticks(&chart.y, label);
    let x_ticks = ticks(&chart.x, label);
    chart.y_ticks(&y_ticks);
    chart.x_ticks(&x_ticks);
    for fault in &timeline.faults {
        let from = chart.x.at(fault.at_s).max(left);
        let to = fault.whole_s.map_or(right, |s| chart.x.at(s)).max(from + 1.0);
        chart.boxes(&[[from, top, to - from, bottom - top]], "fault");
    }
    for (_, class, read) in lines {
        chart.line(thin.seconds.iter().map(|s| (s.middle_s(), read(s))), class);
    }
    Some(chart.finish())
}

fn said(timeline: &Timeline, (name, _, read): &Line) -> Option<String> {
    let values: Vec<f64> = timeline.seconds.iter().filter_map(read).collect();
    let (low, high) = (values.iter().copied().reduce(f64::min)?, values.iter().copied().reduce(f64::max)?);
    Some(format!("{name} from {low:.0} to {high:.0}"))
}
