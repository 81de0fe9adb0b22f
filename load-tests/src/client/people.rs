//! Users: profiles, friends, and who writes most.

use chatlab_kit::{
    ids::{RoomId, UserId},
    wire::{ClientFrame, FriendAct, FriendEntry, Leader, Profile, RequestId, ServerFrame, Status},
};

use super::{Result, WsClient, unexpected};

/// What is to be changed of a profile; what is missing stays.
#[derive(Debug, Clone, Default)]
pub struct NewProfile {
    /// What one says about oneself.
    pub about: Option<String>,
    /// Whether one is to be had.
    pub status: Option<Status>,
    /// What one says beside it.
    pub status_text: Option<String>,
}

impl WsClient {
    /// What a user shows of themselves; one's own without a user.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn profile(&mut self, user: Option<UserId>) -> Result<Profile> {
        let id = self.next_request();
        self.shown(id, &ClientFrame::Profile { id, user }).await
    }

    /// Changes what one shows of oneself.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn set_profile(&mut self, new: NewProfile) -> Result<Profile> {
        let id = self.next_request();
        let NewProfile { about, status, status_text } = new;
        self.shown(id, &ClientFrame::SetProfile { id, about, status, status_text }).await
    }

    async fn shown(&mut self, id: RequestId, frame: &ClientFrame) -> Result<Profile> {
        match self.request(id, frame, "profile").await? {
            ServerFrame::Profile { profile, .. } => Ok(profile),
            other => Err(unexpected("profile", &other)),
        }
    }

    /// Asks somebody to be a friend, answers them, or ends it; how the list is then.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn friend(&mut self, user: UserId, act: FriendAct) -> Result<Vec<FriendEntry>> {
        let id = self.next_request();
        self.listed(id, &ClientFrame::Friend { id, user, act }).await
    }

    /// One's friends, whom one has asked, and who asks.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn friends(&mut self) -> Result<Vec<FriendEntry>> {
        let id = self.next_request();
        self.listed(id, &ClientFrame::Friends { id }).await
    }

    async fn listed(&mut self, id: RequestId, frame: &ClientFrame) -> Result<Vec<FriendEntry>> {
        match self.request(id, frame, "friends").await? {
            ServerFrame::Friends { friends, .. } => Ok(friends),
            other => Err(unexpected("friends", &other)),
        }
    }

    /// Who has sent the most texts to a room lately.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn leaders(&mut self, room: RoomId, days: Option<u32>) -> Result<Vec<Leader>> {
        let id = self.next_request();
        match self.request(id, &ClientFrame::Leaders { id, room, days, limit: None }, "leaders").await? {
            ServerFrame::Leaders { leaders, .. } => Ok(leaders),
            other => Err(unexpected("leaders", &other)),
        }
    }
}
