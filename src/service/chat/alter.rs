//! What is done to a message: edited, deleted, pinned, reacted to. Each is a message of its own in the room's order.

use std::time::Instant;

use chatlab_history::{Alter, Altered, Appended, EDITS_MAX, Unaltered};
use chatlab_kit::{
    ids::{ClientMsgId, MessageId, RoomId},
    message::{Change, Draft, Message, MessageKind, PINS_MAX, REACTIONS_MAX},
    wire::ErrorCode,
};

use super::{By, Chat, speak::check_body};
use crate::service::{
    ServiceError, ServiceResult,
    rights::{self, Right},
};

impl Chat {
    /// Gives a message of the sender's own another text, by a message that says so in the room's order.
    ///
    /// # Errors
    /// `forbidden` in a room that was not joined (on the connection, for who has one), for members of one that is read only, and for what somebody else
    /// wrote; `not_found` for what is not there or was deleted; `conflict` after [`EDITS_MAX`] edits; `invalid` for the body.
    pub async fn edit(
        &self,
        by: By<'_>,
        room: RoomId,
        cid: ClientMsgId,
        message: MessageId,
        body: String,
    ) -> ServiceResult<Appended> {
        check_body(&body)?;
        let rules = self.rules(by, &room).await?;
        self.is_free_to_write(by, &room, rules).await?;
        self.alter(by, message, draft(by, room, cid, MessageKind::Edit, message, body)?).await
    }

    /// Takes the text out of a message, by a message that says so in the room's order.
    ///
    /// # Errors
    /// `forbidden` in a room that was not joined (on the connection, for who has one), and for what somebody else wrote, unless the sender's role
    /// allows it; `not_found` for what is not there or was deleted.
    pub async fn delete(
        &self,
        by: By<'_>,
        room: RoomId,
        cid: ClientMsgId,
        message: MessageId,
    ) -> ServiceResult<Appended> {
        self.alter(by, message, draft(by, room, cid, MessageKind::Delete, message, String::new())?).await
    }

    /// Pins a message, or takes its pin away, by a message that says so in the room's order.
    ///
    /// # Errors
    /// `forbidden` in a room that was not joined (on the connection, for who has one), and where the sender's role does not allow it (in a
    /// direct chat both pin); `not_found` for what is not there, was deleted, or is to lose a pin that it has not; `conflict` for what is pinned already, and for one more than
    /// [`PINS_MAX`].
    pub async fn pin(
        &self,
        by: By<'_>,
        room: RoomId,
        cid: ClientMsgId,
        message: MessageId,
        on: bool,
    ) -> ServiceResult<Appended> {
        let rules = self.rules(by, &room).await?;
        if !rules.direct && !rights::may(self.role(by, room).await?, Right::Pin) {
            return Err(ServiceError::forbidden("msg: moderators and higher pin"));
        }
        let kind = if on { MessageKind::Pin } else { MessageKind::Unpin };
        self.alter(by, message, draft(by, room, cid, kind, message, String::new())?).await
    }

    /// Reacts to a message with an emoji, or takes that back, by a message that says so in the room's order.
    ///
    /// # Errors
    /// `forbidden` in a room that was not joined (on the connection, for who has one); `invalid` for what is no emoji; `not_found` for what is not there,
    /// was deleted, or bears no such reaction to take back; `conflict` for a second one of the same, and for one more than
    /// [`REACTIONS_MAX`].
    pub async fn react(
        &self,
        by: By<'_>,
        room: RoomId,
        cid: ClientMsgId,
        message: MessageId,
        (emoji, on): (String, bool),
    ) -> ServiceResult<Appended> {
        if emojis::get(&emoji).is_none() {
            return Err(ServiceError::invalid("emoji: not one emoji of Unicode"));
        }
        let kind = if on { MessageKind::React } else { MessageKind::Unreact };
        self.alter(by, message, draft(by, room, cid, kind, message, emoji)?).await
    }

    /// The pinned messages of a room, the first pin first.
    ///
    /// # Errors
    /// `forbidden` for who is no member; `not_found`.
    pub async fn pins(&self, by: By<'_>, room: RoomId) -> ServiceResult<Vec<Message>> {
        self.must_be_member(by, room).await?;
        by.space().await;
        let pins = match self.history.pins(&room).await? {
            Some(pins) => pins,
            None => {
                self.look_pins_up(&room).await?;
                self.history.pins(&room).await?.unwrap_or_default()
            }
        };
        let mut messages = Vec::with_capacity(pins.len());
        for (id, here) in pins {
            let message = match here {
                Some(message) => Some(message),
                None => self.archive.message(&room, &id).await?.map(|(message, _)| message),
            };
            // One that neither has is on its way to the archive, or lost: there is nothing to show of it.
            messages.extend(message);
        }
        self.vault.open_all(&mut messages);
        Ok(messages)
    }

