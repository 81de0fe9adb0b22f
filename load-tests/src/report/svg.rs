//! A small writer of SVG: scales, axes, lines. Colours and line styles are classes that the page's style sheet gives a meaning
//! in light, in dark and on paper.

use std::fmt::Write;

use super::html::escape;

/// A chart's width in user units; it is scaled to its place. Small, so that its text stays readable on a telephone.
pub(super) const WIDTH: f64 = 480.0;
/// The height.
pub(super) const HEIGHT: f64 = 280.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 46.0;

/// From values to user units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
    log: bool,
}

impl Scale {
    fn new((from, to): (f64, f64), (start, end): (f64, f64), log: bool) -> Self {
        let to = if to > from { to } else { from + if log { from } else { 1.0 } };
        Self { from, to, start, end, log }
    }

    /// Where a value lies; what is outside lies at the edge.
    pub(super) fn at(&self, value: f64) -> f64 {
        let of = |v: f64| if self.log { v.max(1e-12).ln() } else { v };
        let share = (of(value) - of(self.from)) / (of(self.to) - of(self.from));
        self.start + share.clamp(0.0, 1.0) * (self.end - self.start)
    }

    /// Round values to be written at the axis.
    pub(super) fn ticks(&self) -> Vec<f64> {
        // Less than a factor of 2.5 has too few round numbers on a logarithmic scale.
        if self.log && self.to / self.from > 2.5 { self.log_ticks() } else { self.even_ticks() }
    }

    fn log_ticks(&self) -> Vec<f64> {
        let decades = (self.to / self.from).log10();
        let steps: &[f64] = match decades {
            d if d < 1.0 => &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0],
            d if d < 2.5 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let first = self.from.log10().floor() as i32;
        let all =
            (first..=first + decades as i32 + 1).flat_map(|d| steps.iter().map(move |s| s * 10f64.powi(d)));
        all.filter(|v| (self.from * 0.999..=self.to * 1.001).contains(v)).collect()
    }

    fn even_ticks(&self) -> Vec<f64> {
        let rough = (self.to - self.from) / 5.0;
        let unit = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|s| s * unit).find(|s| *s >= rough).unwrap_or(unit);
        let first = (self.from / step).ceil() as i64;
        (first..first + 12).map(|i| i as f64 * step).filter(|v| *v <= self.to * 1.0001).collect()
    }
}

/// What an axis shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis<'a> {
    pub name: &'a str,
    pub range: (f64, f64),
    pub log: bool,
}

/// A chart under way.
pub(super) struct Chart {
    title: String,
    about: String,
    body: String,
    pub x: Scale,
    pub y: Scale,
}

impl Chart {
    /// An empty chart. `title` and `about` are also what a screen reader says.
    pub(super) fn new(title: &str, about: &str, x: Axis<'_>, y: Axis<'_>) -> Self {
        let x_scale = Scale::new(x.range, (LEFT, WIDTH - RIGHT), x.log);
        let y_scale = Scale::new(y.range, (HEIGHT - BOTTOM, TOP), y.log);
        let mut chart = Self {
            title: title.to_owned(),
            about: about.to_owned(),
            body: String::new(),
            x: x_scale,
            y: y_scale,
        };
        chart.text((6.0, 14.0), "start", "name", y.name);
        chart.text((WIDTH - RIGHT, HEIGHT - 6.0), "end", "name", x.name);
        chart
    }

    /// Ticks at the left, each with a line across.
    pub(super) fn y_ticks(&mut self, ticks: &[(f64, String)]) {
        for (value, label) in ticks {
            let y = self.y.at(*value);
            self.segment((LEFT, y), (WIDTH - RIGHT, y), "grid");
            self.text((LEFT - 6.0, y + 4.0), "end", "tick", label);
        }
    }

    /// Ticks at the bottom, each with a line across; what would run into the label before it is left out.
    pub(super) fn x_ticks(&mut self, ticks: &[(f64, String)]) {
        let mut free = f64::NEG_INFINITY;
        for (value, label) in ticks {
            let x = self.x.at(*value);
            self.segment((x, TOP), (x, HEIGHT - BOTTOM), "grid");
            let half = label.chars().count() as f64 * 3.6;
            if x - half >= free {
                self.text((x, HEIGHT - BOTTOM + 16.0), "middle", "tick", label);
                free = x + half + 4.0;
            }
        }
    }

    /// A text; `anchor` is start, middle or end.
    pub(super) fn text(&mut self, (x, y): (f64, f64), anchor: &str, class: &str, text: &str) {
        let _ = write!(
            self.body,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\" class=\"{class}\">{}</text>",
            short(x),
            short(y),
            escape(text)
        );
    }

