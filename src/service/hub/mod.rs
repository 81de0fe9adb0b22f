//! Live fan-out to the connections of this instance.
//!
//! One [`room::Room`] for each room that somebody here listens to: a subscription, the position up to which
//! everything was delivered, and the members. One task a room reads the subscription in order, closes
//! gaps from the history, and offers each frame (made once, shared) to the members' outboxes.
//!
//! ```text
//! subscription ──▶ follow ──frame──▶ members ──▶ outbox ──▶ the connection's writer
//!                    │  ▲
//!                 hole or gap: History::since
//! ```

mod end;
pub mod follow;
mod former;
pub mod frame;
pub mod members;
pub mod outbox;
mod place;
mod queue;
pub mod room;
mod settings;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use chatlab_history::{History, Since};
use chatlab_kit::{
    ids::{ConnectionId, RoomId, SessionId, UserId},
    message::Position,
    wire::{ErrorCode, MAX_LEVEL_WAITS, Role, ServerFrame},
};
use chatlab_pubsub::Fanout;
use dashmap::DashMap;

use super::{ServiceError, ServiceResult, lock, ports::Archive, typing::Typing, vault::Vault};
pub(super) use follow::backoff;
use frame::{Frame, Mark, position_of};
use members::{GoLive, MemberKey};
use outbox::{Closing, Outbox};
use room::{Lease, Notice, Room};

pub use chatlab_kit::wire::MAX_ROOMS_PER_CONN;
pub use settings::Rules;

/// How long a replay or a page waits for the client to read.
const SPACE_STALL: Duration = Duration::from_secs(30);
/// How often a replay goes back to the history because the live stream ran ahead of it.
const MAX_REPLAY_ROUNDS: usize = 16;

/// A client's connection as the services see it.
pub struct Connection {
    /// Names it within this instance.
    pub id: u64,
    /// Names it everywhere.
    pub name: ConnectionId,
    /// Who is there.
    pub user: UserId,
    /// By which login session.
    pub session: SessionId,
    /// What waits to be written.
    pub outbox: Arc<Outbox>,
    rooms: Mutex<HashMap<RoomId, Joined>>,
    level_waits: AtomicU32,
}

/// A place among those sends of a connection that wait for a level, until it is dropped.
pub struct WaitPlace(Arc<Connection>);

