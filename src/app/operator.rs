//! What an operator changes beside the servers that run: the same rules on the same Redis and database, without a door of its own.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use chatlab_audit::outbox::{Outbox, OutboxPolicy, Streams};
use chatlab_kit::subscribe::Subscriptions;
use tokio::{task::JoinHandle, time::timeout};

use super::{
    Base, Delivery,
    parts::{Live, build_limits, build_presence},
};
use crate::{
    config::ServerConfig,
    service::{
        accounts::Accounts,
        chat::Chat,
        events::{self, Events},
        notices::Notices,
        passwords::Passwords,
        ports::Archive,
        vault::Vault,
    },
};

/// How long the end waits until all instances are told, and again until all events are written.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// The services of a server that listens nowhere.
pub struct Operator {
    /// Users and their log-ins.
    pub accounts: Accounts,
    /// Rooms.
    pub chat: Chat,
    /// Accounts, rooms and memberships.
    pub archive: Arc<dyn Archive>,
    notices: Arc<Notices>,
    subscriptions: Option<Subscriptions>,
    writing: JoinHandle<u64>,
}

impl Operator {
    /// Connects to Redis and opens the archive. What signs tokens has no part in this: none is made or read. What is said is sealed by `vault`.
    ///
    /// # Errors
    /// When Redis or the database can't be reached, or a variant is not to be had.
    pub async fn open(config: &ServerConfig, vault: Vault) -> anyhow::Result<Self> {
        // So that no file of a secret is made, which would be another one than that of the servers.
        let unused = uuid::Uuid::new_v4().simple().to_string();
        let config = &ServerConfig { jwt_secret: Some(unused), ..config.clone() };
        let Base { redis, archive, sessions, tokens } = Base::open(config).await?;
        let vault = Arc::new(vault);
        let Delivery { history, fanout, announcer, subscriptions } = Delivery::build(config, &redis).await?;
        let presence = build_presence(config, &redis)?;
        let (limits, _) = build_limits(config, &redis)?;
        let outbox: Arc<dyn Outbox> = Arc::new(Streams::new(redis.clone(), OutboxPolicy::default()));
        let (events, waiting) = Events::new();
        let live = Live::new(&archive, &history, &fanout, (&sessions, &vault), presence, &events);
        let chat = live.chat((config, &redis), &archive, (history, announcer), vault, &events)?;
        let accounts = Accounts::new(
            archive.clone(),
            sessions,
            Passwords::new(1)?,
            tokens,
            limits,
            events.clone(),
            live.notices.clone(),
        );
        let writing = tokio::spawn(events::write(outbox, events, waiting));
        Ok(Self { accounts, chat, archive, notices: live.notices, subscriptions, writing })
    }

    /// Ends when all instances are told and all events are written, or it takes too long.
    ///
    /// # Errors
    /// When not all was told or written. What was changed holds all the same.
    pub async fn finish(self) -> anyhow::Result<()> {
        let Self { accounts, chat, archive, notices, subscriptions, writing } = self;
        let told = timeout(LAST_WORDS, async { tokio::join!(chat.settle(), notices.settle()) }).await;
        // Who tells no more is gone: the writer ends with the last of them.
        drop((accounts, chat, archive, notices));
        let written = timeout(LAST_WORDS, writing).await;
        if let Some(subscriptions) = subscriptions {
            subscriptions.shutdown().await;
        }
        if told.is_err() {
            bail!("not all servers were told: each finds it when it looks for itself");
        }
        let lost = written.context("not all events were written: the audit log lacks them")??;
        ensure!(lost == 0, "{lost} events could not be written: the audit log lacks them");
        Ok(())
    }
}