    /// A straight line between two places in user units.
    pub(super) fn segment(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let (x1, y1, x2, y2) = (short(from.0), short(from.1), short(to.0), short(to.1));
        let _ = write!(self.body, "<path d=\"M{x1} {y1}L{x2} {y2}\" class=\"{class}\"/>");
    }

    /// A line through values; a value that is none breaks it.
    pub(super) fn line(&mut self, points: impl Iterator<Item = (f64, Option<f64>)>, class: &str) {
        let mut path = String::new();
        let mut drawn = false;
        for (x, y) in points {
            match y {
                Some(y) => {
                    let step = if drawn { 'L' } else { 'M' };
                    let _ = write!(path, "{step}{} {}", short(self.x.at(x)), short(self.y.at(y)));
                    drawn = true;
                }
                None => drawn = false,
            }
        }
        if !path.is_empty() {
            let _ = write!(self.body, "<path d=\"{path}\" class=\"{class}\"/>");
        }
    }

    /// Boxes of one class: left, top, width, height in user units.
    pub(super) fn boxes(&mut self, boxes: &[[f64; 4]], class: &str) {
        let mut path = String::new();
        for [x, y, width, height] in boxes {
            let (w, h) = (short(*width), short(*height));
            let _ = write!(path, "M{} {}h{w}v{h}h-{w}z", short(*x), short(*y));
        }
        if !path.is_empty() {
            let _ = write!(self.body, "<path d=\"{path}\" class=\"{class}\"/>");
        }
    }

    /// A mark whose shape tells as much as its colour; `says` appears where a pointer rests.
    pub(super) fn mark(&mut self, (x, y): (f64, f64), shape: Shape, class: &str, says: &str) {
        let path = match shape {
            Shape::Disc => format!("M{} {}a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", short(x - 4.0), short(y)),
            Shape::Cross => {
                let (a, b) = (short(x - 4.0), short(y - 4.0));
                format!("M{a} {b}l8 8m0-8l-8 8")
            }
            Shape::Square => format!("M{} {}h7v7h-7z", short(x - 3.5), short(y - 3.5)),
            Shape::Triangle => format!("M{} {}h9l-4.5 8z", short(x - 4.5), short(y - 4.0)),
        };
        let _ =
            write!(self.body, "<path d=\"{path}\" class=\"{class}\"><title>{}</title></path>", escape(says));
    }

    /// The plot's own area: left, top, right, bottom in user units.
    pub(super) fn area(&self) -> [f64; 4] {
        [LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM]
    }

    /// The whole, as an element of a page.
    pub(super) fn finish(self) -> String {
        let (title, about) = (escape(&self.title), escape(&self.about));
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}. {about}\">\
             <title>{title}</title><desc>{about}</desc>{}</svg>",
            self.body
        )
    }
}

/// A mark's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Disc,
    Cross,
    Square,
    Triangle,
}

/// At most one digit behind the point: charts are not finer than that.
pub(super) fn short(value: f64) -> String {
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".into() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_place_and_tick() {
        let even = Scale::new((0.0, 10.0), (0.0, 100.0), false);
        assert_eq!([even.at(0.0), even.at(5.0), even.at(99.0)], [0.0, 50.0, 100.0]);
        assert_eq!(even.ticks(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        let log = Scale::new((1.0, 1000.0), (0.0, 90.0), true);
        assert!((log.at(10.0) - 30.0).abs() < 1e-9);
        assert_eq!(log.ticks().len(), 4);
        let flat = Scale::new((3.0, 3.0), (0.0, 1.0), false);
        assert!(flat.at(3.0).is_finite() && !flat.ticks().is_empty());
    }

    #[test]
    fn a_chart_is_well_formed_and_escapes_what_it_is_told() {
        let axis = |name| Axis { name, range: (0.0, 1.0), log: false };
        let mut chart = Chart::new("a < b", "\"quoted\" & more", axis("x"), axis("y"));
        chart.line([(0.0, Some(0.0)), (0.5, None), (1.0, Some(1.0))].into_iter(), "s1");
        chart.mark((1.0, 1.0), Shape::Cross, "m1", "<script>");
        chart.boxes(&[[0.0, 0.0, 1.0, 1.0]], "h1");
        let svg = chart.finish();
        assert!(svg.contains("a &lt; b") && svg.contains("&lt;script&gt;") && !svg.contains("<script"));
        for tag in ["svg", "text", "title", "desc"] {
            let count = |what: &str| svg.matches(what).count();
            assert_eq!(count(&format!("<{tag}")), count(&format!("</{tag}>")), "{tag}");
        }
    }
}
