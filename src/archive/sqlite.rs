//! The archive in a SQLite file that several server processes may share.

use std::{fs::File, path::Path, time::Duration};

use async_trait::async_trait;
use chatlab_kit::ids::{RoomId, UserId};
use sqlx::{
    QueryBuilder, Sqlite, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::service::{
    now_ms,
    ports::{Archive, ArchiveError, Role, RoomRecord, Standing, UserRecord},
};

/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that read.
const READERS: u32 = 4;
/// Rows in one statement of a bulk insert: 5 values each stay far below SQLite's 32,766.
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
        sqlx::migrate!("src/archive/migrations").run(&write).await.map_err(|e| unavailable(&e))?;
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

    async fn ping(&self) -> Result<(), ArchiveError> {
        sqlx::query("SELECT 1").execute(&self.read).await.map_err(failed)?;
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

fn user_id(text: &str) -> Result<UserId, ArchiveError> {
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
