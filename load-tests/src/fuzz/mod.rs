//! Inputs that no honest client sends, and what the server must do all the same.
//!
//! | module | for |
//! | --- | --- |
//! | `case` | what one connection does, from the seed and its number alone |
//! | `frames`, `json`, `upgrade` | bad bytes of RFC 6455, bad JSON in good frames, bad upgrade requests |
//! | `socketio` | bad packets of Engine.IO and Socket.IO |
//! | `corpus` | the good ones that the bad ones are made of |
//! | `wire`, `heard` | a connection as bytes; what the server says, and whether it may |
//! | `play` | plays a case and judges the answers |
//! | `honest` | clients that must not notice |
//! | `verdict` | the whole run: its memory, what was let go, what was wrong |
//! | [`watch`] | panics, memory, connections, readiness |
//! | [`report`] | counts, and a case that failed as a file |
//!
//! Checked all the time: every answer is well-formed and one of the protocol's, a violation is closed with its code, a connection
//! that may live answers, no answer blames the server itself; honest clients are served in [`play::ANSWER_BOUND`]; nothing
//! panicked. Checked at the end: memory was flat, all connections were let go, and the server is ready.

mod case;
mod corpus;
mod frames;
mod heard;
mod honest;
mod json;
pub mod play;
pub mod report;
mod socketio;
mod upgrade;
mod verdict;
pub mod watch;
mod wire;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use chatlab_kit::ids::RoomId;
use hyper::Method;
use serde::Serialize;
use tokio::{task::JoinSet, time::Instant};

use self::{
    case::Case,
    honest::Honest,
    play::{Place, Played, play},
    report::{Failure, Report, Tally},
    verdict::{conclude, released, watch_over},
    watch::{look, ready},
};
use crate::http::HttpClient;

/// Connections at a time, unless told otherwise.
pub const CLIENTS: usize = 16;
/// Users that a run needs: two honest ones, and the others.
pub const USERS: usize = 10;
/// Rooms that a run needs: one for the honest ones, and the others'.
pub const ROOMS: usize = 4;
/// Honest clients ask after so many inputs, …
const INPUTS_A_PROBE: u64 = 200;
/// … and at least this often.
const PROBE_AT_LEAST: Duration = Duration::from_millis(500);
/// By so much memory may grow over the second half of a run, in bytes.
pub const MAX_GROWTH_BYTES: u64 = 8 << 20;
/// By so much it may be over what it was before the run at any time, in bytes: buffers of all connections at once, and what the
/// allocator keeps of them.
pub const MAX_PEAK_BYTES: u64 = 64 << 20;
/// A run goes on after so many cases that failed.
const MAX_FAILURES: usize = 20;
/// Of so many cases that ended last, a panic is searched for in those that ended abruptly.
const SUSPECTS: usize = 64;

/// What is fuzzed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The native WebSocket protocol.
    Ws,
    /// The Socket.IO endpoint.
    Socketio,
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ws" => Ok(Self::Ws),
            "socketio" => Ok(Self::Socketio),
            _ => Err("give ws or socketio".to_owned()),
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ws => "ws",
            Self::Socketio => "socketio",
        })
    }
}

/// How.
#[derive(Clone, Debug)]
pub struct Options {
    /// What.
    pub kind: Kind,
    /// All inputs follow from it.
    pub seed: u64,
    /// For how long.
    pub time: Duration,
    /// Connections at a time.
    pub clients: usize,
    /// The number of the first case.
    pub first: u64,
    /// How many cases at most.
    pub cases: Option<u64>,
}

/// The server, with users and rooms for a run.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub server: SocketAddr,
    /// Its process.
    pub pid: u32,
    /// Its log.
    pub log: PathBuf,
    /// An access token of each of [`USERS`] users.
    pub tokens: Vec<String>,
    /// [`ROOMS`] rooms.
    pub rooms: Vec<RoomId>,
}

/// Why nothing was fuzzed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FuzzError {
    /// There is nothing to be fuzzed.
    #[error("this server has no Socket.IO endpoint: GET {path} answered {status}. Nothing was fuzzed")]
    NoEndpoint {
        /// What was asked.
        path: String,
        /// What it answered.
        status: u16,
    },
    /// The run could not begin.
    #[error("the server can't be fuzzed: {0}")]
    NotReady(String),
}

