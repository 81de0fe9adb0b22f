//! Latency histograms of a fixed size: 1 µs to 60 s at three significant digits.
//!
//! Histograms of several threads or processes are merged, never averaged. Every duration is
//! recorded in microseconds; what is longer than [`MAX_US`] counts as [`MAX_US`].

use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer, V2DeflateSerializer},
};
use serde::{Deserialize, Serialize};

/// The longest latency that is told apart, in microseconds.
pub const MAX_US: u64 = 60_000_000;
/// A percentile is shown only when at least this many samples lie beyond it.
pub const MIN_SAMPLES_BEYOND: f64 = 10.0;

/// A histogram that can't be made or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("histogram: {0}")]
pub struct RecorderError(String);

/// One latency histogram, about 140 KB.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency(Histogram<u64>);

impl Latency {
    /// An empty one.
    ///
    /// # Errors
    /// Never with the bounds given here; the library checks them.
    pub fn new() -> Result<Self, RecorderError> {
        let inner = Histogram::new_with_bounds(1, MAX_US, 3).map_err(|e| RecorderError(e.to_string()))?;
        Ok(Self(inner))
    }

    /// Records a duration in nanoseconds.
    pub fn record_ns(&mut self, ns: u64) {
        self.0.saturating_record((ns / 1000).max(1));
    }

    /// Adds another one's samples.
    pub fn merge(&mut self, other: &Self) {
        // Bounds are the same for all, so that this can't fail.
        let _ = self.0.add(&other.0);
    }

    /// How many samples there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The value in microseconds at a quantile such as 0.99; none when fewer than
    /// [`MIN_SAMPLES_BEYOND`] samples lie beyond it.
    pub fn quantile_us(&self, quantile: f64) -> Option<u64> {
        let beyond = self.0.len() as f64 * (1.0 - quantile);
        // 10,000 × (1 − 0.999) is a hair below 10 in floating point.
        (beyond + 1e-6 >= MIN_SAMPLES_BEYOND).then(|| self.0.value_at_quantile(quantile))
    }

    /// The figures and the whole histogram, for a result file.
    ///
    /// # Errors
    /// [`RecorderError`] when the histogram can't be serialised.
    pub fn summary(&self) -> Result<Summary, RecorderError> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.0, &mut bytes)
            .map_err(|e| RecorderError(e.to_string()))?;
        let some = self.count() > 0;
        Ok(Summary {
            count: self.count(),
            min_us: some.then(|| self.0.min()),
            p50_us: self.quantile_us(0.50),
            p90_us: self.quantile_us(0.90),
            p99_us: self.quantile_us(0.99),
            p999_us: self.quantile_us(0.999),
            max_us: some.then(|| self.0.max()),
            hdr_v2: STANDARD.encode(bytes),
        })
    }

    /// The histogram out of a [`Summary`].
    ///
    /// # Errors
    /// [`RecorderError`] when `hdr_v2` is not a base64 HDR V2 histogram.
    pub fn from_summary(summary: &Summary) -> Result<Self, RecorderError> {
        let bytes = STANDARD.decode(&summary.hdr_v2).map_err(|e| RecorderError(e.to_string()))?;
        Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map(Self)
            .map_err(|e| RecorderError(e.to_string()))
    }
}

/// A histogram as it stands in a result: figures for people, everything for machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many samples.
    pub count: u64,
    /// The lowest, in microseconds.
    pub min_us: Option<u64>,
    /// The median, in microseconds, where samples suffice; the others likewise.
    pub p50_us: Option<u64>,
    /// The 90th percentile, in microseconds.
    pub p90_us: Option<u64>,
    /// The 99th percentile, in microseconds.
    pub p99_us: Option<u64>,
    /// The 99.9th percentile, in microseconds.
    pub p999_us: Option<u64>,
    /// The highest, in microseconds.
    pub max_us: Option<u64>,
    /// All samples: HDR V2, deflated, base64.
    pub hdr_v2: String,
}

/// Everything that one generator thread records.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// Intended instant → ack.
    pub ack: Latency,
    /// Actual send → ack: what a generator that stamps at the send would report.
    pub ack_service: Latency,
    /// Intended instant → actual send: the generator's own lateness.
    pub pacing: Latency,
    /// Intended instant → delivery, by the third of the window in which the message was due.
    pub delivery: [Latency; 3],
    /// Actual send → delivery.
    pub delivery_service: Latency,
    /// Intended instant → delivery to the room's first subscriber.
    pub first: Latency,
    /// The same to the median subscriber.
    pub median: Latency,
    /// The same to the last subscriber.
    pub last: Latency,
}

impl Recorder {
    /// Empty histograms.
    ///
    /// # Errors
    /// As [`Latency::new`].
    pub fn new() -> Result<Self, RecorderError> {
        let empty = Latency::new()?;
        Ok(Self {
            ack: empty.clone(),
            ack_service: empty.clone(),
            pacing: empty.clone(),
            delivery: [empty.clone(), empty.clone(), empty.clone()],
            delivery_service: empty.clone(),
            first: empty.clone(),
            median: empty.clone(),
            last: empty,
        })
    }

    /// Adds another thread's samples.
    pub fn merge(&mut self, other: &Self) {
        self.ack.merge(&other.ack);
        self.ack_service.merge(&other.ack_service);
        self.pacing.merge(&other.pacing);
        for (mine, theirs) in self.delivery.iter_mut().zip(&other.delivery) {
            mine.merge(theirs);
        }
        self.delivery_service.merge(&other.delivery_service);
        self.first.merge(&other.first);
        self.median.merge(&other.median);
        self.last.merge(&other.last);
    }

    /// Deliveries of the whole window.
    pub fn delivery_all(&self) -> Latency {
        let mut all = self.delivery[0].clone();
        self.delivery[1..].iter().for_each(|third| all.merge(third));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values_us: impl Iterator<Item = u64>) -> Latency {
        let mut latency = Latency::new().unwrap();
        values_us.for_each(|us| latency.record_ns(us * 1000));
        latency
    }

    #[test]
    fn a_percentile_needs_ten_samples_beyond_it() {
        assert_eq!(of(1..=19).quantile_us(0.5), None);
        assert_eq!(of(1..=20).quantile_us(0.5), Some(10));
        assert_eq!(of(1..=999).quantile_us(0.99), None);
        assert_eq!(of(1..=1000).quantile_us(0.99), Some(990));
        assert_eq!(of(1..=9_999).quantile_us(0.999), None);
        assert!(of(1..=10_000).quantile_us(0.999).is_some());
    }

    #[test]
    fn merging_equals_recording_all_in_one() {
        let (mut a, b) = (of((1..5000).step_by(2)), of((2..5000).step_by(2)));
        a.merge(&b);
        assert_eq!(a, of(1..5000));
    }

    #[test]
    fn a_summary_carries_the_whole_histogram() {
        let latency = of((1..2000).chain([70_000_000]));
        let summary = latency.summary().unwrap();
        assert_eq!(Latency::from_summary(&summary).unwrap().summary().unwrap().p99_us, summary.p99_us);
        assert!(summary.max_us.unwrap() >= MAX_US, "what is longer counts as the bound");
        assert_eq!(of(0..0).summary().unwrap().max_us, None);
    }
}
