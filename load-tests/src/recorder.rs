//! Latency histograms of a fixed size: 1 µs to 60 s at three significant digits.
//!
//! Histograms of several threads or processes are merged, never averaged. Every duration is
//! recorded in microseconds; what is longer than [`MAX_US`] counts as [`MAX_US`].

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer, V2DeflateSerializer},
};
use serde::{Deserialize, Serialize};

use crate::recording::{Live, Stage};

/// The longest latency that is told apart, in microseconds.
pub const MAX_US: u64 = 60_000_000;
/// A percentile is shown only when at least this many samples lie beyond it.
pub const MIN_SAMPLES_BEYOND: f64 = 10.0;
/// The tick of the generators that [`Recorder::ack_tick`] stands for, in nanoseconds.
pub const TICK_NS: u64 = 10_000_000;

/// How often a thread looks how late its runtime is.
pub const LAG_TICK: Duration = Duration::from_millis(10);

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

    /// The histogram itself.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.0
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
        Self::decode(&summary.hdr_v2)
    }

    /// A histogram from its HDR V2 form in base64.
    ///
    /// # Errors
    /// [`RecorderError`] when it is none, or has another range than ours, which would not merge.
    pub fn decode(base64: &str) -> Result<Self, RecorderError> {
        let bytes = STANDARD.decode(base64).map_err(|e| RecorderError(e.to_string()))?;
        let inner: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|e| RecorderError(e.to_string()))?;
        if (inner.low(), inner.high(), inner.sigfig()) != (1, MAX_US, 3) {
            return Err(RecorderError(format!("from {} to {} µs", inner.low(), inner.high())));
        }
        Ok(Self(inner))
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

/// The instants of one message, in nanoseconds on the run's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instants {
    /// When it was due.
    pub intended_ns: u64,
    /// When it was sent.
    pub sent_ns: u64,
    /// When it was answered, or delivered.
    pub done_ns: u64,
}

impl Instants {
    /// Intended instant → done.
    pub fn response_ns(&self) -> u64 {
        self.done_ns.saturating_sub(self.intended_ns)
    }

    /// Actual send → done.
    pub fn service_ns(&self) -> u64 {
        self.done_ns.saturating_sub(self.sent_ns)
    }
}

/// Everything that one generator thread records. The methods also fill the recording of the current second, if there is one;
/// the fields are the whole window's.
#[derive(Debug)]
pub struct Recorder {
    /// Intended instant → ack.
    pub ack: Latency,
    /// Actual send → ack: what a generator that stamps at the send would report.
    pub ack_service: Latency,
    /// The tick at or before the actual send → ack: what a generator would report that works every [`TICK_NS`] and stamps
    /// what it sends with the tick.
    pub ack_tick: Latency,
    /// Intended instant → actual send: the generator's own lateness.
    pub pacing: Latency,
    /// How late the threads' runtimes woke up, looked at every [`LAG_TICK`]: what came meanwhile was stamped late.
    pub runtime_lag: Latency,
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
    live: Option<Live>,
}

impl Recorder {
    /// Empty histograms.
    ///
    /// # Errors
    /// As [`Latency::new`].
    pub fn new() -> Result<Self, RecorderError> {
        Self::with_live(None)
    }

    /// Empty histograms, and a recording of each second beside them.
    ///
    /// # Errors
    /// As [`Latency::new`].
    pub fn with_live(live: Option<Live>) -> Result<Self, RecorderError> {
        let empty = Latency::new()?;
        Ok(Self {
            ack: empty.clone(),
            ack_service: empty.clone(),
            ack_tick: empty.clone(),
            pacing: empty.clone(),
            runtime_lag: empty.clone(),
            delivery: [empty.clone(), empty.clone(), empty.clone()],
            delivery_service: empty.clone(),
            first: empty.clone(),
            median: empty.clone(),
            last: empty,
            live,
        })
    }

    /// Records each second from now on as well.
    pub fn set_live(&mut self, live: Live) {
        self.live = Some(live);
    }

    /// A message of the window was sent.
    pub fn sent(&mut self, intended_ns: u64, sent_ns: u64) {
        let pacing_ns = sent_ns.saturating_sub(intended_ns);
        self.pacing.record_ns(pacing_ns);
        if let Some(live) = &mut self.live {
            live.sent(sent_ns, pacing_ns);
        }
    }

    /// A message of the window was sent that had to wait for its connection to come back: how late it was says nothing
    /// about the generator.
    pub fn sent_late(&mut self, sent_ns: u64) {
        if let Some(live) = &mut self.live {
            live.sent_late(sent_ns);
        }
    }

    /// A message of the window was answered.
    pub fn acked(&mut self, at: Instants) {
        self.ack.record_ns(at.response_ns());
        self.ack_service.record_ns(at.service_ns());
        self.ack_tick.record_ns(at.done_ns.saturating_sub(at.sent_ns / TICK_NS * TICK_NS));
        if let Some(live) = &mut self.live {
            live.done(Stage::Ack, at.done_ns, at.response_ns(), at.service_ns());
        }
    }

    /// A message that was due in that third of the window was delivered to one subscriber.
    pub fn delivered(&mut self, third: usize, at: Instants) {
        self.delivery[third.min(2)].record_ns(at.response_ns());
        self.delivery_service.record_ns(at.service_ns());
        if let Some(live) = &mut self.live {
            live.done(Stage::Delivery, at.done_ns, at.response_ns(), at.service_ns());
        }
    }

    /// Something went wrong, in the window or before it.
    pub fn error(&mut self) {
        if let Some(live) = &mut self.live {
            live.error();
        }
    }

    /// To be called a few times a second, so that a second ends also when nothing happens.
    pub fn tick(&mut self, now_ns: u64) {
        if let Some(live) = &mut self.live {
            live.tick(now_ns);
        }
    }

    /// Adds another thread's samples.
    pub fn merge(&mut self, other: &Self) {
        self.ack.merge(&other.ack);
        self.ack_service.merge(&other.ack_service);
        self.ack_tick.merge(&other.ack_tick);
        self.pacing.merge(&other.pacing);
        self.runtime_lag.merge(&other.runtime_lag);
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
