//! The rules of the chat server: no sockets, no SQL, no Redis commands.
//!
//! | module | for |
//! | --- | --- |
//! | [`accounts`], [`limits`] | register, log in, authenticate, refresh, log out; how often that may be tried |
//! | [`addresses`] | from where nobody may come in |
//! | [`notices`] | what instances tell each other about users: ended log-ins, memberships by others |
//! | [`chat`], [`rights`] | rooms and messages, members and blocks; what a role allows |
//! | [`people`] | profiles, statuses, friends, badges |
//! | [`pace`], [`expiry`] | slow mode; direct chats that have ended |
//! | [`hub`] | live fan-out to the connections of this instance |
//! | [`levels`], [`commits`] | how safe a message is before its sender is told; what the archive has committed |
//! | [`events`], [`consume`], [`archivist`] | what happened, told by topic; working a topic in a group; writing it to the archive |
//! | [`attendance`] | who is online, and telling their rooms |
//! | [`typing`], [`receipts`] | who is writing and who has read, and telling the room |
//! | [`ports`] | what is asked of the archive; Redis is behind the labs' ports |
//! | [`vault`] | what is kept of texts is encrypted |
//! | [`error`] | the one error, with stable codes |
//! | [`sparse`] | few lines in the log about what happens often |

pub mod accounts;
pub mod addresses;
pub mod archivist;
pub mod attendance;
pub mod chat;
pub mod commits;
pub mod consume;
pub mod error;
pub mod events;
pub mod expiry;
pub mod hub;
pub mod levels;
pub mod limits;
pub mod mail;
pub mod notices;
pub mod pace;
pub mod passwords;
pub mod people;
pub mod ports;
pub mod receipts;
pub mod rights;
pub mod sparse;
pub mod standing;
pub mod tokens;
pub mod typing;
pub mod vault;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

pub use error::{ServiceError, ServiceResult};

/// Milliseconds since 1970 by this machine's clock.
pub fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Locks. What these mutexes guard is consistent after every statement, so a panic of another
/// holder does not spoil it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
