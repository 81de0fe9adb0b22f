//! Parts of the server that take some putting together.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use chatlab_history::History;
use chatlab_kit::{ids::InstanceId, redis::Redis, wire::SLOW_S};
use chatlab_presence::Presence;
use chatlab_pubsub::Fanout;
use chatlab_ratelimit::{Limit, RateLimiter};
use chatlab_sessions::Sessions;

use super::build;
use crate::{
    archive::{PostgresArchive, SqliteArchive},
    config::{Database, LIMIT_WINDOW_MS, ServerConfig},
    mail::MailFolder,
    service::{
        attendance::Attendance,
        chat::Chat,
        events::Events,
        expiry::Expiry,
        hub::{Hub, Ports},
        limits::{Limited, Limits, Requests},
        notices::Notices,
        pace::Pace,
        people::People,
        ports::{Archive, Post},
        receipts::Receipts,
        typing::Typing,
        vault::Vault,
    },
};

/// The archive in a database, whose tables are brought up to date.
///
/// # Errors
/// When it can't be reached or opened, or holds something else; without a password in the words.
pub async fn open_archive(db: &Database) -> anyhow::Result<Arc<dyn Archive>> {
    db.check()?;
    let opened: Result<Arc<dyn Archive>, _> = match db {
        Database::File(path) => SqliteArchive::open(path).await.map(|archive| Arc::new(archive) as _),
        // What connecting to it takes is large, and would be part of all that opens an archive.
        Database::Postgres(url) => {
            Box::pin(PostgresArchive::open(url)).await.map(|archive| Arc::new(archive) as _)
        }
    };
    opened.with_context(|| format!("database {db}"))
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

/// The limits on log-ins, and the one on other requests.
pub(super) fn build_limits(config: &ServerConfig, redis: &Redis) -> anyhow::Result<(Limits, Requests)> {
    let limiter = |permits| -> anyhow::Result<Limited> {
        let limit = Limit::new(permits, LIMIT_WINDOW_MS);
        let limiter: Arc<dyn RateLimiter> = build(&config.variants, "ratelimit", |name| {
            chatlab_ratelimit::build(name, redis.clone(), limit)
        })?;
        Ok(Limited { limiter, limit })
    };
    let log_ins = Limits::new(limiter(config.logins_per_name)?, limiter(config.logins_per_address)?);
    Ok((log_ins, Requests::new(limiter(config.requests_per_user)?)))
}

/// Where letters go; nowhere unless a folder is named.
pub(super) fn build_post(config: &ServerConfig) -> anyhow::Result<Option<Arc<dyn Post>>> {
    let Some(folder) = &config.mail_dir else { return Ok(None) };
    let post = MailFolder::open(folder).with_context(|| format!("--mail-dir {}", folder.display()))?;
    Ok(Some(Arc::new(post)))
}

/// A limiter for each pause of slow mode.
fn build_pace(config: &ServerConfig, redis: &Redis) -> anyhow::Result<Pace> {
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
    pub(super) expiry: Expiry,
}

impl Live {
    pub(super) fn new(
        archive: &Arc<dyn Archive>,
        history: &Arc<dyn History>,
        fanout: &Arc<dyn Fanout>,
        (sessions, vault): (&Arc<dyn Sessions>, &Arc<Vault>),
        (presence, refresh): (Arc<dyn Presence>, Duration),
        events: &Events,
    ) -> Self {
        let typing = Arc::new(Typing::new(fanout.clone()));
        let hub = Arc::new(Hub::new(Ports {
            history: history.clone(),
            fanout: fanout.clone(),
            archive: archive.clone(),
            typing: typing.clone(),
            vault: vault.clone(),
        }));
        let (archive, fanout) = (archive.clone(), fanout.clone());
        Self {
            expiry: Expiry::new(archive.clone(), history.clone(), hub.clone()),
            receipts: Arc::new(Receipts::new(fanout.clone())),
            notices: Arc::new(Notices::new(fanout.clone(), sessions.clone(), archive.clone(), hub.clone())),
            attendance: Arc::new(Attendance::new(presence, archive, fanout, refresh, events.clone())),
            typing,
            hub,
        }
    }

    /// What users show of themselves, on this.
    pub(super) fn people(&self, archive: &Arc<dyn Archive>, events: &Events) -> People {
        People::new(archive.clone(), self.attendance.clone(), self.notices.clone(), events.clone())
    }

    /// What users do in rooms, on this.
    pub(super) fn chat(
        &self,
        (config, redis): (&ServerConfig, &Redis),
        archive: &Arc<dyn Archive>,
        (history, announcer): (Arc<dyn History>, Option<Arc<dyn Fanout>>),
        vault: Arc<Vault>,
        events: &Events,
    ) -> anyhow::Result<Chat> {
        Ok(Chat::new(
            archive.clone(),
            history,
            self.hub.clone(),
            (self.attendance.clone(), self.typing.clone(), self.receipts.clone()),
            announcer,
            (build_pace(config, redis)?, vault),
            (events.clone(), self.notices.clone()),
        ))
    }
}
