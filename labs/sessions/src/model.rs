//! What must be true of each session, as far as the server's clock proves it.

use chatlab_kit::ids::SessionId;

use crate::{Policy, Session};

/// Server times before and after something, in milliseconds: it happened in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// What a fact is about; predicates pick the topics that they judge by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// A live session is found, as it was created.
    Visible,
    /// It ends when idle.
    Idle,
    /// It ends when too old.
    Absolute,
    /// It ends when revoked.
    Revoked,
    /// It ends when a refresh token comes a second time; each is exchanged once.
    Stolen,
    /// It ends when all are revoked, and all end together.
    RevokedAll,
    /// It ends when there are too many.
    Cap,
    /// The list is exact.
    List,
    /// The count or flag that an operation answered.
    Answer,
    /// What stays in Redis after the end.
    Leftover,
    /// Round trips.
    Trips,
    /// The commands used.
    Verbs,
}

/// Whether a session is over for a reason other than time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// No.
    Open,
    /// Perhaps: an operation that would end it crashed or ran at the same time.
    Maybe(Topic),
    /// Yes.
    Over(Topic),
}

/// A session at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Live,
    Dead(Topic),
    /// The clock does not tell.
    Unknown,
}

/// What is known of one session.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// Its number in the plan; none for sessions without a name.
    pub(crate) s: Option<u32>,
    /// None when the login crashed: whether it exists is not known.
    pub(crate) id: Option<SessionId>,
    pub(crate) device: String,
    pub(crate) created: Span,
    pub(crate) used: Span,
    /// The number of the refresh token that is good now.
    pub(crate) token: u64,
    pub(crate) end: End,
}

impl Known {
    /// For people.
    pub(crate) fn name(&self) -> String {
        self.s.map_or_else(|| "a session".to_owned(), |s| format!("s{s}"))
    }

    /// The earliest and the latest moment at which it may run out by itself.
    fn runs_out(&self, policy: Policy) -> Span {
        Span {
            from: (self.used.from + policy.idle_ms).min(self.created.from + policy.absolute_ms),
            to: (self.used.to + policy.idle_ms).min(self.created.to + policy.absolute_ms),
        }
    }

    /// Which of the two clocks ends it.
    pub(crate) fn clock(&self, policy: Policy) -> Topic {
        if self.created.to + policy.absolute_ms <= self.used.to + policy.idle_ms {
            Topic::Absolute
        } else {
            Topic::Idle
        }
    }

    /// From this moment on it is certainly over, unless it is used.
    pub(crate) fn over_at(&self, policy: Policy) -> u64 {
        self.runs_out(policy).to + 1
    }

    /// What it is for an operation that ran in `span`.
    pub(crate) fn state(&self, span: Span, policy: Policy) -> State {
        let runs_out = self.runs_out(policy);
        match self.end {
            End::Over(topic) => State::Dead(topic),
            _ if span.from > runs_out.to => State::Dead(self.clock(policy)),
            End::Open if span.to < runs_out.from => State::Live,
            _ => State::Unknown,
        }
    }

    /// Whether it certainly runs out before `other`.
    pub(crate) fn ends_before(&self, other: &Self, policy: Policy) -> bool {
        self.runs_out(policy).to < other.runs_out(policy).from
    }

    /// What is wrong with `shown`, which a live session answered; `used` is when its expiry was set.
    pub(crate) fn difference(&self, shown: &Session, policy: Policy) -> Option<String> {
        let name = self.name();
        let runs_out = self.runs_out(policy);
        if shown.device != self.device {
            return Some(format!("{name} logged in on {:?}, but {:?} is shown", self.device, shown.device));
        }
        if !(self.created.from..=self.created.to).contains(&shown.created_ms) {
            let off = shown.created_ms.abs_diff(self.created.from);
            return Some(format!("{name} shows a login time that is {off} ms off by the server's clock"));
        }
        if !(runs_out.from..=runs_out.to).contains(&shown.expires_ms) {
            let (off, way) = if shown.expires_ms > runs_out.to {
                (shown.expires_ms - runs_out.to, "late")
            } else {
                (runs_out.from - shown.expires_ms, "early")
            };
            return Some(format!("{name} shows an expiry that is {off} ms too {way}"));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { idle_ms: 100, absolute_ms: 250 };

    fn known(used_from: u64, used_to: u64) -> Known {
        Known {
            s: Some(1),
            id: None,
            device: String::new(),
            created: Span { from: 1000, to: 1002 },
            used: Span { from: used_from, to: used_to },
            token: 0,
            end: End::Open,
        }
    }

    #[test]
    fn a_state_is_claimed_only_where_the_clock_proves_it() {
        let state = |from, to| known(1000, 1002).state(Span { from, to }, POLICY);
        assert_eq!(state(1050, 1099), State::Live);
        assert_eq!(state(1050, 1100), State::Unknown);
        assert_eq!(state(1102, 1110), State::Unknown);
        assert_eq!(state(1103, 1110), State::Dead(Topic::Idle));
    }

    #[test]
    fn a_session_in_use_ends_by_its_age() {
        let late = known(1200, 1201);
        assert_eq!(late.state(Span { from: 1240, to: 1249 }, POLICY), State::Live);
        assert_eq!(late.state(Span { from: 1253, to: 1253 }, POLICY), State::Dead(Topic::Absolute));
    }
}
