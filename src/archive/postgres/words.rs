//! The index of words: a `tsvector` a text, made here and not by the database, whose letters depend on its locale. The words are those
//! of SQLite's index: runs of letters and digits, whatever the case, and Latin letters without their accents.

use chatlab_kit::{
    ids::RoomId,
    message::{Message, MessageKind},
};
use unicode_normalization::UnicodeNormalization;

use super::{DbConnection, queries::failed};
use crate::service::{ports::ArchiveError, vault::SEALED};

/// The hits of a page: `$1` is an [`expression`], `$2` the number that all have below them, `$3` how many.
pub(super) const HITS: &str = "(SELECT nr, message_id FROM searchable WHERE words @@ $1::tsquery AND nr < $2 \
     ORDER BY nr DESC LIMIT $3) AS searchable";

/// Of a longer word only so much counts; PostgreSQL refuses one of 2 KiB.
const MAX_WORD_BYTES: usize = 512;
/// Positions above it are not told apart by PostgreSQL.
const MAX_POSITION: usize = 16_383;

/// Letters with an accent have the accent as a character of its own in the decomposed text.
fn is_accent(c: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&c)
}

/// The words of a text, as they are compared.
fn words(text: &str) -> Vec<String> {
    let mut latin = false;
    let plain = text.nfd().filter(|c| {
        if is_accent(*c) {
            return !latin;
        }
        latin = c.is_ascii_alphabetic();
        true
    });
    let folded: String = plain.nfc().flat_map(char::to_lowercase).collect();
    let words = folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word[..word.floor_char_boundary(MAX_WORD_BYTES)].to_owned()).collect()
}

/// The word that stands for a room. It has what no other word has.
fn room_word(room: &str) -> String {
    format!("'#{room}'")
}

/// A text of a room as a `tsvector`; without a word for what is not to be found.
fn vector(room: &str, text: &str) -> String {
    let mut vector = room_word(room);
    if !text.starts_with(SEALED) {
        for (i, word) in words(text).into_iter().enumerate() {
            vector.push_str(&format!(" '{word}':{}", (i + 1).min(MAX_POSITION)));
        }
    }
    vector
}

/// What is asked for, as a `tsquery`: all these words, of each its parts in a row; the last one also as a beginning; in this room.
pub(super) fn expression(room: &RoomId, wanted: &[String]) -> String {
    let mut parts: Vec<Vec<String>> = wanted
        .iter()
        .map(|word| words(word).iter().map(|part| format!("'{part}'")).collect::<Vec<_>>())
        .filter(|parts| !parts.is_empty())
        .collect();
    match parts.last_mut().and_then(|parts| parts.last_mut()) {
        Some(last) => last.push_str(":*"),
        // No room is called so: nothing is found.
        None => return room_word(""),
    }
    let all = parts.into_iter().map(|parts| format!("({})", parts.join(" <-> ")));
    format!("{} & {}", room_word(&room.to_string()), all.collect::<Vec<_>>().join(" & "))
}

/// Puts the texts among messages that were just kept into the index.
pub(super) async fn add(connection: &mut DbConnection, messages: &[Message]) -> Result<(), ArchiveError> {
    let texts = messages.iter().map(|message| &message.draft).filter(|draft| {
        draft.kind == MessageKind::Text && !draft.body.is_empty() && !draft.body.starts_with(SEALED)
    });
    let (ids, vectors): (Vec<String>, Vec<String>) =
        texts.map(|draft| (draft.id.to_string(), vector(&draft.room.to_string(), &draft.body))).unzip();
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO searchable (message_id, words) SELECT id, words::tsvector \
         FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS new (id, words, nth) ORDER BY nth \
         ON CONFLICT (message_id) DO NOTHING",
    )
    .bind(ids)
    .bind(vectors)
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

/// Puts the words of a text that was changed in the place of those it had.
pub(super) async fn change(
    connection: &mut DbConnection,
    room: &str,
    id: &str,
    text: &str,
) -> Result<(), ArchiveError> {
    sqlx::query("UPDATE searchable SET words = $1::tsvector WHERE message_id = $2")
        .bind(vector(room, text))
        .bind(id)
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_letters_and_digits_without_case_or_accent() {
        assert_eq!(
            words("Le Thé, e\u{301}te\u{301}: TEA_cups() -> 7x"),
            ["le", "the", "ete", "tea", "cups", "7x"]
        );
        assert_eq!(
            words("İstanbul Čaj ЧАЙ 茶道 がか 한국"),
            ["istanbul", "caj", "чай", "茶道", "がか", "한국"]
        );
        assert_eq!(words("a\0b\u{10ffff}-c 🎉"), ["a", "b", "c"]);
        assert_eq!(words(&"é".repeat(2_000)), ["e".repeat(MAX_WORD_BYTES)]);
    }

    #[test]
    fn what_is_asked_for_is_words_and_nothing_else() {
        let room: RoomId = "01920000-0000-7000-8000-000000000001".parse().unwrap();
        let asked = |words: &[&str]| {
            expression(&room, &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
        };
        let here = "'#01920000-0000-7000-8000-000000000001'";
        assert_eq!(
            asked(&["don't", "a'|b", "C*)"]),
            format!("{here} & ('don' <-> 't') & ('a' <-> 'b') & ('c':*)")
        );
        assert_eq!(asked(&["'", "\u{301}"]), "'#'");
    }
}
