//! Sending messages.

use std::time::Instant;

use chatlab_history::Appended;
use chatlab_kit::{
    ids::{ClientMsgId, MessageId, RoomId, UserId},
    message::{Change, Draft, MAX_BODY_BYTES, Message, MessageKind},
    wire::ErrorCode,
};
use chatlab_pubsub::Fanout;
use uuid::Uuid;

use super::{By, Chat, alter::no_message};
use crate::service::{
    ServiceError, ServiceResult,
    events::{Event, Topic},
    hub::Rules,
    now_ms,
    rights::{self, Right},
    vault::Vault,
};

/// Among so many of a room's newest messages one that is sealed tells that texts are.
const SEALED_AMONG: usize = 50;

impl Chat {
    /// Stores a message, which announces it to every listener.
    ///
    /// # Errors
    /// `forbidden` in a room that was not joined (on the connection, for who has one), and for members of one that is read only; `rate_limited` by slow
    /// mode; `invalid` for the body.
    pub async fn send(
        &self,
        by: By<'_>,
        room: RoomId,
        cid: ClientMsgId,
        (kind, reply_to): (MessageKind, Option<MessageId>),
        body: String,
    ) -> ServiceResult<Appended> {
        let rules = self.rules(by, &room).await?;
        if kind != MessageKind::Text {
            return Err(ServiceError::invalid("kind: only `text` can be sent"));
        }
        check_body(&body)?;
        let (id, from) = (MessageId::new(), by.user()?);
        let draft = Draft { room, id, from, cid, kind, about: None, reply_to, forwarded_from: None, body };
        self.say(by, rules, draft).await
    }

    /// Stores the text of a message of another room as one that says who wrote it.
    ///
    /// # Errors
    /// As [`send`](Chat::send); `forbidden` for a message of a room that the user is no member of; `not_found` for what is not there or
    /// was deleted; `invalid` for what is no text.
    pub async fn forward(
        &self,
        by: By<'_>,
        room: RoomId,
        cid: ClientMsgId,
        (from, msg): (RoomId, MessageId),
    ) -> ServiceResult<Appended> {
        let rules = self.rules(by, &room).await?;
        let kept = self.message(by, from, msg).await?;
        if kept.changed.is_some_and(|changed| changed.what == Change::Deleted) {
            return Err(no_message());
        }
        let Draft { kind, from, forwarded_from, body, .. } = kept.draft;
        if kind != MessageKind::Text {
            return Err(ServiceError::invalid("msg: only a text can be forwarded"));
        }
        let draft = Draft {
            room,
            id: MessageId::new(),
            from: by.user()?,
            cid,
            kind,
            about: None,
            reply_to: None,
            forwarded_from: Some(forwarded_from.unwrap_or(from)),
            body,
        };
        self.say(by, rules, draft).await
    }

    /// Tells a group something by the operator: a message of the kind `system`, from nobody. Neither its pace nor who writes there holds for it.
    ///
    /// # Errors
    /// `forbidden` for users, and in a direct chat; `not_found`; `invalid` for the body; `bad_state` where texts are sealed, and here is no key.
    pub async fn notify(&self, by: By<'_>, room: RoomId, body: String) -> ServiceResult<Appended> {
        if by.actor().is_some() {
            return Err(ServiceError::forbidden("only the operator does that"));
        }
        self.must_be_group(room).await?;
        check_body(&body)?;
        let newest = self.history.page(&room, None, SEALED_AMONG).await?;
        if !self.vault.seals() && newest.iter().any(|message| Vault::is_sealed(&message.draft.body)) {
            let why = "texts are encrypted here: give the keys of the server, or this one would not be";
            return Err(ServiceError::new(ErrorCode::BadState, why));
        }
        let (id, from) = (MessageId::new(), UserId(Uuid::nil()));
        let cid = id.to_string().parse().map_err(ServiceError::internal)?;
        let (kind, about, reply_to, forwarded_from) = (MessageKind::System, None, None, None);
        let mut draft = Draft { room, id, from, cid, kind, about, reply_to, forwarded_from, body };
        self.vault.seal(&mut draft)?;
        self.must_stand(by, &room).await?;
        let appended = self.history.append(&draft).await?;
        self.stored(&draft, &appended, Instant::now()).await;
        let event = Event { detail: id.to_string(), ..Event::new("room.notified", None, Some(room)) };
        self.events.tell(Topic::AuditLog, event);
        Ok(appended)
    }

    /// A message of a room as it is now, also a deleted one.
    ///
    /// # Errors
    /// `forbidden` for who is no member; `not_found`.
    pub async fn message(&self, by: By<'_>, room: RoomId, msg: MessageId) -> ServiceResult<Message> {
        self.must_be_member(by, room).await?;
        let kept = match self.history.message(&room, &msg).await? {
            Some(message) => Some(message),
            None => self.archive.message(&room, &msg).await?.map(|(message, _)| message),
        };
        let mut kept = kept.ok_or_else(no_message)?;
        self.vault.open(&mut kept);
        Ok(kept)
    }

    async fn say(&self, by: By<'_>, rules: Rules, mut draft: Draft) -> ServiceResult<Appended> {
        if !self.is_free_to_write(by, &draft.room, rules).await? && rules.slow_s > 0 {
            self.pace.admit(&draft.room, &draft.from, rules.slow_s).await?;
        }
        self.vault.seal(&mut draft)?;
        self.must_stand(by, &draft.room).await?;
        let started = Instant::now();
        let appended = self.history.append(&draft).await?;
        self.stored(&draft, &appended, started).await;
        Ok(appended)
    }

    /// Whether the pace of the room does not hold for the sender. Where every member is free to write, nothing is asked.
    ///
    /// # Errors
    /// `forbidden` where only others write; `not_found` in a room that has ended.
    pub(super) async fn is_free_to_write(
        &self,
        by: By<'_>,
        room: &RoomId,
        rules: Rules,
    ) -> ServiceResult<bool> {
        if rules.ends_ms.is_some_and(|at| i64::try_from(at).unwrap_or(i64::MAX) <= now_ms()) {
            return Err(ServiceError::new(ErrorCode::NotFound, "the chat has ended"));
        }
        if !rules.read_only && rules.slow_s == 0 {
            return Ok(true);
        }
        let free = rights::may(self.role(by, *room).await?, Right::WriteFreely);
        if rules.read_only && !free {
            return Err(ServiceError::forbidden("the room is read only: moderators and higher write"));
        }
        Ok(free)
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
