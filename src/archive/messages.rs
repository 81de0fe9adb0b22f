//! Messages as rows of the archive.

use chatlab_kit::{
    ids::RoomId,
    message::{Draft, Epoch, Message, MessageKind},
};
use sqlx::{QueryBuilder, Sqlite};

use super::sqlite::user_id;
use crate::service::ports::ArchiveError;

/// `id`, `epoch`, `seq`, `ts_ms`, `user_id`, `cid`, `kind`, `body`.
pub(super) type MessageRow = (String, String, i64, i64, String, String, String, String);

pub(super) fn message(room: RoomId, row: MessageRow) -> Result<Message, ArchiveError> {
    let (id, epoch, seq, ts, from, cid, kind, body) = row;
    let wrong = |what: &str, text: &str| ArchiveError::Corrupt(format!("`{text}` is no {what}"));
    let number = |n: i64| u64::try_from(n).map_err(|_| wrong("number from 0", &n.to_string()));
    let draft = Draft {
        room,
        id: id.parse().map_err(|_| wrong("message id", &id))?,
        from: user_id(&from)?,
        cid: cid.parse().map_err(|_| wrong("client id", &cid))?,
        kind: serde_json::from_value(kind.clone().into()).map_err(|_| wrong("kind", &kind))?,
        body,
    };
    Ok(Message { epoch: Epoch(epoch), seq: number(seq)?, ts: number(ts)?, changed: None, draft })
}

/// An insert that leaves what is there as it is.
pub(super) fn insert_messages(messages: &[Message]) -> QueryBuilder<Sqlite> {
    let mut insert =
        QueryBuilder::new("INSERT INTO messages (id, room_id, epoch, seq, ts_ms, user_id, cid, kind, body) ");
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
            .push_bind(kind_text(draft.kind))
            .push_bind(&draft.body);
    });
    insert.push(" ON CONFLICT (id) DO NOTHING");
    insert
}

/// As in JSON.
fn kind_text(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::Text => "text",
        MessageKind::System => "system",
    }
}
