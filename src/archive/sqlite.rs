//! The archive in a SQLite file that several server processes may share.

use std::{fs::File, path::Path, time::Duration};

use async_trait::async_trait;
use chatlab_kit::{
    ids::{MessageId, RoomId, UserId},
    message::{Message, Seq},
};
use sqlx::{
    AssertSqlSafe, QueryBuilder, Sqlite, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{
    marks,
    messages::{self, COLUMNS, MessageRow},
    migrations::migrator,
    rooms,
};
use crate::service::{
    now_ms,
    ports::{Archive, ArchiveError, AuditRecord, MemberEntry, Role, RoomRecord, Standing, UserRecord},
};

/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that read.
const READERS: u32 = 4;
/// Rows in one statement of a bulk insert: 12 values each stay far below SQLite's 32,766.
pub(super) const BULK_ROWS: usize = 1000;

/// SQLite has one writer at a time: ours wait in our own queue and not in its busy loop.
pub struct SqliteArchive {
    pub(super) read: SqlitePool,
    pub(super) write: SqlitePool,
}

impl SqliteArchive {
    /// Opens the file, making it when it is not there, and brings its tables up to date.
    ///
    /// # Errors
    /// When the file can't be opened or holds something else.
    pub async fn open(path: &Path) -> Result<Self, ArchiveError> {
        if let Some(folder) = path.parent() {
            tokio::fs::create_dir_all(folder).await.map_err(|e| unavailable(&e))?;
        }
        // Until everything is open: a fresh file also gets its journal mode only once.
        let _alone = lock_beside(path).await?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            // A statement of many rows notes what it would have to undo: in memory, not in a file made for each.
            .pragma("temp_store", "MEMORY")
            .busy_timeout(BUSY_TIMEOUT);
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .connect_with(options.clone())
        };
        let write = pool(1).await.map_err(failed)?;
        migrator().run(&write).await.map_err(|e| unavailable(&e))?;
        Ok(Self { read: pool(READERS).await.map_err(failed)?, write })
    }

    /// Adds `n` users `PREFIX-1…n` who share one password hash, and returns their ids.
    ///
    /// # Errors
    /// [`ArchiveError::Conflict`] when one of the names is taken.
    pub async fn seed_users(
        &self,
        prefix: &str,
        n: usize,
        password_hash: &str,
    ) -> Result<Vec<UserId>, ArchiveError> {
        let created_ms = now_ms();
        let users: Vec<UserId> = (0..n).map(|_| UserId::new()).collect();
        let mut transaction = self.write.begin().await.map_err(failed)?;
        for (chunk, ids) in users.chunks(BULK_ROWS).enumerate() {
            let mut insert = QueryBuilder::<Sqlite>::new(
                "INSERT INTO users (id, name, name_key, password_hash, created_ms) ",
            );
            insert.push_values(ids.iter().enumerate(), |mut row, (i, id)| {
                let name = format!("{prefix}-{}", chunk * BULK_ROWS + i + 1);
                row.push_bind(id.to_string())
                    .push_bind(name.clone())
                    .push_bind(name.to_lowercase())
                    .push_bind(password_hash)
                    .push_bind(created_ms);
            });
            insert.build().execute(&mut *transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(users)
    }
}

#[async_trait]
impl Archive for SqliteArchive {
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

    async fn user_by_name(&self, name: &str) -> Result<Option<UserRecord>, ArchiveError> {
        let row: Option<(String, String, String, i64)> =
            sqlx::query_as("SELECT id, name, password_hash, created_ms FROM users WHERE name_key = $1")
                .bind(name.to_lowercase())
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
        let mut transaction = self.write.begin().await.map_err(failed)?;
        for chunk in messages.chunks(BULK_ROWS) {
            messages::keep(&mut transaction, chunk).await?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn kept(&self, ids: &[MessageId]) -> Result<Vec<MessageId>, ArchiveError> {
        let mut kept = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(BULK_ROWS) {
            let mut select = QueryBuilder::<Sqlite>::new("SELECT id FROM messages WHERE id IN (");
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
        .bind(limit)
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
        let mut transaction = self.write.begin().await.map_err(failed)?;
        for chunk in records.chunks(BULK_ROWS) {
            let mut insert =
                QueryBuilder::<Sqlite>::new("INSERT INTO audit (event, at_ms, user_id, action, detail) ");
            insert.push_values(chunk, |mut row, record| {
                row.push_bind(&record.event)
                    .push_bind(record.at_ms)
                    .push_bind(record.user.map(|user| user.to_string()))
                    .push_bind(&record.action)
                    .push_bind(&record.detail);
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

/// Waits until no other process is about to migrate; the lock ends with the file handle. sqlx
/// takes none on SQLite, so two first starts would both make the same tables.
async fn lock_beside(path: &Path) -> Result<File, ArchiveError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let locked = tokio::task::spawn_blocking(move || {
        let file = File::options().create(true).truncate(false).write(true).open(name)?;
        file.lock()?;
        Ok::<_, std::io::Error>(file)
    });
    locked.await.map_err(|e| unavailable(&e))?.map_err(|e| unavailable(&e))
}

pub(super) fn user_id(text: &str) -> Result<UserId, ArchiveError> {
    text.parse().map_err(|_| ArchiveError::Corrupt(format!("`{text}` is no user id")))
}

pub(super) fn room_id(text: &str) -> Result<RoomId, ArchiveError> {
    text.parse().map_err(|_| ArchiveError::Corrupt(format!("`{text}` is no room id")))
}

fn unavailable(error: &dyn std::error::Error) -> ArchiveError {
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
mod tests;
