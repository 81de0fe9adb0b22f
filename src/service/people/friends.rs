//! Friends: asked, accepted, declined, removed.

use chatlab_kit::{
    ids::UserId,
    wire::{ErrorCode, FriendAct, FriendEntry, FriendState, MAX_FRIEND_REQUESTS, MAX_FRIENDS},
};

use super::{People, nobody};
use crate::service::{
    ServiceError, ServiceResult,
    events::{Event, Topic},
    ports::{Befriended, FriendBounds},
};

const BOUNDS: FriendBounds =
    FriendBounds { friends: MAX_FRIENDS as u32, requests: MAX_FRIEND_REQUESTS as u32 };

impl People {
    /// Does something about a user and a friend of theirs, and tells the other; how the list is after it. Again what is done already changes nothing.
    ///
    /// # Errors
    /// `invalid` for oneself; `not_found` for who is no user, for an answer to who has not asked, and for an end of what there is not;
    /// `forbidden` when one of the two blocks the other; `conflict` over [`MAX_FRIENDS`], and over the other's [`MAX_FRIEND_REQUESTS`].
    pub async fn friend(
        &self,
        user: UserId,
        whom: UserId,
        act: FriendAct,
    ) -> ServiceResult<Vec<FriendEntry>> {
        if user == whom {
            return Err(ServiceError::invalid("user: nobody is their own friend"));
        }
        let done = match act {
            FriendAct::Request => self.befriend(user, whom, false).await?,
            FriendAct::Accept => self.befriend(user, whom, true).await?,
            FriendAct::Decline => self.part(user, whom, &[FriendState::Asks], "has not asked").await?,
            FriendAct::Remove => {
                let ends = [FriendState::Friend, FriendState::Asked];
                self.part(user, whom, &ends, "is no friend, and was not asked").await?
            }
        };
        if let Some(action) = done {
            let event = Event { detail: whom.to_string(), ..Event::new(action, Some(user), None) };
            self.events.tell(Topic::AuditLog, event);
            self.notices.friend(whom, user).await;
        }
        self.friends(user).await
    }

    /// What was done, if anything had to be.
    async fn befriend(
        &self,
        user: UserId,
        whom: UserId,
        answers: bool,
    ) -> ServiceResult<Option<&'static str>> {
        let conflict = |why: String| Err(ServiceError::new(ErrorCode::Conflict, why));
        match self.archive.befriend(&user, &whom, answers, BOUNDS).await? {
            Befriended::Now(FriendState::Friend) => Ok(Some("friend.accepted")),
            Befriended::Now(_) => Ok(Some("friend.requested")),
            Befriended::Already(FriendState::Friend) => Ok(None),
            Befriended::Already(_) if !answers => Ok(None),
            Befriended::Already(_) | Befriended::Unasked => {
                Err(ServiceError::new(ErrorCode::NotFound, "user: has not asked"))
            }
            Befriended::Nobody => Err(nobody()),
            Befriended::Apart => Err(ServiceError::forbidden("one of the two blocks the other")),
            Befriended::Full => conflict(format!("{MAX_FRIENDS} are friends or were asked already")),
            Befriended::Beset => conflict(format!("{MAX_FRIEND_REQUESTS} wait for their answer already")),
        }
    }

    async fn part(
        &self,
        user: UserId,
        whom: UserId,
        ends: &[FriendState],
        otherwise: &str,
    ) -> ServiceResult<Option<&'static str>> {
        if self.archive.unfriend(&user, &whom, ends).await? {
            return Ok(Some("friend.removed"));
        }
        Err(ServiceError::new(ErrorCode::NotFound, format!("user: {otherwise}")))
    }

    /// A user's friends, those whom they have asked and those who ask, by id.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn friends(&self, user: UserId) -> ServiceResult<Vec<FriendEntry>> {
        let all = self.archive.friends(&user, BOUNDS.friends + BOUNDS.requests).await?;
        let friends = all.iter().filter(|one| one.state == FriendState::Friend);
        let friends: Vec<UserId> = friends.map(|one| one.user).collect();
        let seen = self.attendance.seen(&friends, Some(user)).await?;
        let mut seen = seen.into_iter().peekable();
        // Both are in the order of the list.
        let each = all.into_iter().map(|one| {
            let status = seen.next_if(|(user, _)| *user == one.user).map(|(_, standing)| standing.status);
            FriendEntry { user: one.user, name: one.name, state: Some(one.state), status }
        });
        Ok(each.collect())
    }
}
