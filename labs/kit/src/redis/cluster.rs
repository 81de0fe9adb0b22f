//! redis-rs' cluster client, replaced when it hangs.
//!
//! A command that finds no node for its slot has redis-rs ask the cluster for its slots. That question needs a lock for which other
//! commands may stand in line already, and those are not looked at again before it is answered: under load, right after a
//! master's death, both wait for good and every command times out, also when the cluster is whole again (seen with 1.8.1;
//! `labs/kit/tests/failover.rs` provokes it each time). So when [`STUCK`] commands in a row have timed out and none got
//! through, a fresh client takes its place.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::aio::ConnectionLike;
use ::redis::cluster::ClusterClient;
use ::redis::cluster_async::ClusterConnection;
use ::redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value};

/// So many commands time out one after the other before a client is taken to hang.
const STUCK: u32 = 4;
/// How long a fresh client may take to connect.
const RENEW_TIMEOUT: Duration = Duration::from_secs(10);

/// A handle on the newest client.
#[derive(Clone)]
pub(super) struct Cluster {
    current: ClusterConnection,
    generation: u64,
    shared: Arc<Shared>,
}

struct Shared {
    client: ClusterClient,
    newest: Mutex<ClusterConnection>,
    generation: AtomicU64,
    /// Commands that timed out since one got through.
    timeouts: AtomicU32,
    renewing: AtomicBool,
}

impl Cluster {
    /// Connects.
    pub(super) async fn connect(client: ClusterClient) -> RedisResult<Self> {
        let current = client.get_async_connection().await?;
        let shared = Shared {
            client,
            newest: Mutex::new(current.clone()),
            generation: AtomicU64::new(0),
            timeouts: AtomicU32::new(0),
            renewing: AtomicBool::new(false),
        };
        Ok(Self { current, generation: 0, shared: Arc::new(shared) })
    }

    /// The newest client, where to say what became of a command, and of which client it was.
    fn newest(&mut self) -> (&mut ClusterConnection, &Arc<Shared>, u64) {
        let generation = self.shared.generation.load(Relaxed);
        if generation != self.generation {
            self.generation = generation;
            self.current = self.shared.newest().clone();
        }
        (&mut self.current, &self.shared, generation)
    }

    pub(super) fn command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let (client, shared, generation) = self.newest();
        let sent = client.req_packed_command(cmd);
        Box::pin(async move { shared.saw(generation, sent.await) })
    }

    pub(super) fn pipeline<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let (client, shared, generation) = self.newest();
        let sent = client.req_packed_commands(pipeline, offset, count);
        Box::pin(async move { shared.saw(generation, sent.await) })
    }
}

impl Shared {
    fn newest(&self) -> MutexGuard<'_, ClusterConnection> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what timed out; whatever else is answered, the client is alive. What a client did that was replaced says nothing about
    /// the one in its place.
    fn saw<T>(self: &Arc<Self>, generation: u64, result: RedisResult<T>) -> RedisResult<T> {
        if generation != self.generation.load(Relaxed) {
            return result;
        }
        match &result {
            Err(error) if error.is_timeout() => {
                let in_a_row = self.timeouts.fetch_add(1, Relaxed) + 1;
                if in_a_row >= STUCK && !self.renewing.swap(true, Relaxed) {
                    tokio::spawn(self.clone().renew());
                }
            }
            _ if self.timeouts.load(Relaxed) > 0 => self.timeouts.store(0, Relaxed),
            _ => {}
        }
        result
    }

    async fn renew(self: Arc<Self>) {
        tracing::warn!(timeouts = self.timeouts.load(Relaxed), "redis.cluster_client_hangs");
        match tokio::time::timeout(RENEW_TIMEOUT, self.client.get_async_connection()).await {
            Ok(Ok(fresh)) => {
                *self.newest() = fresh;
                self.generation.fetch_add(1, Relaxed);
                tracing::info!("redis.cluster_client_renewed");
            }
            Ok(Err(error)) => tracing::warn!(%error, "redis.cluster_client_not_renewed"),
            Err(_) => tracing::warn!("redis.cluster_client_not_renewed"),
        }
        self.timeouts.store(0, Relaxed);
        self.renewing.store(false, Relaxed);
    }
}
