//! Databases for tests: one PostgreSQL server for a whole process, a database for each who asks.

use anyhow::Context;
use chatlab_kit::servers::Postgres;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::sync::OnceCell;

/// An empty database that nobody else has, as a URL. It ends with this process.
///
/// # Errors
/// When PostgreSQL is not installed, with what to do, or says why not.
pub async fn fresh_database() -> anyhow::Result<String> {
    static SERVER: OnceCell<Postgres> = OnceCell::const_new();
    let start = || async { anyhow::Ok(tokio::task::spawn_blocking(Postgres::start).await??) };
    let server = SERVER.get_or_try_init(start).await?;
    let name = format!("chat_{}", uuid::Uuid::new_v4().simple());
    let mut connection =
        PgConnection::connect(&server.url("postgres")).await.context("the PostgreSQL server of the tests")?;
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
    connection.close().await?;
    Ok(server.url(&name))
}
