//! Rooms as such: the list of one's own, their settings, letting somebody in; direct chats and their end.

use std::sync::Arc;

use chatlab_kit::{
    ids::{RoomId, UserId},
    wire::{DIRECT_MAX_S, ErrorCode, MAX_ROOM_NAME, MAX_ROOMS_PAGE, RequestId, SLOW_S},
};

use super::{Chat, announce_left, banned, no_room, ok_frame, shut};
use crate::service::{
    ServiceError, ServiceResult,
    events::{Event, Topic},
    hub::Connection,
    now_ms,
    ports::{Role, RoomChange, RoomInfo, RoomKind, Standing},
    rights::Right,
};

/// A page of a user's rooms.
#[derive(Debug)]
pub struct RoomPage {
    /// By id.
    pub rooms: Vec<RoomInfo>,
    /// `start_after` for the next page.
    pub next: Option<RoomId>,
}

/// Whether a room can have that name.
///
/// # Errors
/// `invalid`.
pub(super) fn check_name(name: &str) -> ServiceResult<()> {
    let characters = name.chars().count();
    if (1..=MAX_ROOM_NAME).contains(&characters) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(ServiceError::invalid(format!("name: 1 to {MAX_ROOM_NAME} characters, no control characters")))
}

impl Chat {
    /// A page of the rooms that a user is a member of.
    ///
    /// # Errors
    /// `invalid` for the limit.
    pub async fn rooms(
        &self,
        user: UserId,
        start_after: Option<RoomId>,
        limit: Option<u32>,
    ) -> ServiceResult<RoomPage> {
        let most = MAX_ROOMS_PAGE as u32;
        let limit = limit.unwrap_or(most);
        if !(1..=most).contains(&limit) {
            return Err(ServiceError::invalid(format!("limit: 1 to {most}")));
        }
        let rooms = self.archive.room_list(&user, start_after.as_ref(), limit).await?;
        let next = rooms.last().map(|last| last.room).filter(|_| rooms.len() >= limit as usize);
        Ok(RoomPage { rooms, next })
    }

    /// Changes settings of a group, and tells the room.
    ///
    /// # Errors
    /// `forbidden` unless the sender's role may; `invalid` for the settings, and for a direct chat.
    pub async fn set_room(&self, by: &Connection, room: RoomId, change: RoomChange) -> ServiceResult<()> {
        if change == RoomChange::default() {
            return Err(ServiceError::invalid(
                "nothing is to be changed: name, read_only, slow_s or invited",
            ));
        }
        if let Some(name) = &change.name {
            check_name(name)?;
        }
        if change.slow_s.is_some_and(|slow_s| !SLOW_S.contains(&slow_s)) {
            return Err(ServiceError::invalid(format!("slow_s: one of {SLOW_S:?}")));
        }
        self.must_be_group(room).await?;
        self.must_have(by, room, Right::Settings).await?;
        if !self.archive.set_room(&room, &change).await? {
            return Err(no_room());
        }
        let detail = format!("{change:?}");
        let event = Event { detail, ..Event::new("chat.settings", Some(by.user), Some(room)) };
        self.events.tell_and_audit(Topic::ChatUpdated, event);
        if let Err(error) = self.hub.announce_settings(&room).await {
            tracing::warn!(%room, %error, "chat.settings_not_announced");
            tokio::spawn(super::announce_settings(self.hub.clone(), room));
        }
        Ok(())
    }

    /// Makes somebody a member of a group, and tells them.
    ///
    /// # Errors
    /// `forbidden` unless the sender's role may let somebody in, and for who blocks the sender; `conflict` for who is a member or banned;
    /// `not_found` for who is no user.
    pub async fn add(&self, by: &Connection, room: RoomId, user: UserId) -> ServiceResult<()> {
        self.must_be_group(room).await?;
        self.must_have(by, room, Right::Add).await?;
        let conflict = |what| ServiceError::new(ErrorCode::Conflict, what);
        match self.archive.standing(&room, &user).await? {
            Standing::Member(_) | Standing::Shut => return Err(conflict("user: is a member already")),
            Standing::Banned => return Err(conflict("user: is banned: end that first")),
            Standing::NoRoom => return Err(no_room()),
            Standing::Outside | Standing::Uninvited => {}
        }
        if !self.archive.blockers(&by.user, &[user]).await?.is_empty() {
            return Err(ServiceError::forbidden("user: blocks you"));
        }
        if !self.archive.add_member(&room, &user, Role::Member, now_ms()).await? {
            return Err(conflict("user: has just been added or banned: look again"));
        }
        let detail = format!("added by {}", by.user);
        let event = Event { detail, ..Event::new("user.joined.chat", Some(user), Some(room)) };
        self.events.tell_and_audit(Topic::UserJoinedChat, event);
        self.notices.added(user, room).await;
        Ok(())
    }

