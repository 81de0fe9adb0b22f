//! Finding messages: by words, and by what they answer.

use chatlab_kit::{
    ids::{MessageId, RoomId},
    message::Message,
    wire::MAX_QUERY_BYTES,
};

use super::{
    By, Chat, PAGE_BYTES,
    pages::{check_limit, json_bytes},
};
use crate::service::{ServiceError, ServiceResult, ports::Found};

/// The most words of a query.
const MAX_WORDS: usize = 8;

/// A page of what was found.
#[derive(Debug)]
pub struct FoundPage {
    /// In the order that was asked for.
    pub messages: Vec<Message>,
    /// `cursor` for the next page.
    pub next: Option<u64>,
}

impl Chat {
    /// Messages of a room by words of their texts, the newest first.
    ///
    /// # Errors
    /// `forbidden` for who is no member; `not_found`; `invalid` for the query and the limit, and where
    /// messages are encrypted.
    pub async fn search(
        &self,
        by: By<'_>,
        room: RoomId,
        query: &str,
        (cursor, limit): (Option<u64>, Option<u32>),
    ) -> ServiceResult<FoundPage> {
        let (words, limit) = (words(query)?, check_limit(limit)?);
        self.must_be_member(by, room).await?;
        if self.vault.seals() {
            let message = "query: messages are encrypted on this server, and so their words are not kept";
            return Err(ServiceError::invalid(message));
        }
        by.space().await;
        cut(self.archive.search(&room, &words, cursor, limit as u32).await?, limit)
    }

    /// Messages of a room that answer one, the oldest first.
    ///
    /// # Errors
    /// `forbidden` for who is no member; `not_found`; `invalid` for the limit.
    pub async fn thread(
        &self,
        by: By<'_>,
        room: RoomId,
        to: MessageId,
        (cursor, limit): (Option<u64>, Option<u32>),
    ) -> ServiceResult<FoundPage> {
        let limit = check_limit(limit)?;
        self.must_be_member(by, room).await?;
        by.space().await;
        let mut replies = self.archive.replies(&room, &to, cursor.unwrap_or_default(), limit as u32).await?;
        self.vault.open_all(&mut replies);
        cut(replies.into_iter().map(|message| (message.seq, message)).collect(), limit)
    }
}

/// The first messages that fit into a page's bytes, at least one.
fn cut(found: Vec<Found>, limit: usize) -> ServiceResult<FoundPage> {
    let (mut more, mut used, mut next) = (found.len() >= limit, 0, None);
    let mut messages = Vec::with_capacity(found.len());
    for (cursor, message) in found {
        used += json_bytes(&message)?;
        if used > PAGE_BYTES && !messages.is_empty() {
            more = true;
            break;
        }
        next = Some(cursor);
        messages.push(message);
    }
    Ok(FoundPage { messages, next: next.filter(|_| more) })
}

/// What is looked for. A word is what has a letter or a digit in it: the index knows of nothing else. Control characters part words as
/// spaces do; a zero would end the whole expression.
fn words(query: &str) -> ServiceResult<Vec<String>> {
    if query.len() > MAX_QUERY_BYTES {
        return Err(ServiceError::invalid(format!(
            "query: {} bytes, at most {MAX_QUERY_BYTES}",
            query.len()
        )));
    }
    let parts = query.split(|c: char| c.is_whitespace() || c.is_control());
    let all = parts.filter(|word| word.contains(char::is_alphanumeric));
    let words: Vec<String> = all.map(str::to_owned).collect();
    if (1..=MAX_WORDS).contains(&words.len()) {
        return Ok(words);
    }
    Err(ServiceError::invalid(format!("query: 1 to {MAX_WORDS} words of letters and digits")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_a_few_words() {
        assert_eq!(words("  tea\tÇay  -  7 ").unwrap(), ["tea", "Çay", "7"]);
        assert_eq!(words("\0tea\0cup\u{7f}").unwrap(), ["tea", "cup"]);
        let many = "a ".repeat(MAX_WORDS + 1);
        for bad in ["", " ", "- *", many.as_str(), &"x".repeat(MAX_QUERY_BYTES + 1)] {
            assert!(words(bad).is_err(), "{bad:?}");
        }
    }
}
