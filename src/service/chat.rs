//! Rooms and messages: who may do what, and in which bounds.

use std::{sync::Arc, time::Instant};

use chatlab_history::{Appended, History};
use chatlab_kit::{
    ids::{ClientMsgId, MessageId, RoomId, UserId},
    message::{Draft, MAX_BODY_BYTES, MAX_PAGE, Message, MessageKind, Position, Seq},
    wire::{ErrorCode, RequestId, ServerFrame},
};

use super::{
    ServiceError, ServiceResult,
    hub::{
        Connection, Hub,
        outbox::{Frame, Mark},
    },
    now_ms,
    ports::{Archive, Role, RoomKind, RoomRecord, Standing},
};

/// The longest room name, in characters.
pub const MAX_ROOM_NAME: usize = 80;
/// The messages in a page when the client does not say how many.
pub const DEFAULT_PAGE: u32 = 50;

/// A page of history.
#[derive(Debug)]
pub struct Page {
    /// Oldest first.
    pub messages: Vec<Message>,
    /// `before` for the next, older page.
    pub next: Option<Seq>,
}

/// What connections do in rooms.
pub struct Chat {
    archive: Arc<dyn Archive>,
    history: Arc<dyn History>,
    hub: Arc<Hub>,
}

impl Chat {
    /// Over the archive's rooms, the message history and the live connections.
    pub fn new(archive: Arc<dyn Archive>, history: Arc<dyn History>, hub: Arc<Hub>) -> Self {
        Self { archive, history, hub }
    }

    /// Makes a room, whose maker listens at once. Queues `ok`.
    ///
    /// # Errors
    /// `invalid` for the name, or when the connection listens to too many rooms.
    pub async fn create(&self, by: &Arc<Connection>, id: RequestId, name: &str) -> ServiceResult<()> {
        let room = self.make_room(by.user, name).await?;
        self.hub.join(by, room, None, |head| ok_frame(id, room, head)).await
    }

    /// Makes a room that nobody listens to yet.
    ///
    /// # Errors
    /// `invalid` for the name.
    pub async fn make_room(&self, maker: UserId, name: &str) -> ServiceResult<RoomId> {
        let characters = name.chars().count();
        if !(1..=MAX_ROOM_NAME).contains(&characters) || name.chars().any(char::is_control) {
            return Err(ServiceError::invalid(format!(
                "name: 1 to {MAX_ROOM_NAME} characters, no control characters"
            )));
        }
        let room = RoomRecord {
            id: RoomId::new(),
            name: name.to_owned(),
            kind: RoomKind::Group,
            created_by: maker,
            created_ms: now_ms(),
        };
        self.archive.add_room(&room).await?;
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
        match self.archive.standing(&room, &by.user).await? {
            Standing::NoRoom => return Err(no_room()),
            Standing::Member => {}
            Standing::Outside => {
                self.archive.add_member(&room, &by.user, Role::Member, now_ms()).await?;
            }
        }
        self.hub.join(by, room, after, |head| ok_frame(id, room, head)).await
    }

    /// Ends the membership, on all the user's connections everywhere. Queues `ok`.
    ///
    /// # Errors
    /// `not_found` for a room that does not exist or that the user is not in.
    pub async fn leave(&self, by: &Connection, id: RequestId, room: RoomId) -> ServiceResult<()> {
        if !self.archive.remove_member(&room, &by.user).await? {
            return Err(ServiceError::new(ErrorCode::NotFound, "not a member of such a room"));
        }
        self.hub.leave(by, &room);
        // The membership has ended whether or not this reaches the other instances now: they ask
        // the archive after every gap.
        if let Err(error) = self.hub.announce_left(&room, by.user).await {
            tracing::warn!(%room, %error, "chat.leave_not_announced");
        }
        by.outbox.push(Frame::new(&ServerFrame::Ok { id, room, head: None }, Mark::Gone(room))?);
        Ok(())
    }

    /// Stores a message, which announces it to every listener.
    ///
    /// # Errors
    /// `forbidden` in a room that was not joined on this connection; `invalid` for the body.
    pub async fn send(
        &self,
        by: &Connection,
        room: RoomId,
        cid: ClientMsgId,
        kind: MessageKind,
        body: String,
    ) -> ServiceResult<Appended> {
        if !by.is_in(&room) {
            return Err(ServiceError::forbidden("join the room on this connection first"));
        }
        if kind != MessageKind::Text {
            return Err(ServiceError::invalid("kind: only `text` can be sent"));
        }
        if body.is_empty() {
            return Err(ServiceError::invalid("body: empty"));
        }
        if body.len() > MAX_BODY_BYTES {
            let message = format!("body: {} bytes, at most {MAX_BODY_BYTES}", body.len());
            return Err(ServiceError::new(ErrorCode::TooLarge, message));
        }
        let draft = Draft { room, id: MessageId::new(), from: by.user, cid, kind, body };
        let started = Instant::now();
        let appended = self.history.append(&draft).await?;
        metrics::histogram!("chatlab_send_seconds").record(started.elapsed());
        metrics::counter!("chatlab_messages_in_total").increment(1);
        Ok(appended)
    }

    /// A page of older messages.
    ///
    /// # Errors
    /// `forbidden` for who is no member; `not_found`; `invalid` for the limit.
    pub async fn page(
        &self,
        by: &Connection,
        room: RoomId,
        before: Option<Seq>,
        limit: Option<u32>,
    ) -> ServiceResult<Page> {
        let limit = limit.unwrap_or(DEFAULT_PAGE) as usize;
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(ServiceError::invalid(format!("limit: 1 to {MAX_PAGE}")));
        }
        if !by.is_in(&room) {
            match self.archive.standing(&room, &by.user).await? {
                Standing::Member => {}
                Standing::Outside => return Err(ServiceError::forbidden("not a member of the room")),
                Standing::NoRoom => return Err(no_room()),
            }
        }
        let messages = self.history.page(&room, before, limit).await?;
        let next = (messages.len() == limit)
            .then(|| messages.first().map(|oldest| oldest.seq))
            .flatten()
            .filter(|seq| *seq > 1);
        Ok(Page { messages, next })
    }
}

fn no_room() -> ServiceError {
    ServiceError::new(ErrorCode::NotFound, "there is no such room")
}

fn ok_frame(id: RequestId, room: RoomId, head: Position) -> ServiceResult<Arc<Frame>> {
    Frame::new(&ServerFrame::Ok { id, room, head: Some(head.clone()) }, Mark::At(room, head))
}
