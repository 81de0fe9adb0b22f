//! Connections that presence may know otherwise than they are.
//!
//! What is asked of presence may be answered late, and two questions about one connection may be under way at once: one that writes
//! down that it is here, begun before it went, and one that takes it out. Whichever is done last in Redis, the answers come in
//! any order. So each intent has a number, and an answer settles only the intent that it was asked for.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use chatlab_kit::ids::{ConnectionId, UserId};

use crate::service::lock;

/// What presence should know of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Intent {
    pub(super) user: UserId,
    pub(super) conn: ConnectionId,
    /// Whether it is there.
    pub(super) here: bool,
    number: u64,
}

/// All intents that presence has not confirmed.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    open: Mutex<HashMap<ConnectionId, Intent>>,
    count: AtomicU64,
}

impl Unsettled {
    /// From now on this is so.
    pub(super) fn intend(&self, user: UserId, conn: ConnectionId, here: bool) -> Intent {
        let intent = Intent { user, conn, here, number: self.count.fetch_add(1, Relaxed) };
        lock(&self.open).insert(conn, intent);
        intent
    }

    /// All that is open.
    pub(super) fn all(&self) -> Vec<Intent> {
        lock(&self.open).values().copied().collect()
    }

    /// Presence did what was asked for an intent. If something else is intended by now, or was confirmed meanwhile, what it did may
    /// have come after that: then the connection is gone, and has to be taken out once more. True when it is as intended.
    pub(super) fn confirm(&self, intent: &Intent) -> bool {
        let mut open = lock(&self.open);
        if open.get(&intent.conn) == Some(intent) {
            open.remove(&intent.conn);
            return true;
        }
        drop(open);
        if intent.here {
            self.intend(intent.user, intent.conn, false);
        }
        !intent.here
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_while_it_goes_is_taken_out_again_whichever_is_answered_first() {
        for departure_first in [true, false] {
            let (unsettled, user, conn) = (Unsettled::default(), UserId::new(), ConnectionId::new());
            let arrival = unsettled.intend(user, conn, true);
            let departure = unsettled.intend(user, conn, false);
            if departure_first {
                assert!(unsettled.confirm(&departure));
                assert!(!unsettled.confirm(&arrival));
            } else {
                assert!(!unsettled.confirm(&arrival));
                assert!(unsettled.confirm(&departure));
            }
            let again = unsettled.all();
            assert_eq!(again.iter().map(|one| (one.conn, one.here)).collect::<Vec<_>>(), [(conn, false)]);
            assert!(unsettled.confirm(&again[0]));
            assert_eq!(unsettled.all(), []);
        }
    }

    #[test]
    fn who_stays_is_settled_at_once() {
        let (unsettled, user, conn) = (Unsettled::default(), UserId::new(), ConnectionId::new());
        let arrival = unsettled.intend(user, conn, true);
        assert_eq!(unsettled.all(), [arrival]);
        assert!(unsettled.confirm(&arrival));
        assert_eq!(unsettled.all(), []);
    }
}
