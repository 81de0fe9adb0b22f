//! The composition root: the only place that picks variants and adapters.

mod parts;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use async_trait::async_trait;
use chatlab_audit::outbox::{Outbox, OutboxPolicy, Streams};
use chatlab_cluster::replication::GroupWait;
use chatlab_kit::{
    ids::{InstanceId, UserId},
    keys,
    redis::Redis,
    subscribe::Subscriptions,
    wire::ErrorCode,
};
use chatlab_sessions::Sessions;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    archive::SqliteArchive,
    config::ServerConfig,
    gateway::{
        self, Gateway,
        accept::{self, Bounds},
        health::{Ping, Probes},
    },
    service::{
        accounts::Accounts,
        archivist::{Archivist, Auditor},
        chat::Chat,
        commits::Commits,
        consume::Consumer,
        events::{self, Events, Topic},
        expiry::Expiry,
        hub::outbox::Closing,
        levels::Levels,
        notices::Notices,
        passwords::Passwords,
        ports::Archive,
        tokens::Tokens,
    },
    telemetry,
};
use parts::{Delivery, Live, build, build_limits, build_pace, build_presence, check_seats};

/// How long requests that are under way get after the connections are gone.
const LAST_REQUESTS: Duration = Duration::from_secs(2);
/// How long a stop waits until the users who left are taken out of presence and told of.
const LAST_DEPARTURES: Duration = Duration::from_secs(3);

/// The server, connected to everything and ready to be [`serve`]d.
pub struct App {
    gateway: Arc<Gateway>,
    notices: Arc<Notices>,
    expiry: Expiry,
    subscriptions: Option<Subscriptions>,
    outbox: Arc<dyn Outbox>,
    events: Events,
    waiting: events::Waiting,
    commits: Arc<Commits>,
    consumers: Vec<Consumer>,
    drain: Duration,
}

/// What both the server and [`crate::provision`] stand on.
pub(crate) struct Base {
    pub(crate) redis: Redis,
    pub(crate) archive: Arc<SqliteArchive>,
    pub(crate) sessions: Arc<dyn Sessions>,
    pub(crate) tokens: Tokens,
}

impl Base {
    pub(crate) async fn open(config: &ServerConfig) -> anyhow::Result<Self> {
        let redis = Redis::connect(&config.redis)
            .await
            .with_context(|| format!("Redis at {}", config.redis.nodes.join(", ")))?;
        check_seats(&config.variants, &redis).await?;
        let archive = SqliteArchive::open(&config.db)
            .await
            .with_context(|| format!("database {}", config.db.display()))?;
        let policy = chatlab_sessions::Policy::default();
        let sessions =
            build(&config.variants, "sessions", |name| chatlab_sessions::build(name, redis.clone(), policy))?;
        Ok(Self {
            sessions,
            archive: Arc::new(archive),
            tokens: Tokens::new(&config.secret()?, config.token_ttl_s, policy.absolute_ms / 1000)?,
            redis,
        })
    }
}

impl App {
    /// Connects to Redis, opens the archive, and puts the chosen variants together.
    ///
    /// # Errors
    /// When Redis or the database can't be reached, a setting is not valid, or a variant is not to be had.
    pub async fn build(config: &ServerConfig) -> anyhow::Result<Self> {
        let Base { redis, archive, sessions, tokens } = Base::open(config).await?;
        let recorder = telemetry::recorder()?;
        let archive: Arc<dyn Archive> = archive;
        let Delivery { history, fanout, announcer, subscriptions } = Delivery::build(config, &redis).await?;
        let (presence, refresh) = build_presence(config, &redis)?;
        let limits = build_limits(config, &redis)?;
        let outbox: Arc<dyn Outbox> = Arc::new(Streams::new(redis.clone(), OutboxPolicy::default()));
        let (events, waiting) = Events::new();
        let commits = Arc::new(Commits::new(archive.clone()));
        let consumers = consumers(&outbox, &events, &archive, &commits);
        let replication = Arc::new(GroupWait::new(redis.clone()));
        let levels = Levels::new(history.clone(), archive.clone(), replication, commits.clone());
        let live = Live::new(&archive, &history, &fanout, &sessions, (presence, refresh), &events);
        let expiry = Expiry::new(archive.clone(), history.clone(), live.hub.clone());
        let pace = build_pace(config, &redis)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let gateway = Gateway {
            accounts: Accounts::new(
                archive.clone(),
                sessions,
                Passwords::new(cores)?,
                tokens,
                limits,
                events.clone(),
                live.notices.clone(),
            ),
            chat: Chat::new(
                archive.clone(),
                history,
                live.hub.clone(),
                (live.attendance.clone(), live.typing.clone(), live.receipts.clone()),
                announcer,
                pace,
                (events.clone(), live.notices.clone()),
            ),
            levels: Arc::new(levels),
            hub: live.hub,
            attendance: live.attendance,
            typing: live.typing,
            receipts: live.receipts,
            probes: Probes {
                redis: Arc::new(RedisPing(redis)),
                fanout,
                archive,
                consumers: consumers.iter().map(Consumer::status).collect(),
                recorder,
                started: Instant::now(),
            },
            allow_origins: config.allow_origins.clone(),
            heartbeat: Duration::from_millis(config.heartbeat_ms),
            max_connections: config.max_connections,
            sockets: TaskTracker::new(),
            polled: gateway::socketio::Sessions::default(),
            stopping: CancellationToken::new(),
        };
        Ok(Self {
            gateway: Arc::new(gateway),
            notices: live.notices,
            expiry,
            subscriptions,
            outbox,
            events,
            waiting,
            commits,
            consumers,
            drain: Duration::from_millis(config.drain_ms),
        })
    }
}

