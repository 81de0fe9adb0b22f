//! Sending messages, and changing them.

use std::time::Instant;

use chatlab_history::{Alter, Altered, Appended, EDITS_MAX, Unaltered};
use chatlab_kit::{
    ids::{ClientMsgId, MessageId, RoomId},
    message::{Change, Draft, MAX_BODY_BYTES, MessageKind},
    wire::ErrorCode,
};
use chatlab_pubsub::Fanout;

use super::{Chat, not_joined};
use crate::service::{
    ServiceError, ServiceResult,
    hub::Connection,
    rights::{self, Right},
};

impl Chat {
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
            return Err(not_joined());
        }
        if kind != MessageKind::Text {
            return Err(ServiceError::invalid("kind: only `text` can be sent"));
        }
        check_body(&body)?;
        let draft = Draft { room, id: MessageId::new(), from: by.user, cid, kind, about: None, body };
        let started = Instant::now();
        let appended = self.history.append(&draft).await?;
        self.stored(&draft, &appended, started).await;
        Ok(appended)
    }

    /// Gives a message of the sender's own another text, by a message that says so in the room's order.
    ///
    /// # Errors
    /// `forbidden` in a room that was not joined on this connection, and for what somebody else wrote; `not_found` for what is not
    /// there or was deleted; `conflict` after [`EDITS_MAX`] edits; `invalid` for the body.
    pub async fn edit(
        &self,
        by: &Connection,
        room: RoomId,
        cid: ClientMsgId,
        message: MessageId,
        body: String,
    ) -> ServiceResult<Appended> {
        check_body(&body)?;
        let (id, from, kind) = (MessageId::new(), by.user, MessageKind::Edit);
        self.alter(by, message, Draft { room, id, from, cid, kind, about: Some(message), body }).await
    }

    /// Takes the text out of a message, by a message that says so in the room's order.
    ///
    /// # Errors
    /// `forbidden` in a room that was not joined on this connection, and for what somebody else wrote, unless the sender's role
    /// allows it; `not_found` for what is not there or was deleted.
    pub async fn delete(
        &self,
        by: &Connection,
        room: RoomId,
        cid: ClientMsgId,
        message: MessageId,
    ) -> ServiceResult<Appended> {
        let (id, from, kind, body) = (MessageId::new(), by.user, MessageKind::Delete, String::new());
        self.alter(by, message, Draft { room, id, from, cid, kind, about: Some(message), body }).await
    }

    /// Changes a message. The usual one, of one's own and in Redis, takes one round trip; the others are told by its refusal, and are
    /// tried again with what the archive says: each of the two questions at most once.
    async fn alter(&self, by: &Connection, about: MessageId, draft: Draft) -> ServiceResult<Appended> {
        if !by.is_in(&draft.room) {
            return Err(not_joined());
        }
        let started = Instant::now();
        let (mut others, mut older) = (false, None);
        loop {
            let alter = Alter { change: &draft, others, older: older.as_deref() };
            match self.history.alter(alter).await? {
                Altered::Stored(appended) => {
                    self.stored(&draft, &appended, started).await;
                    return Ok(appended);
                }
                Altered::Refused(Unaltered::Foreign) if !others => {
                    others = self.may_change_others(by, &draft).await?;
                }
                Altered::Refused(Unaltered::Absent) if older.is_none() => {
                    let kept = self.archive.message(&draft.room, &about).await?;
                    let (message, edits) = kept.ok_or_else(no_message)?;
                    if message.changed.is_some_and(|changed| changed.what == Change::Deleted) {
                        return Err(no_message());
                    }
                    if message.draft.kind != MessageKind::Text {
                        return Err(refused(Unaltered::NoText));
                    }
                    if message.draft.from != by.user {
                        others = self.may_change_others(by, &draft).await?;
                    }
                    older = Some(edits);
                }
                Altered::Refused(why) => return Err(refused(why)),
            }
        }
    }

    /// True, or why not.
    async fn may_change_others(&self, by: &Connection, draft: &Draft) -> ServiceResult<bool> {
        let deletes = draft.kind == MessageKind::Delete;
        if deletes && rights::may(self.role(by, draft.room).await?, Right::DeleteOthers) {
            return Ok(true);
        }
        Err(refused(Unaltered::Foreign))
    }

    /// A message is in the history: tells those who must hear of it, and counts it.
    async fn stored(&self, draft: &Draft, appended: &Appended, started: Instant) {
        self.events.stored(&draft.room);
        if let Some(announcer) = &self.announcer
            && !appended.duplicate
        {
            announce(&**announcer, draft, appended).await;
        }
        metrics::histogram!("chatlab_send_seconds").record(started.elapsed());
        metrics::counter!("chatlab_messages_in_total").increment(1);
    }
}

/// Publishes a stored message as the history's script would. It is stored whatever becomes of this: whoever does not hear
/// of it reads it with the next message.
async fn announce(announcer: &dyn Fanout, draft: &Draft, stored: &Appended) {
    let json = match serde_json::to_string(draft) {
        Ok(json) => json,
        Err(error) => return tracing::error!(%error, "chat.announce"),
    };
    let envelope = format!("{} {} {} {json}", stored.epoch.0, stored.seq, stored.ts);
    if let Err(error) = announcer.notify(&draft.room, envelope.into()).await {
        tracing::warn!(room = %draft.room, %error, "chat.announce");
    }
}

fn check_body(body: &str) -> ServiceResult<()> {
    if body.is_empty() {
        return Err(ServiceError::invalid("body: empty"));
    }
    if body.len() > MAX_BODY_BYTES {
        let message = format!("body: {} bytes, at most {MAX_BODY_BYTES}", body.len());
        return Err(ServiceError::new(ErrorCode::TooLarge, message));
    }
    Ok(())
}

fn no_message() -> ServiceError {
    ServiceError::new(ErrorCode::NotFound, "msg: there is no such message in the room, or it was deleted")
}

fn refused(why: Unaltered) -> ServiceError {
    match why {
        Unaltered::Absent | Unaltered::Gone => no_message(),
        Unaltered::Foreign => ServiceError::forbidden("msg: somebody else wrote it"),
        Unaltered::NoText => ServiceError::invalid("msg: only a text can be changed, not what changes one"),
        Unaltered::TooOften => {
            ServiceError::new(ErrorCode::Conflict, format!("msg: was edited {EDITS_MAX} times already"))
        }
        Unaltered::Unordered => ServiceError::invalid(
            "this server runs a history that keeps no order of changes: none can be made",
        ),
    }
}
