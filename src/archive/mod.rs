//! The archive in SQL: accounts, rooms and memberships; messages and the audit log, which the event streams leave behind.
//!
//! The text of every statement (`$1`, TEXT ids, BIGINT milliseconds) also runs on PostgreSQL, but for those about the index of words.

mod activity;
mod addresses;
mod directory;
mod find;
mod mail;
mod marks;
mod messages;
mod migrations;
mod profiles;
mod registry;
mod rooms;
mod sqlite;

pub use sqlite::SqliteArchive;