/// The groups of the server itself.
fn consumers(
    outbox: &Arc<dyn Outbox>,
    events: &Events,
    archive: &Arc<dyn Archive>,
    commits: &Arc<Commits>,
) -> Vec<Consumer> {
    let me = InstanceId::new().to_string();
    let messages = Arc::new(Archivist { archive: archive.clone(), commits: commits.clone() });
    let audit = Arc::new(Auditor(archive.clone()));
    let consumer = |of, work| Consumer::new(outbox.clone(), events.clone(), of, me.clone(), work);
    vec![
        consumer((Topic::MessageCreated, "persistence"), messages),
        consumer((Topic::AuditLog, "audit"), audit),
    ]
}

/// Serves until `shutdown` is cancelled, then lets everybody go: no new connections, readiness red,
/// `bye` with resume positions to all, and a bounded wait.
///
/// # Errors
/// When the task that takes connections in fails.
pub async fn serve(app: App, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    let App { gateway, notices, expiry, subscriptions, outbox, events, waiting, commits, consumers, drain } =
        app;
    let stop = CancellationToken::new();
    let _stop_on_drop = stop.clone().drop_guard();
    let upkeep = tokio::spawn(upkeep(gateway.probes.recorder.clone(), stop.clone()));
    let mut beside = JoinSet::new();
    let (tending, telling) = (gateway.attendance.clone(), gateway.attendance.clone());
    let (typing, receipts) = (gateway.typing.clone(), gateway.receipts.clone());
    beside.spawn(async move { tending.tend().await });
    beside.spawn(async move { telling.tell().await });
    beside.spawn(async move { notices.tend().await });
    beside.spawn(async move { expiry.tend().await });
    let consuming = CancellationToken::new();
    let _consume_until_drop = consuming.clone().drop_guard();
    let mut readers = JoinSet::new();
    for consumer in consumers {
        let stop = consuming.clone();
        readers.spawn(async move { consumer.run(stop).await });
    }
    beside.spawn(events::write(outbox, events, waiting));
    beside.spawn(async move { typing.tend().await });
    beside.spawn(async move { receipts.tend().await });
    beside.spawn(async move { commits.tend().await });
    let (router, bounds) = (gateway::router(gateway.clone()), Bounds::new(gateway.max_connections));
    let mut serving = tokio::spawn(accept::run(listener, router, bounds, stop.clone()));
    tokio::select! {
        () = shutdown.cancelled() => {}
        ended = &mut serving => return Ok(ended?),
    }
    tracing::info!(connections = gateway.hub.connections(), "server.stopping");
    gateway.stopping.cancel();
    stop.cancel();
    let closing = Closing::new(ErrorCode::GoingAway, "the server is stopping, connect again");
    gateway.hub.close_all(&closing);
    gateway.sockets.close();
    if tokio::time::timeout(drain, gateway.sockets.wait()).await.is_err() {
        tracing::warn!(connections = gateway.sockets.len(), "server.drain_timed_out");
    }
    match tokio::time::timeout(LAST_REQUESTS, &mut serving).await {
        Ok(ended) => ended?,
        Err(_) => serving.abort(),
    }
    gateway.attendance.settle(LAST_DEPARTURES).await;
    consuming.cancel();
    while readers.join_next().await.is_some() {}
    beside.shutdown().await;
    if let Some(subscriptions) = subscriptions {
        subscriptions.shutdown().await;
    }
    upkeep.abort();
    tracing::info!("server.stopped");
    Ok(())
}

/// Histograms collect until somebody reads them: this does when nobody scrapes.
async fn upkeep(recorder: metrics_exporter_prometheus::PrometheusHandle, stop: CancellationToken) {
    let mut every = tokio::time::interval(telemetry::UPKEEP);
    while stop.run_until_cancelled(every.tick()).await.is_some() {
        recorder.run_upkeep();
    }
}

/// A read of nobody's sessions: a real command through the server's own connection, whatever variants run. Every
/// master by itself is covered by the subscriptions' probe.
struct RedisPing(Redis);

#[async_trait]
impl Ping for RedisPing {
    async fn ping(&self) -> Result<(), String> {
        let nobody = keys::user_sessions(&UserId(uuid::Uuid::nil()));
        let asked: redis::RedisResult<u64> =
            redis::cmd("EXISTS").arg(nobody).query_async(&mut self.0.clone()).await;
        asked.map(drop).map_err(|e| e.to_string())
    }
}
