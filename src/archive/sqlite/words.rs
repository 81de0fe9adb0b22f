//! The index of words: SQLite's FTS5, which triggers keep as the texts are.

use chatlab_kit::{ids::RoomId, message::Message};

use super::DbConnection;
use crate::service::ports::ArchiveError;

/// The hits of a page: `$1` is an [`expression`], `$2` the number that all have below them, `$3` how many. The index is walked from its
/// newest end, and no further than the page is long.
pub(super) const HITS: &str = "(SELECT rowid FROM message_words \
     WHERE message_words MATCH $1 AND rowid < $2 ORDER BY rowid DESC LIMIT $3) AS hits \
     JOIN searchable ON searchable.nr = hits.rowid";

/// The words as FTS5 understands them, whatever is in them: each in quotes, the last one also as a beginning; in this room.
pub(super) fn expression(room: &RoomId, words: &[String]) -> String {
    let quoted = words.iter().map(|word| format!("\"{}\"", word.replace('"', "\"\"")));
    let words = quoted.collect::<Vec<_>>().join(" AND ");
    format!("room : \"{}\" AND body : ({words} *)", room.0.as_simple())
}

/// A trigger does it.
pub(super) async fn add(_: &mut DbConnection, _: &[Message]) -> Result<(), ArchiveError> {
    Ok(())
}

/// A trigger does it.
pub(super) async fn change(_: &mut DbConnection, _: &str, _: &str, _: &str) -> Result<(), ArchiveError> {
    Ok(())
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
