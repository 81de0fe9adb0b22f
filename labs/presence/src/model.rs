//! What must be true of users, as far as the server's clock proves it.

use chatlab_kit::ids::{ConnectionId, UserId};

/// What a fact is about; predicates pick the topics that they judge by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Who is connected is shown, who has left is not.
    Shown,
    /// One device leaves, another stays.
    OtherDevice,
    /// What connect and disconnect tell.
    Told,
    /// Who refreshes stays.
    Stays,
    /// Who is dead goes.
    Ghost,
    /// What a reap tells.
    Reaped,
    /// Who was paused comes back.
    Returned,
    /// What stays in Redis after the end.
    Leftover,
    /// Round trips.
    Trips,
    /// The commands used.
    Verbs,
}

/// What has become of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Its instance holds it.
    Open,
    /// Its instance is silent.
    Fading,
    /// An operation on it crashed: it may be there or not.
    Unclear,
    /// Closed or reaped.
    Gone,
}

/// One connection.
#[derive(Debug, Clone)]
pub(crate) struct Conn {
    pub(crate) c: u32,
    pub(crate) u: u32,
    pub(crate) i: u32,
    pub(crate) id: ConnectionId,
    pub(crate) life: Life,
}

/// One user, and what was told about it.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) u: u32,
    pub(crate) id: UserId,
    /// How often online was told, less how often offline.
    pub(crate) told: i64,
    /// A connection of it was closed while it was watched.
    pub(crate) closed: bool,
    /// A connection of it died with its instance.
    pub(crate) died: bool,
    /// Its instance was away and is back.
    pub(crate) back: bool,
    /// Its instance has refreshed since it connected.
    pub(crate) stayed: bool,
}

/// How many connections a user has, of which kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) open: u64,
    pub(crate) fading: u64,
    pub(crate) unclear: u64,
}

impl Count {
    /// Of the connections of user `u`.
    pub(crate) fn of(conns: &[Conn], u: u32) -> Self {
        let mut count = Self::default();
        for conn in conns.iter().filter(|conn| conn.u == u) {
            match conn.life {
                Life::Open => count.open += 1,
                Life::Fading => count.fading += 1,
                Life::Unclear => count.unclear += 1,
                Life::Gone => {}
            }
        }
        count
    }

    /// What is wrong with `told` online less offline.
    pub(crate) fn told_wrong(self, told: i64) -> Option<&'static str> {
        match told {
            // A crashed operation took what it was told with it.
            _ if self.unclear > 0 => None,
            2.. => Some("was told online twice in a row"),
            ..=-1 => Some("was told offline twice in a row"),
            1 if self.open == 0 && self.fading == 0 => Some("is offline, and nobody was told"),
            0 if self.open > 0 => Some("is online, and what was told last is that it is not"),
            _ => None,
        }
    }

    /// Whether it is online; none where that is not certain.
    pub(crate) fn online(self) -> Option<bool> {
        match self {
            Self { open: 1.., .. } => Some(true),
            Self { open: 0, fading: 0, unclear: 0 } => Some(false),
            _ => None,
        }
    }

    /// Whether a number of devices is one that it can have.
    pub(crate) fn fits(self, devices: u64) -> bool {
        (self.open..=self.open + self.fading + self.unclear).contains(&devices)
    }
}

impl User {
    /// Which rule is broken when the user is shown with too little.
    pub(crate) fn topic_of_missing(&self) -> Topic {
        match self {
            Self { back: true, .. } => Topic::Returned,
            Self { stayed: true, .. } => Topic::Stays,
            Self { closed: true, .. } => Topic::OtherDevice,
            _ => Topic::Shown,
        }
    }

    /// Which rule is broken when the user is shown with too much.
    pub(crate) fn topic_of_surplus(&self) -> Topic {
        if self.died { Topic::Ghost } else { Topic::Shown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_alternates() {
        let open = Count { open: 1, ..Count::default() };
        assert_eq!(open.told_wrong(1), None);
        assert!(open.told_wrong(0).is_some() && open.told_wrong(2).is_some());
        let fading = Count { fading: 1, ..Count::default() };
        assert_eq!((fading.told_wrong(0), fading.told_wrong(1)), (None, None));
        assert!(Count::default().told_wrong(1).is_some() && Count::default().told_wrong(-1).is_some());
    }

    #[test]
    fn a_state_is_claimed_only_where_it_is_certain() {
        assert_eq!(Count { open: 1, fading: 2, unclear: 1 }.online(), Some(true));
        assert_eq!(Count { open: 0, fading: 0, unclear: 1 }.online(), None);
        assert!(Count { open: 1, fading: 1, unclear: 0 }.fits(2));
        assert!(!Count { open: 1, fading: 1, unclear: 0 }.fits(3));
    }
}