    async fn must_be_group(&self, room: RoomId) -> ServiceResult<()> {
        match self.archive.room(&room, None).await?.map(|info| info.kind) {
            None => Err(no_room()),
            Some(RoomKind::Group) => Ok(()),
            // Also for who is not in it: that there is such a room is no secret worth another word.
            Some(RoomKind::Direct) => {
                Err(ServiceError::forbidden("a direct chat has no settings and no third"))
            }
        }
    }

    /// Opens the direct chat with somebody, and listens to it. Queues `ok`.
    ///
    /// # Errors
    /// `invalid` for oneself and for the time; `not_found` for who is no user; `forbidden` when one blocks the other.
    pub async fn direct(
        &self,
        by: &Arc<Connection>,
        id: RequestId,
        user: UserId,
        for_s: Option<u32>,
    ) -> ServiceResult<()> {
        if user == by.user {
            return Err(ServiceError::invalid("user: a direct chat is with somebody else"));
        }
        if for_s.is_some_and(|seconds| !(1..=DIRECT_MAX_S).contains(&seconds)) {
            return Err(ServiceError::invalid(format!("for_s: 1 to {DIRECT_MAX_S} seconds")));
        }
        by.has_place(None)?;
        if self.are_apart(&by.user, &user).await? {
            return Err(shut());
        }
        let ends_ms = for_s.map(|seconds| now_ms() + i64::from(seconds) * 1_000);
        let (room, made) = self.archive.direct(&by.user, &user, RoomId::new(), ends_ms).await?;
        if made {
            let event = Event::new("chat.created", Some(by.user), Some(room));
            self.events.tell_and_audit(Topic::ChatCreated, event);
            self.notices.added(user, room).await;
        }
        self.hub.join(by, room, None, |head| ok_frame(id, room, head)).await?;
        self.still_member(by, room).await
    }

    /// Ends a direct chat of the user's.
    ///
    /// # Errors
    /// `forbidden` for who is none of the two, and for a group; `not_found` for what there is not, or has ended.
    pub async fn end(&self, by: &Connection, room: RoomId) -> ServiceResult<()> {
        match self.archive.standing(&room, &by.user).await? {
            Standing::NoRoom => return Err(no_room()),
            Standing::Banned => return Err(banned()),
            Standing::Outside | Standing::Uninvited => {
                return Err(ServiceError::forbidden("not a member of the room"));
            }
            Standing::Member(_) | Standing::Shut => {}
        }
        let info = self.archive.room(&room, Some(&by.user)).await?.ok_or_else(no_room)?;
        let Some(other) = info.with else {
            return Err(ServiceError::forbidden("only a direct chat is ended"));
        };
        if !self.archive.end_room(&room).await? {
            return Err(no_room());
        }
        let event = Event::new("chat.ended", Some(by.user), Some(room));
        self.events.tell_and_audit(Topic::ChatDeleted, event);
        self.has_no_place(room, &[by.user, other]).await;
        Ok(())
    }

    /// Nobody of these may listen to a direct chat any more: all instances look, and find it so.
    pub(super) async fn has_no_place(&self, room: RoomId, users: &[UserId]) {
        for user in users {
            self.typing.forget(room, *user);
            if let Err(error) = self.hub.announce_left(&room, *user).await {
                tracing::warn!(%room, %error, "chat.end_not_announced");
                tokio::spawn(announce_left(self.hub.clone(), room, *user));
            }
        }
    }
}
