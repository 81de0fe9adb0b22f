//! Ended log-ins: their connections close on every instance, not only on the one that ended them.
//!
//! An instance tells the others on a channel of their own, which is as every room's: at most once, and whoever may have missed
//! something is told that. Then every session with a connection here is asked for. What is missed all the same, the connections'
//! own checks find (every second heartbeat).

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use chatlab_kit::ids::{RoomId, SessionId, UserId};
use chatlab_pubsub::{Fanout, FeedItem, Subscription};
use chatlab_sessions::Sessions;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use uuid::Uuid;

use super::{
    hub::{Hub, backoff},
    lock,
};

/// No room has this id: they are made with the time in them.
const CHANNEL: RoomId = RoomId(Uuid::nil());
/// How often others are told before it is left to the connections' own checks.
const TELL_ATTEMPTS: u32 = 8;
/// Sessions that are asked for at once after a gap.
const ASK_AT_ONCE: usize = 16;
/// The latest endings that are remembered, for connections that were let in and not registered yet when they came.
const RECENT: usize = 1024;

/// What ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// One log-in.
    Session(SessionId),
    /// All of a user's.
    User(UserId),
}

/// Tells of ended log-ins, and hears of them.
pub struct Endings {
    fanout: Arc<dyn Fanout>,
    sessions: Arc<dyn Sessions>,
    hub: Arc<Hub>,
    recent: Mutex<VecDeque<Ended>>,
}

impl Endings {
    /// Over the channels, the live log-ins and the connections of this instance.
    pub fn new(fanout: Arc<dyn Fanout>, sessions: Arc<dyn Sessions>, hub: Arc<Hub>) -> Self {
        Self { fanout, sessions, hub, recent: Mutex::default() }
    }

    /// Closes the connections here, and has the others do the same. It has ended whether or not they hear of it now.
    pub async fn tell(&self, ended: &Ended) {
        self.close(ended);
        let said = match serde_json::to_vec(ended) {
            Ok(said) => Bytes::from(said),
            Err(error) => return tracing::error!(%error, "endings.tell"),
        };
        if let Err(error) = self.fanout.notify(&CHANNEL, said.clone()).await {
            tracing::warn!(%error, "endings.not_told");
            tokio::spawn(tell_again(self.fanout.clone(), said));
        }
    }

    /// Whether a session may have ended lately, of which a connection that is registered now did not hear.
    pub fn doubts(&self, session: &SessionId) -> bool {
        lock(&self.recent).iter().any(|ended| match ended {
            Ended::Session(ended) => ended == session,
            Ended::User(user) => *user == session.user,
        })
    }

    fn close(&self, ended: &Ended) {
        {
            // First: who is registered after this looks here, who is registered before it is closed below.
            let mut recent = lock(&self.recent);
            if recent.len() == RECENT {
                recent.pop_front();
            }
            recent.push_back(ended.clone());
        }
        match ended {
            Ended::Session(session) => self.hub.close_session(session),
            Ended::User(user) => self.hub.close_user(user),
        }
    }

    /// Hears what the others tell, for ever.
    pub async fn tend(&self) {
        loop {
            let mut feed = self.subscribe().await;
            // Before it nothing was heard.
            self.ask_for_all().await;
            while let Some(item) = feed.recv().await {
                match item {
                    FeedItem::Payload(said) => match serde_json::from_slice(&said) {
                        Ok(ended) => self.close(&ended),
                        Err(error) => tracing::warn!(%error, "endings.bad_notice"),
                    },
                    FeedItem::Gap => self.ask_for_all().await,
                }
            }
        }
    }

    async fn subscribe(&self) -> Subscription {
        let mut attempt = 0;
        loop {
            match self.fanout.subscribe(&CHANNEL).await {
                Ok(feed) => return feed,
                Err(error) => tracing::warn!(%error, attempt, "endings.subscribe"),
            }
            attempt += 1;
            sleep(backoff(attempt)).await;
        }
    }

    /// Which of the sessions with a connection here have ended.
    async fn ask_for_all(&self) {
        let here: HashSet<SessionId> = self.hub.sessions();
        stream::iter(here)
            .for_each_concurrent(ASK_AT_ONCE, |session| async move {
                match self.sessions.touch(&session).await {
                    Ok(Some(_)) => {}
                    Ok(None) => self.hub.close_session(&session),
                    Err(error) => tracing::debug!(%error, "endings.not_asked"),
                }
            })
            .await;
    }
}

async fn tell_again(fanout: Arc<dyn Fanout>, said: Bytes) {
    for attempt in 1..=TELL_ATTEMPTS {
        sleep(backoff(attempt)).await;
        match fanout.notify(&CHANNEL, said.clone()).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, attempt, "endings.not_told"),
        }
    }
}
