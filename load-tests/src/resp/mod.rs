//! The driver `redis`: commands straight to Redis, over many connections, on time.
//!
//! | module | for |
//! | --- | --- |
//! | [`plan`] | what is sent, by what, when |
//! | [`codec`] | RESP, without allocating |
//! | [`commands`], [`keys`] | the mix, and which keys it touches |
//! | [`nodes`] | who owns which slot |
//! | `shard`, `send`, `answers`, `listen` | a thread of the lean client: connections, redirects, listeners |
//! | `library` | the same load through redis-rs or fred |
//! | [`ceiling`] | the most that each can do, beside `redis-benchmark` |

mod answers;
pub mod ceiling;
pub mod codec;
pub mod commands;
mod conn;
mod encode;
pub mod keys;
mod library;
mod listen;
pub mod nodes;
pub mod plan;
pub(crate) mod poller;
mod send;
mod shard;
mod shared;
mod tally;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

pub use plan::{Client, Commands, RespPlan};
pub use tally::Redirects;

use self::{
    commands::{Mix, Op, value},
    keys::Keys,
    nodes::{SlotMap, fill},
    shard::Shard,
    shared::{Counters, Shared},
    tally::Tally,
};
use crate::{
    eye::{Eye, Watch},
    gather::{Gathered, Reopened, Sample},
    plan::Progress,
    preflight::preflight,
    reconcile::{Reconciliation, Sent, Snapshot, SocketMemory},
    recorder::Latency,
    recording::{Observe, Recording},
    result::{Config, RunResult},
    schedule::Load,
    steady::{Pulse, WarmUp},
    ws::{HEAD_START_NS, LoadError, THREAD_PREFIX, TICK, end_warm_up},
};

/// After the last expected delivery: what comes on top of it within this time is a duplicate.
const GRACE: Duration = Duration::from_millis(100);

/// Carries out a plan and judges the run. Blocks for the run's whole time; not to be called on a runtime's own thread.
///
/// # Errors
/// [`LoadError`] when there is nothing to judge: no node answers, the keys can't be filled.
pub fn generate(plan: RespPlan, progress: &mut dyn FnMut(Progress)) -> Result<RunResult, LoadError> {
    plan.check()?;
    let map = slot_map(&plan)?;
    let mut plan = plan;
    // A cluster may be named by some of its nodes; all that own slots are observed.
    let unnamed = map.nodes().iter().filter(|node| !plan.nodes.contains(node));
    let unnamed: Vec<_> = unnamed.cloned().collect();
    plan.nodes.extend(unnamed);
    if plan.commands.mix.get(&Op::Get).is_some_and(|weight| *weight > 0) {
        fill(&map, plan.commands.keys, &value(plan.value_bytes)).map_err(no_connection)?;
    }
    let before = Snapshot::take(&plan.nodes);
    match plan.commands.client.library() {
        None => lean(plan, map, &before, progress),
        Some(kind) => library::generate(&plan, kind, &before, progress),
    }
}

