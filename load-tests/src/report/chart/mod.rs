//! The charts of the reports.

pub(super) mod heat;
pub(super) mod knee;
pub(super) mod over_time;
pub(super) mod percentiles;
pub(super) mod ratios;

/// A duration in milliseconds as it is written at an axis.
fn ms_label(ms: f64) -> String {
    match ms {
        v if v >= 1.0 => format!("{}", (v * 100.0).round() / 100.0),
        v if v >= 0.1 => format!("{v:.1}"),
        v => format!("{v:.3}").trim_end_matches('0').to_owned(),
    }
}

/// A plain number as it is written at an axis.
fn label(value: f64) -> String {
    let rounded = (value * 1000.0).round() / 1000.0;
    if rounded >= 1e6 {
        format!("{}M", rounded / 1e6)
    } else if rounded >= 10_000.0 {
        format!("{}k", rounded / 1000.0)
    } else {
        format!("{rounded}")
    }
}

/// Ticks of a scale with their labels.
fn ticks(scale: &super::svg::Scale, label: fn(f64) -> String) -> Vec<(f64, String)> {
    scale.ticks().into_iter().map(|v| (v, label(v))).collect()
}

/// The lowest and highest of some values over 0, a little widened, for a logarithmic axis.
fn log_range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let range = values.filter(|v| *v > 0.0).fold(None, |range: Option<(f64, f64)>, v| {
        Some(range.map_or((v, v), |(low, high)| (low.min(v), high.max(v))))
    })?;
    Some((range.0 / 1.15, range.1 * 1.15))
}
