//! Rooms and messages: who may do what, and in which bounds.

mod alter;
mod announce;
mod blocks;
mod by;
mod find;
mod leaders;
mod listen;
mod marks;
mod members;
mod pages;
mod rooms;
mod speak;

use std::sync::Arc;

use chatlab_history::History;
use chatlab_kit::{
    ids::{RoomId, UserId},
    wire::{ErrorCode, MAX_WHO, StatusEntry},
};
use chatlab_pubsub::Fanout;
use tokio_util::task::TaskTracker;

use announce::Announcement;
pub use by::By;
pub use pages::{DEFAULT_PAGE, PAGE_BYTES, Page};

use super::{
    ServiceError, ServiceResult,
    attendance::Attendance,
    events::Events,
    hub::Hub,
    notices::Notices,
    pace::Pace,
    ports::{Archive, Role, Standing, StatusRecord},
    receipts::Receipts,
    typing::Typing,
    vault::Vault,
};

/// What users do in rooms.
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
    /// What was not told yet, and is tried again.
    retries: TaskTracker,
}

/// A page of a room's members.
#[derive(Debug)]
pub struct Who {
    /// Those of the page who are online and not invisible.
    pub online: Vec<UserId>,
    /// Of those, who is not simply available.
    pub statuses: Vec<StatusEntry>,
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
        let retries = TaskTracker::new();
        Self {
            archive,
            history,
            hub,
            attendance,
            typing,
            receipts,
            announcer,
            pace,
            vault,
            notices,
            events,
            retries,
        }
    }

    /// A membership has ended, whether or not this reaches the other instances now.
    async fn has_left(&self, room: RoomId, user: UserId) {
        self.typing.forget(room, user);
        self.forget_marks(room, user).await;
        self.announce(Announcement::Left(room, user)).await;
    }

    /// Says that the user is writing, or no longer, to the others who listen.
    ///
    /// # Errors
    /// `forbidden` in a room that was not joined (on the connection, for who has one).
    pub async fn typing(&self, by: By<'_>, room: RoomId, on: bool) -> ServiceResult<()> {
        self.must_be_there(by, room).await?;
        self.typing.set(room, by.user()?, on).await
    }

    /// Which members are online, of a page of them; who blocks the one who asks is not.
    ///
    /// # Errors
    /// `forbidden` for who is no member; `not_found`; `invalid` for the limit.
    pub async fn who(
        &self,
        by: By<'_>,
        room: RoomId,
        start_after: Option<UserId>,
        limit: Option<u32>,
    ) -> ServiceResult<Who> {
        let limit = members_in_a_page(limit)?;
        self.must_be_member(by, room).await?;
        let members = self.archive.members(&room, start_after.as_ref(), limit).await?;
        let next = members.last().copied().filter(|_| members.len() >= limit as usize);
        let mut online = self.attendance.seen(&members, by.actor()).await?;
        if let Some(user) = by.actor() {
            let there: Vec<UserId> = online.iter().map(|(user, _)| *user).collect();
            let blockers = self.archive.blockers(&user, &there).await?;
            online.retain(|(user, _)| !blockers.contains(user));
        }
        let plain = StatusRecord::default();
        let special = online.iter().filter(|(_, standing)| *standing != plain);
        let entry = |(user, StatusRecord { status, text }): &(UserId, StatusRecord)| StatusEntry {
            user: *user,
            status: *status,
            status_text: text.clone(),
        };
        let statuses = special.map(entry).collect();
        let online = online.into_iter().map(|(user, _)| user).collect();
        Ok(Who { online, statuses, next })
    }

    /// Whether somebody is in a room, or the operator, for whom there only has to be such a room.
    ///
    /// # Errors
    /// `forbidden` for who is no member; `not_found`.
    pub async fn must_be_member(&self, by: By<'_>, room: RoomId) -> ServiceResult<()> {
        if by.is_in(&room) {
            return Ok(());
        }
        self.role(by, room).await.map(drop)
    }

    async fn role(&self, by: By<'_>, room: RoomId) -> ServiceResult<Role> {
        let Some(user) = by.actor() else {
            return self.archive.room(&room, None).await?.map(|_| Role::Owner).ok_or_else(no_room);
        };
        match self.archive.standing(&room, &user).await? {
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
