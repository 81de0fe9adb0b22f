//! What users are called.

use std::collections::{HashMap, VecDeque};

use chatlab_kit::{
    ids::{MessageId, RoomId, UserId},
    message::{Message, Seq},
    wire::MemberEntry,
};
use chatlab_load::client::{ClientError, WsClient};
use uuid::Uuid;

/// The names that are kept; one more, and they are asked for again.
pub const NAMES_MAX: usize = 4_096;
/// The messages whose numbers are kept.
pub const NUMBERS_MAX: usize = 4_096;

/// The names that were heard so far.
#[derive(Debug, Default)]
pub struct Names {
    known: HashMap<UserId, String>,
}

impl Names {
    /// Keeps a name.
    pub fn keep(&mut self, user: UserId, name: &str) {
        if self.known.len() >= NAMES_MAX && !self.known.contains_key(&user) {
            self.known.clear();
        }
        self.known.insert(user, name.to_owned());
    }

    /// Keeps those of a page of members.
    pub fn keep_all(&mut self, members: &[MemberEntry]) {
        for member in members {
            self.keep(member.user, &member.name);
        }
    }

    /// A name that is known already, or the end of the id.
    pub fn of(&self, user: UserId) -> String {
        self.known.get(&user).cloned().unwrap_or_else(|| short(user))
    }

    /// Whose a name is, whatever the case.
    pub fn whose(&self, name: &str) -> Option<UserId> {
        let mut all = self.known.iter();
        all.find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(user, _)| *user)
    }

    /// Asks what a member of a room is called, unless it is known. Who is none any more goes by the end of the id.
    pub async fn learn(&mut self, client: &mut WsClient, room: RoomId, user: UserId) {
        if self.known.contains_key(&user) {
            return;
        }
        // Pages are in the order of ids: the first one after the id before is the one.
        let before = user.0.as_u128().checked_sub(1).map(|before| UserId(Uuid::from_u128(before)));
        match client.members(room, before, Some(1)).await {
            Ok((members, _)) => match members.first().filter(|member| member.user == user) {
                Some(member) => self.keep(user, &member.name),
                None => self.keep(user, &short(user)),
            },
            Err(ClientError::Refused { .. }) => self.keep(user, &short(user)),
            // The connection is lost, which the next read finds, too.
            Err(_) => {}
        }
    }
}

/// What tells ids apart is at their end: they begin with a time.
fn short(user: UserId) -> String {
    let id = user.to_string();
    format!("user …{}", &id[id.len().saturating_sub(8)..])
}

/// The numbers of the messages that were shown, for what comes about them later.
#[derive(Debug, Default)]
pub struct Numbers {
    known: HashMap<MessageId, Seq>,
    order: VecDeque<MessageId>,
}

impl Numbers {
    /// Keeps the number of a message.
    pub fn keep(&mut self, message: &Message) {
        if self.known.insert(message.draft.id, message.seq).is_none() {
            self.order.push_back(message.draft.id);
        }
        if self.order.len() > NUMBERS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Whether a message was shown, as far as is remembered.
    pub fn knows(&self, message: MessageId) -> bool {
        self.known.contains_key(&message)
    }

    /// How a message is called in a note about it.
    pub fn of(&self, message: Option<MessageId>) -> String {
        let number = message.and_then(|id| self.known.get(&id));
        number.map_or_else(|| "an earlier message".to_owned(), ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_found_whatever_the_case() {
        let mut names = Names::default();
        let ada = UserId::new();
        assert!(names.of(ada).starts_with("user …"));
        names.keep(ada, "Ada");
        assert_eq!((names.of(ada).as_str(), names.whose("aDa")), ("Ada", Some(ada)));
        for i in 0..2 * NAMES_MAX {
            names.keep(UserId::new(), &format!("u{i}"));
            assert!(names.known.len() <= NAMES_MAX);
        }
    }
}
