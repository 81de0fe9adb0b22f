//! What the archive asks of a database, written once and compiled for each: `Db` and its kin are SQLite's in one copy and PostgreSQL's in the other,
//! as the file beside this folder says that has this one as its module.
//!
//! So a statement must be such as both understand (`$1`, TEXT ids, BIGINT for all numbers and for yes and no). What rests on there being
//! one writer at a time says so to [`begin`].

mod activity;
mod addresses;
mod directory;
mod find;
mod mail;
mod marks;
mod messages;
mod profiles;
mod registry;
mod rooms;

use std::collections::{BTreeSet, HashSet};

use async_trait::async_trait;
use chatlab_kit::{
    ids::{MessageId, RoomId, UserId},
    message::{Message, Seq},
    slots::Partition,
};
use sqlx::{AssertSqlSafe, QueryBuilder};

#[cfg(test)]
use super::Place;
use super::{Db, DbArguments, DbConnection, DbPool, DbRow, alone, begin, text_from, text_to, words};
use crate::service::ports::{
    Archive, ArchiveError, AuditRecord, MemberEntry, Role, RoomRecord, Standing, UserRecord,
};
use messages::{COLUMNS, MessageRow};

/// Rows in one statement of a bulk insert: 12 values each stay far below SQLite's 32,766 and PostgreSQL's 65,535.
const BULK_ROWS: usize = 1000;
/// Messages of rooms of one lane are kept one transaction after the other.
const LANES: u8 = 32;

/// The archive in one kind of database.
pub struct SqlArchive {
    pub(super) read: DbPool,
    pub(super) write: DbPool,
}

/// A message and what changes it, kept by two processes at the same time, must see each other: both hold the lane of their room.
fn lanes(messages: &[Message]) -> Vec<String> {
    let lane = |message: &Message| Partition::of(&message.draft.room).index() % LANES;
    let lanes: BTreeSet<u8> = messages.iter().map(lane).collect();
    lanes.into_iter().map(|lane| format!("the messages of lane {lane}")).collect()
}

