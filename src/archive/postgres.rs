//! The archive in a PostgreSQL database, for server processes on as many machines as there are.

use std::{borrow::Cow, str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool, Postgres, Transaction,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow},
};

use super::migrations::{self, Kind};
use crate::service::ports::ArchiveError;
use queries::{failed, unavailable};

#[path = "queries/mod.rs"]
mod queries;
mod words;

pub use queries::SqlArchive as PostgresArchive;

type Db = Postgres;
type DbArguments = PgArguments;
type DbConnection = PgConnection;
type DbPool = PgPool;
type DbRow = PgRow;

/// The most connections of one server process. PostgreSQL lets in 100 unless it is told otherwise.
const CONNECTIONS: u32 = 10;
/// How long a request waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a start waits for the database to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one statement may take, with its wait for another transaction, in milliseconds.
const STATEMENT_TIMEOUT_MS: &str = "5000";
/// After this long without a word within a transaction its process is taken for dead, in milliseconds.
const IDLE_TIMEOUT_MS: &str = "10000";

/// PostgreSQL keeps no zeros in texts, and a message may have them. So what has a zero, or this one, which is no character, is kept with this one
/// before it.
const ESCAPE: char = '\u{10ffff}';
/// Stands for a zero behind an [`ESCAPE`]. No letter and no digit: it makes no word.
const ZERO: char = '-';

impl PostgresArchive {
    /// Connects to the database and brings its tables up to date.
    ///
    /// # Errors
    /// When the URL is none, the database can't be reached, or it holds something else.
    pub async fn open(url: &str) -> Result<Self, ArchiveError> {
        let options = options(url)?;
        migrate(&options).await?;
        let timeouts = [
            ("statement_timeout", STATEMENT_TIMEOUT_MS),
            ("idle_in_transaction_session_timeout", IDLE_TIMEOUT_MS),
        ];
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.options(timeouts))
            .await
            .map_err(failed)?;
        Ok(Self { read: pool.clone(), write: pool })
    }
}

/// A connection of its own, which may take its time, for this one thing. Of several processes one does it.
async fn migrate(options: &PgConnectOptions) -> Result<(), ArchiveError> {
    let late = |_| ArchiveError::Unavailable("the database does not answer".to_owned());
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await;
    let mut connection = connected.map_err(late)?.map_err(failed)?;
    let migrator = migrations::migrator(Kind::Postgres);
    // What `run` calls; the future of that cannot be sent to another thread with a connection that is borrowed.
    migrator.run_direct(None, &mut connection, false).await.map_err(|e| unavailable(&e))?;
    connection.close().await.map_err(failed)
}

fn options(url: &str) -> Result<PgConnectOptions, ArchiveError> {
    let options = PgConnectOptions::from_str(url).map_err(failed)?;
    Ok(options.application_name("chatlab").disable_statement_logging())
}

/// A database as it may be shown: without the user and the password.
pub(crate) fn shown(url: &str) -> String {
    match PgConnectOptions::from_str(url) {
        Ok(at) => {
            format!(
                "postgres://{}:{}/{}",
                at.get_host(),
                at.get_port(),
                at.get_database().unwrap_or_default()
            )
        }
        Err(_) => "postgres://…".to_owned(),
    }
}

/// Begins a transaction that writes, and is [`alone`] with these.
async fn begin(write: &DbPool, alone_with: &[String]) -> Result<Transaction<'static, Db>, ArchiveError> {
    let mut transaction = write.begin().await.map_err(failed)?;
    if !alone_with.is_empty() {
        alone(&mut transaction, alone_with).await?;
    }
    Ok(transaction)
}

/// Until the end of the transaction nobody else comes past this with one of these. Taken in one order by all, so that no two wait for
/// each other.
async fn alone(transaction: &mut DbConnection, what: &[String]) -> Result<(), ArchiveError> {
    sqlx::query(
        "SELECT pg_advisory_xact_lock(hash) FROM (SELECT DISTINCT hashtextextended(what, 0) AS hash \
         FROM unnest($1::text[]) AS what ORDER BY hash) AS sorted",
    )
    .bind(what)
    .execute(transaction)
    .await
    .map_err(failed)?;
    Ok(())
}

/// A text as it is kept.
fn text_to(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\0' => kept.extend([ESCAPE, ZERO]),
            ESCAPE => kept.extend([ESCAPE, ESCAPE]),
            c => kept.push(c),
        }
    }
    Cow::Owned(kept)
}

/// A text as it was.
fn text_from(kept: String) -> String {
    if !kept.contains(ESCAPE) {
        return kept;
    }
    let mut text = String::with_capacity(kept.len());
    let mut rest = kept.chars();
    while let Some(c) = rest.next() {
        match (c, c == ESCAPE) {
            (_, true) if rest.next() == Some(ZERO) => text.push('\0'),
            (c, _) => text.push(c),
        }
    }
    text
}

/// Where archives of tests are: a database of its own on the server of this process.
#[cfg(test)]
struct Place(String);

#[cfg(test)]
impl Place {
    async fn fresh() -> Self {
        Self(crate::harness::postgres::fresh_database().await.unwrap())
    }

    async fn open(&self) -> PostgresArchive {
        PostgresArchive::open(&self.0).await.unwrap()
    }
}

#[cfg(test)]
mod tests;