    /// Redis does not know the pins of a room: the archive does.
    async fn look_pins_up(&self, room: &RoomId) -> ServiceResult<()> {
        let kept = self.archive.pins(room, PINS_MAX as u32).await?;
        Ok(self.history.repin(room, &kept).await?)
    }

    /// Appends what is about another message. The usual one, of one's own and in Redis, takes one round trip; the others are told by its
    /// refusal, and are tried again with what the archive says: each question at most once.
    async fn alter(&self, by: By<'_>, about: MessageId, mut draft: Draft) -> ServiceResult<Appended> {
        self.must_be_there(by, draft.room).await?;
        self.vault.seal(&mut draft)?;
        self.must_stand(by, &draft.room).await?;
        let started = Instant::now();
        let (mut others, mut older, mut listed) = (false, None, false);
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
                    bears(&message, &draft)?;
                    if draft.kind.changes_text() && message.draft.from != draft.from {
                        others = self.may_change_others(by, &draft).await?;
                    }
                    older = Some(edits);
                }
                Altered::Refused(Unaltered::Unlisted) if !listed => {
                    self.look_pins_up(&draft.room).await?;
                    listed = true;
                }
                Altered::Refused(why) => return Err(refused(why, draft.kind)),
            }
        }
    }

    /// True, or why not.
    async fn may_change_others(&self, by: By<'_>, draft: &Draft) -> ServiceResult<bool> {
        let deletes = draft.kind == MessageKind::Delete;
        if deletes && rights::may(self.role(by, draft.room).await?, Right::DeleteOthers) {
            return Ok(true);
        }
        Err(refused(Unaltered::Foreign, draft.kind))
    }
}

fn draft(
    by: By<'_>,
    room: RoomId,
    cid: ClientMsgId,
    kind: MessageKind,
    about: MessageId,
    body: String,
) -> ServiceResult<Draft> {
    Ok(Draft {
        room,
        id: MessageId::new(),
        from: by.user()?,
        cid,
        kind,
        about: Some(about),
        reply_to: None,
        forwarded_from: None,
        body,
    })
}

/// Whether a message that only the archive has can be done that to.
fn bears(message: &Message, draft: &Draft) -> ServiceResult<()> {
    if message.changed.is_some_and(|changed| changed.what == Change::Deleted) {
        return Err(no_message());
    }
    if message.draft.kind != MessageKind::Text {
        return Err(refused(Unaltered::NoText, draft.kind));
    }
    let count: usize = message.reactions.iter().map(|reaction| reaction.users.len()).sum();
    let of_that = message.reactions.iter().find(|reaction| reaction.emoji == draft.body);
    let there = of_that.is_some_and(|reaction| reaction.users.contains(&draft.from));
    let why = match draft.kind {
        MessageKind::React if there => Unaltered::Same,
        MessageKind::React if count >= REACTIONS_MAX => Unaltered::Full,
        MessageKind::Unreact if !there => Unaltered::None,
        _ => return Ok(()),
    };
    Err(refused(why, draft.kind))
}

pub(super) fn no_message() -> ServiceError {
    ServiceError::new(ErrorCode::NotFound, "msg: there is no such message in the room, or it was deleted")
}

fn refused(why: Unaltered, kind: MessageKind) -> ServiceError {
    let conflict = |message: String| ServiceError::new(ErrorCode::Conflict, message);
    let pins = matches!(kind, MessageKind::Pin | MessageKind::Unpin);
    match why {
        Unaltered::Absent | Unaltered::Gone => no_message(),
        Unaltered::Foreign => ServiceError::forbidden("msg: somebody else wrote it"),
        Unaltered::NoText => ServiceError::invalid("msg: only a text can be meant, not what is about one"),
        Unaltered::TooOften => conflict(format!("msg: was edited {EDITS_MAX} times already")),
        Unaltered::Same if pins => conflict("msg: is pinned already".into()),
        Unaltered::Same => conflict("emoji: you reacted so already".into()),
        Unaltered::None if pins => ServiceError::new(ErrorCode::NotFound, "msg: is not pinned"),
        Unaltered::None => ServiceError::new(ErrorCode::NotFound, "emoji: you did not react so"),
        Unaltered::Full if pins => {
            conflict(format!("room: has {PINS_MAX} pins already: take one away first"))
        }
        Unaltered::Full => conflict(format!("msg: has {REACTIONS_MAX} reactions already")),
        Unaltered::Unlisted => {
            ServiceError::new(ErrorCode::Unavailable, "the pins of the room are not known")
        }
        Unaltered::Unordered => ServiceError::invalid(
            "this server runs a history that keeps no order of changes: none can be made",
        ),
    }
}
