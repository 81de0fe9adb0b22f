//! Parts of the server that take some putting together.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use chatlab_history::History;
use chatlab_kit::{ids::InstanceId, lab::VariantKind, redis::Redis, subscribe::Subscriptions, wire::SLOW_S};
use chatlab_presence::Presence;
use chatlab_pubsub::{Fanout, Sharded};
use chatlab_ratelimit::{Limit, RateLimiter};
use chatlab_sessions::Sessions;

use crate::{
    config::{LOGIN_WINDOW_MS, ServerConfig, Variants},
    seats,
    service::{
        attendance::Attendance,
        events::Events,
        hub::{Hub, Ports},
        limits::{Limited, Limits},
        notices::Notices,
        pace::Pace,
        ports::Archive,
        receipts::Receipts,
        typing::Typing,
    },
};

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
pub(super) fn build<P>(
    variants: &Variants,
    lab: &str,
    make: impl FnOnce(&str) -> Option<P>,
) -> anyhow::Result<P> {
    let name = seated(variants, lab);
    make(name).with_context(|| match name {
        "exercise" => {
            format!("this program has no exercise of {lab}: `chatlab play {lab}` builds one that has")
        }
        name => format!("the lab {lab} has no variant `{name}`"),
    })
}

/// Refuses what this server of Redis can't run, and warns of what is broken on purpose.
pub(super) async fn check_seats(variants: &Variants, redis: &Redis) -> anyhow::Result<()> {
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

/// How messages come from the history to the listeners.
pub(super) struct Delivery {
    pub(super) history: Arc<dyn History>,
    pub(super) fanout: Arc<dyn Fanout>,
    /// For a fan-out that does not hear what the history's script announces.
    pub(super) announcer: Option<Arc<dyn Fanout>>,
    pub(super) subscriptions: Option<Subscriptions>,
}

impl Delivery {
    pub(super) async fn build(config: &ServerConfig, redis: &Redis) -> anyhow::Result<Self> {
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

pub(super) fn build_presence(
    config: &ServerConfig,
    redis: &Redis,
) -> anyhow::Result<(Arc<dyn Presence>, Duration)> {
    let lease_ms = config.presence_lease_ms;
    let policy = chatlab_presence::Policy { lease_ms, refresh_ms: (lease_ms * 3 / 10).max(1) };
    let presence = build(&config.variants, "presence", |name| {
        chatlab_presence::build(name, redis.clone(), InstanceId::new(), policy)
    })?;
    Ok((presence, Duration::from_millis(policy.refresh_ms)))
}

pub(super) fn build_limits(config: &ServerConfig, redis: &Redis) -> anyhow::Result<Limits> {
    let limiter = |permits| -> anyhow::Result<Limited> {
        let limit = Limit::new(permits, LOGIN_WINDOW_MS);
        let limiter: Arc<dyn RateLimiter> = build(&config.variants, "ratelimit", |name| {
            chatlab_ratelimit::build(name, redis.clone(), limit)
        })?;
        Ok(Limited { limiter, limit })
    };
    Ok(Limits::new(limiter(config.logins_per_name)?, limiter(config.logins_per_address)?))
}

/// A limiter for each pause of slow mode.
pub(super) fn build_pace(config: &ServerConfig, redis: &Redis) -> anyhow::Result<Pace> {
    let pauses = SLOW_S.into_iter().filter(|pause| *pause > 0);
    let limiters = pauses.map(|pause| {
        let limit = Limit::new(1, u64::from(pause) * 1_000);
        let limiter: Arc<dyn RateLimiter> = build(&config.variants, "ratelimit", |name| {
            chatlab_ratelimit::build(name, redis.clone(), limit)
        })?;
        Ok((pause, limiter))
    });
    Ok(Pace::new(limiters.collect::<anyhow::Result<_>>()?))
}

/// What connections are told of, and by whom.
pub(super) struct Live {
    pub(super) hub: Arc<Hub>,
    pub(super) attendance: Arc<Attendance>,
    pub(super) typing: Arc<Typing>,
    pub(super) receipts: Arc<Receipts>,
    pub(super) notices: Arc<Notices>,
}

impl Live {
    pub(super) fn new(
        archive: &Arc<dyn Archive>,
        history: &Arc<dyn History>,
        fanout: &Arc<dyn Fanout>,
        sessions: &Arc<dyn Sessions>,
        (presence, refresh): (Arc<dyn Presence>, Duration),
        events: &Events,
    ) -> Self {
        let typing = Arc::new(Typing::new(fanout.clone()));
        let hub = Arc::new(Hub::new(Ports {
            history: history.clone(),
            fanout: fanout.clone(),
            archive: archive.clone(),
            typing: typing.clone(),
        }));
        let (archive, fanout) = (archive.clone(), fanout.clone());
        Self {
            receipts: Arc::new(Receipts::new(fanout.clone())),
            notices: Arc::new(Notices::new(fanout.clone(), sessions.clone(), archive.clone(), hub.clone())),
            attendance: Arc::new(Attendance::new(presence, archive, fanout, refresh, events.clone())),
            typing,
            hub,
        }
    }
}
