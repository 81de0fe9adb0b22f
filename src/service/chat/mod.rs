//! Rooms and messages: who may do what, and in which bounds.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chatlab_history::{Appended, History};
use chatlab_kit::{
    ids::{ClientMsgId, MessageId, RoomId, UserId},
    message::{Draft, MAX_BODY_BYTES, MAX_PAGE, Message, MessageKind, Position, Seq},
    wire::{ErrorCode, MAX_ROOM_NAME, MAX_WHO, RequestId, ServerFrame},
};
use chatlab_pubsub::Fanout;

use super::{
    ServiceError, ServiceResult,
    attendance::Attendance,
    events::{Event, Events, Topic},
    hub::{
        Connection, Hub,
        frame::{Frame, Mark},
        outbox::Closing,
    },
    now_ms,
    ports::{Archive, Role, RoomKind, RoomRecord, Standing},
    typing::Typing,
};

/// The messages in a page when the client does not say how many.
pub const DEFAULT_PAGE: u32 = 50;
/// The most bytes of messages in a page, as JSON; a single message may have more.
pub const PAGE_BYTES: usize = 256 * 1024;

/// How often the notice of a leave is tried again.
const ANNOUNCE_ATTEMPTS: u32 = 8;
/// The first pause before that; doubles from try to try.
const ANNOUNCE_PAUSE: Duration = Duration::from_millis(200);

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
    attendance: Arc<Attendance>,
    typing: Arc<Typing>,
    announcer: Option<Arc<dyn Fanout>>,
    events: Events,
}

/// A page of a room's members.
#[derive(Debug)]
pub struct Who {
    /// Those of the page who are online.
    pub online: Vec<UserId>,
    /// `start_after` for the next page.
    pub next: Option<UserId>,
}

impl Chat {
    /// Over the archive's rooms, the message history, the live connections, who is online and who writes. `announcer` is for a
    /// fan-out that does not hear what the history's own script announces: it is told of every message beside. What happens is told
    /// to `events`.
    pub fn new(
        archive: Arc<dyn Archive>,
        history: Arc<dyn History>,
        hub: Arc<Hub>,
        attendance: Arc<Attendance>,
        typing: Arc<Typing>,
        announcer: Option<Arc<dyn Fanout>>,
        events: Events,
    ) -> Self {
        Self { archive, history, hub, attendance, typing, announcer, events }
    }