/// What is shared by all who take part.
struct Field {
    target: Target,
    options: Options,
    next: AtomicU64,
    inputs: AtomicU64,
    attackers: AtomicUsize,
    stop: AtomicBool,
    tally: Mutex<Tally>,
    failures: Mutex<Vec<Failure>>,
    /// Cases that ended abruptly, the last of them.
    abrupt: Mutex<VecDeque<u64>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Field {
    fn new(target: &Target, options: &Options) -> Self {
        Self {
            target: target.clone(),
            options: options.clone(),
            next: AtomicU64::new(options.first),
            inputs: AtomicU64::new(0),
            attackers: AtomicUsize::new(options.clients.max(1)),
            stop: AtomicBool::new(false),
            tally: Mutex::default(),
            failures: Mutex::default(),
            abrupt: Mutex::default(),
        }
    }

    /// One case is no reason to stop: another failure may be another fault.
    fn fail(&self, failure: Failure) {
        let mut failures = lock(&self.failures);
        let enough = failure.case.is_none() || failures.len() + 1 >= MAX_FAILURES;
        failures.push(failure);
        self.stop.fetch_or(enough, Relaxed);
    }

    fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    fn case(&self, number: u64) -> Case {
        Case::nth(self.options.kind, self.options.seed, number)
    }

    /// Where a case is played: the first two users and the first room are those of the honest.
    fn place(&self, case: &Case) -> Place {
        let (tokens, rooms) = (&self.target.tokens[2..], &self.target.rooms[1..]);
        Place {
            server: self.target.server,
            kind: self.options.kind,
            token: tokens[case.user % tokens.len()].clone(),
            room: rooms[case.user % rooms.len()],
        }
    }

    async fn attack(self: Arc<Self>) {
        let last = self.options.cases.map_or(u64::MAX, |cases| self.options.first.saturating_add(cases));
        while !self.stopped() {
            let number = self.next.fetch_add(1, Relaxed);
            if number >= last {
                break;
            }
            let case = self.case(number);
            let played = Box::pin(play(&case, &self.place(&case))).await;
            self.note(&case, played);
        }
        // Nobody is left: there are no more cases.
        if self.attackers.fetch_sub(1, Relaxed) == 1 {
            self.stop.store(true, Relaxed);
        }
    }

    fn note(&self, case: &Case, played: Played) {
        self.inputs.fetch_add(case.inputs(), Relaxed);
        if played.abrupt {
            let mut abrupt = lock(&self.abrupt);
            abrupt.push_back(case.number);
            if abrupt.len() > SUSPECTS {
                abrupt.pop_front();
            }
        }
        lock(&self.tally).add(case, &played);
        if let Some(what) = played.wrong {
            self.fail(Failure::of_case(what, case, &self.options, &played.labels));
        }
    }

    async fn ask_honestly(self: Arc<Self>, mut honest: Honest) {
        let (mut asked_at, mut asked) = (0, Instant::now());
        while !self.stopped() {
            let inputs = self.inputs.load(Relaxed);
            if inputs < asked_at + INPUTS_A_PROBE && asked.elapsed() < PROBE_AT_LEAST {
                if let Err(what) = honest.idle(Duration::from_millis(20)).await {
                    self.fail(Failure::of_run(what));
                }
                continue;
            }
            (asked_at, asked) = (inputs, Instant::now());
            match honest.probe().await {
                Ok(took) => lock(&self.tally).probe(took),
                Err(what) => self.fail(Failure::of_run(what)),
            }
        }
        honest.go().await;
    }

    /// After a panic: each suspect alone, until one does it again.
    async fn find_panic(&self, http: &HttpClient, mut panics: f64) -> Option<Failure> {
        let suspects = std::mem::take(&mut *lock(&self.abrupt));
        for number in suspects.into_iter().rev() {
            let case = self.case(number);
            let played = Box::pin(play(&case, &self.place(&case))).await;
            let Ok(seen) = look(http, self.target.pid).await else { continue };
            if seen.panics > panics {
                let what = "the server panicked".to_owned();
                return Some(Failure::of_case(what, &case, &self.options, &played.labels));
            }
            panics = seen.panics;
        }
        None
    }
}

/// Whether there is what is to be fuzzed.
async fn has_endpoint(http: &HttpClient, kind: Kind) -> Result<(), FuzzError> {
    if kind == Kind::Ws {
        return Ok(());
    }
    let path = format!("{}?EIO=4&transport=polling", socketio::PATH);
    let answer = http.request(Method::GET, &path, None, None).await;
    match answer.map_err(|e| FuzzError::NotReady(e.to_string()))?.status {
        200 => Ok(()),
        status => Err(FuzzError::NoEndpoint { path, status }),
    }
}

/// Fuzzes a server for a while. `tell` hears every second of cases and inputs so far.
///
/// # Errors
/// [`FuzzError`] when nothing could be fuzzed. What the server did wrong is in the report.
pub async fn run(
    target: &Target,
    options: &Options,
    tell: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Report, FuzzError> {
    let not_ready = FuzzError::NotReady;
    if target.tokens.len() < USERS || target.rooms.len() < ROOMS {
        return Err(not_ready(format!("{USERS} users and {ROOMS} rooms are needed")));
    }
    let http = HttpClient::new(&format!("http://{}", target.server));
    has_endpoint(&http, options.kind).await?;
    ready(&http).await.map_err(not_ready)?;
    let before = look(&http, target.pid).await.map_err(not_ready)?;
    let field = Arc::new(Field::new(target, options));
    let ws_url = format!("ws://{}/ws", target.server);
    let tokens = [target.tokens[0].clone(), target.tokens[1].clone()];
    let engine = (options.kind == Kind::Socketio).then(|| Place {
        server: target.server,
        kind: options.kind,
        token: target.tokens[0].clone(),
        room: target.rooms[0],
    });
    let honest = Honest::arrive(&ws_url, tokens, target.rooms[0], engine).await;
    let honest = honest.map_err(|error| not_ready(error.to_string()))?;
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::clone(&field).ask_honestly(honest));
    for _ in 0..options.clients.max(1) {
        tasks.spawn(Arc::clone(&field).attack());
    }
    let samples = watch_over(&field, &http, before, tell).await;
    field.stop.store(true, Relaxed);
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            field.fail(Failure::of_run(format!("the fuzzer itself failed: {error}")));
        }
    }
    let took = began.elapsed();
    let after = released(&field, &http, before).await;
    Ok(conclude(&field, &http, (before, after), &samples, took).await)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn an_endpoint_that_is_not_there_is_said_not_to_be_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let _ = client.read(&mut [0; 1024]).await;
                let _ = client.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
            }
        });
        let http = HttpClient::new(&url);
        assert_eq!(has_endpoint(&http, Kind::Ws).await, Ok(()));
        let error = has_endpoint(&http, Kind::Socketio).await.unwrap_err();
        assert!(matches!(error, FuzzError::NoEndpoint { status: 404, .. }), "{error}");
        assert!(error.to_string().contains("no Socket.IO endpoint: GET /socket.io/?EIO=4"), "{error}");
    }
}
