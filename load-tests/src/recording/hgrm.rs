//! `*.hgrm`: a histogram's distribution as text, for HdrHistogram's plotter and everything else that reads the format.
//!
//! The format is that of `AbstractHistogram.outputPercentileDistribution` in the Java reference
//! (<https://github.com/HdrHistogram/HdrHistogram>): value, percentile as a share, how many samples up to it, and
//! `1/(1-percentile)`, in steps that halve the distance to 100 %; below it mean, deviation and maximum. Values are in
//! milliseconds here. The lines near 100 % rest on single samples: `TotalCount` says on how many.

use std::fmt::Write;

use crate::recorder::Latency;

/// Lines for each halving of the distance to 100 %, as the reference's tools have it.
const TICKS_PER_HALF_DISTANCE: u32 = 5;
const US_PER_MS: f64 = 1000.0;

/// The distribution's text.
pub fn text(latency: &Latency) -> String {
    let histogram = latency.histogram();
    let mut out =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut total = 0;
    if !histogram.is_empty() {
        for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
            total += step.count_since_last_iteration();
            let (value, quantile) =
                (step.value_iterated_to() as f64 / US_PER_MS, step.quantile_iterated_to());
            let _ = write!(out, "{value:>12.3} {quantile:>2.12} {total:>10}");
            // The reference leaves the last one open, where it would be infinite.
            if quantile < 1.0 {
                let _ = write!(out, " {:>14.2}", 1.0 / (1.0 - quantile));
            }
            out.push('\n');
        }
    }
    let (mean, deviation) = (histogram.mean() / US_PER_MS, histogram.stdev() / US_PER_MS);
    let max = histogram.max() as f64 / US_PER_MS;
    let sub_buckets = (2 * 10u64.pow(u32::from(histogram.sigfig()))).next_power_of_two();
    let _ = writeln!(out, "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]");
    let _ = writeln!(out, "#[Max     = {max:>12.3}, Total count    = {:>12}]", histogram.len());
    let _ = writeln!(out, "#[Buckets = {:>12}, SubBuckets     = {sub_buckets:>12}]", histogram.buckets());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_rises_to_the_maximum_and_ends_with_all_samples() {
        let mut latency = Latency::new().unwrap();
        (1..=10_000u64).for_each(|us| latency.record_ns(us * 1000));
        let text = text(&latency);
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|cell| cell.parse().unwrap()).collect())
            .collect();
        assert!(rows.windows(2).all(|w| w[0][0] <= w[1][0] && w[0][1] <= w[1][1] && w[0][2] <= w[1][2]));
        for row in &rows {
            // The value at a share of evenly spread samples is that share of the maximum, within three digits.
            assert!((row[0] - row[1].max(0.0001) * 10.0).abs() < 0.02, "{row:?}");
            assert!(row.len() == 3 || (row[3] - 1.0 / (1.0 - row[1])).abs() / row[3] < 0.01, "{row:?}");
        }
        let last = rows.last().unwrap();
        assert_eq!((last.len(), last[1], last[2]), (3, 1.0, 10_000.0));
        assert!(
            text.contains("Total count    =        10000]")
                && text.contains("SubBuckets     =         2048]")
        );
    }

    #[test]
    fn an_empty_histogram_has_no_row() {
        let text = text(&Latency::new().unwrap());
        assert_eq!(text.lines().count(), 5, "{text}");
    }
}
