//! Rooms and messages: who may do what, and in which bounds.

mod alter;
mod blocks;
mod find;
mod marks;
mod members;
mod pages;
mod rooms;
mod speak;

use std::{sync::Arc, time::Duration};

use chatlab_history::History;
use chatlab_kit::{
    ids::{RoomId, UserId},
    message::Position,
    wire::{ErrorCode, MAX_WHO, RequestId, ServerFrame},
};
use chatlab_pubsub::Fanout;

pub use pages::{DEFAULT_PAGE, PAGE_BYTES, Page};

use super::{
    ServiceError, ServiceResult,
    attendance::Attendance,
    events::{Event, Events, Topic},
    hub::{
        Connection, Hub,
        frame::{Frame, Mark},
        outbox::Closing,
    },
    notices::Notices,
    now_ms,
    pace::Pace,
    ports::{Archive, Role, RoomKind, RoomRecord, Standing},
    receipts::Receipts,
    typing::Typing,
    vault::Vault,
};

/// How often the notice of a leave is tried again.
const ANNOUNCE_ATTEMPTS: u32 = 8;
/// The first pause before that; doubles from try to try.
const ANNOUNCE_PAUSE: Duration = Duration::from_millis(200);

/// What connections do in rooms.
pub struct Chat {
    archive: Arc<dyn Archive>,
    history: Arc<dyn History>,
    hub: Arc<Hub>,
    attendance: Arc<Attendance>,
    typing: Arc<Typing>,
    receipts: Arc<Receipts>,
    announcer: Option<Arc<dyn Fanout>>,
    pace: Pace,
    vault: Arc<Vault>,
    notices: Arc<Notices>,
    events: Events,
}

/// A page of a room's members.
#[derive(Debug)]
pub struct Who {
    /// Those of the page who are online.
    pub online: Vec<UserId>,
    /// `start_after` for the next page.
    pub next: Option<UserId>,
}

impl Chat {
    /// Over the archive's rooms, the message history, the live connections, who is online, who writes and who has read. `announcer` is for a
    /// fan-out that does not hear what the history's own script announces: it is told of every message beside. `pace` is slow mode; what is kept
    /// of texts is sealed by `vault`.
    /// What happens is told to `events`, and to users who do not listen by `notices`.
    pub fn new(
        archive: Arc<dyn Archive>,
        history: Arc<dyn History>,
        hub: Arc<Hub>,
        (attendance, typing, receipts): (Arc<Attendance>, Arc<Typing>, Arc<Receipts>),
        announcer: Option<Arc<dyn Fanout>>,
        (pace, vault): (Pace, Arc<Vault>),
        (events, notices): (Events, Arc<Notices>),
    ) -> Self {
        Self { archive, history, hub, attendance, typing, receipts, announcer, pace, vault, notices, events }
    }

    /// Makes a room, whose maker listens at once. Queues `ok`.
    ///
    /// # Errors
    /// `invalid` for the name, or when the connection listens to too many rooms.
    pub async fn create(&self, by: &Arc<Connection>, id: RequestId, name: &str) -> ServiceResult<()> {
        by.has_place(None)?;
        let room = self.make_room(by.user, name).await?;
        self.hub.join(by, room, None, |head| ok_frame(id, room, head)).await
    }

    /// Makes a room that nobody listens to yet.
    ///
    /// # Errors
    /// `invalid` for the name.
    pub async fn make_room(&self, maker: UserId, name: &str) -> ServiceResult<RoomId> {
        rooms::check_name(name)?;
        let room = RoomRecord {
            id: RoomId::new(),
            name: name.to_owned(),
            kind: RoomKind::Group,
            created_by: maker,
            created_ms: now_ms(),
        };
        self.archive.add_room(&room).await?;
        let detail = room.name;
        let event = Event { detail, ..Event::new("chat.created", Some(maker), Some(room.id)) };
        self.events.tell_and_audit(Topic::ChatCreated, event);
        Ok(room.id)
    }

    /// Becomes a member and listens. Queues `ok` and what was missed since `after`.
    ///
    /// # Errors
    /// `not_found`; `invalid` when the connection listens to too many rooms.
    pub async fn join(
        &self,
        by: &Arc<Connection>,
        id: RequestId,
        room: RoomId,
        after: Option<Position>,
    ) -> ServiceResult<()> {
        by.has_place(Some(&room))?;
        match self.archive.standing(&room, &by.user).await? {
            Standing::NoRoom => return Err(no_room()),
            Standing::Banned => return Err(banned()),
            Standing::Shut => return Err(shut()),
            Standing::Uninvited => return Err(ServiceError::forbidden("by invitation: members add others")),
            Standing::Member(_) => {}
            Standing::Outside => {
                if self.archive.add_member(&room, &by.user, Role::Member, now_ms()).await? {
                    let event = Event::new("user.joined.chat", Some(by.user), Some(room));
                    self.events.tell_and_audit(Topic::UserJoinedChat, event);
                }
            }
        }
        self.hub.join(by, room, after, |head| ok_frame(id, room, head)).await?;
        self.still_member(by, room).await
    }

    /// A leave on another connection whose notice came before this one listened did not find it.
    /// `ok` is queued, so nothing here answers the request a second time.
    async fn still_member(&self, by: &Connection, room: RoomId) -> ServiceResult<()> {
        if !by.is_in(&room) {
            return Ok(());
        }
        match self.archive.standing(&room, &by.user).await {
            Ok(Standing::Member(_)) => {}
            Ok(_) => self.hub.drop_out(by, room)?,
            Err(error) => {
                tracing::warn!(%room, %error, "chat.join_not_checked");
                by.outbox.close(Closing::new(ErrorCode::Unavailable, "the membership could not be checked"));
            }
        }
        Ok(())
    }

