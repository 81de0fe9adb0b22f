//! What has to be told about users, newest state only, in the order in which it was first put down.

use std::collections::{HashMap, VecDeque};

use chatlab_kit::ids::UserId;

/// Users whose state waits to be told; one more is not told of, and counted.
pub(super) const MAX_WAITING: usize = 65_536;

/// What happened to a user since their rooms were told last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct News {
    /// They came online, or went offline: the latest of that.
    pub(super) online: Option<bool>,
    /// They have another status.
    pub(super) changed: bool,
}

impl News {
    pub(super) const fn transition(online: bool) -> Self {
        Self { online: Some(online), changed: false }
    }

    pub(super) const fn status() -> Self {
        Self { online: None, changed: true }
    }

    fn then(self, newer: Self) -> Self {
        Self { online: newer.online.or(self.online), changed: self.changed | newer.changed }
    }

    /// Whether rooms are to be told that the user is online, if anything: `connected` they are by now, and others may see it.
    pub(super) fn told(self, connected: bool, may_be_seen: bool) -> Option<bool> {
        let seen = connected && may_be_seen;
        match self.online {
            // Has changed back, on this instance or another, and whoever saw that tells it.
            Some(online) if online != connected && !self.changed => None,
            // Turned invisible, or visible, or says something else.
            _ if self.changed && connected => Some(seen),
            Some(false) if may_be_seen || self.changed => Some(false),
            Some(true) if seen => Some(true),
            // The coming and going of who is invisible, and the status of who is not there.
            _ => None,
        }
    }
}

/// The users about whom something is to be told.
#[derive(Default)]
pub(super) struct Pending {
    order: VecDeque<UserId>,
    newest: HashMap<UserId, News>,
    /// The task has taken some out and is at it.
    pub(super) busy: bool,
}

impl Pending {
    /// Puts something down; false when there is no place for it.
    pub(super) fn put(&mut self, user: UserId, news: News) -> bool {
        if let Some(older) = self.newest.get_mut(&user) {
            *older = older.then(news);
            return true;
        }
        if self.newest.len() >= MAX_WAITING {
            return false;
        }
        self.newest.insert(user, news);
        self.order.push_back(user);
        true
    }

    /// The first of it, at most so many.
    pub(super) fn take(&mut self, most: usize) -> Vec<(UserId, News)> {
        let count = self.order.len().min(most);
        self.busy = count > 0;
        let Self { order, newest, .. } = self;
        order.drain(..count).filter_map(|user| Some((user, newest.remove(&user)?))).collect()
    }

    /// Whether anything is not told yet.
    pub(super) fn is_telling(&self) -> bool {
        self.busy || !self.newest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAME: News = News::transition(true);
    const WENT: News = News::transition(false);

    #[test]
    fn who_may_be_seen_is_told_of_when_they_come_and_go_unless_that_is_over() {
        assert_eq!(CAME.told(true, true), Some(true));
        assert_eq!(WENT.told(false, true), Some(false));
        assert_eq!(CAME.told(false, true), None);
        assert_eq!(WENT.told(true, true), None);
    }

    #[test]
    fn nobody_hears_who_is_invisible_come_or_go() {
        for news in [CAME, WENT] {
            for connected in [false, true] {
                assert_eq!(news.told(connected, false), None, "{news:?} {connected}");
            }
        }
    }

    #[test]
    fn who_turns_invisible_goes_offline_for_others() {
        let status = News::status();
        assert_eq!(status.told(true, false), Some(false));
        assert_eq!(status.told(true, true), Some(true));
        assert_eq!(status.told(false, true), None, "the status of who is not there");
        assert_eq!(status.told(false, false), None);
        // And so they are when they go before that was told.
        assert_eq!(status.then(WENT).told(false, false), Some(false));
        assert_eq!(CAME.then(status).told(true, false), Some(false));
        assert_eq!(CAME.then(status).told(true, true), Some(true));
        assert_eq!(CAME.then(status).told(false, true), None, "whoever saw them go tells it");
    }

    #[test]
    fn of_several_the_newest_is_told_once_and_in_the_first_ones_place() {
        let (ada, bob) = (UserId::new(), UserId::new());
        let mut pending = Pending::default();
        for (user, news) in [(ada, CAME), (bob, CAME), (ada, WENT)] {
            assert!(pending.put(user, news));
        }
        assert_eq!(pending.take(1), [(ada, WENT)]);
        assert!(pending.is_telling() && pending.busy);
        assert_eq!(pending.take(5), [(bob, CAME)]);
        assert_eq!(pending.take(5), []);
        assert!(!pending.is_telling());
    }

    #[test]
    fn their_number_is_bounded() {
        let mut pending = Pending::default();
        let users: Vec<_> = (0..=MAX_WAITING).map(|_| UserId::new()).collect();
        let taken = users.iter().filter(|user| pending.put(**user, CAME)).count();
        assert_eq!(taken, MAX_WAITING);
        assert!(pending.put(users[0], WENT), "who is there already has their place");
    }
}
