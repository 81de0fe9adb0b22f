//! Databases for tests: one PostgreSQL server for a whole process, a database for each who asks.

use anyhow::Context;
use chatlab_kit::servers::Postgres;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::sync::OnceCell;

/// Names another server to make the databases in, as `postgres://USER:PASSWORD@HOST:PORT`: PostgreSQL 15 or newer, with ICU, whose user may
/// make databases. They stay there.
pub const SERVER_SETTING: &str = "CHATLAB_TEST_POSTGRES";

/// Ordered by a language's rules, whatever the server's own order is: what relies on another one must say so.
const BY_LANGUAGE: &str = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en' LOCALE 'C'";

/// An empty database that nobody else has, as a URL. It ends with this process, unless it is at a server that was named.
///
/// # Errors
/// When PostgreSQL is not installed, with what to do, or says why not.
pub async fn fresh_database() -> anyhow::Result<String> {
    let name = format!("chat_{}", uuid::Uuid::new_v4().simple());
    if let Some(server) = std::env::var(SERVER_SETTING).ok().filter(|server| !server.is_empty()) {
        let url = |database: &str| format!("{}/{database}", server.trim_end_matches('/'));
        create(&url("postgres"), &format!("{name} {BY_LANGUAGE}")).await.context(SERVER_SETTING)?;
        return Ok(url(&name));
    }
    static SERVER: OnceCell<Postgres> = OnceCell::const_new();
    let start = || async { anyhow::Ok(tokio::task::spawn_blocking(Postgres::start).await??) };
    let server = SERVER.get_or_try_init(start).await?;
    create(&server.url("postgres"), &name).await.context("the PostgreSQL server of the tests")?;
    Ok(server.url(&name))
}

async fn create(server: &str, what: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(server).await?;
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {what}"))).await?;
    Ok(connection.close().await?)
}