    /// Ends the membership, on all the user's connections everywhere. Queues `ok`.
    ///
    /// # Errors
    /// `not_found` for a room that does not exist or that the user is not in; `forbidden` for a direct chat.
    pub async fn leave(&self, by: &Connection, id: RequestId, room: RoomId) -> ServiceResult<()> {
        if by.rules(&room).is_some_and(|rules| rules.direct) {
            return Err(ServiceError::forbidden("a direct chat is ended, not left"));
        }
        if !self.archive.remove_member(&room, &by.user).await? {
            // It may have ended elsewhere, with a notice that did not come here yet.
            self.hub.drop_out(by, room)?;
            return Err(ServiceError::new(ErrorCode::NotFound, "not a member of such a room"));
        }
        let event = Event::new("user.left.chat", Some(by.user), Some(room));
        self.events.tell_and_audit(Topic::UserLeftChat, event);
        self.hub.leave(by, &room);
        self.has_left(room, by.user).await;
        by.outbox.push(Frame::new(&ServerFrame::Ok { id, room, head: None }, Mark::Gone(room))?);
        Ok(())
    }

    /// A membership has ended, whether or not this reaches the other instances now.
    async fn has_left(&self, room: RoomId, user: UserId) {
        self.typing.forget(room, user);
        self.forget_marks(room, user).await;
        if let Err(error) = self.hub.announce_left(&room, user).await {
            tracing::warn!(%room, %error, "chat.leave_not_announced");
            tokio::spawn(announce_left(self.hub.clone(), room, user));
        }
    }

    /// Says that the user is writing, or no longer, to the others who listen.
    ///
    /// # Errors
    /// `forbidden` in a room that was not joined on this connection.
    pub async fn typing(&self, by: &Connection, room: RoomId, on: bool) -> ServiceResult<()> {
        if !by.is_in(&room) {
            return Err(not_joined());
        }
        self.typing.set(room, by.user, on).await
    }

    /// Which members are online, of a page of them; who blocks the one who asks is not.
    ///
    /// # Errors
    /// `forbidden` for who is no member; `not_found`; `invalid` for the limit.
    pub async fn who(
        &self,
        by: &Connection,
        room: RoomId,
        start_after: Option<UserId>,
        limit: Option<u32>,
    ) -> ServiceResult<Who> {
        let limit = members_in_a_page(limit)?;
        self.must_be_member(by, room).await?;
        let members = self.archive.members(&room, start_after.as_ref(), limit).await?;
        let next = members.last().copied().filter(|_| members.len() >= limit as usize);
        let mut online = self.attendance.online(&members).await?;
        let blockers = self.archive.blockers(&by.user, &online).await?;
        online.retain(|user| !blockers.contains(user));
        Ok(Who { online, next })
    }

    async fn must_be_member(&self, by: &Connection, room: RoomId) -> ServiceResult<()> {
        if by.is_in(&room) {
            return Ok(());
        }
        self.role(by, room).await.map(drop)
    }

    async fn role(&self, by: &Connection, room: RoomId) -> ServiceResult<Role> {
        match self.archive.standing(&room, &by.user).await? {
            Standing::Member(role) => Ok(role),
            Standing::Outside | Standing::Uninvited => {
                Err(ServiceError::forbidden("not a member of the room"))
            }
            Standing::Banned => Err(banned()),
            Standing::Shut => Err(shut()),
            Standing::NoRoom => Err(no_room()),
        }
    }
}

/// Tries again what failed: instances that lost no subscription have no reason to ask the archive by themselves.
async fn announce_left(hub: Arc<Hub>, room: RoomId, user: UserId) {
    for attempt in 0..ANNOUNCE_ATTEMPTS {
        // Between two tries, bounded by `ANNOUNCE_ATTEMPTS`.
        tokio::time::sleep(ANNOUNCE_PAUSE * 2u32.pow(attempt)).await;
        match hub.announce_left(&room, user).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%room, %error, attempt, "chat.leave_not_announced"),
        }
    }
}

/// As [`announce_left`], for settings.
async fn announce_settings(hub: Arc<Hub>, room: RoomId) {
    for attempt in 0..ANNOUNCE_ATTEMPTS {
        // Between two tries, bounded by `ANNOUNCE_ATTEMPTS`.
        tokio::time::sleep(ANNOUNCE_PAUSE * 2u32.pow(attempt)).await;
        match hub.announce_settings(&room).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%room, %error, attempt, "chat.settings_not_announced"),
        }
    }
}

/// How many members are looked at.
fn members_in_a_page(limit: Option<u32>) -> ServiceResult<u32> {
    let most = MAX_WHO as u32;
    let limit = limit.unwrap_or(most);
    if (1..=most).contains(&limit) {
        return Ok(limit);
    }
    Err(ServiceError::invalid(format!("limit: 1 to {most}")))
}

fn not_joined() -> ServiceError {
    ServiceError::forbidden("join the room on this connection first")
}

fn banned() -> ServiceError {
    ServiceError::forbidden("banned from the room")
}

fn shut() -> ServiceError {
    ServiceError::forbidden("one of the two blocks the other")
}

fn no_room() -> ServiceError {
    ServiceError::new(ErrorCode::NotFound, "there is no such room")
}

fn ok_frame(id: RequestId, room: RoomId, head: Position) -> ServiceResult<Arc<Frame>> {
    Frame::new(&ServerFrame::Ok { id, room, head: Some(head.clone()) }, Mark::At(room, head))
}
