//! How messages must look after all that was said about them, in the order of their room.

use std::collections::{BTreeSet, HashMap};

use chatlab_kit::{
    ids::{MessageId, UserId},
    message::{Change, Message, MessageKind},
};

use super::person::{Person, What};

/// A message as what is about it says.
#[derive(Default)]
pub struct Look {
    /// Another body than it was said with.
    pub body: Option<String>,
    changed: Option<(Change, u64, UserId)>,
    reactions: BTreeSet<(String, UserId)>,
}

/// What the messages of a room say about each other. What a master's death took out of the room the archive may have, so something
/// may be said about it afterwards, but it is not there to look like anything.
pub fn looks(messages: &[Message], may_lose: bool) -> HashMap<MessageId, Look> {
    let there: BTreeSet<MessageId> = messages.iter().map(|message| message.draft.id).collect();
    let mut looks: HashMap<MessageId, Look> = HashMap::new();
    for message in messages {
        let Some(about) = message.draft.about else { continue };
        if !there.contains(&about) {
            assert!(may_lose, "about what is not there: {message:?}");
            // Its deletion takes the text out of its edits all the same.
            if message.draft.kind == MessageKind::Delete {
                looks.entry(about).or_default().body = Some(String::new());
            }
            continue;
        }
        let look = looks.entry(about).or_default();
        let (by, body) = (message.draft.from, message.draft.body.clone());
        let deleted = matches!(look.changed, Some((Change::Deleted, ..)));
        assert!(!deleted, "about what was deleted: {message:?}");
        match message.draft.kind {
            MessageKind::Edit => {
                (look.body, look.changed) = (Some(body), Some((Change::Edited, message.ts, by)));
            }
            MessageKind::Delete => {
                let changed = Some((Change::Deleted, message.ts, by));
                *look = Look { body: Some(String::new()), changed, reactions: BTreeSet::new() };
            }
            MessageKind::React => assert!(look.reactions.insert((body, by)), "twice: {message:?}"),
            MessageKind::Unreact => assert!(look.reactions.remove(&(body, by)), "never: {message:?}"),
            other => panic!("nobody says {other:?}: {message:?}"),
        }
    }
    looks
}

/// Whether a message of the history looks so. Its body is for who knows what it was said with.
pub fn check(message: &Message, look: Option<&Look>) {
    let unchanged = Look::default();
    let look = look.unwrap_or(&unchanged);
    let changed = message.changed.map(|changed| (changed.what, changed.ts, changed.by.unwrap()));
    assert_eq!(changed, look.changed, "{message:?}");
    let pairs =
        message.reactions.iter().flat_map(|one| one.users.iter().map(|user| (one.emoji.clone(), *user)));
    assert_eq!(pairs.collect::<BTreeSet<_>>(), look.reactions, "{message:?}");
}

/// Every body that a message had at some time, by the ids under which it was stored.
pub fn bodies(people: &[Person]) -> HashMap<MessageId, BTreeSet<String>> {
    let mut bodies: HashMap<MessageId, BTreeSet<String>> = HashMap::new();
    for said in people.iter().flat_map(|person| &person.said) {
        for stored in &said.stored {
            bodies.entry(stored.id).or_default().insert(said.body.clone());
        }
        match said.what {
            What::Edit(about) => drop(bodies.entry(about).or_default().insert(said.body.clone())),
            What::Delete(about) => drop(bodies.entry(about).or_default().insert(String::new())),
            What::Text | What::React(..) => {}
        }
    }
    bodies
}

/// Whether two are one message, whatever has become of it since; `bodies` are those that it had.
pub fn same(heard: &Message, kept: &Message, bodies: Option<&BTreeSet<String>>) -> bool {
    let Message { epoch, seq, ts, draft, .. } = heard;
    // The text of an edit goes with the message that it was about.
    let had = draft.body.is_empty() && kept.draft.body.is_empty()
        || bodies.is_some_and(|bodies| bodies.contains(&draft.body));
    let (mut one, mut other) = (draft.clone(), kept.draft.clone());
    (one.body, other.body) = (String::new(), String::new());
    had && (epoch, seq, ts, &one) == (&kept.epoch, &kept.seq, &kept.ts, &other)
}
