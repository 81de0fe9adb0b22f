//! The requests of the protocol, a method each.

use chatlab_kit::{
    ids::{MessageId, RoomId, UserId},
    message::{Message, MessageKind, Position, Seq},
    wire::{AckLevel, ClientFrame, MarkRoom, MemberEntry, RequestId, Role, RoomMarks, ServerFrame},
};

use super::{Ack, Joined, Page, Result, Who, WsClient, unexpected};

impl WsClient {
    /// Makes a room; its maker is in it, and listens.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn create(&mut self, name: &str) -> Result<RoomId> {
        let id = self.next_request();
        match self.request(id, &ClientFrame::Create { id, name: name.to_owned() }, "create").await? {
            ServerFrame::Ok { room, head, .. } => {
                self.note_joined(room, head);
                Ok(room)
            }
            other => Err(unexpected("ok", &other)),
        }
    }

    /// Joins a room, after a position where one is given.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn join(&mut self, room: RoomId, after: Option<Position>) -> Result<Joined> {
        let id = self.next_request();
        let resuming = after.is_some();
        match self.request(id, &ClientFrame::Join { id, room, after: after.clone() }, "join").await? {
            ServerFrame::Ok { head, .. } => {
                // When resuming, what follows moves the position; the head is not yet seen.
                self.note_joined(room, if resuming { after } else { head.clone() });
                Ok(Joined { head })
            }
            other => Err(unexpected("ok", &other)),
        }
    }

    /// Leaves a room.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn leave(&mut self, room: RoomId) -> Result<()> {
        let id = self.next_request();
        match self.request(id, &ClientFrame::Leave { id, room }, "leave").await? {
            ServerFrame::Ok { .. } => {
                self.joined.retain(|r| *r != room);
                Ok(())
            }
            other => Err(unexpected("ok", &other)),
        }
    }

    /// Sends a text and waits until it is stored. Safe to repeat with the same `cid`.
    ///
    /// # Errors
    /// [`Id`](super::ClientError::Id) for a bad `cid`, [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or
    /// [`Timeout`](super::ClientError::Timeout).
    pub async fn send(&mut self, room: RoomId, cid: &str, body: &str) -> Result<Ack> {
        self.send_at(room, cid, body, AckLevel::Memory).await
    }

    /// Sends a text and waits until it is as safe as `level` says, or the server gave that up.
    ///
    /// # Errors
    /// As [`WsClient::send`].
    pub async fn send_at(&mut self, room: RoomId, cid: &str, body: &str, level: AckLevel) -> Result<Ack> {
        let (id, cid, body) = (self.next_request(), cid.parse()?, body.to_owned());
        let (kind, reply_to) = (MessageKind::Text, None);
        self.acked(id, &ClientFrame::Send { id, room, cid, kind, body, reply_to, level }).await
    }

    /// Sends a text that answers a message.
    ///
    /// # Errors
    /// As [`WsClient::send`].
    pub async fn reply(&mut self, room: RoomId, cid: &str, to: MessageId, body: &str) -> Result<Ack> {
        let (id, cid, body) = (self.next_request(), cid.parse()?, body.to_owned());
        let (kind, reply_to, level) = (MessageKind::Text, Some(to), AckLevel::Memory);
        self.acked(id, &ClientFrame::Send { id, room, cid, kind, body, reply_to, level }).await
    }

    /// Sends the text of a message of the room `from` as one that says who wrote it.
    ///
    /// # Errors
    /// As [`WsClient::send`].
    pub async fn forward(
        &mut self,
        room: RoomId,
        cid: &str,
        (from, msg): (RoomId, MessageId),
    ) -> Result<Ack> {
        let (id, cid, level) = (self.next_request(), cid.parse()?, AckLevel::Memory);
        self.acked(id, &ClientFrame::Forward { id, room, cid, from, msg, level }).await
    }

    /// Gives a message of one's own another text.
    ///
    /// # Errors
    /// As [`WsClient::send`].
    pub async fn edit(&mut self, room: RoomId, cid: &str, msg: MessageId, body: &str) -> Result<Ack> {
        let (id, cid, body) = (self.next_request(), cid.parse()?, body.to_owned());
        self.acked(id, &ClientFrame::Edit { id, room, cid, msg, body, level: AckLevel::Memory }).await
    }

    /// Takes the text out of a message.
    ///
    /// # Errors
    /// As [`WsClient::send`].
    pub async fn delete(&mut self, room: RoomId, cid: &str, msg: MessageId) -> Result<Ack> {
        let (id, cid) = (self.next_request(), cid.parse()?);
        self.acked(id, &ClientFrame::Delete { id, room, cid, msg, level: AckLevel::Memory }).await
    }

    /// Pins a message, or takes its pin away.
    ///
    /// # Errors
    /// As [`WsClient::send`].
    pub async fn pin(&mut self, room: RoomId, cid: &str, msg: MessageId, on: bool) -> Result<Ack> {
        let (id, cid) = (self.next_request(), cid.parse()?);
        self.acked(id, &ClientFrame::Pin { id, room, cid, msg, on, level: AckLevel::Memory }).await
    }

    /// Reacts to a message, or takes that back.
    ///
    /// # Errors
    /// As [`WsClient::send`].
    pub async fn react(
        &mut self,
        room: RoomId,
        cid: &str,
        msg: MessageId,
        (emoji, on): (&str, bool),
    ) -> Result<Ack> {
        let (id, cid, emoji) = (self.next_request(), cid.parse()?, emoji.to_owned());
        let level = AckLevel::Memory;
        self.acked(id, &ClientFrame::React { id, room, cid, msg, emoji, on, level }).await
    }

    /// The pinned messages of a room.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn pins(&mut self, room: RoomId) -> Result<Vec<Message>> {
        let id = self.next_request();
        match self.request(id, &ClientFrame::Pins { id, room }, "pins").await? {
            ServerFrame::Pins { messages, .. } => Ok(messages),
            other => Err(unexpected("pins", &other)),
        }
    }

    /// Says how far rooms were read and what has come; how much is unread.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn mark(&mut self, rooms: &[MarkRoom]) -> Result<Vec<RoomMarks>> {
        let id = self.next_request();
        match self.request(id, &ClientFrame::Mark { id, rooms: rooms.to_vec() }, "marks").await? {
            ServerFrame::Marks { rooms, .. } => Ok(rooms),
            other => Err(unexpected("marks", &other)),
        }
    }

    async fn acked(&mut self, id: RequestId, frame: &ClientFrame) -> Result<Ack> {
        match self.request(id, frame, "ack").await? {
            ServerFrame::Ack { room, cid, epoch, seq, msg, ts, dup, level, wanted, .. } => {
                Ok(Ack { room, cid, epoch, seq, msg, ts, dup, level, wanted })
            }
            other => Err(unexpected("ack", &other)),
        }
    }

    /// A page of history: messages with a sequence below `before`, at most `limit`.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn history(&mut self, room: RoomId, before: Option<Seq>, limit: Option<u32>) -> Result<Page> {
        let id = self.next_request();
        match self.request(id, &ClientFrame::History { id, room, before, limit }, "page").await? {
            ServerFrame::Page { messages, next, .. } => Ok(Page { messages, next }),
            other => Err(unexpected("page", &other)),
        }
    }

    /// A page of a room's members.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn members(
        &mut self,
        room: RoomId,
        start_after: Option<UserId>,
        limit: Option<u32>,
    ) -> Result<(Vec<MemberEntry>, Option<UserId>)> {
        let id = self.next_request();
        match self.request(id, &ClientFrame::Members { id, room, start_after, limit }, "members").await? {
            ServerFrame::Members { members, next, .. } => Ok((members, next)),
            other => Err(unexpected("members", &other)),
        }
    }

    /// Gives a member another role.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn set_role(&mut self, room: RoomId, user: UserId, role: Role) -> Result<()> {
        let id = self.next_request();
        self.done(id, &ClientFrame::Role { id, room, user, role }).await
    }

    /// Ends somebody's membership, and bans them if that is meant.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn remove(&mut self, room: RoomId, user: UserId, ban: bool) -> Result<()> {
        let id = self.next_request();
        self.done(id, &ClientFrame::Remove { id, room, user, ban }).await
    }

    /// Ends a ban.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn unban(&mut self, room: RoomId, user: UserId) -> Result<()> {
        let id = self.next_request();
        self.done(id, &ClientFrame::Unban { id, room, user }).await
    }

    pub(super) async fn done(&mut self, id: RequestId, frame: &ClientFrame) -> Result<()> {
        match self.request(id, frame, "ok").await? {
            ServerFrame::Ok { .. } => Ok(()),
            other => Err(unexpected("ok", &other)),
        }
    }

    /// A page of a room's members: those of them who are online.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn who(
        &mut self,
        room: RoomId,
        start_after: Option<UserId>,
        limit: Option<u32>,
    ) -> Result<Who> {
        let id = self.next_request();
        match self.request(id, &ClientFrame::Who { id, room, start_after, limit }, "who").await? {
            ServerFrame::Who { online, statuses, next, .. } => Ok(Who { online, statuses, next }),
            other => Err(unexpected("who", &other)),
        }
    }

    /// Says that this user is writing in a joined room, or no longer.
    ///
    /// # Errors
    /// [`Refused`](super::ClientError::Refused), [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn typing(&mut self, room: RoomId, on: bool) -> Result<()> {
        let id = self.next_request();
        match self.request(id, &ClientFrame::Typing { id, room, on }, "ok").await? {
            ServerFrame::Ok { .. } => Ok(()),
            other => Err(unexpected("ok", &other)),
        }
    }

    /// Asks for a `pong`.
    ///
    /// # Errors
    /// [`Closed`](super::ClientError::Closed) or [`Timeout`](super::ClientError::Timeout).
    pub async fn ping(&mut self) -> Result<()> {
        let id = self.next_request();
        match self.request(id, &ClientFrame::Ping { id }, "pong").await? {
            ServerFrame::Pong { .. } => Ok(()),
            other => Err(unexpected("pong", &other)),
        }
    }
}
