//! Rooms as such: the list of one's own, their settings, letting somebody in; direct chats and their end.

use chatlab_kit::{
    ids::{ClientMsgId, RoomId, UserId},
    wire::{DIRECT_MAX_S, ErrorCode, MAX_ROOM_NAME, MAX_ROOMS_PAGE, SLOW_S},
};

use sha2::{Digest, Sha256};

use super::{By, Chat, announce::Announcement, banned, no_room, shut};
use crate::service::{
    ServiceError, ServiceResult,
    events::{Event, Topic},
    now_ms,
    ports::{ArchiveError, Role, RoomChange, RoomInfo, RoomKind, RoomRecord, Standing},
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

/// The id of the one room that a user makes by a key. Nobody else's key gives it: theirs is hashed with their own id.
fn keyed(maker: UserId, key: &ClientMsgId) -> RoomId {
    let hash = Sha256::new().chain_update(maker.0.as_bytes()).chain_update(key.as_str()).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    RoomId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

fn other_room() -> ServiceError {
    ServiceError::new(ErrorCode::Conflict, "idempotency-key: was used to make a room of another name")
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

    /// A room as one of its members sees it.
    ///
    /// # Errors
    /// `forbidden` for who is no member; `not_found`.
    pub async fn room(&self, by: By<'_>, room: RoomId) -> ServiceResult<RoomInfo> {
        self.must_be_member(by, room).await?;
        self.archive.room(&room, by.actor().as_ref()).await?.ok_or_else(no_room)
    }

    /// Makes a room that nobody listens to yet. With a `key` the maker makes one room by it, however often they ask.
    ///
    /// # Errors
    /// `invalid` for the name; `conflict` when the room of that key has another name.
    pub async fn make_room(
        &self,
        maker: UserId,
        name: &str,
        key: Option<&ClientMsgId>,
    ) -> ServiceResult<RoomId> {
        check_name(name)?;
        let id = key.map_or_else(RoomId::new, |key| keyed(maker, key));
        if key.is_some()
            && let Some(made) = self.archive.room(&id, None).await?
        {
            return if made.name == name { Ok(id) } else { Err(other_room()) };
        }
        let (name, kind, created_ms) = (name.to_owned(), RoomKind::Group, now_ms());
        let room = RoomRecord { id, name, kind, created_by: maker, created_ms };
        match self.archive.add_room(&room).await {
            // The same request came twice in a moment.
            Err(ArchiveError::Conflict) if key.is_some() => return Ok(id),
            added => added?,
        }
        let detail = room.name;
        let event = Event { detail, ..Event::new("chat.created", Some(maker), Some(room.id)) };
        self.events.tell_and_audit(Topic::ChatCreated, event);
        Ok(id)
    }

    /// Changes settings of a group, and tells the room.
    ///
    /// # Errors
    /// `forbidden` unless the sender's role may; `invalid` for the settings, and for a direct chat.
    pub async fn set_room(&self, by: By<'_>, room: RoomId, change: RoomChange) -> ServiceResult<()> {
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
        let event = Event { detail, ..Event::new("chat.settings", by.actor(), Some(room)) };
        self.events.tell_and_audit(Topic::ChatUpdated, event);
        self.announce(Announcement::Settings(room)).await;
        Ok(())
    }

    /// Makes somebody a member of a group, and tells them.
    ///
    /// # Errors
    /// `forbidden` unless the sender's role may let somebody in, and for who blocks the sender; `conflict` for who is a member or banned;
    /// `not_found` for who is no user.
    pub async fn add(&self, by: By<'_>, room: RoomId, user: UserId) -> ServiceResult<()> {
        self.must_be_group(room).await?;
        self.must_have(by, room, Right::Add).await?;
        let conflict = |what| ServiceError::new(ErrorCode::Conflict, what);
        match self.archive.standing(&room, &user).await? {
            Standing::Member(_) | Standing::Shut => return Err(conflict("user: is a member already")),
            Standing::Banned => return Err(conflict("user: is banned: end that first")),
            Standing::NoRoom => return Err(no_room()),
            Standing::Outside | Standing::Uninvited => {}
        }
        if let Some(actor) = by.actor()
            && !self.archive.blockers(&actor, &[user]).await?.is_empty()
        {
            return Err(ServiceError::forbidden("user: blocks you"));
        }
        if !self.archive.add_member(&room, &user, Role::Member, now_ms()).await? {
            return Err(conflict("user: has just been added or banned: look again"));
        }
        let actor = by.actor().map_or_else(|| "the operator".to_owned(), |actor| actor.to_string());
        let detail = format!("added by {actor}");
        let event = Event { detail, ..Event::new("user.joined.chat", Some(user), Some(room)) };
        self.events.tell_and_audit(Topic::UserJoinedChat, event);
        self.notices.added(user, room).await;
        Ok(())
    }

    pub(super) async fn must_be_group(&self, room: RoomId) -> ServiceResult<()> {
        match self.archive.room(&room, None).await?.map(|info| info.kind) {
            None => Err(no_room()),
            Some(RoomKind::Group) => Ok(()),
            // Also for who is not in it: that there is such a room is no secret worth another word.
            Some(RoomKind::Direct) => {
                Err(ServiceError::forbidden("a direct chat has no settings, no roles and no third"))
            }
        }
    }

    /// The direct chat with somebody: the one that there is, or a new one, of which the other is told.
    ///
    /// # Errors
    /// `invalid` for oneself and for the time; `not_found` for who is no user; `forbidden` when one blocks the other.
    pub async fn open_direct(&self, by: UserId, user: UserId, for_s: Option<u32>) -> ServiceResult<RoomId> {
        if user == by {
            return Err(ServiceError::invalid("user: a direct chat is with somebody else"));
        }
        if for_s.is_some_and(|seconds| !(1..=DIRECT_MAX_S).contains(&seconds)) {
            return Err(ServiceError::invalid(format!("for_s: 1 to {DIRECT_MAX_S} seconds")));
        }
        if self.are_apart(&by, &user).await? {
            return Err(shut());
        }
        let ends_ms = for_s.map(|seconds| now_ms() + i64::from(seconds) * 1_000);
        let (room, made) = self.archive.direct(&by, &user, RoomId::new(), ends_ms).await?;
        if made {
            let event = Event::new("chat.created", Some(by), Some(room));
            self.events.tell_and_audit(Topic::ChatCreated, event);
            self.notices.added(user, room).await;
        }
        Ok(room)
    }

    /// Ends a direct chat of the user's.
    ///
    /// # Errors
    /// `forbidden` for who is none of the two, and for a group; `not_found` for what there is not, or has ended.
    pub async fn end(&self, by: By<'_>, room: RoomId) -> ServiceResult<()> {
        let user = by.user()?;
        match self.archive.standing(&room, &user).await? {
            Standing::NoRoom => return Err(no_room()),
            Standing::Banned => return Err(banned()),
            Standing::Outside | Standing::Uninvited => {
                return Err(ServiceError::forbidden("not a member of the room"));
            }
            Standing::Member(_) | Standing::Shut => {}
        }
        let info = self.archive.room(&room, Some(&user)).await?.ok_or_else(no_room)?;
        let Some(other) = info.with else {
            return Err(ServiceError::forbidden("only a direct chat is ended"));
        };
        if !self.archive.end_room(&room).await? {
            return Err(no_room());
        }
        let event = Event::new("chat.ended", Some(user), Some(room));
        self.events.tell_and_audit(Topic::ChatDeleted, event);
        self.has_no_place(room, &[user, other]).await;
        Ok(())
    }

    /// Nobody of these may listen to a direct chat any more: all instances look, and find it so.
    pub(super) async fn has_no_place(&self, room: RoomId, users: &[UserId]) {
        for user in users {
            self.typing.forget(room, *user);
            self.announce(Announcement::Left(room, *user)).await;
        }
    }
}
