//! A flawed variant is a sound one but for a twist: it overrides what it does wrong, and only that.

use async_trait::async_trait;
use chatlab_kit::{
    LabResult,
    ids::{MessageId, RoomId, UserId},
    message::{Draft, Message, Position, Seq},
};

use crate::{Appended, History, Since};

/// What is done differently; everything else is as in `sound`.
#[async_trait]
pub(crate) trait Twist: Send + Sync {
    fn sound(&self) -> &dyn History;

    async fn append(&self, draft: &Draft) -> LabResult<Appended> {
        self.sound().append(draft).await
    }

    async fn page(&self, room: &RoomId, before: Option<Seq>, limit: usize) -> LabResult<Vec<Message>> {
        self.sound().page(room, before, limit).await
    }

    async fn since(&self, room: &RoomId, after: &Position) -> LabResult<Since> {
        self.sound().since(room, after).await
    }

    async fn edit(
        &self,
        room: &RoomId,
        id: &MessageId,
        editor: &UserId,
        body: &str,
    ) -> LabResult<Option<Message>> {
        self.sound().edit(room, id, editor, body).await
    }

    async fn delete(&self, room: &RoomId, id: &MessageId) -> LabResult<Option<Message>> {
        self.sound().delete(room, id).await
    }
}

/// The variant with its twist.
pub(crate) struct Twisted<T>(pub(crate) T);

#[async_trait]
impl<T: Twist> History for Twisted<T> {
    async fn append(&self, draft: &Draft) -> LabResult<Appended> {
        self.0.append(draft).await
    }

    async fn head(&self, room: &RoomId) -> LabResult<Position> {
        self.0.sound().head(room).await
    }

    async fn page(&self, room: &RoomId, before: Option<Seq>, limit: usize) -> LabResult<Vec<Message>> {
        self.0.page(room, before, limit).await
    }

    async fn since(&self, room: &RoomId, after: &Position) -> LabResult<Since> {
        self.0.since(room, after).await
    }

    async fn fence(&self, room: &RoomId, seen: &Position) -> LabResult<Position> {
        self.0.sound().fence(room, seen).await
    }

    async fn edit(
        &self,
        room: &RoomId,
        id: &MessageId,
        editor: &UserId,
        body: &str,
    ) -> LabResult<Option<Message>> {
        self.0.edit(room, id, editor, body).await
    }

    async fn delete(&self, room: &RoomId, id: &MessageId) -> LabResult<Option<Message>> {
        self.0.delete(room, id).await
    }
}
