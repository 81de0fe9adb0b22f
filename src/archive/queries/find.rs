//! Messages by their words, and by what they answer.
//!
//! Each database has an index of words of its own kind: what differs is in `words`, beside each.

use async_trait::async_trait;
use chatlab_kit::{
    ids::{MessageId, RoomId},
    message::{Message, Seq},
};
use sqlx::{AssertSqlSafe, FromRow, Row};

use super::{
    DbRow, SqlArchive, failed, marks,
    messages::{self, COLUMNS, MessageRow},
    words::{HITS, expression},
};
use crate::service::ports::{ArchiveError, Finding, Found};

/// A message, and its number in the index.
struct Numbered(i64, MessageRow);

impl FromRow<'_, DbRow> for Numbered {
    fn from_row(row: &DbRow) -> Result<Self, sqlx::Error> {
        Ok(Self(row.try_get("nr")?, MessageRow::from_row(row)?))
    }
}

#[async_trait]
impl Finding for SqlArchive {
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
            "SELECT searchable.nr, {COLUMNS} FROM {HITS} JOIN messages ON messages.id = searchable.message_id \
             WHERE messages.room_id = $4 ORDER BY searchable.nr DESC"
        );
        let rows: Vec<Numbered> = sqlx::query_as(AssertSqlSafe(select))
            .bind(expression(room, words))
            .bind(before)
            .bind(i64::from(limit))
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
            .bind(i64::from(limit))
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
    use chatlab_kit::{
        ids::UserId,
        message::MessageKind::{Delete, Edit, System, Text},
    };

    use super::{
        super::{Place, tests::said},
        *,
    };
    use crate::service::ports::{Archive, Directory};

    async fn found(archive: &SqlArchive, room: &RoomId, words: &str) -> Vec<Seq> {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let found = archive.search(room, &words, None, 99).await.unwrap();
        found.into_iter().map(|(_, message)| message.seq).collect()
    }

    #[tokio::test]
    async fn texts_are_found_by_their_words_the_newest_first() {
        let place = Place::fresh().await;
        let archive = place.open().await;
        let (room, other, ada) = (RoomId::new(), RoomId::new(), UserId::new());
        let texts = [
            "Two cups of TEA, please",
            "le thé est là",
            "fn tea_cups() -> \"two\"",
            "don't panic",
            "Чай и ЧАЙНИК 茶道",
            "a zero\0tea and e\u{301}te\u{301}",
            "sealed:1:tea",
            "two tea two tea",
        ];
        let numbered = texts.iter().zip(1..);
        let mut all: Vec<Message> =
            numbered.map(|(text, seq)| said(room, seq, ada, (Text, None, text))).collect();
        all.push(said(room, 9, ada, (System, None, "tea")));
        all.push(said(other, 1, ada, (Text, None, "tea elsewhere")));
        archive.add_messages(&all).await.unwrap();
        archive.add_messages(&all).await.unwrap();
        for (words, expected) in [
            ("tea", vec![8, 6, 3, 1]),
            ("tea cups", vec![3, 1]),
            ("please TEA", vec![1]),
            ("the", vec![2]),
            ("LÀ", vec![2]),
            ("cup", vec![3, 1]),
            ("cup tea", vec![]),
            ("tea_cups()", vec![3]),
            ("cups_tea", vec![]),
            ("don't", vec![4]),
            ("t-don", vec![]),
            ("чайн", vec![5]),
            ("ЧАЙ", vec![5]),
            ("茶", vec![5]),
            ("été", vec![6]),
            ("zero", vec![6]),
            ("NOT tea OR", vec![]),
            ("'tea' tea|cups", vec![3]),
            ("tea:*", vec![8, 6, 3, 1]),
            ("coffee", vec![]),
        ] {
            assert_eq!(found(&archive, &room, words).await, expected, "{words}");
        }
        assert_eq!(found(&archive, &other, "tea").await, [1]);
        assert_eq!(archive.messages_before(&room, None, 99).await.unwrap()[5].draft.body, texts[5]);
    }

    #[tokio::test]
    async fn what_is_found_is_as_it_is_now_and_comes_in_pages() {
        let place = Place::fresh().await;
        let archive = place.open().await;
        let (room, ada) = (RoomId::new(), UserId::new());
        let all: Vec<Message> = (1..=9).map(|seq| said(room, seq, ada, (Text, None, "a word"))).collect();
        let about = |seq: usize| Some(all[seq - 1].draft.id);
        archive.add_messages(&all[..5]).await.unwrap();
        let changes = [
            said(room, 10, ada, (Edit, about(2), "another")),
            said(room, 11, ada, (Delete, about(4), "")),
            said(room, 12, ada, (Edit, about(6), "another one")),
            said(room, 13, ada, (Edit, about(7), "sealed:1:word")),
        ];
        archive.add_messages(&changes).await.unwrap();
        archive.add_messages(&all[5..]).await.unwrap();
        assert_eq!(found(&archive, &room, "another").await, [6, 2]);
        let (mut pages, mut cursor) = (Vec::new(), None);
        loop {
            let page = archive.search(&room, &["word".to_owned()], cursor, 2).await.unwrap();
            let Some((last, _)) = page.last() else { break };
            cursor = Some(*last);
            pages.push(page.iter().map(|(_, message)| message.seq).collect::<Vec<_>>());
        }
        assert_eq!(pages, [vec![9, 8], vec![5, 3], vec![1]]);
        archive.remove_room(&room).await.unwrap();
        assert_eq!(found(&archive, &room, "a").await, [] as [Seq; 0]);
    }
}
