//! The archive in a SQLite file that several server processes may share.

use std::{borrow::Cow, fs::File, path::Path, time::Duration};

use sqlx::{
    Sqlite, SqliteConnection, SqlitePool, Transaction,
    sqlite::{
        SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow,
        SqliteSynchronous,
    },
};

use super::migrations::{self, Kind};
use crate::service::ports::ArchiveError;
use queries::{failed, unavailable};

#[path = "queries/mod.rs"]
mod queries;
mod words;

pub use queries::SqlArchive as SqliteArchive;

type Db = Sqlite;
type DbArguments = SqliteArguments;
type DbConnection = SqliteConnection;
type DbPool = SqlitePool;
type DbRow = SqliteRow;

/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that read.
const READERS: u32 = 4;

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
        // SQLite has one writer at a time: ours wait in our own queue and not in its busy loop.
        let write = pool(1).await.map_err(failed)?;
        migrations::migrator(Kind::Sqlite).run(&write).await.map_err(|e| unavailable(&e))?;
        Ok(Self { read: pool(READERS).await.map_err(failed)?, write })
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

/// Begins a transaction that writes, and so is alone whatever it must be alone with. At once: one that has read before it writes, as the index
/// of words does by itself, is refused when another one is at it, instead of being made to wait.
async fn begin(write: &DbPool, _alone_with: &[String]) -> Result<Transaction<'static, Db>, ArchiveError> {
    write.begin_with("BEGIN IMMEDIATE").await.map_err(failed)
}

/// Whoever writes is alone here anyway.
async fn alone(_: &mut DbConnection, _: &[String]) -> Result<(), ArchiveError> {
    Ok(())
}

/// A text as it is kept: as it is.
fn text_to(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

/// A text as it was.
fn text_from(kept: String) -> String {
    kept
}

/// Where archives of tests are: a file in a folder of its own, which is not there yet.
#[cfg(test)]
struct Place(tempfile::TempDir);

#[cfg(test)]
impl Place {
    async fn fresh() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    async fn open(&self) -> SqliteArchive {
        SqliteArchive::open(&self.0.path().join("sub/a.db")).await.unwrap()
    }
}
