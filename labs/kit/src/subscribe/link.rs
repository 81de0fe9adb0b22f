//! One connection to one node, for subscriptions only.
//!
//! What is true is read from the pushes, never from replies: redis-rs takes an unasked
//! `sunsubscribe` for the reply to whatever is in flight, so replies may be one off.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Pipeline, ProtocolVersion, PushInfo, PushKind, Value};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::channel::{Channel, Registry};
use super::{ChannelKind, LINK_TIMEOUT};
use crate::LabResult;
use crate::redis::RedisConfig;

/// Commands that wait for one connection; above it a channel waits for the next sweep.
const ISSUE_QUEUE: usize = 65_536;
/// The most commands that are pipelined at once, each with one channel.
const ISSUE_BATCH: usize = 128;

/// One command for the server.
struct Issue {
    subscribe: bool,
    kind: ChannelKind,
    name: Arc<str>,
}

impl Issue {
    const fn verb(&self) -> &'static str {
        match (self.kind, self.subscribe) {
            (ChannelKind::Sharded, true) => "SSUBSCRIBE",
            (ChannelKind::Sharded, false) => "SUNSUBSCRIBE",
            (ChannelKind::Classic, true) => "SUBSCRIBE",
            (ChannelKind::Classic, false) => "UNSUBSCRIBE",
        }
    }
}

/// What the connection's reader knows.
struct LinkState {
    id: u64,
    alive: AtomicBool,
    /// Unsubscriptions that we asked for and the server has not confirmed.
    leaving: Mutex<HashMap<(ChannelKind, Arc<str>), u32>>,
    registry: Arc<Registry>,
}

/// A connection to one node; dropping it closes the connection.
pub(super) struct Link {
    state: Arc<LinkState>,
    issues: mpsc::Sender<Issue>,
    issuer: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.issuer.abort();
    }
}

impl Link {
    /// Connects in RESP3, which alone has pushes beside replies.
    pub(super) async fn connect(
        config: &RedisConfig,
        node: &str,
        registry: Arc<Registry>,
    ) -> LabResult<Self> {
        let state = Arc::new(LinkState {
            id: registry.fresh_id(),
            alive: AtomicBool::new(true),
            leaving: Mutex::default(),
            registry,
        });
        let info = config.connection_info(node)?;
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let reader = state.clone();
        let options = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(LINK_TIMEOUT))
            .set_response_timeout(Some(LINK_TIMEOUT))
            .set_push_sender(move |push: PushInfo| -> Result<(), std::convert::Infallible> {
                reader.on_push(push);
                Ok(())
            });
        let connection = config
            .client_of(info.set_redis_settings(settings))?
            .get_multiplexed_async_connection_with_config(&options)
            .await?;
        let (issues, todo) = mpsc::channel(ISSUE_QUEUE);
        let issuer = tokio::spawn(issue_all(connection, todo, state.clone())).abort_handle();
        Ok(Self { state, issues, issuer })
    }

    pub(super) fn id(&self) -> u64 {
        self.state.id
    }

    pub(super) fn is_alive(&self) -> bool {
        self.state.alive.load(Ordering::Relaxed)
    }

    /// Asks the server for the channel; `false` when too much is waiting already.
    pub(super) fn subscribe(&self, channel: &Channel) -> bool {
        self.issue(channel, true)
    }

    /// Asks the server to drop the channel. Should the queue be full, the server keeps talking and
    /// the registry ignores it.
    pub(super) fn unsubscribe(&self, channel: &Channel) {
        let key = (channel.kind, channel.name.clone());
        *self.state.leaving().entry(key).or_default() += 1;
        if !self.issue(channel, false) {
            self.state.has_left(channel.kind, &channel.name);
        }
    }

    fn issue(&self, channel: &Channel, subscribe: bool) -> bool {
        let issue = Issue { subscribe, kind: channel.kind, name: channel.name.clone() };
        self.issues.try_send(issue).is_ok()
    }
}

impl LinkState {
    fn leaving(&self) -> std::sync::MutexGuard<'_, HashMap<(ChannelKind, Arc<str>), u32>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts off one unsubscription that we asked for; `false` if there was none.
    fn has_left(&self, kind: ChannelKind, name: &str) -> bool {
        let mut leaving = self.leaving();
        if leaving.is_empty() {
            return false;
        }
        let key = (kind, Arc::from(name));
        let Some(count) = leaving.get_mut(&key) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            leaving.remove(&key);
        }
        true
    }

    /// Runs in the connection's own task for every push: must not block.
    fn on_push(&self, push: PushInfo) {
        use ChannelKind::{Classic, Sharded};
        let mut data = push.data.into_iter();
        let name = match data.next() {
            Some(Value::BulkString(bytes)) => String::from_utf8(bytes).unwrap_or_default(),
            Some(Value::SimpleString(text)) => text,
            _ => String::new(),
        };
        match push.kind {
            PushKind::SMessage => self.deliver(Sharded, &name, data.next()),
            PushKind::Message => self.deliver(Classic, &name, data.next()),
            PushKind::SSubscribe => self.registry.confirmed(Sharded, &name, self.id),
            PushKind::Subscribe => self.registry.confirmed(Classic, &name, self.id),
            PushKind::SUnsubscribe => self.dropped(Sharded, &name),
            PushKind::Unsubscribe => self.dropped(Classic, &name),
            PushKind::Disconnection => self.died(),
            _ => {}
        }
    }

    fn deliver(&self, kind: ChannelKind, name: &str, payload: Option<Value>) {
        if let Some(Value::BulkString(payload)) = payload {
            self.registry.deliver(kind, name, self.id, payload);
        }
    }

    fn dropped(&self, kind: ChannelKind, name: &str) {
        if !self.has_left(kind, name) {
            self.registry.dropped(kind, name, self.id);
        }
    }

    fn died(&self) {
        if self.alive.swap(false, Ordering::Relaxed) {
            self.registry.wake.notify_one();
        }
    }
}

/// Sends what is queued, pipelined, **one channel a command**: several channels of different slots
/// in one `SSUBSCRIBE` are refused as a whole (CROSSSLOT).
async fn issue_all(
    mut connection: MultiplexedConnection,
    mut todo: mpsc::Receiver<Issue>,
    state: Arc<LinkState>,
) {
    let mut batch = Vec::with_capacity(ISSUE_BATCH);
    while todo.recv_many(&mut batch, ISSUE_BATCH).await > 0 {
        let mut pipeline = Pipeline::with_capacity(batch.len());
        for issue in batch.drain(..) {
            pipeline.cmd(issue.verb()).arg(&*issue.name);
        }
        match connection.send_packed_commands(&pipeline, 0, pipeline.len()).await {
            Ok(replies) => {
                let refused = replies.iter().any(|reply| matches!(reply, Value::ServerError(_)));
                if refused {
                    state.registry.map_is_stale.store(true, Ordering::Relaxed);
                    state.registry.wake.notify_one();
                }
            }
            Err(error) => {
                tracing::debug!(%error, "subscription connection failed");
                state.died();
                return;
            }
        }
    }
}
