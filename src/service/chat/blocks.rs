//! Who blocks whom: the two have no direct chat, and the one is not seen by the other.

use chatlab_kit::{
    ids::UserId,
    wire::{ErrorCode, MAX_BLOCKS},
};

use super::{By, Chat};
use crate::service::{
    ServiceError, ServiceResult,
    events::{Event, Topic},
};

impl Chat {
    /// Blocks a user, or no longer. When this returns the archive has it; the instances that the two are connected to close their direct
    /// chat as soon as they hear of it.
    ///
    /// # Errors
    /// `invalid` for oneself; `not_found` for who is no user; `conflict` over [`MAX_BLOCKS`].
    pub async fn block(&self, by: By<'_>, user: UserId, on: bool) -> ServiceResult<Vec<UserId>> {
        let own = by.user()?;
        if user == own {
            return Err(ServiceError::invalid("user: nobody blocks themselves"));
        }
        if !on {
            self.archive.unblock(&own, &user).await?;
        } else if !self.archive.block(&own, &user, MAX_BLOCKS as u32).await? {
            let message = format!("{MAX_BLOCKS} users are blocked already");
            return Err(ServiceError::new(ErrorCode::Conflict, message));
        }
        let action = if on { "user.blocked" } else { "user.unblocked" };
        let event = Event { detail: user.to_string(), ..Event::new(action, Some(own), None) };
        self.events.tell(Topic::AuditLog, event);
        if on && let Some(room) = self.archive.direct_of(&own, &user).await? {
            self.has_no_place(room, &[own, user]).await;
        }
        self.blocks(by).await
    }

    /// Whether one of the two blocks the other.
    pub(super) async fn are_apart(&self, one: &UserId, other: &UserId) -> ServiceResult<bool> {
        let blocked = !self.archive.blockers(one, &[*other]).await?.is_empty();
        Ok(blocked || !self.archive.blockers(other, &[*one]).await?.is_empty())
    }

    /// Whom a user blocks.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn blocks(&self, by: By<'_>) -> ServiceResult<Vec<UserId>> {
        Ok(self.archive.blocks(&by.user()?, MAX_BLOCKS as u32).await?)
    }
}
