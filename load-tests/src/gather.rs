//! Puts a run's result together from what its driver measured.

use std::{collections::BTreeMap, time::Instant};

use crate::{
    config::Config,
    faults::{self, Books},
    lab::Operation,
    ledger::Totals,
    procstat::{ProcStat, ThreadStat, own_threads},
    recorder::{Latency, Recorder},
    result::{Counts, Environment, Headline, Latencies, Resources, RunResult, SCHEMA, Usage},
    sockets::{Look, Sockets},
    steady::WarmUp,
    verdict::{self, Observed},
    ws::LoadError,
};

/// Counters and processes at one instant.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    at: Instant,
    /// Sent, acknowledged, delivered.
    counters: [u64; 3],
    own: Option<ProcStat>,
    server: Option<ProcStat>,
    redis: Option<ProcStat>,
    threads: Vec<ThreadStat>,
    /// Of the generator, the servers and Redis.
    sockets: [Option<Sockets>; 3],
}

impl Sample {
    /// The same with what the kernel holds for the sockets of all three. It takes its time: only after a window.
    pub(crate) fn with_sockets(mut self, server: &[u32], redis: &[u32]) -> Self {
        if let Some(look) = Look::now() {
            self.sockets = [&[std::process::id()], server, redis].map(|pids| look.of(pids));
        }
        self
    }

    /// How much a counter (sent, acknowledged, delivered) grew a second since `earlier`.
    pub(crate) fn rate_since(&self, earlier: &Self, which: usize) -> f64 {
        let wall_s = self.at.duration_since(earlier.at).as_secs_f64().max(1e-9);
        (self.counters[which] - earlier.counters[which]) as f64 / wall_s
    }

    pub(crate) fn take(counters: [u64; 3], server: &[u32], redis: &[u32], thread_prefix: &str) -> Self {
        let mut threads = own_threads();
        threads.retain(|thread| thread.name.starts_with(thread_prefix));
        Self {
            at: Instant::now(),
            counters,
            own: ProcStat::of(std::process::id()),
            server: ProcStat::sum(server),
            redis: ProcStat::sum(redis),
            threads,
            sockets: [None; 3],
        }
    }
}

/// Connections that came and went.
#[derive(Clone, Debug)]
pub(crate) struct Reopened {
    pub latency: Latency,
    pub failures: u64,
}

/// Everything that a driver hands over at a run's end.
pub(crate) struct Gathered {
    pub scenario: String,
    pub labels: BTreeMap<String, String>,
    pub config: Config,
    pub nofile: u64,
    pub intended: u64,
    pub sent: u64,
    pub acked: u64,
    pub delivered: u64,
    pub cap_hits: u64,
    pub unsent: u64,
    pub connect_failures: u64,
    pub disconnects: u64,
    pub error_frames: u64,
    pub presence_frames: u64,
    /// All, and those that brought nothing.
    pub polls: [u64; 2],
    pub errors: BTreeMap<String, u64>,
    pub ledger: Totals,
    pub recorder: Recorder,
    pub reopened: Reopened,
    pub operations: Vec<Operation>,
    /// Only with faults.
    pub books: Option<Books>,
    pub warm_up: WarmUp,
    pub before: Sample,
    pub after: Sample,
}

impl RunResult {
    /// Puts the result together and judges it.
    ///
    /// # Errors
    /// [`LoadError::Recorder`] when a histogram can't be written.
    pub(crate) fn gather(run: Gathered) -> Result<Self, LoadError> {
        let (before, after) = (&run.before, &run.after);
        let wall_s = after.at.duration_since(before.at).as_secs_f64().max(1e-9);
        let rate = |which| after.rate_since(before, which);
        let resources = resources(before, after, wall_s);
        let latency = latencies(&run.recorder, &run.reopened.latency)?;
        let counts = Counts {
            intended: run.intended,
            sent: run.sent,
            acked: run.acked,
            delivered: run.delivered,
            cap_hits: run.cap_hits,
            unsent: run.unsent,
            connect_failures: run.connect_failures,
            disconnects: run.disconnects,
            error_frames: run.error_frames,
            reopened: run.reopened.latency.count(),
            reopen_failures: run.reopened.failures,
            presence_frames: run.presence_frames,
            polls: run.polls[0],
            empty_polls: run.polls[1],
            errors: run.errors,
        };
        let observed = observe(&counts, &run.ledger, &latency, &resources, &run.warm_up);
        let faulted = run.books.as_ref().map(faults::close);
        let verdict = match (&run.books, &faulted) {
            (Some(books), Some(faulted)) => faults::judge(observed, books, faulted, &run.config.limits),
            _ => verdict::judge(&observed, &run.config.limits),
        };
        let (acked_per_s, delivered_per_s) = (rate(1), rate(2));
        let headline = (verdict.is_valid() && faulted.is_none()).then_some(Headline {
            messages_per_s: acked_per_s,
            deliveries_per_s: delivered_per_s,
            delivery_p99_us: latency.delivery.p99_us,
        });
        Ok(Self {
            schema: SCHEMA,
            environment: Environment::here(run.nofile),
            config: run.config,
            verdict,
            headline,
            acked_per_s,
            delivered_per_s,
            counts,
            ledger: run.ledger,
            latency,
            operations: run.operations,
            generators: Vec::new(),
            slow: Vec::new(),
            accounts: faulted.as_ref().map(|faulted| faulted.accounts),
            faults: faulted.map(|faulted| faulted.faults).unwrap_or_default(),
            warm_up: Some(run.warm_up),
            resources,
            reconciliation: None,
            calibration: None,
            bare: None,
            scenario: run.scenario,
            labels: run.labels,
        })
    }
}

