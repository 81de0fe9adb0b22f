//! One room on this instance, from its first local listener to its last.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};

use chatlab_kit::{
    ids::{RoomId, UserId},
    message::{Epoch, Position, Seq},
    wire::{Role, Status},
};
use dashmap::DashMap;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::{
    Ports, follow,
    frame::Frame,
    members::{Kind, MemberKey, Members, Offer, SLICE},
    settings::Settings,
};
use crate::service::{ServiceResult, lock, standing};

/// What instances tell each other on a room's channel besides messages.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// This user's membership ended.
    Left(UserId),
    /// A member came online, went offline, or has another status.
    Presence {
        /// Who.
        user: UserId,
        /// Whether they have a connection, and do not hide it.
        online: bool,
        /// Their status, if so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<Status>,
        /// What they say beside it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        status_text: String,
    },
    /// A member is writing, or no longer.
    Typing {
        /// Who.
        user: UserId,
        /// Whether they are.
        on: bool,
    },
    /// A member has another role.
    Role {
        /// Who.
        user: UserId,
        /// The new one.
        role: Role,
    },
    /// The settings have changed: they are in the archive.
    Settings {},
    /// A member has read further, or more has come to them.
    Receipt {
        /// Who.
        user: UserId,
        /// Everything up to it was read.
        read: Seq,
        /// Everything up to it has come.
        delivered: Seq,
    },
}

/// One room that somebody here listens to.
pub struct Room {
    /// Which.
    pub id: RoomId,
    leases: AtomicUsize,
    started: OnceCell<()>,
    stop: CancellationToken,
    members: Mutex<Members>,
    /// What holds in it.
    pub settings: Settings,
}

impl Room {
    fn new(id: RoomId) -> Self {
        let nowhere = Position { epoch: Epoch(String::new()), seq: 0, id: None };
        Self {
            id,
            leases: AtomicUsize::new(0),
            started: OnceCell::new(),
            stop: CancellationToken::new(),
            members: Mutex::new(Members::new(nowhere)),
            settings: Settings::default(),
        }
    }

    /// Subscribes and reads where the room stands; once, by the first who comes.
    pub async fn start(self: &Arc<Self>, ports: &Arc<Ports>) -> ServiceResult<()> {
        self.started
            .get_or_try_init(|| async {
                // In this order: what is announced after the head was read is in the subscription.
                let subscription = ports.fanout.subscribe(&self.id).await?;
                self.settings.refresh(&self.id, ports).await?;
                let head = standing::head(&*ports.history, &*ports.archive, &self.id).await?;
                self.members().position = head;
                let task = follow::Follower::new(self.clone(), ports.clone(), self.stop.clone());
                tokio::spawn(task.run(subscription));
                Ok(())
            })
            .await
            .copied()
    }

    /// The members and the position, locked. Never held across an await.
    pub fn members(&self) -> MutexGuard<'_, Members> {
        lock(&self.members)
    }

    /// Takes a member out.
    pub fn remove(&self, key: MemberKey) {
        self.members().remove(key);
    }

    /// Moves the room on to `position`, offers frames to everybody, and has them written. Others get a turn after each slice of members.
    pub async fn dispatch(&self, offers: &[Offer], position: Option<Position>) {
        let dispatch = {
            let mut members = self.members();
            if let Some(position) = position {
                members.position = position;
            }
            let told =
                offers.iter().filter(|(_, kind)| matches!(kind, Kind::Message(_) | Kind::Resync)).count();
            metrics::counter!("chatlab_deliveries_total").increment((told * members.count()) as u64);
            members.begin()
        };
        self.tell(dispatch, offers).await;
    }

    /// Offers frames to everybody who was there when the dispatch began, and has them written.
    async fn tell(&self, dispatch: u64, offers: &[Offer]) {
        let (mut wake, mut next) = {
            let mut members = self.members();
            let mut wake = Vec::with_capacity(members.count().min(SLICE));
            let next = members.offer(dispatch, offers, 0, &mut wake);
            (wake, next)
        };
        loop {
            for outbox in wake.drain(..) {
                outbox.wake();
            }
            let Some(from) = next else { return };
            tokio::task::yield_now().await;
            next = self.members().offer(dispatch, offers, from, &mut wake);
        }
    }

    /// Makes the room silent for a user's connections, and tells them and everybody else that
    /// the user left.
    pub async fn evict(&self, user: &UserId, frame: &Arc<Frame>) {
        let (dispatch, taken) = self.members().dismiss_user(user, frame);
        for (key, connection) in taken {
            // In this order: who is told may ask for something at once, and is no listener any more.
            connection.forget(&self.id, key);
            connection.outbox.wake();
        }
        self.tell(dispatch, &[(frame.clone(), Kind::Notice)]).await;
    }
}

/// Keeps a room open. The last one to go closes it and ends its subscription.
pub struct Lease {
    rooms: Arc<DashMap<RoomId, Arc<Room>>>,
    room: Arc<Room>,
}

impl Lease {
    /// Opens the room, or keeps it open.
    pub fn take(rooms: &Arc<DashMap<RoomId, Arc<Room>>>, id: RoomId) -> Self {
        let entry = rooms.entry(id).or_insert_with(|| Arc::new(Room::new(id)));
        // Under the map's lock, as in `drop`: a room is never closed while somebody takes it.
        entry.leases.fetch_add(1, Ordering::Relaxed);
        Self { rooms: rooms.clone(), room: entry.clone() }
    }

    /// The room.
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let last =
            self.rooms.remove_if(&self.room.id, |_, room| room.leases.fetch_sub(1, Ordering::Relaxed) == 1);
        if let Some((_, room)) = last {
            room.stop.cancel();
        }
    }
}
