//! The archive in a SQLite file that several server processes may share.

use std::{fs::File, path::Path, time::Duration};

use async_trait::async_trait;
use chatlab_kit::{
    ids::{MessageId, RoomId, UserId},
    message::{Message, Seq},
};
use sqlx::{
    QueryBuilder, Sqlite, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::messages::{MessageRow, insert_messages, message};
use super::migrations::migrator;
use crate::service::{
    now_ms,
    ports::{Archive, ArchiveError, AuditRecord, Role, RoomRecord, Standing, UserRecord},
};

/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that read.
const READERS: u32 = 4;
/// Rows in one statement of a bulk insert: 9 values each stay far below SQLite's 32,766.
const BULK_ROWS: usize = 1000;

/// SQLite has one writer at a time: ours wait in our own queue and not in its busy loop.
pub struct SqliteArchive {
    read: SqlitePool,
    write: SqlitePool,
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
        let mut transaction = self.write.begin().await.map_err(failed)?;
        sqlx::query("INSERT INTO rooms (id, name, kind, created_by, created_ms) VALUES ($1, $2, $3, $4, $5)")
            .bind(room.id.to_string())
            .bind(&room.name)
            .bind(room.kind.as_str())
            .bind(room.created_by.to_string())
            .bind(room.created_ms)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        sqlx::query("INSERT INTO members (room_id, user_id, role, joined_ms) VALUES ($1, $2, $3, $4)")
            .bind(room.id.to_string())
            .bind(room.created_by.to_string())
            .bind(Role::Owner.as_str())
            .bind(room.created_ms)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn standing(&self, room: &RoomId, user: &UserId) -> Result<Standing, ArchiveError> {
        let row: Option<(Option<String>,)> = sqlx::query_as(
            "SELECT members.role FROM rooms \
             LEFT JOIN members ON members.room_id = rooms.id AND members.user_id = $2 WHERE rooms.id = $1",
        )
        .bind(room.to_string())
        .bind(user.to_string())
        .fetch_optional(&self.read)
        .await
        .map_err(failed)?;
        Ok(match row {
            None => Standing::NoRoom,
            Some((None,)) => Standing::Outside,
            Some((Some(_),)) => Standing::Member,
        })
    }

    async fn add_member(
        &self,
        room: &RoomId,
        user: &UserId,
        role: Role,
        joined_ms: i64,
    ) -> Result<bool, ArchiveError> {
        let done = sqlx::query(
            "INSERT INTO members (room_id, user_id, role, joined_ms) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (room_id, user_id) DO NOTHING",
        )
        .bind(room.to_string())
        .bind(user.to_string())
        .bind(role.as_str())
        .bind(joined_ms)
        .execute(&self.write)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() > 0)
    }

    async fn remove_member(&self, room: &RoomId, user: &UserId) -> Result<bool, ArchiveError> {
        let done = sqlx::query("DELETE FROM members WHERE room_id = $1 AND user_id = $2")
            .bind(room.to_string())
            .bind(user.to_string())
            .execute(&self.write)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() > 0)
    }

    async fn rooms_of(&self, user: &UserId, limit: u32) -> Result<Vec<RoomId>, ArchiveError> {
        let rows: Vec<(String,)> = sqlx::query_as("SELECT room_id FROM members WHERE user_id = $1 LIMIT $2")
            .bind(user.to_string())
            .bind(limit)
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter().map(|(id,)| room_id(id)).collect()
    }

    async fn members(
        &self,
        room: &RoomId,
        start_after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<UserId>, ArchiveError> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT user_id FROM members WHERE room_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3",
        )
        .bind(room.to_string())
        // Every id is more than nothing.
        .bind(start_after.map(ToString::to_string).unwrap_or_default())
        .bind(limit)
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(|(id,)| user_id(id)).collect()
    }

    async fn add_messages(&self, messages: &[Message]) -> Result<(), ArchiveError> {
        let mut transaction = self.write.begin().await.map_err(failed)?;
        for chunk in messages.chunks(BULK_ROWS) {
            insert_messages(chunk).build().execute(&mut *transaction).await.map_err(failed)?;
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
        let rows: Vec<MessageRow> = sqlx::query_as(
            "SELECT id, epoch, seq, ts_ms, user_id, cid, kind, body FROM messages \
             WHERE room_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3",
        )
        .bind(room.to_string())
        .bind(before)
        .bind(limit)
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.into_iter().rev().map(|row| message(*room, row)).collect()
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

fn room_id(text: &str) -> Result<RoomId, ArchiveError> {
    text.parse().map_err(|_| ArchiveError::Corrupt(format!("`{text}` is no room id")))
}

fn unavailable(error: &dyn std::error::Error) -> ArchiveError {
    ArchiveError::Unavailable(error.to_string())
}

fn failed(error: sqlx::Error) -> ArchiveError {
    match error {
        sqlx::Error::Database(error) if error.is_unique_violation() => ArchiveError::Conflict,
        other => unavailable(&other),
    }
}

#[cfg(test)]
mod tests {
    use chatlab_kit::message::{Draft, Epoch, MessageKind};

    use super::*;
    use crate::service::ports::RoomKind;

    fn user(name: &str) -> UserRecord {
        UserRecord { id: UserId::new(), name: name.into(), password_hash: "h".into(), created_ms: 1 }
    }

    #[tokio::test]
    async fn names_are_unique_whatever_the_case() {
        let folder = tempfile::tempdir().unwrap();
        let archive = SqliteArchive::open(&folder.path().join("a.db")).await.unwrap();
        let ada = user("Ada");
        archive.add_user(&ada).await.unwrap();
        assert!(matches!(archive.add_user(&user("aDA")).await, Err(ArchiveError::Conflict)));
        assert_eq!(archive.user_by_name("ADA").await.unwrap(), Some(ada));
        assert_eq!(archive.user_by_name("bob").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_ping_says_when_nothing_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let archive = SqliteArchive::open(&folder.path().join("a.db")).await.unwrap();
        archive.ping().await.unwrap();
        let away = |from, to| sqlx::AssertSqlSafe(format!("ALTER TABLE {from} RENAME TO {to}"));
        sqlx::query(away("rooms", "elsewhere")).execute(&archive.write).await.unwrap();
        assert!(matches!(archive.ping().await, Err(ArchiveError::Unavailable(_))));
        sqlx::query(away("elsewhere", "rooms")).execute(&archive.write).await.unwrap();
        archive.ping().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn first_starts_at_the_same_time_share_one_migration() {
        for _ in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.db");
            let opens: Vec<_> = (0..8)
                .map(|_| {
                    let path = path.clone();
                    tokio::spawn(async move { SqliteArchive::open(&path).await.map(drop) })
                })
                .collect();
            for open in opens {
                open.await.unwrap().unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_message_is_kept_once_and_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let archive = SqliteArchive::open(&folder.path().join("a.db")).await.unwrap();
        let room = RoomId::new();
        let messages: Vec<Message> = (1..=2_500)
            .map(|seq| {
                let (id, from) = (MessageId::new(), UserId::new());
                let (cid, body) = (format!("c-{seq}").parse().unwrap(), format!("nr {seq} ✓"));
                let draft = Draft { room, id, from, cid, kind: MessageKind::System, body };
                Message { epoch: Epoch("e".into()), seq, ts: 7 + seq, changed: None, draft }
            })
            .collect();
        archive.add_messages(&messages).await.unwrap();
        archive.add_messages(&messages[1_000..]).await.unwrap();
        archive.add_messages(&[]).await.unwrap();
        assert_eq!(archive.messages_before(&room, None, 9_999).await.unwrap(), messages);
        assert_eq!(archive.messages_before(&room, Some(11), 3).await.unwrap(), messages[7..10]);
        assert_eq!(archive.messages_before(&room, Some(1), 3).await.unwrap(), []);
        assert_eq!(archive.messages_before(&RoomId::new(), None, 3).await.unwrap(), []);
        assert_eq!(archive.last_seq(&room).await.unwrap(), 2_500);
        let mut ids: Vec<MessageId> = messages.iter().map(|message| message.draft.id).collect();
        ids.push(MessageId::new());
        let mut kept = archive.kept(&ids).await.unwrap();
        kept.sort_unstable();
        let stranger = ids.pop().unwrap();
        ids.sort_unstable();
        assert_eq!(kept, ids);
        assert_eq!(archive.kept(&[stranger]).await.unwrap(), []);
        assert_eq!(archive.kept(&[]).await.unwrap(), []);
        assert_eq!(archive.last_seq(&RoomId::new()).await.unwrap(), 0);
        let record = AuditRecord {
            event: "p1/1-0".into(),
            at_ms: 5,
            user: None,
            action: "session.started".into(),
            detail: String::new(),
        };
        archive
            .add_audit(&[record.clone(), AuditRecord { event: "p1/2-0".into(), ..record.clone() }])
            .await
            .unwrap();
        archive.add_audit(&[record]).await.unwrap();
        let (kept,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM audit").fetch_one(&archive.read).await.unwrap();
        assert_eq!(kept, 2);
    }

    #[tokio::test]
    async fn two_processes_see_one_membership() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/a.db");
        let one = SqliteArchive::open(&path).await.unwrap();
        let two = SqliteArchive::open(&path).await.unwrap();
        let users = one.seed_users("load", 2500, "h").await.unwrap();
        let room = RoomRecord {
            id: RoomId::new(),
            name: "r".into(),
            kind: RoomKind::Group,
            created_by: users[0],
            created_ms: 1,
        };
        one.add_room(&room).await.unwrap();
        assert_eq!(two.standing(&room.id, &users[0]).await.unwrap(), Standing::Member);
        assert_eq!(two.standing(&room.id, &users[1]).await.unwrap(), Standing::Outside);
        assert_eq!(two.standing(&RoomId::new(), &users[1]).await.unwrap(), Standing::NoRoom);
        assert!(two.add_member(&room.id, &users[1], Role::Member, 2).await.unwrap());
        assert!(!one.add_member(&room.id, &users[1], Role::Member, 3).await.unwrap());
        assert_eq!(one.standing(&room.id, &users[1]).await.unwrap(), Standing::Member);
        assert_eq!(one.rooms_of(&users[1], 9).await.unwrap(), [room.id]);
        let mut expected = [users[0], users[1]];
        expected.sort_unstable();
        assert_eq!(one.members(&room.id, None, 9).await.unwrap(), expected);
        assert_eq!(one.members(&room.id, None, 1).await.unwrap(), expected[..1]);
        assert_eq!(one.members(&room.id, Some(&expected[0]), 9).await.unwrap(), expected[1..]);
        assert!(one.remove_member(&room.id, &users[1]).await.unwrap());
        assert_eq!(two.standing(&room.id, &users[1]).await.unwrap(), Standing::Outside);
    }
}
