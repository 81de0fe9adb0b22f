//! Sending messages.

use std::time::Instant;

use chatlab_history::Appended;
use chatlab_kit::{
    ids::{ClientMsgId, MessageId, RoomId},
    message::{Draft, MAX_BODY_BYTES, MessageKind},
    wire::ErrorCode,
};
use chatlab_pubsub::Fanout;

use super::{Chat, not_joined};
use crate::service::{ServiceError, ServiceResult, hub::Connection};

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

    /// A message is in the history: tells those who must hear of it, and counts it.
    pub(super) async fn stored(&self, draft: &Draft, appended: &Appended, started: Instant) {
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

pub(super) fn check_body(body: &str) -> ServiceResult<()> {
    if body.is_empty() {
        return Err(ServiceError::invalid("body: empty"));
    }
    if body.len() > MAX_BODY_BYTES {
        let message = format!("body: {} bytes, at most {MAX_BODY_BYTES}", body.len());
        return Err(ServiceError::new(ErrorCode::TooLarge, message));
    }
    Ok(())
}
