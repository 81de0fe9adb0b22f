//! What an instance knows by itself: which connections it holds, and whom it has not told yet.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chatlab_kit::{
    LabError, LabResult,
    ids::{ConnectionId, UserId},
};
use tokio::time::Instant;

/// How long a closed connection is remembered: longer than it takes to notice that a master is dead.
const CLOSED_FOR: Duration = Duration::from_secs(60);
/// The most that are remembered, the newest ones.
const MAX_CLOSED: usize = 16_384;

/// One connection and its user.
pub(crate) type Held = (UserId, ConnectionId);

/// The open connections of one instance, and the users whose return is still to be told.
#[derive(Debug, Default)]
pub(crate) struct Local {
    held: Mutex<HashSet<Held>>,
    closed: Mutex<VecDeque<(Instant, Held)>>,
    returned: Mutex<Vec<UserId>>,
    gone: Mutex<Vec<UserId>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Local {
    /// A connection opened.
    pub(crate) fn opened(&self, user: &UserId, conn: &ConnectionId) {
        lock(&self.held).insert((*user, *conn));
    }

    /// A connection closed.
    pub(crate) fn closed(&self, user: &UserId, conn: &ConnectionId) {
        lock(&self.held).remove(&(*user, *conn));
        let mut closed = lock(&self.closed);
        while closed.len() >= MAX_CLOSED || closed.front().is_some_and(|(at, _)| at.elapsed() > CLOSED_FOR) {
            closed.pop_front();
        }
        closed.push_back((Instant::now(), (*user, *conn)));
    }

    /// Those that closed lately.
    pub(crate) fn lately_closed(&self) -> Vec<Held> {
        lock(&self.closed).iter().map(|(_, held)| *held).collect()
    }

    /// Whether it is open.
    pub(crate) fn holds(&self, held: &Held) -> bool {
        lock(&self.held).contains(held)
    }

    /// All open connections.
    pub(crate) fn all(&self) -> Vec<Held> {
        lock(&self.held).iter().copied().collect()
    }

    /// `user` came back online; somebody must be told.
    pub(crate) fn came_back(&self, user: UserId) {
        lock(&self.returned).push(user);
    }

    /// `user` went offline by what this instance did on its own; somebody must be told.
    pub(crate) fn went(&self, user: UserId) {
        lock(&self.gone).push(user);
    }

    /// Those who went since the last question.
    pub(crate) fn gone(&self) -> Vec<UserId> {
        std::mem::take(&mut *lock(&self.gone))
    }

    /// Those who came back since the last question.
    pub(crate) fn returned(&self) -> Vec<UserId> {
        std::mem::take(&mut *lock(&self.returned))
    }
}

/// How a connection is written into an index.
pub(crate) fn row((user, conn): &Held) -> String {
    format!("{user} {conn}")
}

/// Reads what [`row`] wrote into `key`.
pub(crate) fn parse_row(key: &str, row: &str) -> LabResult<Held> {
    let corrupt = |why: &str| LabError::Corrupt { key: key.to_owned(), why: format!("{why} in `{row}`") };
    let (user, conn) = row.split_once(' ').ok_or_else(|| corrupt("no blank"))?;
    Ok((
        user.parse().map_err(|_| corrupt("no user id"))?,
        conn.parse().map_err(|_| corrupt("no connection id"))?,
    ))
}
