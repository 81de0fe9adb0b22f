//! The reader's run, from the first connection to the result.

use std::{
    io::{self, BufReader, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use super::{
    plan::{ACCEPTED, Bare, BarePlan, Begin, CONNECT_MS, Orders, Written, hear, say},
    reader::{Reader, Shared, Tally, Window},
};
use crate::{
    config::Config,
    eye::Watch,
    faults::monotonic_ns,
    gather::{Gathered, Reopened, Sample},
    ledger::Totals,
    plan::Progress,
    preflight::preflight,
    recorder::{Latency, Recorder},
    recording::{Observe, Recording},
    result::RunResult,
    steady::WarmUp,
    verdict::{Evidence, Kind, Limits},
    ws::{HEAD_START_NS, LoadError, THREAD_PREFIX, TICK},
};

/// The control connection, the listeners' files and the like, beside the sockets.
const SPARE: usize = 8;

/// Carries out a plan before a writer that listens, and judges the run. Blocks for the run's whole time.
///
/// # Errors
/// [`LoadError`] when there is nothing to judge: the writer does not answer, or goes away.
pub fn generate(plan: &BarePlan, progress: &mut dyn FnMut(Progress)) -> Result<RunResult, LoadError> {
    plan.check()?;
    let nofile = preflight(plan.sockets + SPARE)?.nofile;
    let orders = plan.orders();
    let recording = recording(plan)?;
    let mut open = Open::new(plan, &orders, progress).map_err(no_connection)?;
    let window = open.begin(&orders);
    let shared = Arc::new(Shared::default());
    let mut recorder = Recorder::new()?;
    if let Some(recording) = &recording {
        recorder.set_live(recording.source(0)?);
        recording.begin(open.origin, window.start_ns - window.origin_ns);
    }
    let bursts = orders.warm_up().count() + plan.schedule.count();
    let reader =
        Reader::new((shared.clone(), orders), window, bursts as usize, open.take_sockets(), recorder);
    let reader = thread::Builder::new()
        .name(format!("{THREAD_PREFIX}io-0"))
        .spawn(move || reader.run())
        .map_err(LoadError::Runtime)?;
    let run = conduct(plan, &mut open, (&shared, window), progress);
    shared.stop.store(true, Relaxed);
    let tally = reader.join().map_err(|_| LoadError::Thread("the reader panicked".into()))?.map_err(gone)?;
    let (written, samples) = run?;
    let result = gather(plan, nofile, &written, tally, samples)?;
    if let Some(recording) = recording {
        recording.finish(&result)?;
    }
    Ok(result)
}

/// Lets the writer begin, and waits until all is read. What it wrote, and the processes before and after the window.
fn conduct(
    plan: &BarePlan,
    open: &mut Open,
    (shared, window): (&Shared, Window),
    progress: &mut dyn FnMut(Progress),
) -> Result<(Written, (Sample, Sample)), LoadError> {
    let begin_ns = window.start_ns - plan.warm_up_ms * 1_000_000;
    say(&mut open.control, &Begin { begin_ns }).map_err(gone)?;
    let samples = measure(plan, shared, window, progress);
    let written = open.written(plan).map_err(gone)?;
    drain(plan, shared, written.by_socket.iter().sum(), progress);
    Ok((written, samples))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn no_connection(error: io::Error) -> LoadError {
    LoadError::NoConnection(format!("the writer: {error}"))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn gone(error: io::Error) -> LoadError {
    LoadError::Thread(format!("the bare loop broke: {error}"))
}

fn recording(plan: &BarePlan) -> Result<Option<Recording>, LoadError> {
    let Some(dir) = &plan.record else { return Ok(None) };
    let observe = Observe { server_pids: vec![plan.writer_pid], redis_pids: Vec::new() };
    Ok(Some(Recording::start(dir, 1, Some(plan.schedule.due_by_second()), observe)?))
}

/// Everything that is open before the run.
struct Open {
    control: TcpStream,
    told: BufReader<TcpStream>,
    sockets: Vec<TcpStream>,
    origin: Instant,
    origin_ns: u64,
}

impl Open {
    fn new(plan: &BarePlan, orders: &Orders, progress: &mut dyn FnMut(Progress)) -> io::Result<Self> {
        let to = plan.writer.to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let mut control = connect(to)?;
        control.set_read_timeout(Some(Duration::from_millis(CONNECT_MS)))?;
        let mut told = BufReader::new(control.try_clone()?);
        say(&mut control, orders)?;
        let of = plan.sockets as u64;
        let mut sockets = Vec::with_capacity(plan.sockets);
        for number in 0..plan.sockets {
            progress(Progress::Connecting { done: number as u64, of });
            let mut socket = connect(to)?;
            // Connections need not be accepted in the order in which they were opened.
            socket.write_all(&(number as u32).to_le_bytes())?;
            sockets.push(socket);
        }
        let accepted: String = hear(&mut told)?;
        if accepted != ACCEPTED {
            return Err(io::Error::other("it is no bare loop"));
        }
        progress(Progress::Connecting { done: of, of });
        Ok(Self { control, told, sockets, origin: Instant::now(), origin_ns: monotonic_ns() })
    }

    fn take_sockets(&mut self) -> Vec<TcpStream> {
        std::mem::take(&mut self.sockets)
    }

    /// Fixes when the window is.
    fn begin(&self, orders: &Orders) -> Window {
        let begin_ns = monotonic_ns() + HEAD_START_NS;
        Window {
            origin_ns: self.origin_ns,
            start_ns: begin_ns + orders.warm_up_ms * 1_000_000,
            duration_ns: orders.schedule.duration_ns,
            first: orders.warm_up().count() as u32,
        }
    }

    /// What the writer did: it says so when it has done.
    fn written(&mut self, plan: &BarePlan) -> io::Result<Written> {
        // It gives up after that time itself.
        self.control.set_read_timeout(Some(Duration::from_millis(plan.drain_ms + CONNECT_MS)))?;
        hear(&mut self.told)
    }
}

fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, Duration::from_millis(CONNECT_MS))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The warm-up and the window.
fn measure(
    plan: &BarePlan,
    shared: &Shared,
    window: Window,
    progress: &mut dyn FnMut(Progress),
) -> (Sample, Sample) {
    let pids = [plan.writer_pid];
    let counters = || shared.counters.each_ref().map(|counter| counter.load(Relaxed));
    let mut watch = Watch::new(&shared.eye, plan.schedule.due_by_second(), THREAD_PREFIX);
    progress(Progress::WarmUp);
    thread::sleep(Duration::from_nanos(window.start_ns.saturating_sub(monotonic_ns())));
    let before = Sample::take(counters(), &pids, &[], THREAD_PREFIX);
    let whole = Duration::from_nanos(window.duration_ns);
    loop {
        let elapsed = Duration::from_nanos(monotonic_ns().saturating_sub(window.start_ns));
        if elapsed >= whole {
            break;
        }
        let [begun, read, frames] = counters();
        progress(Progress::Measuring {
            elapsed_ms: elapsed.as_millis() as u64,
            of_ms: whole.as_millis() as u64,
            sent: begun,
            delivered: frames,
            now: watch.look(elapsed, begun.saturating_sub(read)),
        });
        thread::sleep((whole - elapsed).min(TICK * 10));
    }
    (before, Sample::take(counters(), &pids, &[], THREAD_PREFIX).with_sockets(&pids, &[]))
}

/// Waits until all that was written is read, or the plan's bound passes.
fn drain(plan: &BarePlan, shared: &Shared, expected: u64, progress: &mut dyn FnMut(Progress)) {
    let give_up = Instant::now() + Duration::from_millis(plan.drain_ms);
    loop {
        let delivered = shared.counters[2].load(Relaxed);
        progress(Progress::Draining { unanswered: 0, delivered, expected });
        // What comes on top of it within a tick is a duplicate.
        thread::sleep(TICK);
        if delivered >= expected || Instant::now() >= give_up {
            return;
        }
    }
}

fn gather(
    plan: &BarePlan,
    nofile: u64,
    written: &Written,
    tally: Tally,
    (before, after): (Sample, Sample),
) -> Result<RunResult, LoadError> {
    let bare = Bare::of(written, plan.bytes, tally.frames);
    let mut result = RunResult::gather(Gathered {
        scenario: plan.scenario.clone(),
        labels: plan.labels.clone(),
        config: config(plan),
        nofile,
        intended: plan.schedule.count(),
        sent: written.bursts,
        acked: tally.bursts,
        delivered: tally.frames,
        cap_hits: 0,
        unsent: written.unwritten,
        connect_failures: 0,
        disconnects: tally.broken,
        error_frames: 0,
        presence_frames: 0,
        polls: [0, 0],
        errors: Default::default(),
        ledger: ledger(written, &tally),
        recorder: tally.recorder,
        reopened: Reopened { latency: Latency::new()?, failures: 0 },
        operations: Vec::new(),
        books: None,
        warm_up: WarmUp::fixed(plan.warm_up_ms),
        before,
        after,
    })?;
    for evidence in rules(&bare, &plan.limits) {
        result.verdict.add(evidence);
    }
    if !result.verdict.is_valid() {
        result.headline = None;
    }
    result.bare = Some(bare);
    Ok(result)
}

/// The writer's count of each socket beside the reader's.
fn ledger(written: &Written, tally: &Tally) -> Totals {
    let mut totals = Totals { delivered: tally.by_socket.iter().sum(), ..tally.totals };
    for (at, read) in tally.by_socket.iter().enumerate() {
        let wrote = written.by_socket.get(at).copied().unwrap_or_default();
        totals.lost += wrote.saturating_sub(*read);
        totals.duplicated += read.saturating_sub(wrote);
    }
    totals
}

/// What holds for a bare loop only.
fn rules(bare: &Bare, limits: &Limits) -> [Evidence; 2] {
    let share = |cores: f64| format!("{:.0} %", cores * 100.0);
    [
        Evidence {
            rule: "writer_thread_cpu".into(),
            means: Kind::GeneratorBound,
            seen: bare.thread_cores.map_or_else(|| "unknown".into(), share),
            limit: share(limits.thread_cpu),
            kept: bare.thread_cores.is_none_or(|cores| cores <= limits.thread_cpu),
        },
        Evidence {
            rule: "one_call_a_write".into(),
            means: Kind::Unstable,
            seen: format!("{} calls, {} writes", bare.calls, bare.writes),
            limit: "as many".into(),
            kept: bare.calls == bare.writes,
        },
    ]
}

fn config(plan: &BarePlan) -> Config {
    Config {
        lab: None,
        redis: None,
        sql: None,
        http: None,
        churn_conns: 0,
        churn_per_s: 0.0,
        storm: None,
        receive: None,
        slow: None,
        conns: plan.sockets,
        rooms: plan.rooms,
        rooms_per_conn: 1,
        rate_per_s: plan.schedule.rate_per_s,
        secs: plan.schedule.duration_ns as f64 / 1e9,
        body_bytes: plan.bytes,
        schedule: plan.schedule.kind.to_string(),
        closed_concurrency: None,
        seed: plan.schedule.seed,
        schedule_sha256: plan.schedule.hash(),
        servers: 1,
        in_flight_cap: 0,
        threads: 1,
        limits: plan.limits,
    }
}
