//! One run: what is shared by the thread that keeps time and the operations.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use chatlab_kit::lab::{Operation as Declared, Workload};
use tokio::runtime::Handle;

use super::{LabPlan, Operation};
use crate::{
    eye::Eye,
    plan::PlanError,
    recorder::{Instants, LAG_TICK, Latency, Recorder},
    recording::Live,
    schedule::{Arrival, Schedule},
    steady::Pulse,
    ws::{
        LoadError,
        pacer::{CAP_POLL, wait_in_warm_up, wait_until, window_start},
    },
};

/// The most kinds of error that are told apart; the rest is counted as `other`.
const MAX_ERROR_KINDS: usize = 64;
/// The longest name of a kind of error, in characters.
const MAX_ERROR_CHARS: usize = 100;
/// The highest sum of weights: a schedule has a client for each unit.
const MAX_WEIGHTS: u32 = 100_000;

/// What the operations of the window were like.
pub(super) struct Record {
    pub recorder: Recorder,
    pub errors: BTreeMap<String, u64>,
    /// Calls that failed, from the warm-up on.
    pub failures: u64,
    by_operation: Vec<OneRecord>,
}

#[derive(Clone)]
struct OneRecord {
    sent: u64,
    completed: u64,
    failed: u64,
    response: Latency,
    service: Latency,
}

impl Record {
    fn new(operations: usize) -> Result<Self, LoadError> {
        let empty = Latency::new()?;
        let one = OneRecord { sent: 0, completed: 0, failed: 0, response: empty.clone(), service: empty };
        Ok(Self {
            recorder: Recorder::new()?,
            errors: BTreeMap::new(),
            failures: 0,
            by_operation: vec![one; operations],
        })
    }

    fn error(&mut self, operation: &str, why: &str) {
        let kind: String = format!("{operation}: {why}").chars().take(MAX_ERROR_CHARS).collect();
        let known = self.errors.contains_key(&kind) || self.errors.len() < MAX_ERROR_KINDS;
        self.recorder.error();
        *self.errors.entry(if known { kind } else { "other".into() }).or_default() += 1;
        self.failures += 1;
    }
}

/// Everything that does not belong to one operation.
pub(super) struct Run {
    workload: Arc<dyn Workload>,
    /// Those with a weight, and the sum of weights up to and with each.
    operations: Vec<(Declared, u32)>,
    schedule: Schedule,
    warm_up: Schedule,
    in_flight_cap: u64,
    drain_ns: u64,
    pub origin: Instant,
    /// 0 as long as it is not known.
    pub window_start_ns: AtomicU64,
    /// The warm-up's responses.
    pub pulse: Pulse,
    /// The window's answers, for who watches.
    pub eye: Eye,
    in_flight: AtomicU64,
    sent: AtomicU64,
    answered: AtomicU64,
    completed: AtomicU64,
    record: Mutex<Record>,
}

/// One call.
#[derive(Clone, Copy)]
struct Call {
    operation: usize,
    n: u64,
    intended_ns: u64,
    measured: bool,
}

impl Run {
    pub fn new(plan: &LabPlan, workload: Arc<dyn Workload>) -> Result<Self, LoadError> {
        let mut sum: u32 = 0;
        let mut operations = Vec::new();
        for operation in workload.operations().iter().filter(|operation| operation.weight > 0) {
            sum = sum.saturating_add(operation.weight);
            operations.push((*operation, sum));
        }
        if sum == 0 || sum > MAX_WEIGHTS {
            return Err(PlanError(format!("the workload's weights must sum up to 1 to {MAX_WEIGHTS}")).into());
        }
        let schedule =
            Schedule::new(plan.schedule.clone(), plan.rate, plan.secs * 1_000_000_000, sum, plan.seed)
                .map_err(|e| PlanError(e.to_string()))?;
        Ok(Self {
            record: Mutex::new(Record::new(operations.len())?),
            workload,
            operations,
            warm_up: schedule.warm_up(plan.warm_up_ms + plan.settle_ms),
            schedule,
            in_flight_cap: plan.in_flight_cap,
            drain_ns: plan.drain_ms * 1_000_000,
            origin: Instant::now(),
            window_start_ns: AtomicU64::new(0),
            pulse: Pulse::default(),
            eye: Eye::default(),
            in_flight: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            completed: AtomicU64::new(0),
        })
    }

    /// Nanoseconds since the run's start, on the monotonic clock.
    pub fn now_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Records each second as well.
    pub fn record_into(&self, live: Live) {
        self.record().recorder.set_live(live);
    }

    /// Looks how late the runtime is, as long as it lives.
    pub async fn watch_lag(self: Arc<Self>) {
        let mut due = Instant::now();
        loop {
            due += LAG_TICK;
            // Ticks that were missed are not left out: each of them was late.
            tokio::time::sleep_until(due.into()).await;
            let (now_ns, start_ns) = (self.now_ns(), self.window_start_ns.load(Relaxed));
            if start_ns != 0 && (start_ns..start_ns + self.schedule.duration_ns).contains(&now_ns) {
                self.record().recorder.runtime_lag.record_ns(due.elapsed().as_nanos() as u64);
            }
        }
    }

    /// Ends the recording's second, if it is over.
    pub fn tick(&self) {
        let now_ns = self.now_ns();
        self.record().recorder.tick(now_ns);
    }

