//! How far members have read, what has come to them, and how much is unread.

use chatlab_history::{Marked, Marks};
use chatlab_kit::{
    ids::{RoomId, UserId},
    wire::{MAX_MARKS, MarkRoom, RoomMarks},
};

use super::{By, Chat};
use crate::service::{ServiceError, ServiceResult};

impl Chat {
    /// Moves a user's marks forward in some rooms, tells the rooms, and says how much is unread there.
    ///
    /// # Errors
    /// `invalid` for the number of rooms; `forbidden` and `not_found` for a room that is not the user's own, before anything is marked.
    pub async fn mark(&self, by: By<'_>, rooms: &[MarkRoom]) -> ServiceResult<Vec<RoomMarks>> {
        if !(1..=MAX_MARKS).contains(&rooms.len()) {
            return Err(ServiceError::invalid(format!("rooms: 1 to {MAX_MARKS}")));
        }
        let user = by.user()?;
        for one in rooms {
            self.must_be_member(by, one.room).await?;
        }
        let mut marks = Vec::with_capacity(rooms.len());
        for MarkRoom { room, read, delivered } in rooms {
            let to = Marks { read: read.unwrap_or_default(), delivered: delivered.unwrap_or_default() };
            let marked = self.history.mark(room, &user, to).await?.ok_or_else(|| {
                ServiceError::invalid("this server runs a history that keeps no marks: nothing can be marked")
            })?;
            let Marked { head, at: Marks { read, delivered }, unread, moved } = marked;
            if moved {
                self.receipts.moved(*room, user, marked.at).await;
            }
            marks.push(RoomMarks { room: *room, head, read, delivered, unread });
        }
        Ok(marks)
    }

    /// Who is no member any more has read nothing.
    pub(super) async fn forget_marks(&self, room: RoomId, user: UserId) {
        self.receipts.forget(room, user);
        if let Err(error) = self.history.unmark(&room, &user).await {
            tracing::warn!(%room, %error, "chat.marks_not_forgotten");
        }
    }
}
