//! The archive: accounts, rooms and memberships in SQL.
//!
//! The text of every statement (`$1`, TEXT ids, BIGINT milliseconds) also runs on PostgreSQL.

mod sqlite;

pub use sqlite::SqliteArchive;
