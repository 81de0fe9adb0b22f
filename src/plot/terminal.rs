//! A chart in characters. Each series is a letter, so that it reads without colours and in a pipe.

use chatlab_kit::lab::Chart;

use super::{Scaled, ScaledPoint};

/// The widest that a chart is.
const COLUMNS: usize = 80;
/// Columns left of the vertical axis.
const MARGIN: usize = 9;
/// Lines between the axes.
const LINES: usize = 14;
/// The letters of the series; more series share the last one.
const LETTERS: &[u8] = b"abcdefghijklmnop";
/// Where series meet.
const SEVERAL: char = '*';

/// The chart as lines of text, at most 80 columns wide.
pub fn draw(chart: &Chart) -> String {
    let mut out = format!("{}\n", chart.title);
    let Some(scaled) = Scaled::of(chart) else {
        out.push_str("  (nothing to draw)\n");
        return out;
    };
    let grid = plotted(&scaled);
    out.push_str(&format!("{}{}\n", chart.y.label, if chart.y.log { " (logarithmic)" } else { "" }));
    for (i, line) in grid.iter().enumerate() {
        let label = if i % 4 == 1 || LINES <= 4 {
            let share = 1.0 - i as f64 / (LINES - 1) as f64;
            scaled.y.label(scaled.y.low + share * (scaled.y.high - scaled.y.low))
        } else {
            String::new()
        };
        let text: String = line.iter().collect();
        out.push_str(&format!("{label:>width$} │{}\n", text.trim_end(), width = MARGIN - 2));
    }
    out.push_str(&format!("{:>width$}└{}\n", "", "─".repeat(COLUMNS - MARGIN - 1), width = MARGIN - 1));
    out.push_str(&x_labels(&scaled));
    let axis = format!("{}{}", chart.x.label, if chart.x.log { " (logarithmic)" } else { "" });
    out.push_str(&format!("{axis:>COLUMNS$}\n"));
    legend(&mut out, &scaled);
    out
}

fn letter(i: usize) -> char {
    char::from(LETTERS[i.min(LETTERS.len() - 1)])
}

fn plotted(scaled: &Scaled) -> Vec<Vec<char>> {
    let width = COLUMNS - MARGIN - 1;
    let mut grid = vec![vec![' '; width]; LINES];
    let place = |x: f64, y: f64| {
        let column = (scaled.x.share(x) * (width - 1) as f64).round() as usize;
        let line = ((1.0 - scaled.y.share(y)) * (LINES - 1) as f64).round() as usize;
        (line, column)
    };
    // Lines first, so that the letters of points stay on top.
    for (_, points) in &scaled.series {
        for pair in points.windows(2) {
            for (x, y) in between(pair[0], pair[1], width) {
                let (line, column) = place(x, y);
                grid[line][column] = '·';
            }
        }
    }
    for (i, (_, points)) in scaled.series.iter().enumerate() {
        for point in points {
            let (line, column) = place(point.x, point.y);
            let cell = &mut grid[line][column];
            *cell = match *cell {
                ' ' | '·' => letter(i),
                same if same == letter(i) => same,
                _ => SEVERAL,
            };
        }
    }
    grid
}

fn between(from: ScaledPoint, to: ScaledPoint, steps: usize) -> impl Iterator<Item = (f64, f64)> {
    (0..=steps).map(move |i| {
        let share = i as f64 / steps as f64;
        (from.x + share * (to.x - from.x), from.y + share * (to.y - from.y))
    })
}

fn x_labels(scaled: &Scaled) -> String {
    let width = COLUMNS - MARGIN;
    let mut line = vec![' '; COLUMNS];
    const LABELS: usize = 4;
    for i in 0..=LABELS {
        let share = i as f64 / LABELS as f64;
        let text = scaled.x.label(scaled.x.low + share * (scaled.x.high - scaled.x.low));
        let middle = MARGIN + (share * (width - 1) as f64).round() as usize;
        let start = middle.saturating_sub(text.len() / 2).min(COLUMNS - text.len());
        for (j, c) in text.chars().enumerate() {
            line[start + j] = c;
        }
    }
    format!("{}\n", line.into_iter().collect::<String>().trim_end())
}

fn legend(out: &mut String, scaled: &Scaled) {
    let mut line = String::from(" ");
    for (i, (name, points)) in scaled.series.iter().enumerate() {
        let nothing = if points.is_empty() { " (nothing to draw)" } else { "" };
        let entry = format!(" {} {name}{nothing} ", letter(i));
        if line.chars().count() + entry.chars().count() > COLUMNS {
            out.push_str(line.trim_end());
            out.push('\n');
            line = String::from(" ");
        }
        line.push_str(&entry);
    }
    if scaled.series.len() > 1 && line.chars().count() + 16 <= COLUMNS {
        line.push_str(&format!(" {SEVERAL} several"));
    }
    out.push_str(line.trim_end());
    out.push('\n');
}
