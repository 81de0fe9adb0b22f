//! The composition root: the only place that picks variants and adapters.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use async_trait::async_trait;
use chatlab_history::{Announce, History, ZsetHash};
use chatlab_kit::{
    ids::{RoomId, UserId},
    redis::Redis,
    subscribe::Subscriptions,
    wire::ErrorCode,
};
use chatlab_pubsub::{Fanout, Sharded};
use chatlab_sessions::{HashIndex, Policy, Sessions};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::net::TcpListener;
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
        chat::Chat,
        hub::{Hub, Ports, outbox::Closing},
        passwords::Passwords,
        ports::{Archive, RoomKind, RoomRecord},
        tokens::Tokens,
    },
    telemetry,
};

/// Sessions that [`provision`] creates at a time.
const PROVISION_IN_FLIGHT: usize = 256;
/// How long requests that are under way get after the connections are gone.
const LAST_REQUESTS: Duration = Duration::from_secs(2);

/// The server, connected to everything and ready to be [`serve`]d.
pub struct App {
    gateway: Arc<Gateway>,
    subscriptions: Subscriptions,
    drain: Duration,
}

/// What both the server and [`provision`] stand on.
struct Base {
    redis: Redis,
    archive: Arc<SqliteArchive>,
    sessions: Arc<dyn Sessions>,
    tokens: Tokens,
}

impl Base {
    async fn open(config: &ServerConfig) -> anyhow::Result<Self> {
        let redis = Redis::connect(&config.redis)
            .await
            .with_context(|| format!("Redis at {}", config.redis.nodes.join(", ")))?;
        let archive = SqliteArchive::open(&config.db)
            .await
            .with_context(|| format!("database {}", config.db.display()))?;
        Ok(Self {
            sessions: Arc::new(HashIndex::new(redis.clone(), Policy::default())),
            archive: Arc::new(archive),
            tokens: Tokens::new(&config.secret()?, config.token_ttl_s)?,
            redis,
        })
    }
}

impl App {
    /// Connects to Redis, opens the archive, and puts the reference variants together.
    ///
    /// # Errors
    /// When Redis or the database can't be reached, or a setting is not valid.
    pub async fn build(config: &ServerConfig) -> anyhow::Result<Self> {
        let Base { redis, archive, sessions, tokens } = Base::open(config).await?;
        let recorder = telemetry::recorder()?;
        let subscriptions = Subscriptions::start(&config.redis).await.context("subscriptions")?;
        let archive: Arc<dyn Archive> = archive;
        let history: Arc<dyn History> = Arc::new(ZsetHash::new(redis.clone(), Announce::Sharded));
        let fanout: Arc<dyn Fanout> = Arc::new(Sharded::new(redis.clone(), subscriptions.clone()));
        let hub = Arc::new(Hub::new(Ports {
            history: history.clone(),
            fanout: fanout.clone(),
            archive: archive.clone(),
        }));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let accounts = Accounts::new(archive.clone(), sessions.clone(), Passwords::new(cores)?, tokens);
        let gateway = Gateway {
            accounts,
            chat: Chat::new(archive.clone(), history, hub.clone()),
            hub,
            probes: Probes {
                redis: Arc::new(RedisPing(sessions)),
                fanout,
                archive,
                recorder,
                started: Instant::now(),
            },
            allow_origins: config.allow_origins.clone(),
            heartbeat: Duration::from_millis(config.heartbeat_ms),
            max_connections: config.max_connections,
            sockets: TaskTracker::new(),
            stopping: CancellationToken::new(),
        };
        Ok(Self { gateway: Arc::new(gateway), subscriptions, drain: Duration::from_millis(config.drain_ms) })
    }
}

/// Serves until `shutdown` is cancelled, then lets everybody go: no new connections, readiness red,
/// `bye` with resume positions to all, and a bounded wait.
///
/// # Errors
/// When the task that takes connections in fails.
pub async fn serve(app: App, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    let App { gateway, subscriptions, drain } = app;
    let stop = CancellationToken::new();
    let _stop_on_drop = stop.clone().drop_guard();
    let upkeep = tokio::spawn(upkeep(gateway.probes.recorder.clone(), stop.clone()));
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
    subscriptions.shutdown().await;
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

/// A read of nobody's sessions: a real command through the server's own connection. Every master
/// by itself is covered by the subscriptions' probe.
struct RedisPing(Arc<dyn Sessions>);

#[async_trait]
impl Ping for RedisPing {
    async fn ping(&self) -> Result<(), String> {
        self.0.list(&UserId(uuid::Uuid::nil())).await.map(drop).map_err(|e| e.to_string())
    }
}

/// Makes accounts with live sessions, and rooms, without a running server: only the same database,
/// Redis and secret. Returns a token for each user, and the rooms.
///
/// # Errors
/// When Redis or the database can't be reached.
pub async fn provision(
    config: &ServerConfig,
    users: usize,
    rooms: usize,
) -> anyhow::Result<(Vec<String>, Vec<RoomId>)> {
    anyhow::ensure!(users > 0, "rooms need a user who makes them");
    let Base { archive, sessions, tokens, .. } = Base::open(config).await?;
    let hash = Passwords::new(1)?.hash("provisioned-password".to_owned()).await?;
    let prefix = format!("u{}", &uuid::Uuid::new_v4().as_simple().to_string()[..8]);
    let ids = archive.seed_users(&prefix, users, &hash).await?;
    let minted = stream::iter(ids.clone())
        .map(|user| start_session(&*sessions, &tokens, user))
        .buffered(PROVISION_IN_FLIGHT)
        .try_collect()
        .await?;
    let records: Vec<RoomRecord> = (0..rooms)
        .map(|i| RoomRecord {
            id: RoomId::new(),
            name: format!("{prefix} room {}", i + 1),
            kind: RoomKind::Group,
            created_by: ids[i % ids.len()],
            created_ms: crate::service::now_ms(),
        })
        .collect();
    for room in &records {
        archive.add_room(room).await?;
    }
    Ok((minted, records.into_iter().map(|room| room.id).collect()))
}

async fn start_session(sessions: &dyn Sessions, tokens: &Tokens, user: UserId) -> anyhow::Result<String> {
    let session = sessions.create(&user, "provisioned").await?;
    Ok(tokens.mint(&session.id)?)
}