impl Drop for WaitPlace {
    fn drop(&mut self) {
        self.0.level_waits.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Joined {
    key: MemberKey,
    lease: Lease,
}

impl Connection {
    fn new(id: u64, session: SessionId, outbox: Arc<Outbox>) -> Arc<Self> {
        Arc::new(Self {
            id,
            name: ConnectionId::new(),
            user: session.user,
            session,
            outbox,
            rooms: Mutex::default(),
            level_waits: AtomicU32::new(0),
        })
    }

    /// A place for one more send that waits for a level.
    ///
    /// # Errors
    /// `rate_limited` over [`MAX_LEVEL_WAITS`].
    pub fn place_to_wait(self: &Arc<Self>) -> ServiceResult<WaitPlace> {
        let before = self.level_waits.fetch_add(1, Ordering::Relaxed);
        let place = WaitPlace(self.clone());
        if before < MAX_LEVEL_WAITS {
            return Ok(place);
        }
        let message = format!("{MAX_LEVEL_WAITS} sends of this connection wait for their level already");
        Err(ServiceError::new(ErrorCode::RateLimited, message))
    }

    /// Whether it listens to the room.
    pub fn is_in(&self, room: &RoomId) -> bool {
        lock(&self.rooms).contains_key(room)
    }

    /// Whether one more room may be listened to; `room`, if it is one of them already, is none more.
    ///
    /// # Errors
    /// `invalid` over [`MAX_ROOMS_PER_CONN`].
    pub fn has_place(&self, room: Option<&RoomId>) -> ServiceResult<()> {
        let rooms = lock(&self.rooms);
        if rooms.len() < MAX_ROOMS_PER_CONN || room.is_some_and(|room| rooms.contains_key(room)) {
            return Ok(());
        }
        Err(ServiceError::invalid(format!("a connection listens to at most {MAX_ROOMS_PER_CONN} rooms")))
    }

    /// Waits until little enough is queued for something big, or closes a connection that does not
    /// read. For the connection's reader.
    pub async fn space(&self) {
        if tokio::time::timeout(SPACE_STALL, self.outbox.space()).await.is_err() {
            self.outbox
                .close(Closing::new(ErrorCode::SlowConsumer, "what was asked for was not read in time"));
        }
    }

    /// Forgets a room if it is still there by that membership.
    fn forget(&self, room: &RoomId, key: MemberKey) {
        let mut rooms = lock(&self.rooms);
        let lease = match rooms.get(room) {
            Some(joined) if joined.key == key => rooms.remove(room),
            _ => None,
        };
        drop(rooms);
        // Dropped without the lock, because the last lease closes the room.
        drop(lease);
    }
}

/// What the rooms work with.
pub struct Ports {
    /// Where gaps are closed from.
    pub history: Arc<dyn History>,
    /// Where live messages come from.
    pub fanout: Arc<dyn Fanout>,
    /// Who is a member.
    pub archive: Arc<dyn Archive>,
    /// Who writes; not any more, when they are no member.
    pub typing: Arc<Typing>,
    /// What opens the texts that are kept.
    pub vault: Arc<Vault>,
}

/// All rooms and connections of this instance.
pub struct Hub {
    ports: Arc<Ports>,
    rooms: Arc<DashMap<RoomId, Arc<Room>>>,
    connections: DashMap<u64, Arc<Connection>>,
    numbers: AtomicU64,
}

impl Hub {
    /// An instance without connections.
    pub fn new(ports: Ports) -> Self {
        Self {
            ports: Arc::new(ports),
            rooms: Arc::default(),
            connections: DashMap::new(),
            numbers: AtomicU64::new(0),
        }
    }

    /// Registers a connection. [`Hub::disconnect`] must follow.
    pub fn connect(&self, session: SessionId, outbox: Arc<Outbox>) -> Arc<Connection> {
        let id = self.numbers.fetch_add(1, Ordering::Relaxed);
        let connection = Connection::new(id, session, outbox);
        self.connections.insert(id, connection.clone());
        connection
    }

    /// Takes a connection out of everything. What is queued for it may still be written.
    pub fn disconnect(&self, connection: &Connection) {
        let rooms = std::mem::take(&mut *lock(&connection.rooms));
        for joined in rooms.into_values() {
            joined.lease.room().remove(joined.key);
        }
        self.connections.remove(&connection.id);
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// How many rooms somebody listens to.
    pub fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// What waits to be written, in bytes: for all connections together, and for the one with the most.
    pub fn queued_bytes(&self) -> (usize, usize) {
        let each = self.connections.iter().map(|connection| connection.outbox.queued_bytes());
        each.fold((0, 0), |(all, highest), bytes| (all + bytes, highest.max(bytes)))
    }

    /// Tells all instances that a user's membership ended, and waits until it is said.
    pub async fn announce_left(&self, room: &RoomId, user: UserId) -> ServiceResult<()> {
        let notice = serde_json::to_vec(&Notice::Left(user)).map_err(ServiceError::internal)?;
        Ok(self.ports.fanout.notify(room, Bytes::from(notice)).await?)
    }

    /// Tells the listeners of a room, on all instances, that a member has another role.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn announce_role(&self, room: &RoomId, user: UserId, role: Role) -> ServiceResult<()> {
        let notice = serde_json::to_vec(&Notice::Role { user, role }).map_err(ServiceError::internal)?;
        Ok(self.ports.fanout.notify(room, Bytes::from(notice)).await?)
    }

    /// Stops listening to a room on one connection; false when it did not listen.
    pub fn leave(&self, connection: &Connection, room: &RoomId) -> bool {
        let joined = lock(&connection.rooms).remove(room);
        if let Some(joined) = &joined {
            joined.lease.room().remove(joined.key);
        }
        joined.is_some()
    }

    /// Stops listening because the membership is found to have ended, and says so.
    ///
    /// # Errors
    /// `internal`.
    pub fn drop_out(&self, connection: &Connection, room: RoomId) -> ServiceResult<()> {
        if self.leave(connection, &room) {
            connection.outbox.push(former::left_frame(room, connection.user)?);
        }
        Ok(())
    }

    /// Listens to a room. `ok` makes the reply, which is queued before any message of the room: with
    /// `after` itself when it could be verified, else with the position that the messages continue.
    /// An error is an answer only while there was none: after `ok`, or when it cost a membership that
    /// the client still counts on, the connection is closed, and its `bye` says where to go on from.
    ///
    /// # Errors
    /// `invalid` over [`MAX_ROOMS_PER_CONN`]; `unavailable`.
    pub async fn join(
        &self,
        connection: &Arc<Connection>,
        room: RoomId,
        after: Option<Position>,
        ok: impl Fn(Position) -> ServiceResult<Arc<Frame>> + Send + Sync,
    ) -> ServiceResult<()> {
        connection.has_place(Some(&room))?;
        let lease = Lease::take(&self.rooms, room);
        lease.room().start(&self.ports).await?;
        let listening = lease.room().clone();
        // Not before the room is known to work.
        let again = self.leave(connection, &room);
        let key = {
            let mut members = listening.members();
            if after.is_none() {
                connection.outbox.queue(ok(members.position.clone())?);
            }
            let key = members.add(connection.clone(), after.is_some());
            // Within the room's lock, so that an eviction finds the entry.
            lock(&connection.rooms).insert(room, Joined { key, lease });
            key
        };
        connection.outbox.wake();
        let Some(after) = after else { return Ok(()) };
        let mut answered = false;
        let replayed = self.replay(connection, &listening, key, after, ok, &mut answered).await;
        let Err(error) = replayed else { return Ok(()) };
        self.leave(connection, &room);
        let must_close = answered || (again && error.is_ours());
        if !must_close {
            return Err(error);
        }
        tracing::warn!(%room, %error, "hub.replay");
        connection.outbox.close(Closing::new(ErrorCode::Unavailable, "what was missed could not be read"));
        Ok(())
    }

    /// Sends what was missed, then lets the member go live without gap or duplicate.
    async fn replay(
        &self,
        connection: &Arc<Connection>,
        room: &Room,
        key: MemberKey,
        after: Position,
        ok: impl Fn(Position) -> ServiceResult<Arc<Frame>> + Send + Sync,
        answered: &mut bool,
    ) -> ServiceResult<()> {
        let mut last = after;
        let mut rounds = 0;
        while rounds < MAX_REPLAY_ROUNDS {
            let (messages, more) = match self.ports.history.since(&room.id, &last).await? {
                Since::Continued { messages, more } => (messages, more),
                Since::Resync { .. } => break,
            };
            if !*answered {
                *answered = room.members().pass(key, ok(last.clone())?);
                connection.outbox.wake();
                if !*answered {
                    return Err(membership_ended());
                }
            }
            // Who is gone was told so by `left`; a closing connection has no use for the rest.
            let Some(sent) = self.send_missed(connection, room, key, messages, last).await? else {
                return Ok(());
            };
            last = sent;
            if more {
                continue;
            }
            let went = room.members().go_live(key, &last);
            connection.outbox.wake();
            match went {
                GoLive::Live | GoLive::Gone => return Ok(()),
                GoLive::Again => rounds += 1,
            }
        }
        // The position can't be verified, or the live stream outran the history: start over.
        metrics::counter!("chatlab_resyncs_total", "scope" => "connection").increment(1);
        let gone = {
            let mut members = room.members();
            let head = members.position.clone();
            let mut frames = Vec::new();
            if !*answered {
                frames.push(ok(head.clone())?);
            }
            frames.push(resync(room.id, head)?);
            members.go_live_from_head(key, frames) == GoLive::Gone
        };
        connection.outbox.wake();
        if gone && !*answered {
            return Err(membership_ended());
        }
        Ok(())
    }

    /// Up to which position everything was handed over; none when the rest is not wanted any more.
    async fn send_missed(
        &self,
        connection: &Connection,
        room: &Room,
        key: MemberKey,
        messages: Vec<chatlab_kit::message::Message>,
        mut last: Position,
    ) -> ServiceResult<Option<Position>> {
        for mut message in messages {
            self.ports.vault.open(&mut message);
            connection.space().await;
            last = position_of(&message);
            let passed = room.members().pass(key, Frame::stored(message)?);
            connection.outbox.wake();
            if !passed {
                return Ok(None);
            }
        }
        Ok(Some(last))
    }
}

/// For a join that met the end of the membership before it was answered.
fn membership_ended() -> ServiceError {
    ServiceError::forbidden("the membership ended")
}

/// The `resync` frame of a room.
pub(crate) fn resync(room: RoomId, head: Position) -> ServiceResult<Arc<Frame>> {
    Frame::new(&ServerFrame::Resync { room, head: head.clone() }, Mark::At(room, head))
}
