//! Members: who they are, what they may do, and the end of it.

use chatlab_kit::{
    ids::{RoomId, UserId},
    wire::ErrorCode,
};

use super::{By, Chat, banned, members_in_a_page, no_room, shut};
use crate::service::{
    ServiceError, ServiceResult,
    events::{Event, Topic},
    now_ms,
    ports::{MemberEntry, Role, RoomKind, Standing},
    rights::{self, Right},
};

/// A page of a room's members.
#[derive(Debug)]
pub struct Roster {
    /// By id.
    pub members: Vec<MemberEntry>,
    /// `start_after` for the next page.
    pub next: Option<UserId>,
}

impl Chat {
    /// Makes a user a member of a room, if they are none.
    ///
    /// # Errors
    /// `not_found`; `forbidden` for who is banned, for a room by invitation, and for a direct chat of others.
    pub async fn enter(&self, user: UserId, room: RoomId) -> ServiceResult<()> {
        match self.archive.standing(&room, &user).await? {
            Standing::NoRoom => return Err(no_room()),
            Standing::Banned => return Err(banned()),
            Standing::Shut => return Err(shut()),
            Standing::Uninvited => return Err(ServiceError::forbidden("by invitation: members add others")),
            Standing::Member(_) => {}
            Standing::Outside => {
                if self.archive.add_member(&room, &user, Role::Member, now_ms()).await? {
                    let event = Event::new("user.joined.chat", Some(user), Some(room));
                    self.events.tell_and_audit(Topic::UserJoinedChat, event);
                }
            }
        }
        Ok(())
    }

    /// Ends a user's own membership of a group, on all their connections everywhere.
    ///
    /// # Errors
    /// `not_found` for a room that does not exist or that the user is not in; `forbidden` for a direct chat.
    pub async fn quit(&self, user: UserId, room: RoomId) -> ServiceResult<()> {
        let standing = self.archive.standing(&room, &user).await?;
        let info = self.archive.room(&room, None).await?;
        let direct = info.is_some_and(|info| info.kind == RoomKind::Direct);
        if direct && matches!(standing, Standing::Member(_)) {
            return Err(ended_not_left());
        }
        if !self.end_membership(user, room).await? {
            return Err(not_a_member());
        }
        self.has_left(room, user).await;
        Ok(())
    }

    /// False when there was none.
    pub(super) async fn end_membership(&self, user: UserId, room: RoomId) -> ServiceResult<bool> {
        let ended = self.archive.remove_member(&room, &user).await?;
        if ended {
            let event = Event::new("user.left.chat", Some(user), Some(room));
            self.events.tell_and_audit(Topic::UserLeftChat, event);
        }
        Ok(ended)
    }

    /// A page of a room's members.
    ///
    /// # Errors
    /// `forbidden` for who is no member; `not_found`; `invalid` for the limit.
    pub async fn roster(
        &self,
        by: By<'_>,
        room: RoomId,
        start_after: Option<UserId>,
        limit: Option<u32>,
    ) -> ServiceResult<Roster> {
        let limit = members_in_a_page(limit)?;
        self.must_be_member(by, room).await?;
        let members = self.archive.roster(&room, start_after.as_ref(), limit).await?;
        let next = members.last().map(|last| last.user).filter(|_| members.len() >= limit as usize);
        Ok(Roster { members, next })
    }

    /// Gives a member another role, and tells the room.
    ///
    /// # Errors
    /// `forbidden` unless the sender's role may give roles, and outranks both the old one and the new one; `not_found` for who is no
    /// member; `conflict` when their role changes in the same moment.
    pub async fn set_role(&self, by: By<'_>, room: RoomId, user: UserId, role: Role) -> ServiceResult<()> {
        let own = self.must_have(by, room, Right::SetRole).await?;
        let now = self.archive.standing(&room, &user).await?;
        let Standing::Member(now) = now else { return Err(no_member()) };
        if !rights::outranks(own, now) || !rights::outranks(own, role) {
            return Err(below(by, now));
        }
        if !self.archive.set_role(&room, &user, now, role).await? {
            return Err(changed());
        }
        let detail = format!("{user}: {} → {}", now.as_str(), role.as_str());
        let event = Event { detail, ..Event::new("member.role", by.actor(), Some(room)) };
        self.events.tell_and_audit(Topic::ChatUpdated, event);
        if let Err(error) = self.hub.announce_role(&room, user, role).await {
            // It holds all the same: every act asks the archive.
            tracing::warn!(%room, %error, "chat.role_not_announced");
        }
        Ok(())
    }

