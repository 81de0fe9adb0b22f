//! What an instance knows by itself: which connections it holds, and whom it has not told yet.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chatlab_kit::{
    LabError, LabResult,
    ids::{ConnectionId, InstanceId, UserId},
};
use tokio::time::Instant;

/// How long a closed connection is remembered: longer than it takes to notice that a master is dead.
const CLOSED_FOR: Duration = Duration::from_secs(60);
/// The most that are remembered, the newest ones.
const MAX_CLOSED: usize = 16_384;

/// The most whose entry was not answered and that are remembered, the first ones: more than an instance has connections.
const MAX_UNANSWERED: usize = 65_536;

/// One connection and its user.
pub(crate) type Held = (UserId, ConnectionId);

/// A connection, and the lease it was taken from.
pub(crate) type Taken = (Held, InstanceId);

/// The open connections of one instance, and the users whose return is still to be told.
#[derive(Debug, Default)]
pub(crate) struct Local {
    held: Mutex<HashSet<Held>>,
    closed: Mutex<VecDeque<(Instant, Held)>>,
    /// What this instance took from leases that ran out.
    taken: Mutex<VecDeque<(Instant, Taken)>>,
    /// Entries that were not answered, and since when nobody waits for it.
    unanswered: Mutex<HashMap<Held, Instant>>,
    returned: Mutex<Vec<UserId>>,
    gone: Mutex<Vec<UserId>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection that is about to be written down. Unless it is [done](Self::done), it is not held, and counts as not answered.
pub(crate) struct Opening<'a> {
    local: &'a Local,
    held: Held,
    done: bool,
}

impl Opening<'_> {
    /// It is written down.
    pub(crate) fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if !self.done {
            lock(&self.local.held).remove(&self.held);
            drop(self.local.unanswered(&[self.held]));
        }
    }
}

/// Entries that are asked for. Those that are not [answered](Self::answered) may be written whenever.
pub(crate) struct Unanswered<'a> {
    local: &'a Local,
    entries: HashSet<Held>,
}

impl Unanswered<'_> {
    /// This one was.
    pub(crate) fn answered(&mut self, held: &Held) {
        self.entries.remove(held);
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        let mut unanswered = lock(&self.local.unanswered);
        for held in self.entries.drain() {
            if unanswered.len() >= MAX_UNANSWERED && !unanswered.contains_key(&held) {
                return;
            }
            unanswered.insert(held, Instant::now());
        }
    }
}

impl Local {
    /// A connection opened.
    pub(crate) fn opened(&self, user: &UserId, conn: &ConnectionId) {
        lock(&self.held).insert((*user, *conn));
    }

    /// A connection opens: it is held from now on.
    pub(crate) fn opening(&self, held: Held) -> Opening<'_> {
        lock(&self.held).insert(held);
        Opening { local: self, held, done: false }
    }

    /// These entries are asked for.
    pub(crate) fn unanswered(&self, page: &[Held]) -> Unanswered<'_> {
        Unanswered { local: self, entries: page.iter().copied().collect() }
    }

    /// Takes out those that nobody waits for, for at least so long.
    pub(crate) fn settled_after(&self, time: Duration) -> Vec<Held> {
        let mut unanswered = lock(&self.unanswered);
        unanswered.extract_if(|_, since| since.elapsed() >= time).map(|(held, _)| held).collect()
    }

    /// A connection closed.
    pub(crate) fn closed(&self, user: &UserId, conn: &ConnectionId) {
        lock(&self.held).remove(&(*user, *conn));
        remember(&mut lock(&self.closed), (*user, *conn));
    }

    /// A connection was taken from a lease that ran out.
    pub(crate) fn took(&self, taken: Taken) {
        remember(&mut lock(&self.taken), taken);
    }

    /// Those that were taken lately.
    pub(crate) fn lately_taken(&self) -> Vec<Taken> {
        lock(&self.taken).iter().map(|(_, taken)| *taken).collect()
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

/// Keeps the newest, for a time.
fn remember<T>(all: &mut VecDeque<(Instant, T)>, one: T) {
    while all.len() >= MAX_CLOSED || all.front().is_some_and(|(at, _)| at.elapsed() > CLOSED_FOR) {
        all.pop_front();
    }
    all.push_back((Instant::now(), one));
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
