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
mod line;
pub(crate) mod pacer;
mod phases;
mod poll;
mod resume;
mod seats;
mod shard;
mod shared;
mod slow;
mod state;

use std::{
    net::{SocketAddr, ToSocketAddrs},
    sync::{Arc, atomic::AtomicU64, mpsc::Receiver},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::mpsc::unbounded_channel;
use tokio_tungstenite::tungstenite::http::Uri;

pub(crate) use self::phases::end_warm_up;
use self::{
    audit::Audit,
    foreign::Foreign,
    pacer::Queues,
    phases::{await_faults, begin, connect, drain, measure},
    shard::Share,
    shared::{Counters, Shared, Slot, get},
    state::State,
};
use crate::{
    crew::{Order, Orders, Part, clock},
    faults::{self, Told},
    gather::{Gathered, Reopened},
    ledger::Ledger,
    plan::{Plan, PlanError, Progress},
    preflight::{PreflightError, preflight},
    reconcile::{Reconciliation, Snapshot},
    recorder::RecorderError,
    recording::{Observe, Recording, RecordingError},
    result::{Config, RunResult},
    schedule::Schedule,
    steady::Pulse,
};

/// How often progress is told and the end of a phase looked for.
pub(crate) const TICK: Duration = Duration::from_millis(20);
/// Between the order to start and the first arrival: longer than anybody waits before looking whether there is one.
pub(crate) const HEAD_START_NS: u64 = 50_000_000;
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
        let errors = join_shards(shards)?.errors;
        let kinds: Vec<_> = errors.iter().map(|(kind, n)| format!("{kind} ({n})")).collect();
        return Err(nobody_there(&kinds));
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
    let ledger = books::closed(&shared, state.ledger.clone(), fates.as_ref());
    let shared = Arc::try_unwrap(shared).map_err(|_| LoadError::Thread("still running".into()))?;
    let intended = shared.plan.own_due_by_second().iter().sum();
    let slow = shared.plan.slow.as_ref().map(|slow| (std::mem::take(&mut state.slow), slow.tokens.len()));
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
    if let Some((readers, planned)) = slow {
        result.add_slow(readers, planned);
    }
    if !reconciliation.nodes.is_empty() {
        result.reconcile(reconciliation);
    }
    if let Some(recording) = recording {
        recording.finish(&result)?;
    }
    Ok((result, books))
}

fn nobody_there(kinds: &[String]) -> LoadError {
    LoadError::NoConnection(kinds.join(", "))
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
        rooms: plan.rooms.iter().map(ToString::to_string).collect(),
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
