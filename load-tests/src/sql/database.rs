//! The database: pools like those of chatlab's archive, and a call on them.

use std::{str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, Database as Kind, Encode, PgPool, Postgres, Sqlite, SqlitePool, Type,
    postgres::PgPoolOptions,
    query::Query,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::params::Value;

/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an operation waits for a connection, before it counts as failed.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A statement's text and what is bound to it.
pub(super) type Bound = (Arc<str>, Vec<Value>);

/// Two typed pools, one at a time.
pub(super) enum Database {
    /// One writer at a time is what SQLite has: they wait in our queue, and not in its busy loop.
    Sqlite {
        read: SqlitePool,
        write: SqlitePool,
    },
    Postgres(PgPool),
}

fn bind<'q, DB>(mut query: Query<'q, DB, DB::Arguments>, values: Vec<Value>) -> Query<'q, DB, DB::Arguments>
where
    DB: Kind,
    String: for<'t> Encode<'t, DB> + Type<DB>,
    i64: for<'t> Encode<'t, DB> + Type<DB>,
{
    for value in values {
        query = match value {
            Value::Text(text) => query.bind(text),
            Value::Int(number) => query.bind(number),
        };
    }
    query
}

/// The rows of one statement, and the changes of one or of a transaction: the same text for both kinds of pool, whose types
/// have nothing in common that could be named in a line.
macro_rules! call {
    ($kind:ty, $pool:expr, $writes:expr, $steps:expr) => {{
        let query = |(sql, values): Bound| bind::<$kind>(sqlx::query(AssertSqlSafe(sql)), values);
        let mut steps: Vec<Bound> = $steps;
        match (steps.len(), $writes) {
            (1, false) => query(steps.remove(0)).fetch_all($pool).await?.len() as u64,
            (1, true) => query(steps.remove(0)).execute($pool).await?.rows_affected(),
            _ => {
                let mut transaction = $pool.begin().await?;
                let mut rows = 0;
                for step in steps {
                    rows += query(step).execute(&mut *transaction).await?.rows_affected();
                }
                transaction.commit().await?;
                rows
            }
        }
    }};
}

impl Database {
    /// Opens all connections. SQLite's file is made when it is not there.
    pub async fn open(url: &str, conns: usize) -> Result<Self, sqlx::Error> {
        let conns = u32::try_from(conns).unwrap_or(u32::MAX);
        if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url)?
                .create_if_missing(true)
                .foreign_keys(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Normal)
                .busy_timeout(BUSY_TIMEOUT);
            let pool = |conns| {
                SqlitePoolOptions::new()
                    .max_connections(conns)
                    .min_connections(conns)
                    .acquire_timeout(ACQUIRE_TIMEOUT)
                    .connect_with(options.clone())
            };
            let write = pool(1).await?;
            return Ok(Self::Sqlite { read: pool(conns).await?, write });
        }
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let options = PgPoolOptions::new()
                .max_connections(conns)
                .min_connections(conns)
                .acquire_timeout(ACQUIRE_TIMEOUT);
            return Ok(Self::Postgres(options.connect(url).await?));
        }
        Err(sqlx::Error::Configuration("a database is sqlite:PATH or postgres://…".into()))
    }

    /// One statement by itself, or several in a transaction. How many rows came, or were changed.
    pub async fn call(&self, writes: bool, steps: Vec<Bound>) -> Result<u64, sqlx::Error> {
        Ok(match self {
            Self::Sqlite { read, write } => {
                let pool = if writes || steps.len() > 1 { write } else { read };
                call!(Sqlite, pool, writes, steps)
            }
            Self::Postgres(pool) => call!(Postgres, pool, writes, steps),
        })
    }

    /// Its name and version, for people.
    pub async fn version(&self) -> Result<String, sqlx::Error> {
        Ok(match self {
            Self::Sqlite { read, .. } => {
                let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(read).await?;
                format!("SQLite {version}, WAL")
            }
            Self::Postgres(pool) => {
                let version: String = sqlx::query_scalar("SHOW server_version").fetch_one(pool).await?;
                format!("PostgreSQL {version}")
            }
        })
    }

    /// Waits until all connections are closed.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { read, write } => {
                read.close().await;
                write.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}
