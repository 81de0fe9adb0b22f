//! A chart as an SVG file.

use std::path::Path;

use anyhow::{Context, anyhow};
use chatlab_kit::lab::Chart;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::{Range, Scaled, ScaledPoint};

/// The picture's size, in pixels.
const SIZE: (u32, u32) = (820, 480);
/// Colours that differ in brightness too, for those who see few of them.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 90, 181),
    RGBColor(220, 50, 32),
    RGBColor(0, 128, 96),
    RGBColor(230, 150, 0),
    RGBColor(128, 64, 160),
    RGBColor(90, 90, 90),
    RGBColor(0, 170, 200),
    RGBColor(150, 90, 30),
];
/// How far the intervals' caps reach, as a share of the horizontal axis.
const CAP: f64 = 0.006;

/// Draws `chart` into the file `path`.
///
/// # Errors
/// When there is nothing to draw or the file cannot be written.
pub fn write_svg(chart: &Chart, path: &Path) -> anyhow::Result<()> {
    let scaled = Scaled::of(chart).with_context(|| format!("{}: nothing to draw", chart.title))?;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        paint(&root, chart, &scaled).map_err(|e| anyhow!("{}: {e}", chart.title))?;
    }
    std::fs::write(path, svg).with_context(|| path.display().to_string())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Failure = DrawingAreaErrorKind<std::io::Error>;

fn paint(root: &Area<'_>, chart: &Chart, scaled: &Scaled) -> Result<(), Failure> {
    root.fill(&WHITE)?;
    let log = |on: bool| if on { " (logarithmic)" } else { "" };
    let mut context = ChartBuilder::on(root)
        .caption(&chart.title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(widened(scaled.x), widened(scaled.y))?;
    context
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc(format!("{}{}", chart.x.label, log(chart.x.log)))
        .y_desc(format!("{}{}", chart.y.label, log(chart.y.log)))
        .x_label_formatter(&|at| scaled.x.label(*at))
        .y_label_formatter(&|at| scaled.y.label(*at))
        .draw()?;
    let cap = CAP * (scaled.x.high - scaled.x.low);
    for (i, (name, points)) in scaled.series.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        context
            .draw_series(LineSeries::new(points.iter().map(|p| (p.x, p.y)), colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        context.draw_series(points.iter().map(|p| Circle::new((p.x, p.y), 3, colour.filled())))?;
        context.draw_series(points.iter().flat_map(|p| interval(p, cap, colour)))?;
    }
    context
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()
}

/// A little room at the end, so that points do not lie on the frame.
fn widened(range: Range) -> std::ops::Range<f64> {
    let room = (range.high - range.low) * 0.04;
    let low = if range.log { range.low - room } else { range.low };
    low..range.high + room
}

fn interval(point: &ScaledPoint, cap: f64, colour: RGBColor) -> Vec<PathElement<(f64, f64)>> {
    let Some((low, high)) = point.interval else { return Vec::new() };
    let line = |a: (f64, f64), b: (f64, f64)| PathElement::new([a, b], colour.mix(0.7));
    vec![
        line((point.x, low), (point.x, high)),
        line((point.x - cap, low), (point.x + cap, low)),
        line((point.x - cap, high), (point.x + cap, high)),
    ]
}
