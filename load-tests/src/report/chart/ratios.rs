//! Ratios with their intervals beside the noise floor; and the runs in their order.

use super::{
    super::svg::{Axis, Chart, Shape, short},
    log_range, ms_label, ticks,
};
use crate::compare::{Answer, Judged, Turn, Which};

/// Figures of one chart; more would not be readable.
pub(in super::super) const ROWS: usize = 8;

/// B over A for some figures, each with its interval and noise floor; none without figures.
pub(in super::super) fn ratios(figures: &[&Judged]) -> Option<String> {
    let figures: Vec<&Judged> = figures.iter().copied().take(ROWS).collect();
    let edges = figures.iter().flat_map(|f| {
        let [low, high] = f.interval.unwrap_or([f.ratio; 2]);
        [low, high, 1.0 + f.noise_floor, 1.0 / (1.0 + f.noise_floor), f.ratio]
    });
    let farthest = edges.filter(|v| *v > 0.0).map(|v| v.ln().abs()).fold(0.02, f64::max).min(1.5);
    let range = ((-farthest * 1.1).exp(), (farthest * 1.1).exp());
    figures.first()?;
    let about: Vec<String> =
        figures.iter().map(|f| format!("{}: {:.3}, {}", f.name, f.ratio, f.answer)).collect();
    let x = Axis { name: "B over A", range, log: true };
    let y = Axis { name: "", range: (0.0, figures.len() as f64), log: false };
    let mut chart = Chart::new("B over A", &about.join(". "), x, y);
    let x_ticks = ratio_ticks(range);
    chart.x_ticks(&x_ticks);
    let [left, top, _, bottom] = chart.area();
    let one = chart.x.at(1.0);
    let height = (bottom - top) / figures.len() as f64;
    for (at, figure) in figures.iter().enumerate() {
        let middle = top + height * (at as f64 + 0.68);
        let (from, to) = (chart.x.at(1.0 / (1.0 + figure.noise_floor)), chart.x.at(1.0 + figure.noise_floor));
        chart.boxes(&[[from, middle - 6.0, to - from, 12.0]], "band");
        let (class, shape) = match figure.answer {
            Answer::Differs => ("m4", Shape::Triangle),
            Answer::NoDifferenceSeen => ("m1", Shape::Disc),
            Answer::Underpowered => ("m3", Shape::Square),
        };
        if let Some([low, high]) = figure.interval {
            chart.segment((chart.x.at(low), middle), (chart.x.at(high), middle), &format!("{class} whisker"));
        }
        let says = format!("{}: {:.3}, {}", figure.name, figure.ratio, figure.answer);
        chart.mark((chart.x.at(figure.ratio), middle), shape, class, &says);
        chart.text((left, middle - 9.0), "start", "tick", &figure.name);
    }
    chart.segment((one, top), (one, bottom), "limit");
    Some(chart.finish())
}

fn ratio_ticks((low, high): (f64, f64)) -> Vec<(f64, String)> {
    let step =
        [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0].into_iter().find(|s| (high - low) / s <= 7.0).unwrap_or(2.0);
    let first = (low / step).ceil() as i64;
    (first..).map(|i| i as f64 * step).take_while(|v| *v <= high).map(|v| (v, format!("{v:.2}"))).collect()
}

/// One figure of every run, in the order in which they were taken; none when a run lacks it.
pub(in super::super) fn in_order(
    turns: &[Turn],
    name: &str,
    read: impl Fn(&Turn) -> Option<f64>,
) -> Option<String> {
    let values: Vec<f64> = turns.iter().map(read).collect::<Option<_>>()?;
    let range = log_range(values.iter().copied())?;
    let x = Axis { name: "run", range: (0.5, turns.len() as f64 + 0.5), log: false };
    let y = Axis { name, range, log: true };
    let mut chart = Chart::new(name, "One mark a run, in the order in which they were taken", x, y);
    let y_ticks = ticks(&chart.y, ms_label);
    chart.y_ticks(&y_ticks);
    let each = turns.len().div_ceil(12).max(1);
    let runs: Vec<_> = (1..=turns.len()).step_by(each).map(|run| (run as f64, run.to_string())).collect();
    chart.x_ticks(&runs);
    for (at, (turn, value)) in turns.iter().zip(&values).enumerate() {
        let place = (chart.x.at(at as f64 + 1.0), chart.y.at(*value));
        let (shape, class) = match turn.which {
            Which::A => (Shape::Disc, "m1"),
            Which::B => (Shape::Cross, "m2"),
        };
        let says = format!("run {}, {:?}: {}", at + 1, turn.which, short(*value));
        chart.mark(place, shape, class, &says);
    }

    Some(chart.finish())
}
