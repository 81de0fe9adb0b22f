//! Telling all instances of what concerns who listens to a room, again when it could not be told.

use std::{sync::Arc, time::Duration};

use chatlab_kit::ids::{RoomId, UserId};

use super::Chat;
use crate::service::{ServiceResult, hub::Hub};

/// How often a notice is tried again.
const ATTEMPTS: u32 = 8;
/// The first pause before that; doubles from try to try.
const PAUSE: Duration = Duration::from_millis(200);

/// What all instances must hear of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Announcement {
    /// A user's membership ended.
    Left(RoomId, UserId),
    /// Settings were changed.
    Settings(RoomId),
}

impl Announcement {
    async fn tell(self, hub: &Hub) -> ServiceResult<()> {
        match self {
            Self::Left(room, user) => hub.announce_left(&room, user).await,
            Self::Settings(room) => hub.announce_settings(&room).await,
        }
    }
}

impl Chat {
    /// Tells; what fails is tried again beside: instances that lost no subscription have no reason to ask the archive by themselves.
    pub(super) async fn announce(&self, what: Announcement) {
        if let Err(error) = what.tell(&self.hub).await {
            tracing::warn!(?what, %error, "chat.not_announced");
            self.retries.spawn(again(self.hub.clone(), what));
        }
    }

    /// Until nothing is left to be told again: for who ends after what they did.
    pub async fn settle(&self) {
        self.retries.close();
        self.retries.wait().await;
    }
}

async fn again(hub: Arc<Hub>, what: Announcement) {
    for attempt in 0..ATTEMPTS {
        // Between two tries, bounded by `ATTEMPTS`.
        tokio::time::sleep(PAUSE * 2u32.pow(attempt)).await;
        match what.tell(&hub).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(?what, %error, attempt, "chat.not_announced"),
        }
    }
}
