//! The lab driver: open loop on a variant of a lab, without the chat server.
//!
//! One thread keeps time and starts each operation when it is due; they run on a runtime of few threads. Which operation
//! comes is drawn by the workload's weights, as part of the seeded schedule, so that every variant is asked the same. A
//! completed operation counts as acknowledged and as delivered: the rules of [`crate::verdict`] hold as they are.

mod plan;
mod run;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chatlab_kit::lab::Workload;
use serde::{Deserialize, Serialize};

pub use plan::{LabPlan, Place};

use self::run::Run;
use crate::{
    eye::Watch,
    gather::{Gathered, Reopened, Sample},
    ledger::Ledger,
    plan::Progress,
    preflight::preflight,
    reconcile::{Reconciliation, Snapshot},
    recorder::{Latency, Summary},
    recording::{Observe, Recording},
    result::{Config, Driven, RunResult},
    schedule::Schedule,
    steady::WarmUp,
    ws::{HEAD_START_NS, LoadError, THREAD_PREFIX, TICK, end_warm_up},
};

/// Connections to Redis that a driven variant may open: one a node, and some to spare.
const CONNECTIONS: usize = 64;
/// How long operations that never answered may hold up the end.
const LAST_OPERATIONS: Duration = Duration::from_secs(1);

/// One operation of the driven variant, in the window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// As the port names it.
    pub name: String,
    /// How often it came, relative to the others.
    pub weight: u32,
    /// Calls.
    pub sent: u64,
    /// Calls that succeeded.
    pub completed: u64,
    /// Calls that failed; `errors` of the result says by what.
    pub failed: u64,
    /// Driver `http`: answers by their class (`2xx`), from the warm-up on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub statuses: BTreeMap<String, u64>,
    /// Intended instant → answer.
    pub response: Summary,
    /// Actual call → answer.
    pub service: Summary,
}

/// Carries out a plan on the workload that `make` gives, and judges the run. Blocks for the run's whole time; not to be
/// called on a runtime's own thread.
///
/// # Errors
/// [`LoadError`] when there is nothing to judge, as with a workload that can't be prepared.
pub fn generate<F, Fut, E>(
    plan: LabPlan,
    make: F,
    progress: &mut dyn FnMut(Progress),
) -> Result<RunResult, LoadError>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<Arc<dyn Workload>, E>>,
    E: std::fmt::Display,
{
    drive((plan, CONNECTIONS), make, |_| {}, async || {}, progress)
}

/// The same for another driver whose load is calls: it may open so many connections, `adjust` has the last word on the result
/// before it is written, and `finish` puts things away when all calls have ended.
pub(crate) fn drive<F, Fut, E>(
    (plan, connections): (LabPlan, usize),
    make: F,
    adjust: impl FnOnce(&mut RunResult),
    finish: impl AsyncFnOnce(),
    progress: &mut dyn FnMut(Progress),
) -> Result<RunResult, LoadError>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<Arc<dyn Workload>, E>>,
    E: std::fmt::Display,
{
    plan.check()?;
    let resources = preflight(connections)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(plan.threads)
        .thread_name(format!("{THREAD_PREFIX}io"))
        .enable_all()
        .build()
        .map_err(LoadError::Runtime)?;
    let workload = runtime.block_on(async {
        let workload = make().await.map_err(|e| LoadError::Workload(format!("{e:#}")))?;
        workload.prepare().await.map_err(|e| LoadError::Workload(format!("prepare: {e}")))?;
        Ok::<_, LoadError>(workload)
    })?;
    let run = Arc::new(Run::new(&plan, workload)?);
    let recording = match &plan.record {
        Some(dir) => {
            let observe =
                Observe { server_pids: plan.server_pids.clone(), redis_pids: plan.redis_pids.clone() };
            let recording = Recording::start(dir, 1, Some(run.schedule().due_by_second()), observe)?;
            run.record_into(recording.source(0)?);
            Some(recording)
        }
        None => None,
    };
    runtime.spawn(run.clone().watch_lag());
    let counted = Snapshot::take(&plan.nodes);
    let measured = measure(&plan, &run, runtime.handle(), recording.as_ref(), progress);
    drain(&plan, &run, progress);
    runtime.block_on(finish());
    runtime.shutdown_timeout(LAST_OPERATIONS);
    let reconciliation =
        (!plan.nodes.is_empty()).then(|| Reconciliation::new(&counted, &Snapshot::take(&plan.nodes)));
    let mut result = gather(plan, &run, resources.nofile, measured?)?;
    // What a variant sends is its own affair: the servers' side is shown, and nothing is judged.
    if let Some(reconciliation) = reconciliation {
        result.reconcile(reconciliation);
    }
    adjust(&mut result);
    if let Some(recording) = recording {
        recording.finish(&result)?;
    }
    Ok(result)
}

/// Cap hits, operations that were never started, the warm-up, and the processes before and after the window.
type Measured = (u64, u64, WarmUp, Sample, Sample);

