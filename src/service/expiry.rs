//! Direct chats that have ended: nobody listens any more, and what was said is removed.
//!
//! Every instance looks; what several do at once is done once. First all who listen are let go. Some time later, when nothing that was
//! under way can come any more, Redis forgets the room, and then the archive: who dies in between leaves the rest to the next look.

use std::{sync::Arc, time::Duration};

use chatlab_history::History;
use chatlab_kit::ids::RoomId;
use tokio::time::MissedTickBehavior;

use super::{hub::Hub, now_ms, ports::Archive};

/// How often it is looked for chats that have ended.
const LOOK: Duration = Duration::from_secs(5);
/// How long after its end a chat is removed, in milliseconds.
const REMOVED_AFTER_MS: i64 = 60_000;
/// The most rooms that one look is about; the others wait for the next.
const ROOMS: u32 = 100;

/// Removes what has ended.
pub struct Expiry {
    archive: Arc<dyn Archive>,
    history: Arc<dyn History>,
    hub: Arc<Hub>,
}

impl Expiry {
    /// Over the rooms, what was said in them, and who listens.
    pub fn new(archive: Arc<dyn Archive>, history: Arc<dyn History>, hub: Arc<Hub>) -> Self {
        Self { archive, history, hub }
    }

    /// Looks now and then, for ever.
    pub async fn tend(&self) {
        let mut every = tokio::time::interval(LOOK);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            self.look(now_ms(), REMOVED_AFTER_MS).await;
        }
    }

    /// Lets go whoever listens to what had ended by `now_ms`, and removes what had ended so many milliseconds before.
    pub async fn look(&self, now_ms: i64, after_ms: i64) {
        match self.archive.ended_rooms(now_ms - after_ms, ROOMS).await {
            Ok(ended) => {
                for (room, _) in ended {
                    self.remove(&room).await;
                }
            }
            Err(error) => return tracing::warn!(%error, "expiry.not_looked"),
        }
        let ended = match self.archive.ended_rooms(now_ms, ROOMS).await {
            Ok(ended) => ended,
            Err(error) => return tracing::warn!(%error, "expiry.not_looked"),
        };
        for (room, members) in ended {
            for user in members {
                if let Err(error) = self.hub.announce_left(&room, user).await {
                    // The next look says it again, of this one and of the others.
                    return tracing::warn!(%room, %error, "expiry.not_announced");
                }
            }
        }
    }

    async fn remove(&self, room: &RoomId) {
        if let Err(error) = self.history.forget(room).await {
            return tracing::warn!(%room, %error, "expiry.not_forgotten");
        }
        match self.archive.remove_room(room).await {
            Ok(()) => tracing::info!(%room, "expiry.removed"),
            Err(error) => tracing::warn!(%room, %error, "expiry.not_removed"),
        }
    }
}
