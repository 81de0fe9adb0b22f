//! Latency by percentile.
//!
//! The horizontal axis is 1/(1 − percentile) on a logarithmic scale: each step to the right is ten times rarer. A line ends
//! where fewer than ten samples lie beyond; a dotted line leads from there to the maximum, of which there is one sample.

use super::{
    super::svg::{Axis, Chart, Shape},
    log_range, ms_label, ticks,
};
use crate::recorder::{Latency, MIN_SAMPLES_BEYOND};

/// Points of a line for each factor of ten.
const POINTS_A_DECADE: f64 = 24.0;

/// A line of the chart, and its class.
pub(in super::super) struct Series<'a> {
    pub name: &'a str,
    pub class: &'a str,
    pub latency: &'a Latency,
}

/// The chart; none when there is no sample.
pub(in super::super) fn chart(series: &[Series<'_>]) -> Option<String> {
    let with_samples: Vec<&Series<'_>> = series.iter().filter(|s| s.latency.count() > 0).collect();
    let most = with_samples.iter().map(|s| s.latency.count()).max()? as f64;
    let edges = with_samples.iter().flat_map(|s| {
        [s.latency.histogram().value_at_quantile(0.0), s.latency.histogram().value_at_quantile(1.0)]
    });
    let y_range = log_range(edges.map(|us| us as f64 / 1000.0))?;
    let rarest = most.max(100.0);
    let about = with_samples.iter().map(|s| format!("{}: {}", s.name, said(s.latency))).collect::<Vec<_>>();
    let x = Axis { name: "percentile", range: (1.0, rarest), log: true };
    let y = Axis { name: "ms", range: y_range, log: true };
    let mut chart = Chart::new("Latency by percentile", &about.join(". "), x, y);
    let y_ticks = ticks(&chart.y, ms_label);
    chart.y_ticks(&y_ticks);
    chart.x_ticks(&percentile_ticks(rarest));
    for one in &with_samples {
        draw(&mut chart, one);
    }
    Some(chart.finish())
}

fn draw(chart: &mut Chart, one: &Series<'_>) {
    let count = one.latency.count() as f64;
    let ms = |quantile: f64| one.latency.histogram().value_at_quantile(quantile) as f64 / 1000.0;
    let ends = (count / MIN_SAMPLES_BEYOND).max(1.0);
    let steps = (ends.log10() * POINTS_A_DECADE).floor() as usize;
    let rarities = (0..=steps).map(|i| 10f64.powf(i as f64 / POINTS_A_DECADE)).chain([ends]);
    chart.line(rarities.map(|rarity| (rarity, Some(ms(1.0 - 1.0 / rarity)))), one.class);
    let max = ms(1.0);
    chart.line([(ends, Some(ms(1.0 - 1.0 / ends))), (count, Some(max))].into_iter(), "faint");
    let at = (chart.x.at(count), chart.y.at(max));
    chart.mark(at, Shape::Disc, &format!("{} max", one.class), &format!("{}: highest {max:.2} ms", one.name));
}

fn percentile_ticks(rarest: f64) -> Vec<(f64, String)> {
    let mut ticks = vec![(1.0, "0".to_owned()), (2.0, "50".to_owned())];
    let names = ["90", "99", "99.9", "99.99", "99.999", "99.9999", "99.99999"];
    let decades = names.iter().enumerate().map(|(i, name)| (10f64.powi(i as i32 + 1), (*name).to_owned()));
    ticks.extend(decades.take_while(|(rarity, _)| *rarity <= rarest * 1.001));
    ticks
}

/// The figures in words, for those who do not see the chart.
fn said(latency: &Latency) -> String {
    let ms = |us: u64| us as f64 / 1000.0;
    let at = [(0.5, "median"), (0.99, "99th percentile"), (0.999, "99.9th percentile")]
        .into_iter()
        .filter_map(|(q, name)| Some(format!("{name} {:.2} ms", ms(latency.quantile_us(q)?))));
    at.chain([format!("highest {:.2} ms", ms(latency.histogram().value_at_quantile(1.0)))])
        .collect::<Vec<_>>()
        .join(", ")
}
