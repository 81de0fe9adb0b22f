//! The archive in SQL: accounts, rooms and memberships; messages and the audit log, which the event streams leave behind.
//!
//! `sqlite.rs` and `postgres.rs` open a database of their kind and say what is peculiar to it; each has `queries/` as a module of its
//! own. So every statement is written once, and is compiled, and tested, for either kind, by the types of its driver.

// That is what makes two modules of each file there.
#![allow(clippy::duplicate_mod)]

mod migrations;
mod postgres;
mod sqlite;

pub use postgres::PostgresArchive;
pub(crate) use postgres::shown;
pub use sqlite::SqliteArchive;
