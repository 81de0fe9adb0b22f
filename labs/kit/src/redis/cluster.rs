//! redis-rs' cluster client, replaced when it hangs.
//!
//! A command that finds no node for its slot has redis-rs ask the cluster for its slots. That question needs a lock for which other
//! commands may stand in line already, and those are not looked at again before it is answered: under load, right after a
//! master's death, both wait for good and every command times out, also when the cluster is whole again (seen with 1.8.1;
//! `labs/kit/tests/failover.rs` provokes it each time). So a fresh client takes its place when [`STUCK`] commands wait and none was
//! answered for [`SILENCE`], or when so many timed out in a row: callers that ask one thing at a time never wait together.
//! What the old one has not answered by then times out at once, with the same meaning as ever: it may have been done.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use ::redis::aio::ConnectionLike;
use ::redis::cluster::ClusterClient;
use ::redis::cluster_async::ClusterConnection;
use ::redis::{Cmd, Pipeline, RedisError, RedisFuture, RedisResult, Value};
use tokio_util::sync::CancellationToken;

/// So many commands wait together, or time out one after the other, before a client is taken to hang.
const STUCK: u32 = 4;
/// So long none of them is answered. Far above a healthy reply, and well below the time in which a replica takes over: what hangs then
/// is replaced until it need not hang.
const SILENCE: Duration = Duration::from_secs(2);
/// How often that is looked at: who waits in vain asks nothing more.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a fresh client may take to connect.
const RENEW_TIMEOUT: Duration = Duration::from_secs(10);

/// A handle on the newest client.
#[derive(Clone)]
pub(super) struct Cluster {
    current: Current,
    shared: Arc<Shared>,
}

/// A client, and what is seen of it.
#[derive(Clone)]
struct Current {
    connection: ClusterConnection,
    signs: Arc<Signs>,
}

struct Shared {
    client: ClusterClient,
    newest: Mutex<Current>,
    generation: AtomicU64,
    renewing: AtomicBool,
}

/// Whether one client is alive.
struct Signs {
    generation: u64,
    began: Instant,
    /// Commands on their way.
    waiting: AtomicU32,
    /// Since when none was answered, or none was on its way: milliseconds after `began`.
    silent_since: AtomicU64,
    /// Commands that timed out since one got through.
    timeouts: AtomicU32,
    /// Another one has taken its place.
    replaced: CancellationToken,
}

/// A command on its way, until it is answered or its caller gives up.
struct Sent {
    shared: Arc<Shared>,
    signs: Arc<Signs>,
}

impl Cluster {
    /// Connects.
    pub(super) async fn connect(client: ClusterClient) -> RedisResult<Self> {
        let connection = client.get_async_connection().await?;
        let current = Current { connection, signs: Arc::new(Signs::new(0)) };
        let shared = Shared {
            client,
            newest: Mutex::new(current.clone()),
            generation: AtomicU64::new(0),
            renewing: AtomicBool::new(false),
        };
        let shared = Arc::new(shared);
        tokio::spawn(watch(Arc::downgrade(&shared)));
        Ok(Self { current, shared })
    }

    /// The newest client, and a command that is on its way to it.
    fn newest(&mut self) -> (&mut ClusterConnection, Sent) {
        if self.shared.generation.load(Relaxed) != self.current.signs.generation {
            self.current = self.shared.newest().clone();
        }
        let signs = self.current.signs.clone();
        signs.one_more();
        (&mut self.current.connection, Sent { shared: self.shared.clone(), signs })
    }

    pub(super) fn command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let (client, sent) = self.newest();
        let answer = client.req_packed_command(cmd);
        Box::pin(sent.wait(answer))
    }

    pub(super) fn pipeline<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let (client, sent) = self.newest();
        let answer = client.req_packed_commands(pipeline, offset, count);
        Box::pin(sent.wait(answer))
    }
}

impl Sent {
    async fn wait<T>(self, answer: RedisFuture<'_, T>) -> RedisResult<T> {
        let result = tokio::select! {
            biased;
            result = answer => result,
            () = self.signs.replaced.cancelled() => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        };
        let timed_out = result.as_ref().is_err_and(RedisError::is_timeout);
        if timed_out && self.signs.timed_out() {
            self.shared.replace(&self.signs);
        }
        if !timed_out {
            self.signs.answered();
        }
        result
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.signs.waiting.fetch_sub(1, Relaxed);
    }
}

impl Signs {
    fn new(generation: u64) -> Self {
        Self {
            generation,
            began: Instant::now(),
            waiting: AtomicU32::new(0),
            silent_since: AtomicU64::new(0),
            timeouts: AtomicU32::new(0),
            replaced: CancellationToken::new(),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Counts a command in.
    fn one_more(&self) {
        if self.waiting.fetch_add(1, Relaxed) == 0 {
            self.silent_since.store(self.now_ms(), Relaxed);
        }
    }

    /// Whether commands wait in vain.
    fn hangs(&self) -> bool {
        let silent_ms = self.now_ms().saturating_sub(self.silent_since.load(Relaxed));
        self.waiting.load(Relaxed) >= STUCK && u128::from(silent_ms) >= SILENCE.as_millis()
    }

    /// Counts what timed out. Whether it was one too many.
    fn timed_out(&self) -> bool {
        self.timeouts.fetch_add(1, Relaxed) + 1 >= STUCK
    }

    /// Whatever else is answered, an error too: the client is alive.
    fn answered(&self) {
        self.silent_since.store(self.now_ms(), Relaxed);
        if self.timeouts.load(Relaxed) > 0 {
            self.timeouts.store(0, Relaxed);
        }
    }

    /// Another silence, and other timeouts, must go by before it is looked at again.
    fn again(&self) {
        self.silent_since.store(self.now_ms(), Relaxed);
        self.timeouts.store(0, Relaxed);
    }
}

impl Shared {
    fn newest(&self) -> MutexGuard<'_, Current> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a fresh client made in place of the one with these signs, unless that was done or is being done.
    fn replace(self: &Arc<Self>, signs: &Arc<Signs>) {
        if self.renewing.swap(true, Relaxed) {
            return;
        }
        if signs.generation == self.generation.load(Relaxed) {
            tokio::spawn(self.clone().renew(signs.clone()));
        } else {
            self.renewing.store(false, Relaxed);
        }
    }

    async fn renew(self: Arc<Self>, signs: Arc<Signs>) {
        let (timeouts, waiting) = (signs.timeouts.load(Relaxed), signs.waiting.load(Relaxed));
        tracing::warn!(timeouts, waiting, "redis.cluster_client_hangs");
        match tokio::time::timeout(RENEW_TIMEOUT, self.client.get_async_connection()).await {
            Ok(Ok(connection)) => {
                let generation = signs.generation + 1;
                *self.newest() = Current { connection, signs: Arc::new(Signs::new(generation)) };
                self.generation.store(generation, Relaxed);
                signs.replaced.cancel();
                tracing::info!("redis.cluster_client_renewed");
            }
            Ok(Err(error)) => tracing::warn!(%error, "redis.cluster_client_not_renewed"),
            Err(_) => tracing::warn!("redis.cluster_client_not_renewed"),
        }
        signs.again();
        self.renewing.store(false, Relaxed);
    }
}

/// Looks whether the newest client hangs, until the last handle is gone.
async fn watch(shared: Weak<Shared>) {
    loop {
        // The interval between two looks.
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(shared) = shared.upgrade() else { return };
        let signs = shared.newest().signs.clone();
        if signs.hangs() {
            shared.replace(&signs);
        }
    }
}
