//! The composition root: the only place that picks variants and adapters.

mod operator;
mod parts;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use async_trait::async_trait;
use chatlab_audit::outbox::{Outbox, OutboxPolicy, Streams};
use chatlab_cluster::replication::GroupWait;
use chatlab_history::History;
use chatlab_kit::{
    ids::{InstanceId, UserId},
    keys,
    lab::VariantKind,
    redis::Redis,
    subscribe::Subscriptions,
    wire::ErrorCode,
};
use chatlab_pubsub::{Fanout, Sharded};
use chatlab_sessions::Sessions;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{ServerConfig, Variants},
    gateway::{
        self, Gateway,
        accept::{self, Bounds},
        health::{Ping, Probes},
    },
    seats,
    service::{
        accounts::Accounts,
        addresses::Addresses,
        archivist::{Archivist, Auditor},
        commits::Commits,
        consume::Consumer,
        events::{self, Events, Topic},
        expiry::Expiry,
        hub::outbox::Closing,
        levels::Levels,
        mail::Mail,
        notices::Notices,
        passwords::Passwords,
        ports::Archive,
        tokens::Tokens,
        vault::Vault,
    },
    telemetry,
};
pub use operator::Operator;
pub use parts::open_archive;
use parts::{Live, build_limits, build_post, build_presence};

/// How long requests that are under way get after the connections are gone.
const LAST_REQUESTS: Duration = Duration::from_secs(2);
/// How long a stop waits until the users who left are taken out of presence and told of.
const LAST_DEPARTURES: Duration = Duration::from_secs(3);

/// What the server runs in each seat unless told otherwise.
const REFERENCES: [(&str, &str); 5] = [
    ("sessions", "hash_index"),
    ("presence", "zset_lease"),
    ("history", "zset_hash"),
    ("ratelimit", "gcra"),
    ("pubsub", "sharded"),
];

/// The name of the variant in a lab's seat.
fn seated<'a>(variants: &'a Variants, lab: &str) -> &'a str {
    let reference = || REFERENCES.iter().find(|(of, _)| *of == lab).map_or("", |(_, name)| name);
    variants.of(lab).unwrap_or_else(reference)
}

/// Builds what is in a lab's seat.
fn build<P>(variants: &Variants, lab: &str, make: impl FnOnce(&str) -> Option<P>) -> anyhow::Result<P> {
    let name = seated(variants, lab);
    make(name).with_context(|| match name {
        "exercise" => {
            format!("this program has no exercise of {lab}: `chatlab play {lab}` builds one that has")
        }
        name => format!("the lab {lab} has no variant `{name}`"),
    })
}

/// Refuses what this server of Redis can't run, and warns of what is broken on purpose.
async fn check_seats(variants: &Variants, redis: &Redis) -> anyhow::Result<()> {
    for seats::Seated { lab, variant } in seats::all(variants)? {
        if let Some(needs) = variant.needs {
            let has = needs.met(redis).await?;
            anyhow::ensure!(has, "{}={} needs {needs}, which this server lacks", lab.id(), variant.name);
        }
        if let VariantKind::Flawed { caught_by } = variant.kind {
            tracing::warn!(lab = lab.id(), variant = variant.name, caught_by, "server.flawed_variant");
        }
    }
    Ok(())
}

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
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) sessions: Arc<dyn Sessions>,
    pub(crate) tokens: Tokens,
}

impl Base {
    pub(crate) async fn open(config: &ServerConfig) -> anyhow::Result<Self> {
        let redis = Redis::connect(&config.redis)
            .await
            .with_context(|| format!("Redis at {}", config.redis.nodes.join(", ")))?;
        check_seats(&config.variants, &redis).await?;
        let archive = open_archive(&config.db).await?;
        let policy = chatlab_sessions::Policy::default();
        let sessions =
            build(&config.variants, "sessions", |name| chatlab_sessions::build(name, redis.clone(), policy))?;
        Ok(Self {
            sessions,
            archive,
            tokens: Tokens::new(&config.secret()?, config.token_ttl_s, policy.absolute_ms / 1000)?,
            redis,
        })
    }
}

