//! Messages by their words, and by what they answer.
//!
//! The index of words is SQLite's FTS5; triggers keep it as the texts are. Every statement about it is here.

use async_trait::async_trait;
use chatlab_kit::{
    ids::{MessageId, RoomId},
    message::{Message, Seq},
};
use sqlx::{AssertSqlSafe, FromRow, Row, sqlite::SqliteRow};

use super::{
    SqliteArchive, marks,
    messages::{self, COLUMNS, MessageRow},
    sqlite::failed,
};
use crate::service::ports::{ArchiveError, Finding, Found};

/// A message, and its number in the index.
struct Numbered(i64, MessageRow);

impl FromRow<'_, SqliteRow> for Numbered {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self(row.try_get("nr")?, MessageRow::from_row(row)?))
    }
}

/// The words as FTS5 understands them, whatever is in them: each in quotes, the last one also as a beginning; in this room.
fn expression(room: &RoomId, words: &[String]) -> String {
    let quoted = words.iter().map(|word| format!("\"{}\"", word.replace('"', "\"\"")));
    let words = quoted.collect::<Vec<_>>().join(" AND ");
    format!("room : \"{}\" AND body : ({words} *)", room.0.as_simple())
}

#[async_trait]
impl Finding for SqliteArchive {
    async fn search(
        &self,
        room: &RoomId,
        words: &[String],
        cursor: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Found>, ArchiveError> {
        let before = cursor.map_or(i64::MAX, |nr| i64::try_from(nr).unwrap_or(i64::MAX));
        // The index is walked from its newest end, and no further than the page is long.
        let select = format!(
            "SELECT searchable.nr, {COLUMNS} FROM (SELECT rowid FROM message_words \
             WHERE message_words MATCH $1 AND rowid < $2 ORDER BY rowid DESC LIMIT $3) AS hits \
             JOIN searchable ON searchable.nr = hits.rowid JOIN messages ON messages.id = searchable.message_id \
             WHERE messages.room_id = $4 ORDER BY searchable.nr DESC"
        );
        let rows: Vec<Numbered> = sqlx::query_as(AssertSqlSafe(select))
            .bind(expression(room, words))
            .bind(before)
            .bind(limit)
            .bind(room.to_string())
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        let numbers: Vec<u64> =
            rows.iter().map(|Numbered(nr, _)| u64::try_from(*nr).unwrap_or_default()).collect();
        let found = rows.into_iter().map(|Numbered(_, row)| messages::message(*room, row));
        let mut found = found.collect::<Result<Vec<_>, _>>()?;
        marks::add_reactions(&self.read, &mut found).await?;
        Ok(numbers.into_iter().zip(found).collect())
    }

    async fn replies(
        &self,
        room: &RoomId,
        to: &MessageId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<Message>, ArchiveError> {
        let select = format!(
            "SELECT {COLUMNS} FROM messages WHERE room_id = $1 AND reply_to = $2 AND seq > $3 ORDER BY seq LIMIT $4"
        );
        let rows: Vec<MessageRow> = sqlx::query_as(AssertSqlSafe(select))
            .bind(room.to_string())
            .bind(to.to_string())
            .bind(i64::try_from(after).unwrap_or(i64::MAX))
            .bind(limit)
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        let found = rows.into_iter().map(|row| messages::message(*room, row));
        let mut found = found.collect::<Result<Vec<_>, _>>()?;
        marks::add_reactions(&self.read, &mut found).await?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_words_and_nothing_else() {
        let room: RoomId = "01920000-0000-7000-8000-000000000001".parse().unwrap();
        let words = ["a\"b".to_owned(), "OR".to_owned(), "c*)".to_owned()];
        let expected =
            "room : \"01920000000070008000000000000001\" AND body : (\"a\"\"b\" AND \"OR\" AND \"c*)\" *)";
        assert_eq!(expression(&room, &words), expected);
    }
}