#[async_trait]
impl Archive for SqlArchive {
    async fn add_user(&self, user: &UserRecord) -> Result<(), ArchiveError> {
        sqlx::query(
            "INSERT INTO users (id, name, name_key, password_hash, created_ms) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(user.id.to_string())
        .bind(&user.name)
        .bind(user.name.to_lowercase())
        .bind(&user.password_hash)
        .bind(user.created_ms)
        .execute(&self.write)
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn add_users(&self, users: &[UserRecord]) -> Result<(), ArchiveError> {
        let mut transaction = begin(&self.write, &[]).await?;
        for chunk in users.chunks(BULK_ROWS) {
            let mut insert =
                QueryBuilder::<Db>::new("INSERT INTO users (id, name, name_key, password_hash, created_ms) ");
            insert.push_values(chunk, |mut row, user| {
                row.push_bind(user.id.to_string())
                    .push_bind(&user.name)
                    .push_bind(user.name.to_lowercase())
                    .push_bind(&user.password_hash)
                    .push_bind(user.created_ms);
            });
            insert.build().execute(&mut *transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn user_by_name(&self, name: &str) -> Result<Option<UserRecord>, ArchiveError> {
        let row: Option<(String, String, String, i64)> =
            sqlx::query_as("SELECT id, name, password_hash, created_ms FROM users WHERE name_key = $1")
                .bind(text_to(&name.to_lowercase()))
                .fetch_optional(&self.read)
                .await
                .map_err(failed)?;
        row.map(|(id, name, password_hash, created_ms)| {
            Ok(UserRecord { id: user_id(&id)?, name, password_hash, created_ms })
        })
        .transpose()
    }

    async fn add_room(&self, room: &RoomRecord) -> Result<(), ArchiveError> {
        rooms::add(&self.write, room).await
    }

    async fn standing(&self, room: &RoomId, user: &UserId) -> Result<Standing, ArchiveError> {
        rooms::standing(&self.read, room, user).await
    }

    async fn add_member(
        &self,
        room: &RoomId,
        user: &UserId,
        role: Role,
        joined_ms: i64,
    ) -> Result<bool, ArchiveError> {
        rooms::add_member(&self.write, room, user, role, joined_ms).await
    }

    async fn remove_member(&self, room: &RoomId, user: &UserId) -> Result<bool, ArchiveError> {
        rooms::remove_member(&self.write, room, user).await
    }

    async fn set_role(
        &self,
        room: &RoomId,
        user: &UserId,
        now: Role,
        role: Role,
    ) -> Result<bool, ArchiveError> {
        rooms::set_role(&self.write, room, user, (now, role)).await
    }

    async fn expel(&self, room: &RoomId, user: &UserId, now: Role) -> Result<bool, ArchiveError> {
        let mut write = self.write.acquire().await.map_err(failed)?;
        rooms::expel(&mut write, room, user, now).await
    }

    async fn ban(
        &self,
        room: &RoomId,
        user: &UserId,
        now: Option<Role>,
        by: (Option<&UserId>, i64),
    ) -> Result<bool, ArchiveError> {
        rooms::ban(&self.write, room, user, now, by).await
    }

    async fn unban(&self, room: &RoomId, user: &UserId) -> Result<bool, ArchiveError> {
        rooms::unban(&self.write, room, user).await
    }

    async fn roster(
        &self,
        room: &RoomId,
        start_after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<MemberEntry>, ArchiveError> {
        rooms::roster(&self.read, room, start_after, limit).await
    }

    async fn rooms_of(&self, user: &UserId, limit: u32) -> Result<Vec<RoomId>, ArchiveError> {
        rooms::rooms_of(&self.read, user, limit).await
    }

    async fn members(
        &self,
        room: &RoomId,
        start_after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<UserId>, ArchiveError> {
        rooms::members(&self.read, room, start_after, limit).await
    }

    async fn add_messages(&self, messages: &[Message]) -> Result<(), ArchiveError> {
        let mut transaction = begin(&self.write, &lanes(messages)).await?;
        let mut new = HashSet::new();
        for chunk in messages.chunks(BULK_ROWS) {
            new.extend(messages::keep(&mut transaction, chunk).await?);
        }
        activity::count(&mut transaction, messages, &new).await?;
        transaction.commit().await.map_err(failed)
    }

    async fn kept(&self, ids: &[MessageId]) -> Result<Vec<MessageId>, ArchiveError> {
        let mut kept = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(BULK_ROWS) {
            let mut select = QueryBuilder::<Db>::new("SELECT id FROM messages WHERE id IN (");
            let mut listed = select.separated(", ");
            for id in chunk {
                listed.push_bind(id.to_string());
            }
            select.push(")");
            let rows: Vec<(String,)> = select.build_query_as().fetch_all(&self.read).await.map_err(failed)?;
            kept.extend(rows.iter().filter_map(|(id,)| id.parse::<MessageId>().ok()));
        }
        Ok(kept)
    }

    async fn messages_before(
        &self,
        room: &RoomId,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<Vec<Message>, ArchiveError> {
        let before = before.map_or(i64::MAX, |seq| i64::try_from(seq).unwrap_or(i64::MAX));
        let rows: Vec<MessageRow> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM messages WHERE room_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3"
        )))
        .bind(room.to_string())
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        let found = rows.into_iter().rev().map(|row| messages::message(*room, row));
        let mut found = found.collect::<Result<Vec<_>, _>>()?;
        for chunk in found.chunks_mut(BULK_ROWS) {
            marks::add_reactions(&self.read, chunk).await?;
        }
        Ok(found)
    }

    async fn message(
        &self,
        room: &RoomId,
        id: &MessageId,
    ) -> Result<Option<(Message, Vec<MessageId>)>, ArchiveError> {
        let (kept, edits) = (
            format!("SELECT {COLUMNS} FROM messages WHERE room_id = $1 AND id = $2"),
            "SELECT id FROM messages WHERE about = $1 AND kind = 'edit' ORDER BY seq",
        );
        let row: Option<MessageRow> = sqlx::query_as(AssertSqlSafe(kept))
            .bind(room.to_string())
            .bind(id.to_string())
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        let edits: Vec<(String,)> =
            sqlx::query_as(edits).bind(id.to_string()).fetch_all(&self.read).await.map_err(failed)?;
        let edits = edits.iter().filter_map(|(id,)| id.parse().ok()).collect();
        let mut message = messages::message(*room, row)?;
        marks::add_reactions(&self.read, std::slice::from_mut(&mut message)).await?;
        Ok(Some((message, edits)))
    }

    async fn pins(&self, room: &RoomId, limit: u32) -> Result<Vec<(MessageId, Seq)>, ArchiveError> {
        marks::pins(&self.read, room, limit).await
    }

    async fn last_seq(&self, room: &RoomId) -> Result<Seq, ArchiveError> {
        let (last,): (Option<i64>,) = sqlx::query_as("SELECT MAX(seq) FROM messages WHERE room_id = $1")
            .bind(room.to_string())
            .fetch_one(&self.read)
            .await
            .map_err(failed)?;
        Ok(last.map_or(0, |seq| u64::try_from(seq).unwrap_or_default()))
    }

    async fn add_audit(&self, records: &[AuditRecord]) -> Result<(), ArchiveError> {
        let mut transaction = begin(&self.write, &[]).await?;
        for chunk in records.chunks(BULK_ROWS) {
            let mut insert =
                QueryBuilder::<Db>::new("INSERT INTO audit (event, at_ms, user_id, action, detail) ");
            insert.push_values(chunk, |mut row, record| {
                row.push_bind(&record.event)
                    .push_bind(record.at_ms)
                    .push_bind(record.user.map(|user| user.to_string()))
                    .push_bind(&record.action)
                    .push_bind(text_to(&record.detail));
            });
            insert.push(" ON CONFLICT (event) DO NOTHING");
            insert.build().execute(&mut *transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn ping(&self) -> Result<(), ArchiveError> {
        // A statement that reads no table never touches the file.
        sqlx::query("SELECT 1 FROM rooms LIMIT 1").execute(&self.read).await.map_err(failed)?;
        Ok(())
    }
}

pub(super) fn user_id(text: &str) -> Result<UserId, ArchiveError> {
    text.parse().map_err(|_| ArchiveError::Corrupt(format!("`{text}` is no user id")))
}

pub(super) fn room_id(text: &str) -> Result<RoomId, ArchiveError> {
    text.parse().map_err(|_| ArchiveError::Corrupt(format!("`{text}` is no room id")))
}

pub(super) fn unavailable(error: &dyn std::error::Error) -> ArchiveError {
    ArchiveError::Unavailable(error.to_string())
}

pub(super) fn failed(error: sqlx::Error) -> ArchiveError {
    match error {
        sqlx::Error::Database(error) if error.is_unique_violation() => ArchiveError::Conflict,
        sqlx::Error::Database(error) if error.is_foreign_key_violation() => ArchiveError::Unknown,
        other => unavailable(&other),
    }
}

#[cfg(test)]
mod races;
#[cfg(test)]
mod tests;