    /// Called, answered, succeeded; from the warm-up on.
    pub fn counters(&self) -> [u64; 3] {
        [&self.sent, &self.answered, &self.completed].map(|counter| counter.load(Relaxed))
    }

    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    /// Starts the warm-up's operations from `warm_start_ns` on, and the window's as soon as it begins. How many waited for
    /// the cap, and how many were never started.
    pub fn pace(self: &Arc<Self>, runtime: &Handle, warm_start_ns: u64) -> (u64, u64) {
        let mut counts = (vec![0; self.operations.len()], 0, 0);
        let last_ns = self.schedule.duration_ns + self.drain_ns;
        let latest_end_ns = warm_start_ns + self.warm_up.duration_ns + last_ns;
        for Arrival { at_ns, client } in self.warm_up.arrivals() {
            let intended_ns = warm_start_ns + at_ns;
            if !wait_in_warm_up(self.origin, intended_ns, &self.window_start_ns) {
                break;
            }
            self.start(runtime, (intended_ns, client, false), latest_end_ns, &mut counts);
        }
        let window_start_ns = window_start(&self.window_start_ns);
        for Arrival { at_ns, client } in self.schedule.arrivals() {
            let intended_ns = window_start_ns + at_ns;
            wait_until(self.origin + Duration::from_nanos(intended_ns));
            self.start(runtime, (intended_ns, client, true), window_start_ns + last_ns, &mut counts);
        }
        (counts.1, counts.2)
    }

    /// Starts an operation, when the in-flight cap lets it. Counted: the calls of each, cap hits, those never started.
    fn start(
        self: &Arc<Self>,
        runtime: &Handle,
        (intended_ns, ticket, measured): (u64, u32, bool),
        give_up_ns: u64,
        (calls, cap_hits, unsent): &mut (Vec<u64>, u64, u64),
    ) {
        let operation = self.operations.partition_point(|(_, sum)| *sum <= ticket);
        let n = calls[operation];
        calls[operation] += 1;
        if self.in_flight() >= self.in_flight_cap {
            *cap_hits += 1;
            while self.in_flight() >= self.in_flight_cap && self.now_ns() < give_up_ns {
                std::thread::sleep(CAP_POLL);
            }
        }
        if self.now_ns() >= give_up_ns {
            *unsent += 1;
            return;
        }
        self.in_flight.fetch_add(1, Relaxed);
        runtime.spawn(self.clone().call(Call { operation, n, intended_ns, measured }));
    }

    async fn call(self: Arc<Self>, call: Call) {
        let name = self.operations[call.operation].0.name;
        let sent_ns = self.now_ns();
        self.sent.fetch_add(1, Relaxed);
        if call.measured {
            let mut record = self.record();
            record.by_operation[call.operation].sent += 1;
            record.recorder.sent(call.intended_ns, sent_ns);
        }
        let outcome = self.workload.run(name, call.n).await;
        let done_ns = self.now_ns();
        self.answered.fetch_add(1, Relaxed);
        if outcome.is_ok() {
            self.completed.fetch_add(1, Relaxed);
        }
        self.note(call, sent_ns, done_ns, outcome.err().map(|error| error.to_string()).as_deref());
        self.in_flight.fetch_sub(1, Relaxed);
    }

    fn note(&self, call: Call, sent_ns: u64, done_ns: u64, error: Option<&str>) {
        let mut record = self.record();
        let record = &mut *record;
        if let Some(why) = error {
            self.eye.error();
            record.error(self.operations[call.operation].0.name, why);
        }
        if !call.measured {
            self.pulse.record_ns(done_ns.saturating_sub(call.intended_ns));
            return;
        }
        let one = &mut record.by_operation[call.operation];
        if error.is_some() {
            one.failed += 1;
            return;
        }
        let at = Instants { intended_ns: call.intended_ns, sent_ns, done_ns };
        self.eye.done_ns(at.response_ns());
        one.completed += 1;
        one.response.record_ns(at.response_ns());
        one.service.record_ns(at.service_ns());
        record.recorder.acked(at);
        record.recorder.delivered(self.third(call.intended_ns), at);
    }

    /// Which third of the window an operation was due in.
    fn third(&self, intended_ns: u64) -> usize {
        let into = intended_ns.saturating_sub(self.window_start_ns.load(Relaxed));
        let third = into as u128 * 3 / u128::from(self.schedule.duration_ns.max(1));
        third.min(2) as usize
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        // Consistent after every statement, whoever panicked.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What there is; operations that end later are in nothing.
    ///
    /// # Errors
    /// As [`Recorder::new`].
    pub fn take_record(&self) -> Result<Record, LoadError> {
        let mut record = self.record();
        Ok(Record {
            recorder: std::mem::replace(&mut record.recorder, Recorder::new()?),
            errors: std::mem::take(&mut record.errors),
            failures: record.failures,
            by_operation: record.by_operation.clone(),
        })
    }

    /// Each operation by itself.
    pub fn operations(&self, record: &Record) -> Result<Vec<Operation>, LoadError> {
        let each = self.operations.iter().zip(&record.by_operation);
        each.map(|((declared, _), one)| {
            Ok(Operation {
                name: declared.name.to_owned(),
                weight: declared.weight,
                sent: one.sent,
                completed: one.completed,
                failed: one.failed,
                statuses: BTreeMap::new(),
                response: one.response.summary()?,
                service: one.service.summary()?,
            })
        })
        .collect()
    }
}
