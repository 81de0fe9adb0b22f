//! What is there in the end, against the model.

use std::collections::BTreeMap;

use chatlab_kit::{
    ids::MessageId,
    message::{Change, Message, MessageKind},
};

use super::{acts::Acts, model::Text};

impl Acts {
    /// Everybody hears the last word, and everything is as the model has it.
    pub async fn finish(&mut self) {
        let room = self.model.room;
        self.say(0).await;
        let last = *self.model.texts.keys().next_back().unwrap();
        for person in self.people.iter_mut().filter(|person| person.at.contains_key(&room)) {
            person.until("at the last word", |person| person.at[&room] == last).await;
        }
        let pins: Vec<MessageId> =
            self.people[0].client.pins(room).await.unwrap().iter().map(|message| message.draft.id).collect();
        assert_eq!(pins, self.model.pins);
        let (roster, _) = self.people[0].client.members(room, None, None).await.unwrap();
        let roster: BTreeMap<_, _> = roster.into_iter().map(|entry| (entry.user, entry.role)).collect();
        let roles = self.model.roles.iter().map(|(who, role)| (self.model.users[*who], *role)).collect();
        assert_eq!(roster, roles);
        let mut history = self.history().await;
        history.retain(|message| message.draft.kind == MessageKind::Text);
        let seqs: Vec<u64> = history.iter().map(|message| message.seq).collect();
        assert_eq!(
            seqs,
            self.model.texts.keys().copied().collect::<Vec<_>>(),
            "what was acknowledged, and nothing else"
        );
        for message in &history {
            self.looks(message);
        }
    }

    async fn history(&mut self) -> Vec<Message> {
        let (room, mut all, mut before) = (self.model.room, Vec::new(), None);
        loop {
            let page = self.people[0].client.history(room, before, Some(200)).await.unwrap();
            all.splice(0..0, page.messages);
            before = page.next;
            if before.is_none() {
                let seqs = all.iter().map(|message| message.seq);
                assert!(seqs.eq(1..=all.len() as u64), "a hole");
                return all;
            }
        }
    }

    fn looks(&self, message: &Message) {
        let text = &self.model.texts[&message.seq];
        let what = match text {
            Text { deleted: true, .. } => Some(Change::Deleted),
            Text { edited: true, .. } => Some(Change::Edited),
            _ => None,
        };
        let said = (
            message.draft.id,
            message.draft.from,
            message.draft.body.as_str(),
            message.changed.map(|c| c.what),
        );
        assert_eq!(said, (text.id, self.model.users[text.by], text.body.as_str(), what), "{message:?}");
        let reactions =
            message.reactions.iter().flat_map(|one| one.users.iter().map(|user| (one.emoji.as_str(), *user)));
        let mut reactions: Vec<_> = reactions.collect();
        let mut expected: Vec<_> =
            text.reactions.iter().map(|(emoji, who)| (*emoji, self.model.users[*who])).collect();
        reactions.sort_unstable();
        expected.sort_unstable();
        assert_eq!(reactions, expected, "{message:?}");
    }
}
