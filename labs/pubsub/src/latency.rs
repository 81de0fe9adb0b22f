//! Experiment: from publishing to hearing.

use std::time::{Duration, Instant};

use bytes::Bytes;
use chatlab_kit::{
    LabError, LabResult,
    ids::RoomId,
    lab::{Axis, Chart, Env, Findings, Point, Series},
    redis::Redis,
    subscribe::FeedItem,
};
use rand::Rng as _;

use crate::{Classic, Fanout, Polling, Sharded, StreamTail, Subscription};

/// Rounds; in each every candidate has its turn, so that a busy moment meets them all.
const ROUNDS: u32 = 240;
/// Rounds whose numbers are thrown away: connections and scripts are fresh.
const WARM_UP: u32 = 10;
/// Candidates that poll slowly have their turn in one round of so many.
const SLOW_TURN: u32 = 2;
/// The longest that a message may be under way.
const PATIENCE: Duration = Duration::from_secs(5);
/// Below so many samples there is no 99th percentile.
const P99_SAMPLES: usize = 100;

struct Candidate {
    name: &'static str,
    fanout: Box<dyn Fanout>,
    room: RoomId,
    feed: Subscription,
    /// How long it pauses between two looks, if it polls.
    interval: Duration,
    turn: u32,
    us: Vec<f64>,
}

async fn candidate(name: &'static str, fanout: Box<dyn Fanout>, interval: Duration) -> LabResult<Candidate> {
    let room = RoomId::new();
    let feed = fanout.subscribe(&room).await?;
    let turn = if interval > Duration::from_millis(50) { SLOW_TURN } else { 1 };
    Ok(Candidate { name, fanout, room, feed, interval, turn, us: Vec::new() })
}

async fn candidates(redis: &Redis) -> LabResult<Vec<Candidate>> {
    let poll = |ms| {
        let interval = Duration::from_millis(ms);
        (Box::new(Polling::new(redis.clone(), interval)), interval)
    };
    let (fast, fast_ms) = poll(10);
    let (slow, slow_ms) = poll(100);
    Ok(vec![
        candidate("sharded", Box::new(Sharded::lazy(redis.clone())), Duration::ZERO).await?,
        candidate("classic", Box::new(Classic::new(redis.clone())), Duration::ZERO).await?,
        candidate("stream_tail", Box::new(StreamTail::new(redis.clone())), Duration::ZERO).await?,
        candidate("polling every 10 ms", fast, fast_ms).await?,
        candidate("polling every 100 ms", slow, slow_ms).await?,
    ])
}

impl Candidate {
    async fn sample(&mut self, n: u32) -> LabResult<()> {
        // At any moment between two polls.
        let wait = self.interval.mul_f64(rand::rng().random_range(0.0..1.0));
        tokio::time::sleep(wait).await;
        let payload = Bytes::from(n.to_string());
        let began = Instant::now();
        self.fanout.notify(&self.room, payload.clone()).await?;
        let heard = tokio::time::timeout(PATIENCE, async {
            loop {
                match self.feed.recv().await {
                    Some(FeedItem::Payload(heard)) if heard == payload => return true,
                    Some(_) => {}
                    None => return false,
                }
            }
        });
        if !matches!(heard.await, Ok(true)) {
            return Err(LabError::Other(format!("{}: message {n} was not heard", self.name)));
        }
        if n >= WARM_UP {
            self.us.push(began.elapsed().as_secs_f64() * 1e6);
        }
        Ok(())
    }
}

/// The value below which `share` of the sorted samples lie.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Publishes one message at a time, in turns, and takes the time until it is heard.
pub(crate) async fn latency(env: &Env) -> LabResult<Findings> {
    let mut candidates = candidates(&env.redis).await?;
    for n in 0..ROUNDS + WARM_UP {
        for candidate in &mut candidates {
            if n < WARM_UP || n % candidate.turn == 0 {
                candidate.sample(n).await?;
            }
        }
    }
    let mut findings = Findings::new("µs, publish to hear", ["median", "99 %", "samples"]);
    let mut series = Vec::new();
    for candidate in &mut candidates {
        candidate.us.sort_by(f64::total_cmp);
        let us = &candidate.us;
        let p99 = if us.len() >= P99_SAMPLES { quantile(us, 0.99) } else { f64::NAN };
        findings.row(candidate.name, [quantile(us, 0.5), p99, us.len() as f64]);
        let points = (1..=19_u32).map(|i| {
            let percent = f64::from(5 * i);
            Point::at(percent, quantile(us, percent / 100.0))
        });
        series.push(Series { name: candidate.name.to_owned(), points: points.collect() });
    }
    let median =
        |name: &str| candidates.iter().find(|c| c.name == name).map_or(f64::NAN, |c| quantile(&c.us, 0.5));
    let pushed = median("sharded").max(median("classic")).max(median("stream_tail"));
    for name in ["polling every 10 ms", "polling every 100 ms"] {
        findings.conclude(format!(
            "{name}: the median message waits {:.1} ms, {:.0} times as long as with the slowest variant that is pushed to.",
            median(name) / 1000.0,
            median(name) / pushed
        ));
    }
    findings.charts.push(Chart {
        title: "how long messages take".to_owned(),
        x: Axis::linear("% of messages"),
        y: Axis::log("µs or less"),
        series,
    });
    findings.note(
        "One message at a time on an otherwise idle server; the subscriber's task shares the machine with the publisher. \
         Between the variants that are pushed to, look at medians only: this many samples say little of the tail.",
    );
    Ok(findings)
}
