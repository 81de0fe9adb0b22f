//! What only a connection does: listening to rooms, and no longer.

use std::sync::Arc;

use chatlab_kit::{
    ids::{RoomId, UserId},
    message::Position,
    wire::{ErrorCode, RequestId, ServerFrame},
};

use super::{
    Chat,
    members::{ended_not_left, not_a_member},
};
use crate::service::{
    ServiceResult,
    hub::{
        Connection,
        frame::{Frame, Mark},
        outbox::Closing,
    },
    ports::Standing,
};

impl Chat {
    /// Makes a room, whose maker listens at once. Queues `ok`.
    ///
    /// # Errors
    /// `invalid` for the name, or when the connection listens to too many rooms.
    pub async fn create(&self, by: &Arc<Connection>, id: RequestId, name: &str) -> ServiceResult<()> {
        by.has_place(None)?;
        let room = self.make_room(by.user, name, None).await?;
        self.hub.join(by, room, None, |head| ok_frame(id, room, head)).await
    }

    /// Becomes a member and listens. Queues `ok` and what was missed since `after`.
    ///
    /// # Errors
    /// As [`enter`](Chat::enter); `invalid` when the connection listens to too many rooms.
    pub async fn join(
        &self,
        by: &Arc<Connection>,
        id: RequestId,
        room: RoomId,
        after: Option<Position>,
    ) -> ServiceResult<()> {
        by.has_place(Some(&room))?;
        self.enter(by.user, room).await?;
        self.hub.join(by, room, after, |head| ok_frame(id, room, head)).await?;
        self.still_member(by, room).await
    }

    /// A leave on another connection whose notice came before this one listened did not find it.
    /// `ok` is queued, so nothing here answers the request a second time.
    async fn still_member(&self, by: &Connection, room: RoomId) -> ServiceResult<()> {
        if !by.is_in(&room) {
            return Ok(());
        }
        match self.archive.standing(&room, &by.user).await {
            Ok(Standing::Member(_)) => {}
            Ok(_) => self.hub.drop_out(by, room)?,
            Err(error) => {
                tracing::warn!(%room, %error, "chat.join_not_checked");
                by.outbox.close(Closing::new(ErrorCode::Unavailable, "the membership could not be checked"));
            }
        }
        Ok(())
    }

    /// Ends the membership, on all the user's connections everywhere. Queues `ok`.
    ///
    /// # Errors
    /// `not_found` for a room that does not exist or that the user is not in; `forbidden` for a direct chat.
    pub async fn leave(&self, by: &Connection, id: RequestId, room: RoomId) -> ServiceResult<()> {
        if by.rules(&room).is_some_and(|rules| rules.direct) {
            return Err(ended_not_left());
        }
        if !self.end_membership(by.user, room).await? {
            // It may have ended elsewhere, with a notice that did not come here yet.
            self.hub.drop_out(by, room)?;
            return Err(not_a_member());
        }
        self.hub.leave(by, &room);
        self.has_left(room, by.user).await;
        by.outbox.push(Frame::new(&ServerFrame::Ok { id, room, head: None }, Mark::Gone(room))?);
        Ok(())
    }

    /// Opens the direct chat with somebody, and listens to it. Queues `ok`.
    ///
    /// # Errors
    /// As [`open_direct`](Chat::open_direct); `invalid` when the connection listens to too many rooms.
    pub async fn direct(
        &self,
        by: &Arc<Connection>,
        id: RequestId,
        user: UserId,
        for_s: Option<u32>,
    ) -> ServiceResult<()> {
        by.has_place(None)?;
        let room = self.open_direct(by.user, user, for_s).await?;
        self.hub.join(by, room, None, |head| ok_frame(id, room, head)).await?;
        self.still_member(by, room).await
    }
}

fn ok_frame(id: RequestId, room: RoomId, head: Position) -> ServiceResult<Arc<Frame>> {
    Frame::new(&ServerFrame::Ok { id, room, head: Some(head.clone()) }, Mark::At(room, head))
}
