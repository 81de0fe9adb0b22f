//! The WebSocket driver: open loop, one process, few threads.
//!
//! One thread keeps time (`pacer`) and hands each arrival, when it is due, to the connection
//! that sends it; one or two threads (`shard`) each drive their share of the connections on a
//! single-threaded runtime. Nothing is locked on the way of a delivery. The time from the intended
//! instant to the write is the pacing error, whichever thread lost it.

mod audit;
mod audited;
mod books;
mod churn;
mod conn;
mod foreign;
mod history;
pub(crate) mod pacer;
mod poll;
mod resume;
mod shard;
mod shared;

use std::{
    net::{SocketAddr, ToSocketAddrs},
    sync::{Arc, atomic::AtomicU64, mpsc::Receiver},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::mpsc::unbounded_channel;
use tokio_tungstenite::tungstenite::http::Uri;

use self::{
    audit::Audit,
    foreign::Foreign,
    pacer::{PacerReport, Queues},
    shard::{Share, State},
    shared::{Counters, Shared, Slot, get},
};
use crate::{
    crew::{Order, Orders, Part, clock, next_order},
    eye::Watch,
    faults::{self, REPORT_BOUND, Told},
    ledger::Ledger,
    plan::{Plan, PlanError, Progress},
    preflight::{PreflightError, preflight},
    reconcile::{Reconciliation, Snapshot, SocketMemory},
    recorder::RecorderError,
    recording::{Observe, Recording, RecordingError},
    result::{Config, Gathered, Reopened, RunResult, Sample},
    schedule::Schedule,
    steady::{Pulse, WarmUp},
};

/// How often progress is told and the end of a phase looked for.
pub(crate) const TICK: Duration = Duration::from_millis(20);
/// Between the order to start and the first arrival: longer than anybody waits before looking whether there is one.
pub(crate) const HEAD_START_NS: u64 = 50_000_000;
/// After everything expected has come: what comes on top of it within this time is a duplicate.
const GRACE: Duration = Duration::from_millis(100);
/// Names of the threads whose CPU time counts as the generator's.
pub(crate) const THREAD_PREFIX: &str = "load-";

/// Why a run gave no result at all.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The plan can't be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The machine's limits are too low.
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// A histogram could not be made or written.
    #[error(transparent)]
    Recorder(#[from] RecorderError),
    /// The run could not be recorded.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// A URL that is not `ws://HOST:PORT/…`, or whose host is not known.
    #[error("cannot use {url}: {why}")]
    Url {
        /// Which one.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// A runtime or thread could not be started.
    #[error("cannot start a thread: {0}")]
    Runtime(std::io::Error),
    /// A generator thread failed.
    #[error("a generator thread failed: {0}")]
    Thread(String),
    /// No connection at all could be opened.
    #[error("no connection could be opened: {0}")]
    NoConnection(String),
    /// The workload of a lab could not be built or prepared.
    #[error("the workload: {0}")]
    Workload(String),
}

/// Carries out a plan and judges the run. Blocks for the run's whole time.
///
/// # Errors
/// [`LoadError`] when there is nothing to judge. A run that went badly is a result, not an error.
pub fn generate(plan: Plan, progress: &mut dyn FnMut(Progress)) -> Result<RunResult, LoadError> {
    generate_told(plan, &Told::default(), progress)
}

/// The same with the plan's faults: whoever does them is told when the window begins ([`Progress::Begins`]) and notes in
/// `told` what was done.
///
/// # Errors
/// As of [`generate`].
pub fn generate_told(
    plan: Plan,
    told: &Told,
    progress: &mut dyn FnMut(Progress),
) -> Result<RunResult, LoadError> {
    carry_out(plan, progress, None, told).map(|part| part.0)
}

/// Carries out one generator's share of a plan, together with the others as `orders` say. Blocks likewise.
///
/// # Errors
/// As [`generate`]; and when the orders do not come.
pub fn generate_part(
    plan: Plan,
    progress: &mut dyn FnMut(Progress),
    orders: &Receiver<Order>,
) -> Result<Part, LoadError> {
    let (result, books) = carry_out(plan, progress, Some(orders), &Told::default())?;
    let (ledger, thirds) = books.ok_or_else(|| PlanError("the plan names no share".into()))?;
    Ok(Part { result, ledger, thirds })
}

/// What only several generators together can close: the ledger, and deliveries by third.
type Books = Option<(Ledger, [String; 3])>;

fn carry_out(
    plan: Plan,
    progress: &mut dyn FnMut(Progress),
    orders: Orders<'_>,
    told: &Told,
) -> Result<(RunResult, Books), LoadError> {
    plan.check()?;
    let resources = preflight(plan.own_conns())?;
    let warm_up = plan.schedule.warm_up(plan.warm_up_ms + plan.settle_ms);
    let counted = Snapshot::take(&plan.redis_nodes);
    let shared = Arc::new(share_out(plan, resources.addresses, &warm_up)?);
    let recording = recording(&shared.plan)?;
    let (queues, shards) = start_shards(&shared, recording.as_ref())?;
    connect(&shared, progress);
    if get(&shared.counters.ready) == 0 {
        drop(queues);
        let state = join_shards(shards)?;
        let kinds: Vec<_> = state.errors.iter().map(|(kind, n)| format!("{kind} ({n})")).collect();
        return Err(LoadError::NoConnection(kinds.join(", ")));
    }
    let times = (begin(&shared, progress, orders)?, &warm_up);
    let (pacer, warm_up, (before, after), sockets) =
        measure(&shared, &queues, times, recording.as_ref(), progress)?;
    let injected = await_faults(&shared, told, progress);
    drain(&shared, progress, orders);
    // What a chat server sends for a message is its own affair: its calls are shown, and nothing is judged.
    let reconciliation =
        Reconciliation::new(&counted, &Snapshot::take(&shared.plan.redis_nodes)).sockets(sockets);
    drop(queues);
    let failed = get(&shared.counters.failed);
    let mut state = join_shards(shards)?;
    let fates = shared.audit.as_ref().map(|audit| books::gather(&shared, audit, &mut state, injected));
    let closed = state.ledger.clone().settle();
    let ledger = match (&shared.audit, &fates) {
        (Some(audit), Some(fates)) => books::totals(closed, audit, fates),
        _ => closed,
    };
    let shared = Arc::try_unwrap(shared).map_err(|_| LoadError::Thread("still running".into()))?;
    let intended = shared.plan.own_due_by_second().iter().sum();
    let books = match shared.plan.share {
        None => None,
        Some(_) => Some((state.ledger.clone(), state.take_thirds()?)),
    };
    let config = Config::of(&shared.plan);
    let mut result = RunResult::gather(Gathered {
        scenario: shared.plan.scenario,
        labels: shared.plan.labels,
        config,
        nofile: resources.nofile,
        intended,
        sent: state.sent_measured,
        acked: state.acked_measured,
        delivered: state.delivered_measured,
        cap_hits: pacer.cap_hits,
        unsent: pacer.unsent + state.unsent,
        connect_failures: failed,
        disconnects: state.disconnects,
        error_frames: state.error_frames,
        presence_frames: state.presence_frames,
        polls: [state.polls, state.empty_polls],
        errors: state.errors,
        ledger,
        recorder: state.recorder,
        reopened: Reopened { latency: state.reopen, failures: state.reopen_failures },
        operations: Vec::new(),
        books: fates,
        warm_up,
        before,
        after,
    })?;
    if !reconciliation.nodes.is_empty() {
        result.reconcile(reconciliation);
    }
    if let Some(recording) = recording {
        recording.finish(&result)?;
    }
    Ok((result, books))
}

/// When the warm-up begins: soon, or when the orders say, after all generators have opened their connections.
fn begin(shared: &Shared, progress: &mut dyn FnMut(Progress), orders: Orders<'_>) -> Result<u64, LoadError> {
    let Some(orders) = orders else { return Ok(shared.now_ns() + HEAD_START_NS) };
    let give_up = Instant::now() + Duration::from_millis(shared.plan.longest_ms());
    while Instant::now() < give_up {
        progress(Progress::Opened);
        match next_order(orders, TICK) {
            Some(Order::Begin(at_ns)) => return Ok(at_ns),
            Some(Order::End) => break,
            None => {}
        }
    }
    Err(LoadError::Thread("the order to begin did not come".into()))
}

fn recording(plan: &Plan) -> Result<Option<Recording>, LoadError> {
    let Some(dir) = &plan.record else { return Ok(None) };
    let observe = Observe { server_pids: plan.server_pids.clone(), redis_pids: plan.redis_pids.clone() };
    Ok(Some(Recording::start(dir, plan.threads, Some(plan.schedule.due_by_second()), observe)?))
}

fn share_out(plan: Plan, source_addresses: usize, warm_up: &Schedule) -> Result<Shared, LoadError> {
    let targets = plan.ws_urls.iter().map(|url| resolve(url)).collect::<Result<_, _>>()?;
    let first_measured = warm_up.count();
    let messages = first_measured + plan.schedule.count();
    let too_many = || PlanError("more than 4 billion messages".into());
    u32::try_from(messages).map_err(|_| too_many())?;
    let audit = (!plan.faults.is_empty()).then(|| Audit::new(&plan, messages)).transpose()?;
    let foreign = Foreign::of(&plan, messages).map_err(PlanError)?;
    let mut subscribers = plan.subscribers();
    if let Some(foreign) = &foreign {
        subscribers.iter_mut().for_each(|count| *count = foreign.reached(*count));
    }
    Ok(Shared {
        targets,
        source_addresses,
        run: plan.share.map_or_else(|| uuid::Uuid::new_v4().as_u128() as u32, |share| share.run),
        origin: plan.share.map_or_else(Instant::now, |share| clock::instant_of(share.origin_unix_ns)),
        origin_ns: faults::monotonic_ns(),
        audit,
        first_measured: first_measured as u32,
        window_start_ns: AtomicU64::new(0),
        pulse: Pulse::default(),
        eye: Arc::default(),
        slots: (0..messages).map(|_| Slot::default()).collect(),
        subscribers,
        foreign,
        counters: Counters::default(),
        plan,
    })
}

fn resolve(url: &str) -> Result<SocketAddr, LoadError> {
    let fail = |why: String| LoadError::Url { url: url.to_owned(), why };
    let uri: Uri = url.parse().map_err(|e| fail(format!("{e}")))?;
    if uri.scheme_str() != Some("ws") {
        return Err(fail("only ws:// is spoken".into()));
    }
    let host = uri.host().ok_or_else(|| fail("no host".into()))?.trim_matches(['[', ']']);
    let mut found =
        (host, uri.port_u16().unwrap_or(80)).to_socket_addrs().map_err(|e| fail(e.to_string()))?;
    found.next().ok_or_else(|| fail("no address".into()))
}

type Shards = Vec<JoinHandle<Result<State, LoadError>>>;

fn start_shards(shared: &Arc<Shared>, recording: Option<&Recording>) -> Result<(Queues, Shards), LoadError> {
    let threads = shared.plan.threads;
    let mut shares: Vec<Share> = (0..threads).map(|_| Vec::new()).collect();
    let mut queues = Vec::new();
    // The churning ones come last, and nobody hands them anything: their queue only tells them the end.
    let mut mine = 0;
    for conn in 0..shared.plan.all_conns() {
        if !shared.plan.is_mine(conn) {
            queues.push(None);
            continue;
        }
        let (queue, receiver) = unbounded_channel();
        queues.push(Some(queue));
        shares[mine % threads].push((conn, receiver));
        mine += 1;
    }
    let mut shards = Vec::new();
    for (number, share) in shares.into_iter().enumerate() {
        let shared = Arc::clone(shared);
        let live = recording.map(|recording| recording.source(number)).transpose()?;
        let shard = thread::Builder::new()
            .name(format!("{THREAD_PREFIX}io-{number}"))
            .spawn(move || shard::run(&shared, share, live))
            .map_err(LoadError::Runtime)?;
        shards.push(shard);
    }
    Ok((Arc::new(queues), shards))
}

fn join_shards(shards: Shards) -> Result<State, LoadError> {
    let mut whole: Option<State> = None;
    for shard in shards {
        let state = shard.join().map_err(|_| LoadError::Thread("panicked".into()))??;
        match &mut whole {
            Some(whole) => whole.merge(state),
            None => whole = Some(state),
        }
    }
    whole.ok_or_else(|| LoadError::Thread("there was none".into()))
}

fn connect(shared: &Shared, progress: &mut dyn FnMut(Progress)) {
    let of = shared.plan.own_conns();
    // Each connection has its own time limit; this one covers threads that are gone.
    let rounds = (of / shared.plan.connect_concurrency + 2) as u64;
    let give_up = Instant::now() + Duration::from_millis(shared.plan.connect_ms * rounds);
    let of = of as u64;
    while get(&shared.counters.ready) + get(&shared.counters.failed) < of && Instant::now() < give_up {
        progress(Progress::Connecting { done: get(&shared.counters.ready), of });
        thread::sleep(TICK);
    }
    progress(Progress::Connecting { done: get(&shared.counters.ready), of });
}

/// What the pacer could not do, the warm-up, the processes before and after the window, the kernel's memory for sockets.
type Measured = (PacerReport, WarmUp, (Sample, Sample), Option<SocketMemory>);

fn measure(
    shared: &Arc<Shared>,
    queues: &Queues,
    (warm_start_ns, warm_up): (u64, &Schedule),
    recording: Option<&Recording>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Measured, LoadError> {
    let mut watch = Watch::new(&shared.eye, shared.plan.own_due_by_second(), THREAD_PREFIX);
    let pacer = {
        let (shared, queues, warm_up) = (Arc::clone(shared), Arc::clone(queues), warm_up.clone());
        thread::Builder::new()
            .name(format!("{THREAD_PREFIX}pacer"))
            .spawn(move || pacer::pace(&shared, &queues, &warm_up, warm_start_ns))
            .map_err(LoadError::Runtime)?
    };
    progress(Progress::WarmUp);
    let warm_up = end_warm_up(
        (shared.origin, warm_start_ns),
        (shared.plan.warm_up_ms, shared.plan.settle_ms),
        &shared.pulse,
        &shared.window_start_ns,
    );
    let window_start_ns = get(&shared.window_start_ns);
    if shared.audit.is_some() {
        progress(Progress::Begins { monotonic_ns: shared.origin_ns + window_start_ns });
    }
    if let Some(recording) = recording {
        recording.begin(shared.origin, window_start_ns);
    }
    thread::sleep(Duration::from_nanos(window_start_ns.saturating_sub(shared.now_ns())));
    let mut sockets = SocketMemory::now();
    let before = sample(shared);
    let window = Duration::from_nanos(shared.plan.schedule.duration_ns);
    loop {
        let elapsed = Duration::from_nanos(shared.now_ns().saturating_sub(window_start_ns));
        if elapsed >= window {
            break;
        }
        progress(Progress::Measuring {
            elapsed_ms: elapsed.as_millis() as u64,
            of_ms: window.as_millis() as u64,
            sent: get(&shared.counters.sent),
            delivered: get(&shared.counters.delivered),
            now: watch.look(elapsed, get(&shared.counters.in_flight)),
        });
        thread::sleep((window - elapsed).min(TICK * 10));
        sockets = SocketMemory::higher(sockets, SocketMemory::now());
    }
    let after = sample(shared);
    let report = pacer.join().map_err(|_| LoadError::Thread("the pacer panicked".into()))?;
    Ok((report, warm_up, (before, after), sockets))
}

/// Fixes when the window begins: after a warm-up of that length, or when latency has settled. Blocks in the latter case.
pub(crate) fn end_warm_up(
    (origin, warm_start_ns): (Instant, u64),
    (warm_up_ms, settle_ms): (u64, u64),
    pulse: &Pulse,
    window_start_ns: &AtomicU64,
) -> WarmUp {
    let least = Duration::from_millis(warm_up_ms);
    let (warm_up, start_ns) = if settle_ms == 0 {
        (WarmUp::fixed(warm_up_ms), warm_start_ns + least.as_nanos() as u64)
    } else {
        let begun = origin + Duration::from_nanos(warm_start_ns);
        let warm_up = pulse.settle(begun, least, Duration::from_millis(settle_ms));
        (warm_up, origin.elapsed().as_nanos() as u64 + HEAD_START_NS)
    };
    window_start_ns.store(start_ns, std::sync::atomic::Ordering::Relaxed);
    warm_up
}

fn sample(shared: &Shared) -> Sample {
    let counters = &shared.counters;
    Sample::take(
        [get(&counters.sent), get(&counters.acked), get(&counters.delivered)],
        &shared.plan.server_pids,
        &shared.plan.redis_pids,
        THREAD_PREFIX,
    )
}

/// Waits until all faults were told of, repairs included, or the bound passes. Connections live on meanwhile.
fn await_faults(shared: &Shared, told: &Told, progress: &mut dyn FnMut(Progress)) -> Vec<faults::Injected> {
    let planned = shared.plan.faults.len();
    told.wait(planned, REPORT_BOUND, || {
        let (counters, unanswered) = (&shared.counters, get(&shared.counters.in_flight));
        let (delivered, expected) = (get(&counters.delivered), get(&counters.expected));
        progress(Progress::Draining { unanswered, delivered, expected });
    })
}

/// Waits until every send is answered and every acknowledged message is with all its subscribers,
/// or the plan's bound passes. Of several generators none knows by itself what is still to come: they are told.
fn drain(shared: &Shared, progress: &mut dyn FnMut(Progress), orders: Orders<'_>) {
    let give_up = Instant::now() + Duration::from_millis(shared.plan.drain_ms);
    let counters = &shared.counters;
    loop {
        let unanswered = get(&counters.in_flight);
        let (delivered, expected) = (get(&counters.delivered), get(&counters.expected));
        progress(Progress::Draining { unanswered, delivered, expected });
        let over = match orders {
            None => unanswered == 0 && delivered >= expected,
            Some(orders) => next_order(orders, TICK) == Some(Order::End),
        };
        if over || Instant::now() >= give_up {
            break;
        }
        if orders.is_none() {
            thread::sleep(TICK);
        }
    }
    thread::sleep(GRACE);
}