    /// Ends somebody's membership, and bans them if that is meant.
    ///
    /// # Errors
    /// `forbidden` unless the sender's role may remove members, and outranks theirs; `not_found` for who is no member (unless they are to be
    /// banned) or no user; `conflict` when their role changes in the same moment, or they are banned already; `invalid` for oneself.
    pub async fn remove(&self, by: By<'_>, room: RoomId, user: UserId, ban: bool) -> ServiceResult<()> {
        let own = self.must_have(by, room, Right::Remove).await?;
        if by.actor() == Some(user) {
            return Err(ServiceError::invalid("user: to go oneself is `leave`"));
        }
        let now = match self.archive.standing(&room, &user).await? {
            Standing::Member(now) if rights::outranks(own, now) => Some(now),
            Standing::Member(now) => return Err(below(by, now)),
            Standing::Outside if ban => None,
            Standing::Banned if ban => {
                return Err(ServiceError::new(ErrorCode::Conflict, "user: is banned already"));
            }
            // Who is added by others only may be banned as well.
            Standing::Uninvited if ban => None,
            _ => return Err(no_member()),
        };
        let done = match (ban, now) {
            (true, now) => self.archive.ban(&room, &user, now, (by.actor().as_ref(), now_ms())).await?,
            (false, Some(now)) => self.archive.expel(&room, &user, now).await?,
            (false, None) => false,
        };
        if !done {
            return Err(changed());
        }
        let action = if ban { "member.banned" } else { "member.removed" };
        let event = Event { detail: user.to_string(), ..Event::new(action, by.actor(), Some(room)) };
        self.events.tell_and_audit(Topic::ChatUpdated, event);
        if now.is_some() {
            let left = Event::new("user.left.chat", Some(user), Some(room));
            self.events.tell(Topic::UserLeftChat, left);
            self.has_left(room, user).await;
        }
        Ok(())
    }

    /// Ends a ban.
    ///
    /// # Errors
    /// `forbidden` unless the sender's role may remove members; `not_found` for who is not banned.
    pub async fn unban(&self, by: By<'_>, room: RoomId, user: UserId) -> ServiceResult<()> {
        self.must_have(by, room, Right::Remove).await?;
        if !self.archive.unban(&room, &user).await? {
            return Err(ServiceError::new(ErrorCode::NotFound, "user: is not banned"));
        }
        let event =
            Event { detail: user.to_string(), ..Event::new("member.unbanned", by.actor(), Some(room)) };
        self.events.tell_and_audit(Topic::ChatUpdated, event);
        Ok(())
    }

    /// The sender's role, if it gives that right. The operator's is the owner's in a group.
    pub(super) async fn must_have(&self, by: By<'_>, room: RoomId, right: Right) -> ServiceResult<Role> {
        if by.actor().is_none() {
            self.must_be_group(room).await?;
        }
        let role = self.role(by, room).await?;
        if rights::may(role, right) {
            Ok(role)
        } else {
            Err(ServiceError::forbidden("your role does not allow it"))
        }
    }
}

pub(super) fn ended_not_left() -> ServiceError {
    ServiceError::forbidden("a direct chat is ended, not left")
}

pub(super) fn not_a_member() -> ServiceError {
    ServiceError::new(ErrorCode::NotFound, "not a member of such a room")
}

fn no_member() -> ServiceError {
    ServiceError::new(ErrorCode::NotFound, "user: is no member of the room")
}

/// Why `by` can't do it to one of the role `now`, or can't give the role that was asked for.
fn below(by: By<'_>, now: Role) -> ServiceError {
    ServiceError::forbidden(match by {
        By::Operator if now == Role::Owner => {
            "user: owns the room, and is not removed, banned or given a role"
        }
        By::Operator => "role: a room has one owner, who made it",
        _ => "only who is below oneself, and only to below oneself",
    })
}

fn changed() -> ServiceError {
    ServiceError::new(ErrorCode::Conflict, "user: their role has just changed: look again")
}