fn measure(
    plan: &LabPlan,
    run: &Arc<Run>,
    runtime: &tokio::runtime::Handle,
    recording: Option<&Recording>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Measured, LoadError> {
    let mut watch = Watch::new(&run.eye, run.schedule().due_by_second(), THREAD_PREFIX);
    let warm_start_ns = run.now_ns() + HEAD_START_NS;
    let pacer = {
        let (run, runtime) = (run.clone(), runtime.clone());
        std::thread::Builder::new()
            .name(format!("{THREAD_PREFIX}pacer"))
            .spawn(move || run.pace(&runtime, warm_start_ns))
            .map_err(LoadError::Runtime)?
    };
    progress(Progress::WarmUp);
    let lengths_ms = (plan.warm_up_ms, plan.settle_ms);
    let warm_up = end_warm_up((run.origin, warm_start_ns), lengths_ms, &run.pulse, &run.window_start_ns);
    let window_start_ns = run.window_start_ns.load(std::sync::atomic::Ordering::Relaxed);
    if let Some(recording) = recording {
        recording.begin(run.origin, window_start_ns);
    }
    std::thread::sleep(Duration::from_nanos(window_start_ns.saturating_sub(run.now_ns())));
    let before = sample(plan, run);
    let window = Duration::from_secs(plan.secs);
    loop {
        let elapsed = Duration::from_nanos(run.now_ns().saturating_sub(window_start_ns));
        if elapsed >= window {
            break;
        }
        run.tick();
        let [sent, _, completed] = run.counters();
        progress(Progress::Measuring {
            elapsed_ms: elapsed.as_millis() as u64,
            of_ms: window.as_millis() as u64,
            sent,
            delivered: completed,
            now: watch.look(elapsed, run.in_flight()),
        });
        std::thread::sleep((window - elapsed).min(TICK * 10));
    }
    let after = sample(plan, run).with_sockets(&plan.server_pids, &plan.redis_pids);
    let (cap_hits, unsent) = pacer.join().map_err(|_| LoadError::Thread("the pacer panicked".into()))?;
    Ok((cap_hits, unsent, warm_up, before, after))
}

fn sample(plan: &LabPlan, run: &Run) -> Sample {
    Sample::take(run.counters(), &plan.server_pids, &plan.redis_pids, THREAD_PREFIX)
}

/// Waits until every operation is answered, or the plan's bound passes.
fn drain(plan: &LabPlan, run: &Run, progress: &mut dyn FnMut(Progress)) {
    let give_up = Instant::now() + Duration::from_millis(plan.drain_ms);
    loop {
        run.tick();
        let unanswered = run.in_flight();
        progress(Progress::Draining { unanswered, delivered: 0, expected: 0 });
        if unanswered == 0 || Instant::now() >= give_up {
            return;
        }
        std::thread::sleep(TICK);
    }
}

fn gather(
    plan: LabPlan,
    run: &Run,
    nofile: u64,
    (cap_hits, unsent, warm_up, before, after): Measured,
) -> Result<RunResult, LoadError> {
    let record = run.take_record()?;
    let operations = run.operations(&record)?;
    let answered: u64 = operations.iter().map(|operation| operation.completed).sum();
    let failed: u64 = operations.iter().map(|operation| operation.failed).sum();
    let config = config(&plan, run.schedule());
    RunResult::gather(Gathered {
        scenario: plan.scenario,
        labels: plan.labels,
        config,
        nofile,
        intended: run.schedule().count(),
        sent: operations.iter().map(|operation| operation.sent).sum(),
        // A failure is an answer too; it is counted as an error.
        acked: answered + failed,
        delivered: answered,
        cap_hits,
        unsent,
        connect_failures: 0,
        disconnects: 0,
        error_frames: record.failures,
        presence_frames: 0,
        polls: [0, 0],
        books: None,
        errors: record.errors,
        ledger: Ledger::new(0).settle(),
        recorder: record.recorder,
        reopened: Reopened { latency: Latency::new()?, failures: 0 },
        operations,
        warm_up,
        before,
        after,
    })
}

fn config(plan: &LabPlan, schedule: &Schedule) -> Config {
    Config {
        lab: Some(Driven { lab: plan.lab.clone(), variant: plan.variant.clone() }),
        redis: None,
        sql: None,
        http: None,
        churn_conns: 0,
        churn_per_s: 0.0,
        storm: None,
        slow: None,
        receive: None,
        conns: 0,
        rooms: 0,
        rooms_per_conn: 0,
        rate_per_s: schedule.rate_per_s,
        secs: schedule.duration_ns as f64 / 1e9,
        body_bytes: 0,
        schedule: schedule.kind.to_string(),
        closed_concurrency: None,
        seed: schedule.seed,
        schedule_sha256: schedule.hash(),
        servers: 0,
        in_flight_cap: plan.in_flight_cap,
        threads: plan.threads,
        limits: plan.limits,
    }
}
