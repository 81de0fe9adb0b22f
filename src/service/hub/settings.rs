//! What holds in a room, as this instance knows it: read when the room opens, after a gap, and when another instance says that it changed.

use std::sync::Arc;

use bytes::Bytes;
use chatlab_kit::{
    ids::RoomId,
    wire::{RoomInfo, RoomKind, ServerFrame},
};
use tokio::sync::Mutex;

use super::{
    Connection, Hub, Ports,
    follow::backoff,
    frame::{Frame, Mark},
    members::Kind,
    room::{Notice, Room},
};
use crate::service::{ServiceError, ServiceResult, lock};

/// What a room allows, for who writes there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// It is a chat of two.
    pub direct: bool,
    /// Only moderators and higher write.
    pub read_only: bool,
    /// In how many seconds a member may write once; 0 without a pause.
    pub slow_s: u32,
    /// When it ends, in milliseconds since 1970.
    pub ends_ms: Option<u64>,
}

impl From<&RoomInfo> for Rules {
    fn from(info: &RoomInfo) -> Self {
        Self {
            direct: info.kind == RoomKind::Direct,
            read_only: info.read_only,
            slow_s: info.slow_s,
            ends_ms: info.ends_ms,
        }
    }
}

/// What is known of a room's settings.
#[derive(Default)]
pub struct Settings {
    rules: std::sync::Mutex<Rules>,
    /// The last that was read; held while it is read again, so that what was read last is what was put down last.
    read: Mutex<Option<RoomInfo>>,
}

impl Settings {
    /// What holds now.
    pub fn rules(&self) -> Rules {
        *lock(&self.rules)
    }

    /// Reads them again; what they are, if that is something new.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn refresh(&self, room: &RoomId, ports: &Ports) -> ServiceResult<Option<RoomInfo>> {
        let mut known = self.read.lock().await;
        let info = ports.archive.room(room, None).await?;
        *lock(&self.rules) = info.as_ref().map(Rules::from).unwrap_or_default();
        let news = info.clone().filter(|_| *known != info);
        *known = info;
        Ok(news)
    }
}

/// Reads a room's settings until they are there, and tells the listeners when they are others than before.
pub(super) async fn settle(room: &Room, ports: &Ports) {
    let mut attempt = 0;
    while let Err(error) = look(room, ports).await {
        attempt += 1;
        tracing::warn!(room = %room.id, %error, attempt, "hub.settings");
        // Between two tries; the caller ends it with the room.
        tokio::time::sleep(backoff(attempt)).await;
    }
}

/// Reads them once, and tells.
async fn look(room: &Room, ports: &Ports) -> ServiceResult<()> {
    if let Some(info) = room.settings.refresh(&room.id, ports).await? {
        let frame = Frame::new(&ServerFrame::Settings(info), Mark::None)?;
        room.dispatch(&[(frame, Kind::Notice)], None).await;
    }
    Ok(())
}

impl Connection {
    /// What a room allows; none when it is not listened to.
    pub fn rules(&self, room: &RoomId) -> Option<Rules> {
        lock(&self.rooms).get(room).map(|joined| joined.lease.room().settings.rules())
    }
}

impl Hub {
    /// Has all instances read a room's settings again; this one has when it returns without an error.
    ///
    /// # Errors
    /// `unavailable`: some do not know yet.
    pub async fn announce_settings(&self, room: &RoomId) -> ServiceResult<()> {
        let here: Option<Arc<Room>> = self.rooms.get(room).map(|entry| entry.clone());
        if let Some(here) = here {
            look(&here, &self.ports).await?;
        }
        let notice = serde_json::to_vec(&Notice::Settings {}).map_err(ServiceError::internal)?;
        Ok(self.ports.fanout.notify(room, Bytes::from(notice)).await?)
    }
}