    /// Makes a room, whose maker listens at once. Queues `ok`.
    ///
    /// # Errors
    /// `invalid` for the name, or when the connection listens to too many rooms.
    pub async fn create(&self, by: &Arc<Connection>, id: RequestId, name: &str) -> ServiceResult<()> {
        by.has_place(None)?;
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
        let detail = room.name;
        let event = Event { detail, ..Event::new("chat.created", Some(maker), Some(room.id)) };
        self.events.tell_and_audit(Topic::ChatCreated, event);
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
        by.has_place(Some(&room))?;
        match self.archive.standing(&room, &by.user).await? {
            Standing::NoRoom => return Err(no_room()),
            Standing::Member => {}
            Standing::Outside => {
                if self.archive.add_member(&room, &by.user, Role::Member, now_ms()).await? {
                    let event = Event::new("user.joined.chat", Some(by.user), Some(room));
                    self.events.tell_and_audit(Topic::UserJoinedChat, event);
                }
            }
        }
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
            Ok(Standing::Member) => {}
            Ok(Standing::Outside | Standing::NoRoom) => self.hub.drop_out(by, room)?,
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
    /// `not_found` for a room that does not exist or that the user is not in.
    pub async fn leave(&self, by: &Connection, id: RequestId, room: RoomId) -> ServiceResult<()> {
        if !self.archive.remove_member(&room, &by.user).await? {
            // It may have ended elsewhere, with a notice that did not come here yet.
            self.hub.drop_out(by, room)?;
            return Err(ServiceError::new(ErrorCode::NotFound, "not a member of such a room"));
        }
        let event = Event::new("user.left.chat", Some(by.user), Some(room));
        self.events.tell_and_audit(Topic::UserLeftChat, event);
        self.hub.leave(by, &room);
        self.typing.forget(room, by.user);
        // The membership has ended whether or not this reaches the other instances now.
        if let Err(error) = self.hub.announce_left(&room, by.user).await {
            tracing::warn!(%room, %error, "chat.leave_not_announced");
            tokio::spawn(announce_left(self.hub.clone(), room, by.user));
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
            return Err(not_joined());
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
        self.events.stored(&room);
        if let Some(announcer) = &self.announcer
            && !appended.duplicate
        {
            announce(&**announcer, &draft, &appended).await;
        }
        metrics::histogram!("chatlab_send_seconds").record(started.elapsed());
        metrics::counter!("chatlab_messages_in_total").increment(1);
        Ok(appended)
    }

    /// Says that the user is writing, or no longer, to the others who listen.
    ///
    /// # Errors
    /// `forbidden` in a room that was not joined on this connection.
    pub async fn typing(&self, by: &Connection, room: RoomId, on: bool) -> ServiceResult<()> {
        if !by.is_in(&room) {
            return Err(not_joined());
        }
        self.typing.set(room, by.user, on).await
    }

    /// Which members are online, of a page of them.
    ///
    /// # Errors
    /// `forbidden` for who is no member; `not_found`; `invalid` for the limit.
    pub async fn who(
        &self,
        by: &Connection,
        room: RoomId,
        start_after: Option<UserId>,
        limit: Option<u32>,
    ) -> ServiceResult<Who> {
        let most = MAX_WHO as u32;
        let limit = limit.unwrap_or(most);
        if !(1..=most).contains(&limit) {
            return Err(ServiceError::invalid(format!("limit: 1 to {most}")));
        }
        self.must_be_member(by, room).await?;
        let members = self.archive.members(&room, start_after.as_ref(), limit).await?;
        let next = members.last().copied().filter(|_| members.len() >= limit as usize);
        Ok(Who { online: self.attendance.online(&members).await?, next })
    }

    async fn must_be_member(&self, by: &Connection, room: RoomId) -> ServiceResult<()> {
        if by.is_in(&room) {
            return Ok(());
        }
        match self.archive.standing(&room, &by.user).await? {
            Standing::Member => Ok(()),
            Standing::Outside => Err(ServiceError::forbidden("not a member of the room")),
            Standing::NoRoom => Err(no_room()),
        }
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
        self.must_be_member(by, room).await?;
        by.space().await;
        let recent = self.history.page(&room, before, limit).await?;
        cut(self.with_older(&room, before, limit, recent).await?, limit, PAGE_BYTES)
    }

    /// A page of what Redis still has, filled up with what only the archive has.
    async fn with_older(
        &self,
        room: &RoomId,
        before: Option<Seq>,
        limit: usize,
        recent: Vec<Message>,
    ) -> ServiceResult<Vec<Message>> {
        let before = recent.first().map(|oldest| oldest.seq).or(before);
        let missing = limit - recent.len().min(limit);
        if missing == 0 || before.is_some_and(|seq| seq <= 1) {
            return Ok(recent);
        }
        let mut messages = self.archive.messages_before(room, before, missing as u32).await?;
        messages.extend(recent);
        Ok(messages)
    }
}

/// Tries again what failed: instances that lost no subscription have no reason to ask the archive by themselves.
async fn announce_left(hub: Arc<Hub>, room: RoomId, user: UserId) {
    for attempt in 0..ANNOUNCE_ATTEMPTS {
        tokio::time::sleep(ANNOUNCE_PAUSE * 2u32.pow(attempt)).await;
        match hub.announce_left(&room, user).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%room, %error, attempt, "chat.leave_not_announced"),
        }
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

/// The newest messages that fit into so many bytes of JSON, at least one.
fn cut(mut messages: Vec<Message>, limit: usize, bytes: usize) -> ServiceResult<Page> {
    let mut older = messages.len() >= limit;
    let mut used = 0;
    for at in (0..messages.len()).rev() {
        used += json_bytes(&messages[at])?;
        if used > bytes && at + 1 < messages.len() {
            messages.drain(..=at);
            older = true;
            break;
        }
    }
    let next = messages.first().map(|oldest| oldest.seq).filter(|seq| older && *seq > 1);
    Ok(Page { messages, next })
}

/// The length of a message as JSON, which escapes may make six times that of its body.
fn json_bytes(message: &Message) -> ServiceResult<usize> {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, message).map_err(ServiceError::internal)?;
    Ok(count.0)
}

fn not_joined() -> ServiceError {
    ServiceError::forbidden("join the room on this connection first")
}

fn no_room() -> ServiceError {
    ServiceError::new(ErrorCode::NotFound, "there is no such room")
}

fn ok_frame(id: RequestId, room: RoomId, head: Position) -> ServiceResult<Arc<Frame>> {
    Frame::new(&ServerFrame::Ok { id, room, head: Some(head.clone()) }, Mark::At(room, head))
}

#[cfg(test)]
mod tests {
    use chatlab_kit::message::Epoch;

    use super::*;

    fn message(seq: Seq, body: &str) -> Message {
        let draft = Draft {
            room: RoomId::new(),
            id: MessageId::new(),
            from: UserId::new(),
            cid: "c".parse().unwrap(),
            kind: MessageKind::Text,
            body: body.into(),
        };
        Message { epoch: Epoch("e".into()), seq, ts: 1, changed: None, draft }
    }

    #[test]
    fn a_page_keeps_the_newest_that_fit_and_says_where_the_older_are() {
        let one = json_bytes(&message(1, "x")).unwrap();
        // The sequences there are, the limit in messages and in bytes; the page and its cursor.
        type Case = (&'static [Seq], usize, usize, &'static [Seq], Option<Seq>);
        let cases: [Case; 7] = [
            (&[], 3, one, &[], None),
            (&[1, 2, 3], 5, 3 * one, &[1, 2, 3], None),
            (&[1, 2, 3], 3, 3 * one, &[1, 2, 3], None),
            (&[4, 5, 6], 3, 3 * one, &[4, 5, 6], Some(4)),
            (&[1, 2, 3], 5, 3 * one - 1, &[2, 3], Some(2)),
            (&[4, 5, 6], 3, 2 * one, &[5, 6], Some(5)),
            (&[4, 5, 6], 3, 0, &[6], Some(6)),
        ];
        for (there, limit, bytes, kept, next) in cases {
            let messages = there.iter().map(|seq| message(*seq, "x")).collect();
            let page = cut(messages, limit, bytes).unwrap();
            let seqs: Vec<_> = page.messages.iter().map(|m| m.seq).collect();
            assert_eq!((seqs.as_slice(), page.next), (kept, next), "{there:?} {limit} {bytes}");
        }
    }

    #[test]
    fn escapes_count_in_a_page() {
        let body = "\u{1}".repeat(MAX_BODY_BYTES);
        let plain = json_bytes(&message(1, "")).unwrap();
        assert_eq!(json_bytes(&message(1, &body)).unwrap(), plain + 6 * MAX_BODY_BYTES);
        let page = cut((1..=200).map(|seq| message(seq, &body)).collect(), 200, PAGE_BYTES).unwrap();
        assert_eq!((page.messages.len(), page.next), (10, Some(191)));
    }
}
