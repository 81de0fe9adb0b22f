//! Messages as rows of the archive, and what changes them.
//!
//! A change and the message that it is about may be archived by different processes, in either order. So whenever one of the two comes,
//! what is there by then of both is brought together, in the transaction that keeps it.

use std::collections::BTreeMap;

use chatlab_kit::{
    ids::{MessageId, RoomId},
    message::{Change, Changed, Draft, Epoch, Message, MessageKind},
};
use sqlx::{FromRow, QueryBuilder, Row};

use super::{Db, DbConnection, DbRow, failed, text_from, text_to, user_id, words};
use crate::service::ports::ArchiveError;

/// What [`MessageRow`] is selected by.
pub(super) const COLUMNS: &str = "messages.id, epoch, seq, ts_ms, user_id, cid, kind, about, reply_to, \
     forwarded_from, body, changed_what, changed_ms, changed_by";

/// A message as it is kept.
pub(super) struct MessageRow {
    id: String,
    epoch: String,
    seq: i64,
    ts_ms: i64,
    user_id: String,
    cid: String,
    kind: String,
    about: Option<String>,
    reply_to: Option<String>,
    forwarded_from: Option<String>,
    body: String,
    changed_what: Option<String>,
    changed_ms: Option<i64>,
    changed_by: Option<String>,
}

impl FromRow<'_, DbRow> for MessageRow {
    fn from_row(row: &DbRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            epoch: row.try_get("epoch")?,
            seq: row.try_get("seq")?,
            ts_ms: row.try_get("ts_ms")?,
            user_id: row.try_get("user_id")?,
            cid: row.try_get("cid")?,
            kind: row.try_get("kind")?,
            about: row.try_get("about")?,
            reply_to: row.try_get("reply_to")?,
            forwarded_from: row.try_get("forwarded_from")?,
            body: row.try_get("body")?,
            changed_what: row.try_get("changed_what")?,
            changed_ms: row.try_get("changed_ms")?,
            changed_by: row.try_get("changed_by")?,
        })
    }
}

/// A message as its row says; what others say about it comes from theirs.
pub(super) fn message(room: RoomId, row: MessageRow) -> Result<Message, ArchiveError> {
    let wrong = |what: &str, text: &str| ArchiveError::Corrupt(format!("`{text}` is no {what}"));
    let number = |n: i64| u64::try_from(n).map_err(|_| wrong("number from 0", &n.to_string()));
    let message_id = |text: &str| text.parse::<MessageId>().map_err(|_| wrong("message id", text));
    let changed = match row.changed_what {
        None => None,
        Some(what) => Some(Changed {
            what: serde_json::from_value(what.clone().into()).map_err(|_| wrong("change", &what))?,
            ts: number(row.changed_ms.unwrap_or_default())?,
            by: row.changed_by.as_deref().map(user_id).transpose()?,
        }),
    };
    let draft = Draft {
        room,
        id: message_id(&row.id)?,
        from: user_id(&row.user_id)?,
        cid: row.cid.parse().map_err(|_| wrong("client id", &row.cid))?,
        kind: serde_json::from_value(row.kind.clone().into()).map_err(|_| wrong("kind", &row.kind))?,
        about: row.about.as_deref().map(message_id).transpose()?,
        reply_to: row.reply_to.as_deref().map(message_id).transpose()?,
        forwarded_from: row.forwarded_from.as_deref().map(user_id).transpose()?,
        body: text_from(row.body),
    };
    let (epoch, seq, ts) = (Epoch(row.epoch), number(row.seq)?, number(row.ts_ms)?);
    Ok(Message { epoch, seq, ts, changed, reactions: Vec::new(), draft })
}

