//! Requests about rooms as such, about finding messages, and about blocks.

use chatlab_kit::{
    ids::{MessageId, RoomId, UserId},
    wire::{ClientFrame, RequestId, RoomInfo, ServerFrame},
};

use super::{Page, Result, WsClient, unexpected};

/// Settings to change; none stays as it is.
#[derive(Debug, Clone, Default)]
pub struct NewSettings {
    /// The name.
    pub name: Option<String>,
    /// Whether only moderators and higher write.
    pub read_only: Option<bool>,
    /// In how many seconds a member may write once.
    pub slow_s: Option<u32>,
    /// Whether nobody joins by themselves.
    pub invited: Option<bool>,
}

impl WsClient {
    /// Opens the direct chat with a user, for so many seconds if it is a new one, and listens to it.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn direct(&mut self, user: UserId, for_s: Option<u32>) -> Result<RoomId> {
        let id = self.next_request();
        match self.request(id, &ClientFrame::Direct { id, user, for_s }, "direct").await? {
            ServerFrame::Ok { room, head, .. } => {
                self.note_joined(room, head);
                Ok(room)
            }
            other => Err(unexpected("ok", &other)),
        }
    }

    /// Ends a direct chat.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn end(&mut self, room: RoomId) -> Result<()> {
        let id = self.next_request();
        self.done(id, &ClientFrame::End { id, room }).await
    }

    /// Makes somebody a member.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn add(&mut self, room: RoomId, user: UserId) -> Result<()> {
        let id = self.next_request();
        self.done(id, &ClientFrame::Add { id, room, user }).await
    }

    /// Changes settings of a room.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn settings(&mut self, room: RoomId, new: NewSettings) -> Result<()> {
        let id = self.next_request();
        let NewSettings { name, read_only, slow_s, invited } = new;
        self.done(id, &ClientFrame::Settings { id, room, name, read_only, slow_s, invited }).await
    }

    /// A page of the rooms that one is a member of.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn rooms(
        &mut self,
        start_after: Option<RoomId>,
        limit: Option<u32>,
    ) -> Result<(Vec<RoomInfo>, Option<RoomId>)> {
        let id = self.next_request();
        match self.request(id, &ClientFrame::Rooms { id, start_after, limit }, "rooms").await? {
            ServerFrame::Rooms { rooms, next, .. } => Ok((rooms, next)),
            other => Err(unexpected("rooms", &other)),
        }
    }

    /// Blocks a user, or no longer; whom one blocks then.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn block(&mut self, user: UserId, on: bool) -> Result<Vec<UserId>> {
        let id = self.next_request();
        self.blocked(id, &ClientFrame::Block { id, user, on }).await
    }

    /// Whom one blocks.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn blocks(&mut self) -> Result<Vec<UserId>> {
        let id = self.next_request();
        self.blocked(id, &ClientFrame::Blocks { id }).await
    }

    async fn blocked(&mut self, id: RequestId, frame: &ClientFrame) -> Result<Vec<UserId>> {
        match self.request(id, frame, "blocks").await? {
            ServerFrame::Blocks { users, .. } => Ok(users),
            other => Err(unexpected("blocks", &other)),
        }
    }

    /// Messages of a room by words, the newest first; `next` is the cursor.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn search(
        &mut self,
        room: RoomId,
        query: &str,
        (cursor, limit): (Option<u64>, Option<u32>),
    ) -> Result<Page> {
        let (id, query) = (self.next_request(), query.to_owned());
        self.found(id, &ClientFrame::Search { id, room, query, cursor, limit }).await
    }

    /// Messages that answer one, the oldest first; `next` is the cursor.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn thread(
        &mut self,
        room: RoomId,
        msg: MessageId,
        (cursor, limit): (Option<u64>, Option<u32>),
    ) -> Result<Page> {
        let id = self.next_request();
        self.found(id, &ClientFrame::Thread { id, room, msg, cursor, limit }).await
    }

    async fn found(&mut self, id: RequestId, frame: &ClientFrame) -> Result<Page> {
        match self.request(id, frame, "found").await? {
            ServerFrame::Found { messages, next, .. } => Ok(Page { messages, next }),
            other => Err(unexpected("found", &other)),
        }
    }
}
