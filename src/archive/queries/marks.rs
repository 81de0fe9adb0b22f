//! Reactions and pins: kept as the messages that say so, and read as what the last of them says.

use std::collections::HashMap;

use chatlab_kit::{
    ids::{MessageId, RoomId, UserId},
    message::{Change, Message, Reaction, Seq},
};
use sqlx::QueryBuilder;

use super::{Db, DbPool, failed, user_id};
use crate::service::ports::ArchiveError;

/// A reaction that stands: which message, the emoji, whose it is.
type ReactionRow = (String, String, String);

/// Gives messages, as many as fit into a statement, the reactions that they have.
pub(super) async fn add_reactions(read: &DbPool, messages: &mut [Message]) -> Result<(), ArchiveError> {
    let deleted = |message: &Message| message.changed.is_some_and(|changed| changed.what == Change::Deleted);
    let mut bearing: HashMap<String, &mut Message> = messages
        .iter_mut()
        .filter(|message| !message.draft.kind.is_about_another() && !deleted(message))
        .map(|message| (message.draft.id.to_string(), message))
        .collect();
    if bearing.is_empty() {
        return Ok(());
    }
    let mut select = QueryBuilder::<Db>::new(
        "SELECT about, body, user_id FROM (SELECT about, body, user_id, kind, seq, \
         ROW_NUMBER() OVER (PARTITION BY about, body, user_id ORDER BY seq DESC) AS nth \
         FROM messages WHERE kind IN ('react', 'unreact') AND about IN (",
    );
    let mut listed = select.separated(", ");
    for id in bearing.keys() {
        listed.push_bind(id.clone());
    }
    select.push(")) AS latest WHERE nth = 1 AND kind = 'react' ORDER BY seq");
    let rows: Vec<ReactionRow> = select.build_query_as().fetch_all(read).await.map_err(failed)?;
    for (about, emoji, user) in rows {
        if let Some(message) = bearing.get_mut(&about) {
            add(&mut message.reactions, emoji, user_id(&user)?);
        }
    }
    Ok(())
}

fn add(reactions: &mut Vec<Reaction>, emoji: String, user: UserId) {
    match reactions.iter_mut().find(|reaction| reaction.emoji == emoji) {
        Some(reaction) => reaction.users.push(user),
        None => reactions.push(Reaction { emoji, users: vec![user] }),
    }
}

/// The pins of a room, the newest `limit` of them, the first pin first: which messages, and the sequences of their pins.
pub(super) async fn pins(
    read: &DbPool,
    room: &RoomId,
    limit: u32,
) -> Result<Vec<(MessageId, Seq)>, ArchiveError> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT latest.about, latest.seq FROM (SELECT about, kind, seq, \
         ROW_NUMBER() OVER (PARTITION BY about ORDER BY seq DESC) AS nth \
         FROM messages WHERE room_id = $1 AND kind IN ('pin', 'unpin')) AS latest \
         LEFT JOIN messages AS pinned ON pinned.id = latest.about \
         WHERE nth = 1 AND latest.kind = 'pin' \
         AND (pinned.changed_what IS NULL OR pinned.changed_what <> 'deleted') \
         ORDER BY latest.seq DESC LIMIT $2",
    )
    .bind(room.to_string())
    .bind(i64::from(limit))
    .fetch_all(read)
    .await
    .map_err(failed)?;
    let pins = rows.into_iter().rev().map(|(id, seq)| {
        let wrong = || ArchiveError::Corrupt(format!("`{id}` at {seq} is no pin"));
        Ok((id.parse().map_err(|_| wrong())?, u64::try_from(seq).map_err(|_| wrong())?))
    });
    pins.collect()
}
