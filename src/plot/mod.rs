//! Pictures of what an experiment measured: characters for the terminal, SVG for a file.
//!
//! Both draw the same `Scaled` chart: logarithmic axes are already turned into exponents here.

mod svg;
mod terminal;

use chatlab_kit::lab::{Axis, Chart};

pub use svg::write_svg;
pub use terminal::draw;

/// A chart with both axes linear.
struct Scaled {
    x: Range,
    y: Range,
    /// A name, and points as x, y and the interval around y.
    series: Vec<(String, Vec<ScaledPoint>)>,
}

#[derive(Clone, Copy)]
struct ScaledPoint {
    x: f64,
    y: f64,
    interval: Option<(f64, f64)>,
}

/// The extent of an axis.
#[derive(Clone, Copy)]
struct Range {
    low: f64,
    high: f64,
    log: bool,
}

impl Range {
    fn over(values: impl Iterator<Item = f64>, log: bool) -> Option<Self> {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            low = low.min(value);
            high = high.max(value);
        }
        if !(low.is_finite() && high.is_finite()) {
            return None;
        }
        if !log {
            // Heights are compared: a linear axis begins at 0 unless that would flatten everything below it.
            low = low.min(0.0);
        }
        if (high - low).abs() < f64::EPSILON {
            high = low + 1.0;
        }
        Some(Self { low, high, log })
    }

    /// Where a value lies, from 0 to 1.
    fn share(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// The number that a place on the axis stands for.
    fn label(&self, at: f64) -> String {
        short(if self.log { 10_f64.powf(at) } else { at })
    }
}

impl Scaled {
    /// `None` when there is nothing to draw.
    fn of(chart: &Chart) -> Option<Self> {
        let mut series = Vec::with_capacity(chart.series.len());
        for line in &chart.series {
            let points = line.points.iter().filter_map(|point| {
                Some(ScaledPoint {
                    x: scaled(point.x, &chart.x)?,
                    y: scaled(point.y, &chart.y)?,
                    interval: point
                        .interval
                        .and_then(|(low, high)| Some((scaled(low, &chart.y)?, scaled(high, &chart.y)?))),
                })
            });
            series.push((line.name.clone(), points.collect::<Vec<_>>()));
        }
        let all = || series.iter().flat_map(|(_, points)| points);
        Some(Self {
            x: Range::over(all().map(|p| p.x), chart.x.log)?,
            y: Range::over(all().flat_map(|p| [p.y, p.interval.map_or(p.y, |(_, high)| high)]), chart.y.log)?,
            series,
        })
    }
}

/// A value on its axis; none where it cannot be shown.
fn scaled(value: f64, axis: &Axis) -> Option<f64> {
    match axis.log {
        _ if !value.is_finite() => None,
        false => Some(value),
        true if value > 0.0 => Some(value.log10()),
        true => None,
    }
}

/// A number short enough for an axis.
fn short(number: f64) -> String {
    let size = number.abs();
    match size {
        _ if size >= 999_500.0 => format!("{:.1}M", number / 1e6),
        _ if size >= 9_995.0 => format!("{:.0}k", number / 1e3),
        _ if size >= 999.5 => format!("{:.1}k", number / 1e3),
        _ if size >= 10.0 || number.fract() == 0.0 => format!("{number:.0}"),
        _ if size >= 1.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use chatlab_kit::lab::{Point, Series};

    use super::*;

    pub(super) fn chart(log: bool) -> Chart {
        let axis = |label: &str| Axis { label: label.into(), log };
        Chart {
            title: "Growth".into(),
            x: axis("messages"),
            y: axis("µs a call"),
            series: vec![
                Series {
                    name: "list".into(),
                    points: (1..=5).map(|i| at(10_f64.powi(i), 2.0 * 10_f64.powi(i))).collect(),
                },
                Series { name: "zset".into(), points: (1..=5).map(|i| at(10_f64.powi(i), 3.0)).collect() },
            ],
        }
    }

    fn at(x: f64, y: f64) -> Point {
        Point { x, y, interval: Some((y * 0.9, y * 1.1)) }
    }

    #[test]
    fn a_chart_is_eighty_columns_wide_and_shows_every_series() {
        for log in [false, true] {
            let text = draw(&chart(log));
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
            for part in ["Growth", "messages", "µs a call", "a list", "b zset"] {
                assert!(text.contains(part), "{part} is missing in\n{text}");
            }
        }
    }

    #[test]
    fn what_has_no_place_on_a_logarithmic_axis_is_left_out() {
        let mut chart = chart(true);
        chart.series[1].points = vec![Point::at(0.0, 5.0), Point::at(10.0, f64::NAN)];
        assert!(draw(&chart).contains("b zset (nothing to draw)"));
        chart.series.remove(0);
        assert!(draw(&chart).contains("nothing to draw"));
    }

    #[test]
    fn the_svg_has_a_line_for_each_series_and_escapes_names() {
        let mut chart = chart(true);
        chart.series[0].name = "<list>".into();
        let path = tempfile::tempdir().unwrap();
        let file = path.path().join("a.svg");
        write_svg(&chart, &file).unwrap();
        let svg = std::fs::read_to_string(file).unwrap();
        assert!(
            svg.starts_with("<svg") && svg.contains("&lt;list&gt;") && svg.contains("µs a call"),
            "{svg}"
        );
        assert!(svg.matches("<polyline").count() >= 2);
    }
}
