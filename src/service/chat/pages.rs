//! Pages of older messages: what Redis has, then what the archive has, in bounds of messages and of bytes.

use chatlab_kit::{
    ids::RoomId,
    message::{MAX_PAGE, Message, Seq},
};

use super::{By, Chat};
use crate::service::{ServiceError, ServiceResult};

/// The messages in a page when the client does not say how many.
pub const DEFAULT_PAGE: u32 = 50;
/// The most bytes of messages in a page, as JSON; a single message may have more.
pub const PAGE_BYTES: usize = 256 * 1024;

/// A page of history.
#[derive(Debug)]
pub struct Page {
    /// Oldest first.
    pub messages: Vec<Message>,
    /// `before` for the next, older page.
    pub next: Option<Seq>,
}

impl Chat {
    /// A page of older messages.
    ///
    /// # Errors
    /// `forbidden` for who is no member; `not_found`; `invalid` for the limit.
    pub async fn page(
        &self,
        by: By<'_>,
        room: RoomId,
        before: Option<Seq>,
        limit: Option<u32>,
    ) -> ServiceResult<Page> {
        let limit = check_limit(limit)?;
        self.must_be_member(by, room).await?;
        by.space().await;
        let recent = self.history.page(&room, before, limit).await?;
        let mut messages = self.with_older(&room, before, limit, recent).await?;
        self.vault.open_all(&mut messages);
        cut(messages, limit, PAGE_BYTES)
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

/// How many messages a page is to have.
pub(super) fn check_limit(limit: Option<u32>) -> ServiceResult<usize> {
    let limit = limit.unwrap_or(DEFAULT_PAGE) as usize;
    if (1..=MAX_PAGE).contains(&limit) {
        return Ok(limit);
    }
    Err(ServiceError::invalid(format!("limit: 1 to {MAX_PAGE}")))
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
pub(super) fn json_bytes(message: &Message) -> ServiceResult<usize> {
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

#[cfg(test)]
mod tests {
    use chatlab_kit::{
        ids::{MessageId, UserId},
        message::{Draft, Epoch, MAX_BODY_BYTES, MessageKind},
    };

    use super::*;

    fn message(seq: Seq, body: &str) -> Message {
        let draft = Draft {
            room: RoomId::new(),
            id: MessageId::new(),
            from: UserId::new(),
            cid: "c".parse().unwrap(),
            kind: MessageKind::Text,
            about: None,
            reply_to: None,
            forwarded_from: None,
            body: body.into(),
        };
        Message { epoch: Epoch("e".into()), seq, ts: 1, changed: None, reactions: Vec::new(), draft }
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