fn slot_map(plan: &RespPlan) -> Result<SlotMap, LoadError> {
    match plan.is_cluster() {
        true => SlotMap::of_cluster(&plan.nodes).map_err(no_connection),
        false => Ok(SlotMap::single(&plan.nodes[0])),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn no_connection(error: std::io::Error) -> LoadError {
    LoadError::NoConnection(error.to_string())
}

/// What a window of the lean client came to.
struct Measured {
    shared: Shared,
    tally: Tally,
    warm_up: WarmUp,
    samples: (Sample, Sample),
    sockets: Option<SocketMemory>,
    nofile: u64,
}

fn lean(
    plan: RespPlan,
    map: SlotMap,
    before: &Snapshot,
    progress: &mut dyn FnMut(Progress),
) -> Result<RunResult, LoadError> {
    let recording = match (&plan.record, &plan.load) {
        (Some(dir), Load::Open(schedule)) => {
            let observe = Observe { server_pids: Vec::new(), redis_pids: plan.redis_pids.clone() };
            Some(Recording::start(dir, plan.threads, Some(schedule.due_by_second()), observe)?)
        }
        _ => None,
    };
    let measured = measure(plan, map, recording.as_ref(), progress)?;
    let Measured { shared, mut tally, warm_up, samples, sockets, nofile } = measured;
    let plan = &shared.plan;
    let after = Snapshot::take(&plan.nodes);
    let operations = tally.operations(&shared.mix, &plan.commands.mix)?;
    let sent: Vec<Sent> = shared.mix.ops().map(|op| sent_of(op, &tally)).collect();
    let reconciliation = Reconciliation::new(before, &after)
        .sent(&sent, Some(tally.redirects))
        .slots(&tally.slots)
        .sockets(sockets);
    let listens = plan.commands.listeners > 0;
    let completed: u64 = operations.iter().map(|operation| operation.completed).sum();
    let failed: u64 = operations.iter().map(|operation| operation.failed).sum();
    let intended = match &plan.load {
        Load::Open(schedule) => schedule.count(),
        Load::Closed { .. } => operations.iter().map(|operation| operation.sent).sum(),
    };
    let mut result = RunResult::gather(Gathered {
        scenario: plan.scenario.clone(),
        labels: plan.labels.clone(),
        config: config(plan),
        nofile,
        intended,
        sent: operations.iter().map(|operation| operation.sent).sum(),
        // A failure is an answer too; it is counted as an error.
        acked: completed + failed,
        delivered: if listens { tally.delivered_measured } else { completed },
        cap_hits: tally.cap_hits,
        unsent: tally.unsent,
        connect_failures: tally.connect_failures,
        disconnects: tally.disconnects,
        error_frames: tally.failures,
        presence_frames: 0,
        polls: [0, 0],
        books: None,
        recorder: tally.take_recorder(listens, config(plan).closed_concurrency.is_some())?,
        errors: tally.errors,
        ledger: tally.ledger.settle(),
        reopened: Reopened { latency: Latency::new()?, failures: 0 },
        operations,
        warm_up,
        before: samples.0,
        after: samples.1,
    })?;
    result.reconcile(reconciliation);
    if let Some(recording) = recording {
        recording.finish(&result)?;
    }
    Ok(result)
}

fn sent_of(op: Op, tally: &Tally) -> Sent {
    let one = &tally.ops[op.index()];
    Sent {
        command: op.name().to_owned(),
        completed: one.completed,
        on_wire: one.on_wire,
        unanswered: one.unanswered,
        client_p50_us: one.service.quantile_us(0.5),
    }
}

/// Runs the threads of the lean client for one window.
fn measure(
    plan: RespPlan,
    map: SlotMap,
    recording: Option<&Recording>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Measured, LoadError> {
    let conns = plan.conns * map.owners().len() + plan.commands.listeners;
    let nofile = preflight(conns)?.nofile;
    let shared = Arc::new(Shared {
        mix: Mix::new(&plan.commands.mix, plan.value_bytes),
        keys: Keys::new(plan.commands.keys, plan.commands.spread, plan.commands.exponent),
        map,
        run: uuid::Uuid::new_v4().as_u128() as u32,
        origin: Instant::now(),
        warm_start_ns: AtomicU64::new(0),
        window_start_ns: AtomicU64::new(0),
        pulse: Pulse::default(),
        counters: Counters::default(),
        eye: Eye::default(),
        stop: AtomicBool::new(false),
        plan,
    });
    progress(Progress::Connecting { done: 0, of: conns as u64 });
    let threads = open_all(&shared, recording)?;
    progress(Progress::Connecting { done: conns as u64, of: conns as u64 });
    let due = match &shared.plan.load {
        Load::Open(schedule) => schedule.due_by_second(),
        Load::Closed { .. } => Vec::new(),
    };
    let mut watch = Watch::new(&shared.eye, due, THREAD_PREFIX);
    let warm_start_ns = shared.now_ns() + HEAD_START_NS;
    shared.warm_start_ns.store(warm_start_ns, Relaxed);
    let handles = threads
        .into_iter()
        .map(|(start, handle)| {
            // A thread that is gone says so when it is joined.
            let _ = start.send(());
            handle
        })
        .collect();
    progress(Progress::WarmUp);
    let settle_ms = if shared.schedules().is_some() { shared.plan.settle_ms } else { 0 };
    let lengths_ms = (shared.plan.warm_up_ms, settle_ms);
    let warm_up =
        end_warm_up((shared.origin, warm_start_ns), lengths_ms, &shared.pulse, &shared.window_start_ns);
    let window_start_ns = shared.window_start_ns.load(Relaxed);
    if let Some(recording) = recording {
        recording.begin(shared.origin, window_start_ns);
    }
    std::thread::sleep(Duration::from_nanos(window_start_ns.saturating_sub(shared.now_ns())));
    let (samples, sockets) = window(&shared, window_start_ns, &mut watch, progress);
    drain(&shared, progress);
    shared.stop.store(true, Relaxed);
    let tally = join(handles)?;
    let shared = Arc::try_unwrap(shared).map_err(|_| LoadError::Thread("still running".into()))?;
    Ok(Measured { shared, tally, warm_up, samples, sockets, nofile })
}

type Threads = Vec<(mpsc::Sender<()>, JoinHandle<Option<Tally>>)>;

/// Starts the threads; each has its connections when this returns, and waits for the word to begin.
fn open_all(shared: &Arc<Shared>, recording: Option<&Recording>) -> Result<Threads, LoadError> {
    let (opened, all_opened) = mpsc::channel();
    let mut threads = Vec::new();
    for number in 0..shared.plan.threads {
        let (start, started) = mpsc::channel();
        let (shared, opened) = (shared.clone(), opened.clone());
        let live = recording.map(|recording| recording.source(number)).transpose()?;
        let body = move || {
            let shard = match Shard::open(shared, number, live) {
                Ok(shard) => {
                    let _ = opened.send(Ok(()));
                    shard
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                    return None;
                }
            };
            drop(opened);
            started.recv().ok().map(|()| shard.run())
        };
        let handle = std::thread::Builder::new()
            .name(format!("{THREAD_PREFIX}io-{number}"))
            .spawn(body)
            .map_err(LoadError::Runtime)?;
        threads.push((start, handle));
    }
    drop(opened);
    all_opened.iter().collect::<Result<(), _>>()?;
    Ok(threads)
}

fn window(
    shared: &Shared,
    window_start_ns: u64,
    watch: &mut Watch<'_>,
    progress: &mut dyn FnMut(Progress),
) -> ((Sample, Sample), Option<SocketMemory>) {
    let sample = || {
        let all = &shared.counters;
        let third = if shared.plan.commands.listeners > 0 { &all.delivered } else { &all.completed };
        let counters = [&all.sent, &all.answered, third].map(|counter| counter.load(Relaxed));
        Sample::take(counters, &[], &shared.plan.redis_pids, THREAD_PREFIX)
    };
    let mut sockets = SocketMemory::now();
    let before = sample();
    let window = Duration::from_nanos(shared.plan.load.duration_ns());
    loop {
        let elapsed = Duration::from_nanos(shared.now_ns().saturating_sub(window_start_ns));
        if elapsed >= window {
            break;
        }
        progress(Progress::Measuring {
            elapsed_ms: elapsed.as_millis() as u64,
            of_ms: window.as_millis() as u64,
            sent: shared.counters.sent.load(Relaxed),
            delivered: shared.counters.completed.load(Relaxed),
            now: watch.look(elapsed, shared.counters.in_flight.load(Relaxed)),
        });
        std::thread::sleep((window - elapsed).min(TICK * 10));
        sockets = SocketMemory::higher(sockets, SocketMemory::now());
    }
    ((before, sample().with_sockets(&[], &shared.plan.redis_pids)), sockets)
}

/// Waits until everything is answered and delivered, or the plan's bound passes.
fn drain(shared: &Shared, progress: &mut dyn FnMut(Progress)) {
    let give_up = Instant::now() + Duration::from_millis(shared.plan.drain_ms);
    let all = &shared.counters;
    loop {
        std::thread::sleep(TICK);
        let unanswered = all.in_flight.load(Relaxed);
        progress(Progress::Draining { unanswered, delivered: 0, expected: 0 });
        let delivered = all.delivered.load(Relaxed) >= all.expected.load(Relaxed);
        if (unanswered == 0 && delivered) || Instant::now() >= give_up {
            break;
        }
    }
    if shared.plan.commands.listeners > 0 {
        std::thread::sleep(GRACE);
    }
}

fn join(handles: Vec<JoinHandle<Option<Tally>>>) -> Result<Tally, LoadError> {
    let mut whole: Option<Tally> = None;
    for handle in handles {
        let tally = handle.join().map_err(|_| LoadError::Thread("panicked".into()))?;
        match (&mut whole, tally) {
            (Some(whole), Some(tally)) => whole.merge(tally),
            (None, tally) => whole = tally,
            (_, None) => return Err(LoadError::Thread("it never began".into())),
        }
    }
    whole.ok_or_else(|| LoadError::Thread("there was none".into()))
}

/// What was asked for, as the result tells it.
fn config(plan: &RespPlan) -> Config {
    let (rate_per_s, schedule_sha256, closed_concurrency) = match &plan.load {
        Load::Open(schedule) => (schedule.rate_per_s, schedule.hash(), None),
        Load::Closed { concurrency, .. } => (0.0, String::new(), Some(*concurrency)),
    };
    Config {
        lab: None,
        redis: Some(plan.commands.clone()),
        sql: None,
        http: None,
        churn_conns: 0,
        churn_per_s: 0.0,
        storm: None,
        slow: None,
        receive: None,
        conns: plan.conns,
        rooms: 0,
        rooms_per_conn: 0,
        rate_per_s,
        secs: plan.load.duration_ns() as f64 / 1e9,
        body_bytes: plan.value_bytes,
        schedule: plan.load.label(),
        closed_concurrency,
        seed: plan.seed,
        schedule_sha256,
        servers: 0,
        in_flight_cap: plan.in_flight_cap,
        threads: plan.threads,
        limits: plan.limits,
    }
}