/// Keeps messages, as many as fit into a statement, within a transaction. What is there already stays, but for what changes it.
///
/// The ids of those that were not there.
pub(super) async fn keep(
    transaction: &mut DbConnection,
    messages: &[Message],
) -> Result<Vec<String>, ArchiveError> {
    let new: Vec<(String,)> =
        insert(messages).build_query_as().fetch_all(&mut *transaction).await.map_err(failed)?;
    words::add(transaction, messages).await?;
    for (about, changes) in changes_of(transaction, messages).await? {
        apply(transaction, &about, &changes).await?;
    }
    Ok(new.into_iter().map(|(id,)| id).collect())
}

/// An insert that leaves what is there as it is, and gives the ids of what was not.
fn insert(messages: &[Message]) -> QueryBuilder<Db> {
    let mut insert = QueryBuilder::new(
        "INSERT INTO messages \
         (id, room_id, epoch, seq, ts_ms, user_id, cid, kind, about, reply_to, forwarded_from, body) ",
    );
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    insert.push_values(messages, |mut row, message| {
        let draft = &message.draft;
        row.push_bind(draft.id.to_string())
            .push_bind(draft.room.to_string())
            .push_bind(&message.epoch.0)
            .push_bind(number(message.seq))
            .push_bind(number(message.ts))
            .push_bind(draft.from.to_string())
            .push_bind(draft.cid.as_str())
            .push_bind(draft.kind.as_str())
            .push_bind(draft.about.map(|about| about.to_string()))
            .push_bind(draft.reply_to.map(|answered| answered.to_string()))
            .push_bind(draft.forwarded_from.map(|author| author.to_string()))
            .push_bind(text_to(&draft.body));
    });
    insert.push(" ON CONFLICT (id) DO NOTHING RETURNING id");
    insert
}

/// What changes a message: which one, `kind`, `ts_ms`, `user_id`, `body`.
type ChangeRow = (String, String, i64, String, String);

/// The changes that are kept of these messages, or of those that these are about; each message's in their order.
async fn changes_of(
    transaction: &mut DbConnection,
    messages: &[Message],
) -> Result<BTreeMap<String, Vec<ChangeRow>>, ArchiveError> {
    let mut select =
        QueryBuilder::<Db>::new("SELECT about, kind, ts_ms, user_id, body FROM messages WHERE about IN (");
    let mut listed = select.separated(", ");
    for message in messages {
        listed.push_bind(message.draft.about.unwrap_or(message.draft.id).to_string());
    }
    select.push(") AND kind IN ('edit', 'delete') ORDER BY seq");
    let rows: Vec<ChangeRow> = select.build_query_as().fetch_all(transaction).await.map_err(failed)?;
    let mut changes: BTreeMap<String, Vec<ChangeRow>> = BTreeMap::new();
    for row in rows {
        changes.entry(row.0.clone()).or_default().push(row);
    }
    Ok(changes)
}

/// Makes a message look as the last of its changes says, or as its deletion does.
async fn apply(
    transaction: &mut DbConnection,
    about: &str,
    changes: &[ChangeRow],
) -> Result<(), ArchiveError> {
    let deletion = changes.iter().find(|(_, kind, ..)| kind == MessageKind::Delete.as_str());
    let Some((_, _, ts_ms, user, body)) = deletion.or(changes.last()) else { return Ok(()) };
    let (what, body) = match deletion {
        Some(_) => (Change::Deleted, ""),
        None => (Change::Edited, body.as_str()),
    };
    let room: Option<(String,)> = sqlx::query_as(
        "UPDATE messages SET body = $1, changed_what = $2, changed_ms = $3, changed_by = $4 WHERE id = $5 \
         RETURNING room_id",
    )
    .bind(body)
    .bind(what.as_str())
    .bind(ts_ms)
    .bind(user)
    .bind(about)
    .fetch_optional(&mut *transaction)
    .await
    .map_err(failed)?;
    if let Some((room,)) = room {
        words::change(transaction, &room, about, body).await?;
    }
    if deletion.is_some() {
        sqlx::query("UPDATE messages SET body = '' WHERE about = $1 AND body <> ''")
            .bind(about)
            .execute(transaction)
            .await
            .map_err(failed)?;
    }
    Ok(())
}
