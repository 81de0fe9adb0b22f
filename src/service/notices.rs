//! What instances tell each other about users, wherever those are connected: a log-in has ended, and its connections close on every
//! instance; somebody was added to a room or has another friend, and all their connections are told.
//!
//! An instance tells the others on a channel of their own, which is as every room's: at most once, and whoever may have missed
//! something is told that. Then every session with a connection here is asked for. What is missed all the same, the connections'
//! own checks find (every second heartbeat). Who was added finds the room in the list of theirs, and their friends in theirs.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use chatlab_kit::{
    ids::{RoomId, SessionId, UserId},
    wire::{FriendEntry, ServerFrame},
};
use chatlab_pubsub::{Fanout, FeedItem, Subscription};
use chatlab_sessions::Sessions;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::{
    hub::{
        Hub, backoff,
        frame::{Frame, Mark},
    },
    lock,
    ports::{Archive, ArchiveError},
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

/// What is said on the channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Word {
    Ended(Ended),
    /// A user is a member of a room by somebody else's doing.
    Added {
        added: UserId,
        room: RoomId,
    },
    /// Somebody is something else to a user than before.
    Friend {
        told: UserId,
        friend: UserId,
    },
}

/// Tells the other instances, and hears of what they tell.
pub struct Notices {
    fanout: Arc<dyn Fanout>,
    sessions: Arc<dyn Sessions>,
    archive: Arc<dyn Archive>,
    hub: Arc<Hub>,
    recent: Mutex<VecDeque<Ended>>,
    retries: TaskTracker,
}

impl Notices {
    /// Over the channels, the live log-ins, the rooms and the connections of this instance.
    pub fn new(
        fanout: Arc<dyn Fanout>,
        sessions: Arc<dyn Sessions>,
        archive: Arc<dyn Archive>,
        hub: Arc<Hub>,
    ) -> Self {
        Self { fanout, sessions, archive, hub, recent: Mutex::default(), retries: TaskTracker::new() }
    }

    /// Closes the connections of an ended log-in here, and has the others do the same. It has ended whether or not they hear of it now.
    pub async fn ended(&self, ended: &Ended) {
        self.close(ended);
        self.tell(&Word::Ended(ended.clone())).await;
    }

    /// Tells a user, wherever they are connected, that they are a member of a room now.
    pub async fn added(&self, user: UserId, room: RoomId) {
        self.tell(&Word::Added { added: user, room }).await;
    }

    /// Tells a user, wherever they are connected, that another one is something else to them than before.
    pub async fn friend(&self, told: UserId, friend: UserId) {
        self.tell(&Word::Friend { told, friend }).await;
    }

    async fn tell(&self, word: &Word) {
        let said = match serde_json::to_vec(word) {
            Ok(said) => Bytes::from(said),
            Err(error) => return tracing::error!(%error, "notices.tell"),
        };
        if let Err(error) = self.fanout.notify(&CHANNEL, said.clone()).await {
            tracing::warn!(%error, "notices.not_told");
            self.retries.spawn(tell_again(self.fanout.clone(), said));
        }
    }

    /// Until nothing is left to be told again: for who ends after what they did.
    pub async fn settle(&self) {
        self.retries.close();
        self.retries.wait().await;
    }

    /// Tells the connections that a user has here. Beside what else is heard: the archive is asked.
    fn welcome(&self, user: UserId, room: RoomId) {
        if self.hub.has_user(&user) {
            tokio::spawn(tell_added(self.archive.clone(), self.hub.clone(), user, room));
        }
    }

    /// The same for who is something else to a user than before.
    fn introduce(&self, told: UserId, friend: UserId) {
        if self.hub.has_user(&told) {
            tokio::spawn(tell_friend(self.archive.clone(), self.hub.clone(), told, friend));
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
                        Ok(Word::Ended(ended)) => self.close(&ended),
                        Ok(Word::Added { added, room }) => self.welcome(added, room),
                        Ok(Word::Friend { told, friend }) => self.introduce(told, friend),
                        Err(error) => tracing::warn!(%error, "notices.bad_notice"),
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
                Err(error) => tracing::warn!(%error, attempt, "notices.subscribe"),
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
                    Err(error) => tracing::debug!(%error, "notices.not_asked"),
                }
            })
            .await;
    }
}

async fn tell_added(archive: Arc<dyn Archive>, hub: Arc<Hub>, user: UserId, room: RoomId) {
    let info = match archive.room(&room, Some(&user)).await {
        Ok(Some(info)) => info,
        Ok(None) => return,
        Err(error) => return tracing::warn!(%room, %error, "notices.room_not_found"),
    };
    match Frame::new(&ServerFrame::Added(info), Mark::None) {
        Ok(frame) => hub.tell_user(&user, &frame),
        Err(error) => tracing::error!(%room, %error, "notices.frame"),
    }
}

async fn tell_friend(archive: Arc<dyn Archive>, hub: Arc<Hub>, told: UserId, friend: UserId) {
    let found = async {
        let state = archive.friend_state(&told, &friend).await?;
        let profile = archive.profile(&friend).await?;
        Ok::<_, ArchiveError>(profile.map(|of| FriendEntry {
            user: friend,
            name: of.name,
            state,
            status: None,
        }))
    };
    let entry = match found.await {
        Ok(Some(entry)) => entry,
        Ok(None) => return,
        Err(error) => return tracing::warn!(%error, "notices.friend_not_found"),
    };
    match Frame::new(&ServerFrame::Friend(entry), Mark::None) {
        Ok(frame) => hub.tell_user(&told, &frame),
        Err(error) => tracing::error!(%error, "notices.frame"),
    }
}

async fn tell_again(fanout: Arc<dyn Fanout>, said: Bytes) {
    for attempt in 1..=TELL_ATTEMPTS {
        sleep(backoff(attempt)).await;
        match fanout.notify(&CHANNEL, said.clone()).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, attempt, "notices.not_told"),
        }
    }
}