fn latencies(recorder: &Recorder, reopen: &Latency) -> Result<Latencies, LoadError> {
    Ok(Latencies {
        ack: recorder.ack.summary()?,
        ack_service: recorder.ack_service.summary()?,
        ack_tick: recorder.ack_tick.summary()?,
        pacing: recorder.pacing.summary()?,
        runtime_lag: recorder.runtime_lag.summary()?,
        delivery: recorder.delivery_all().summary()?,
        delivery_service: recorder.delivery_service.summary()?,
        first_subscriber: recorder.first.summary()?,
        median_subscriber: recorder.median.summary()?,
        last_subscriber: recorder.last.summary()?,
        reopen: reopen.summary()?,
        delivery_p50_us_by_third: [0, 1, 2].map(|third| recorder.delivery[third].quantile_us(0.5)),
    })
}

fn resources(before: &Sample, after: &Sample, wall_s: f64) -> Resources {
    let delivered = after.counters[2] - before.counters[2];
    let [own, server, redis] = after.sockets;
    let usage = |before: Option<ProcStat>, after: Option<ProcStat>, sockets| {
        let (before, after) = (before?, after?);
        let cpu_s = after.cpu_s - before.cpu_s;
        Some(Usage {
            cores: cpu_s / wall_s,
            us_per_delivery: (delivered > 0).then(|| cpu_s * 1e6 / delivered as f64),
            rss_bytes: after.rss_bytes,
            private_bytes: Some(after.private_bytes),
            sockets,
        })
    };
    let share = |thread: &ThreadStat| {
        let earlier = before.threads.iter().find(|t| t.tid == thread.tid).map_or(0.0, |t| t.cpu_s);
        (thread.cpu_s - earlier) / wall_s
    };
    Resources {
        generator: usage(before.own, after.own, own),
        generator_busiest_thread: after.threads.iter().map(share).reduce(f64::max),
        server: usage(before.server, after.server, server),
        redis: usage(before.redis, after.redis, redis),
    }
}

/// What the verdict on a result rests on.
pub(crate) fn observe(
    counts: &Counts,
    ledger: &Totals,
    latency: &Latencies,
    resources: &Resources,
    warm_up: &WarmUp,
) -> Observed {
    let by_third = latency.delivery_p50_us_by_third;
    let Latencies { pacing, delivery, runtime_lag, .. } = latency;
    Observed {
        intended: counts.intended,
        sent: counts.sent,
        acked: counts.acked,
        busiest_thread: resources.generator_busiest_thread,
        // Few samples hide the 99th percentile, not a generator that is late all the time.
        pacing_p99_us: pacing.p99_us.or(pacing.p90_us).or(pacing.p50_us),
        runtime_lag_us: runtime_lag.p99_us.or(runtime_lag.p90_us).or(runtime_lag.p50_us),
        cap_hits: counts.cap_hits,
        connect_failures: counts.connect_failures + counts.reopen_failures,
        disconnects: counts.disconnects,
        error_frames: counts.error_frames,
        ledger_faults: ledger.faults(),
        delivered: counts.delivered,
        delivery_first_us: by_third[0],
        delivery_last_us: by_third[2],
        delivery_p50_us: delivery.p50_us,
        delivery_tail_us: delivery.p999_us.or(delivery.max_us),
        unsettled: (!warm_up.fixed).then(|| (!warm_up.settled, warm_up.told())),
    }
}