/// How messages come from the history to the listeners.
struct Delivery {
    history: Arc<dyn History>,
    fanout: Arc<dyn Fanout>,
    /// For a fan-out that does not hear what the history's script announces.
    announcer: Option<Arc<dyn Fanout>>,
    subscriptions: Option<Subscriptions>,
}

impl Delivery {
    async fn build(config: &ServerConfig, redis: &Redis) -> anyhow::Result<Self> {
        let variants = &config.variants;
        let history = build(variants, "history", |name| {
            let hot_messages = config.hot_messages;
            let policy = chatlab_history::Policy { hot_messages, ..chatlab_history::Policy::default() };
            chatlab_history::build(name, redis.clone(), policy)
        })?;
        if seated(variants, "pubsub") == "sharded" {
            let subscriptions = Subscriptions::start(&config.redis).await.context("subscriptions")?;
            let fanout = Arc::new(Sharded::new(redis.clone(), subscriptions.clone()));
            return Ok(Self { history, fanout, announcer: None, subscriptions: Some(subscriptions) });
        }
        // Has channels or structures of its own, which the history's script does not write.
        let fanout = build(variants, "pubsub", |name| chatlab_pubsub::build(name, redis.clone()))?;
        Ok(Self { history, announcer: Some(fanout.clone()), fanout, subscriptions: None })
    }
}

impl App {
    /// Connects to Redis, opens the archive, and puts the chosen variants together. Texts are kept as `vault` seals them.
    ///
    /// # Errors
    /// When Redis or the database can't be reached, a setting is not valid, or a variant is not to be had.
    pub async fn build(config: &ServerConfig, vault: Vault) -> anyhow::Result<Self> {
        let vault = Arc::new(vault);
        let Base { redis, archive, sessions, tokens } = Base::open(config).await?;
        let recorder = telemetry::recorder()?;
        let Delivery { history, fanout, announcer, subscriptions } = Delivery::build(config, &redis).await?;
        let (presence, refresh) = build_presence(config, &redis)?;
        let (limits, requests) = build_limits(config, &redis)?;
        let outbox: Arc<dyn Outbox> = Arc::new(Streams::new(redis.clone(), OutboxPolicy::default()));
        let (events, waiting) = Events::new();
        let commits = Arc::new(Commits::new(archive.clone()));
        let consumers = consumers(&outbox, &events, &archive, &commits);
        let replication = Arc::new(GroupWait::new(redis.clone()));
        let levels = Levels::new(history.clone(), archive.clone(), replication, commits.clone());
        let live = Live::new(&archive, &history, &fanout, (&sessions, &vault), (presence, refresh), &events);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let gateway = Gateway {
            addresses: Arc::new(Addresses::load(archive.clone(), live.hub.clone()).await?),
            accounts: Accounts::new(
                archive.clone(),
                sessions,
                Passwords::new(cores)?,
                tokens,
                limits,
                events.clone(),
                live.notices.clone(),
            ),
            chat: live.chat((config, &redis), &archive, (history, announcer), vault, &events)?,
            requests,
            people: live.people(&archive, &events),
            mail: Mail::new(archive.clone(), build_post(config)?, events.clone()),
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
            expiry: live.expiry,
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
    let addresses = gateway.addresses.clone();
    beside.spawn(async move { addresses.tend().await });
    let consuming = CancellationToken::new();
    let _consume_until_drop = consuming.clone().drop_guard();
    let mut readers = JoinSet::new();
    for consumer in consumers {
        let stop = consuming.clone();
        readers.spawn(async move { consumer.run(stop).await });
    }
    beside.spawn(async move {
        events::write(outbox, events, waiting).await;
    });
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
