//! What must be, by the rules of docs/PROTOCOL.md.

use std::collections::{BTreeMap, BTreeSet};

use chatlab_kit::{
    ids::{MessageId, RoomId, UserId},
    wire::{ErrorCode, Role},
};

/// A text of the room.
#[derive(Debug, Clone)]
pub struct Text {
    pub id: MessageId,
    pub by: usize,
    pub body: String,
    pub edited: bool,
    pub deleted: bool,
    pub reactions: BTreeSet<(&'static str, usize)>,
}

pub struct Model {
    pub room: RoomId,
    pub users: Vec<UserId>,
    pub roles: BTreeMap<usize, Role>,
    pub banned: BTreeSet<usize>,
    pub read_only: bool,
    /// The one blocks the other.
    pub blocks: BTreeSet<(usize, usize)>,
    /// Of two, the lower number first.
    pub direct: BTreeMap<(usize, usize), RoomId>,
    /// By their sequences.
    pub texts: BTreeMap<u64, Text>,
    /// The pinned messages, the first pin first.
    pub pins: Vec<MessageId>,
    /// How far each has read.
    pub read: BTreeMap<usize, u64>,
}

/// Nothing, or the code of the refusal.
pub type Verdict = Result<(), ErrorCode>;

/// What is not so is refused by that code.
fn only(is_so: bool, code: ErrorCode) -> Verdict {
    is_so.then_some(()).ok_or(code)
}

impl Model {
    pub fn new(room: RoomId, users: Vec<UserId>) -> Self {
        Self {
            room,
            users,
            roles: BTreeMap::from([(0, Role::Owner)]),
            banned: BTreeSet::new(),
            read_only: false,
            blocks: BTreeSet::new(),
            direct: BTreeMap::new(),
            texts: BTreeMap::new(),
            pins: Vec::new(),
            read: BTreeMap::new(),
        }
    }

    /// Whether somebody is a member of at least that role.
    fn least(&self, who: usize, role: Role) -> Verdict {
        only(self.roles.get(&who).is_some_and(|own| *own >= role), ErrorCode::Forbidden)
    }

    pub fn member(&self, who: usize) -> Verdict {
        self.least(who, Role::Member)
    }

    pub fn join(&self, who: usize) -> Verdict {
        only(!self.banned.contains(&who), ErrorCode::Forbidden)
    }

    pub fn write(&self, who: usize, listens: bool) -> Verdict {
        only(listens, ErrorCode::Forbidden)?;
        self.least(who, if self.read_only { Role::Moderator } else { Role::Member })
    }

    pub fn delete(&self, who: usize, listens: bool, text: &Text) -> Verdict {
        only(listens, ErrorCode::Forbidden)?;
        if text.by == who { Ok(()) } else { self.least(who, Role::Moderator) }
    }

    pub fn pin(&self, who: usize, listens: bool, (text, on): (&Text, bool)) -> Verdict {
        only(listens, ErrorCode::Forbidden)?;
        self.least(who, Role::Moderator)?;
        match (on, self.pins.contains(&text.id)) {
            (true, true) => Err(ErrorCode::Conflict),
            (false, false) => Err(ErrorCode::NotFound),
            _ => Ok(()),
        }
    }

    pub fn react(who: usize, listens: bool, text: &Text, (emoji, on): (&'static str, bool)) -> Verdict {
        only(listens, ErrorCode::Forbidden)?;
        match (on, text.reactions.contains(&(emoji, who))) {
            (true, true) => Err(ErrorCode::Conflict),
            (false, false) => Err(ErrorCode::NotFound),
            _ => Ok(()),
        }
    }

    pub fn role(&self, by: usize, whom: usize, role: Role) -> Verdict {
        self.least(by, Role::Admin)?;
        let (own, now) = (self.roles[&by], self.roles.get(&whom).ok_or(ErrorCode::NotFound)?);
        only(own > *now && own > role, ErrorCode::Forbidden)
    }

    pub fn remove(&self, by: usize, whom: usize, ban: bool) -> Verdict {
        self.least(by, Role::Moderator)?;
        only(by != whom, ErrorCode::Invalid)?;
        match self.roles.get(&whom) {
            Some(now) => only(self.roles[&by] > *now, ErrorCode::Forbidden),
            None if ban => only(!self.banned.contains(&whom), ErrorCode::Conflict),
            None => Err(ErrorCode::NotFound),
        }
    }

    pub fn unban(&self, by: usize, whom: usize) -> Verdict {
        self.least(by, Role::Moderator)?;
        only(self.banned.contains(&whom), ErrorCode::NotFound)
    }

    pub fn add(&self, by: usize, whom: usize) -> Verdict {
        self.least(by, Role::Moderator)?;
        only(!self.roles.contains_key(&whom) && !self.banned.contains(&whom), ErrorCode::Conflict)?;
        only(!self.blocks.contains(&(whom, by)), ErrorCode::Forbidden)
    }

    pub fn settings(&self, by: usize) -> Verdict {
        self.least(by, Role::Admin)
    }

    pub fn direct(&self, by: usize, with: usize) -> Verdict {
        only(by != with, ErrorCode::Invalid)?;
        only(!self.apart(by, with), ErrorCode::Forbidden)
    }

    pub fn apart(&self, one: usize, other: usize) -> bool {
        self.blocks.contains(&(one, other)) || self.blocks.contains(&(other, one))
    }

    /// A membership has ended: marks go with it.
    pub fn gone(&mut self, who: usize) {
        self.roles.remove(&who);
        self.read.remove(&who);
    }

    /// How many texts came after what somebody has read.
    pub fn unread(&self, who: usize) -> u64 {
        let read = self.read.get(&who).copied().unwrap_or_default();
        self.texts.range(read + 1..).count() as u64
    }
}

/// What names the direct chat of two.
pub fn pair(one: usize, other: usize) -> (usize, usize) {
    (one.min(other), one.max(other))
}
