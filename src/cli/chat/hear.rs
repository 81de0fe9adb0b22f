//! What comes without being asked for, in words.

use chatlab_kit::{
    ids::{RoomId, UserId},
    message::{Change, Message, MessageKind},
    wire::{FriendState, RoomInfo, ServerFrame, Status},
};
use serde_json::{Value, json};

use super::{
    find::names_room,
    people::in_words,
    session::{Session, Trouble, called},
    show::clean,
};

impl Session {
    /// Shows an event.
    pub(super) async fn event(&mut self, event: &ServerFrame) -> Result<(), Trouble> {
        match event {
            ServerFrame::Message(message) => self.came(message).await,
            ServerFrame::Presence { room, user, .. }
            | ServerFrame::Typing { room, user, .. }
            | ServerFrame::Receipt { room, user, .. }
            | ServerFrame::Role { room, user, .. } => {
                self.names.learn(&mut self.client, *room, *user).await;
                self.of_somebody(event, *room, *user)
            }
            ServerFrame::Left { room, user } => self.left(event, *room, *user),
            ServerFrame::Settings(info) => self.settings(event, info),
            ServerFrame::Added(info) => {
                if let Some(with) = info.with {
                    self.names.learn(&mut self.client, info.room, with).await;
                }
                let name = names_room(info, &self.names);
                let text = format!("you are in {name} now: /join {} to talk there", info.room);
                Ok(self.show.note(&text, &json!(event))?)
            }
            ServerFrame::Friend(entry) => {
                let state = entry.state.map_or("is not your friend any more", |state| match state {
                    FriendState::Friend => "is your friend now",
                    other => in_words(other),
                });
                let answer = match entry.state {
                    Some(FriendState::Asks) => {
                        format!(": /friend accept {0}, /friend decline {0}", entry.name)
                    }
                    _ => String::new(),
                };
                Ok(self.show.note(&format!("{} {state}{answer}", entry.name), &json!(event))?)
            }
            ServerFrame::Resync { room, .. } => {
                let text =
                    format!("messages of {} may be missing here: /history has them", self.room_name(*room));
                Ok(self.show.note(&text, &json!(event))?)
            }
            ServerFrame::Error { code, message, .. } => {
                Ok(self.show.warn(&format!("{}: {message}", called(*code)), &json!(event))?)
            }
            other => Ok(self.show.json_only(&json!(other))?),
        }
    }

    async fn came(&mut self, message: &Message) -> Result<(), Trouble> {
        // A page of history may have overtaken it.
        if self.show.printer().is_some() && self.numbers.knows(message.draft.id) {
            return Ok(());
        }
        self.know(message).await;
        let (first, text, aside) = self.words_of(message);
        let mut json = self.json_of(message);
        json["t"] = "message".into();
        if aside {
            return Ok(self.show.aside(&first, &text, &json)?);
        }
        Ok(self.show.said(&first, &text, &json)?)
    }

    /// Learns what is needed to show a message.
    pub(super) async fn know(&mut self, message: &Message) {
        self.numbers.keep(message);
        for user in [Some(message.draft.from), message.draft.forwarded_from].into_iter().flatten() {
            self.names.learn(&mut self.client, message.draft.room, user).await;
        }
    }

    /// A message as JSON, with its sender's name.
    pub(super) fn json_of(&self, message: &Message) -> Value {
        let mut json = json!(message);
        json["name"] = self.names.of(message.draft.from).into();
        json
    }

    /// What stands before a message's text, its text, and whether it may be overlooked.
    pub(super) fn words_of(&self, message: &Message) -> (String, String, bool) {
        let draft = &message.draft;
        let from = clean(&self.names.of(draft.from));
        let place = self.place_of(draft.room);
        let mark = format!("{place}[{}] ", message.seq);
        let about = self.numbers.of(draft.about);
        let body = &draft.body;
        let note = match draft.kind {
            MessageKind::Text => None,
            MessageKind::System => Some(body.clone()),
            MessageKind::Edit if body.is_empty() => Some(format!("{from} edited {about}")),
            MessageKind::Edit => Some(format!("{from} edited {about}: {body}")),
            MessageKind::Delete => Some(format!("{from} deleted {about}")),
            MessageKind::Pin => Some(format!("{from} pinned {about}")),
            MessageKind::Unpin => Some(format!("{from} unpinned {about}")),
            MessageKind::React => Some(format!("{from} reacted to {about}: {body}")),
            MessageKind::Unreact => Some(format!("{from} took back {body} from {about}")),
        };
        if let Some(note) = note {
            return (mark, note, true);
        }
        let mut text = String::new();
        if draft.reply_to.is_some() {
            text.push_str(&format!("(to {}) ", self.numbers.of(draft.reply_to)));
        }
        if let Some(author) = draft.forwarded_from {
            text.push_str(&format!("({} wrote) ", self.names.of(author)));
        }
        match message.changed.map(|changed| changed.what) {
            Some(Change::Deleted) => text.push_str("(deleted)"),
            Some(Change::Edited) => text.push_str(&format!("{body} (edited)")),
            None => text.push_str(body),
        }
        (format!("{mark}{from}: "), text, false)
    }

    /// The room of what did not come from the current one.
    fn place_of(&self, room: RoomId) -> String {
        if self.current == Some(room) { String::new() } else { format!("{} ", clean(&self.room_name(room))) }
    }

    fn of_somebody(&self, event: &ServerFrame, room: RoomId, user: UserId) -> Result<(), Trouble> {
        let name = self.names.of(user);
        let mut json = json!(event);
        json["name"] = name.clone().into();
        let text = match event {
            ServerFrame::Presence { online, status, status_text, .. } => {
                let status = match status {
                    Some(Status::Available) | None if *online => "online",
                    status => status.map_or("offline", Status::as_str),
                };
                let said = if status_text.is_empty() { String::new() } else { format!(": {status_text}") };
                format!("{name} is {status}{said}")
            }
            ServerFrame::Role { role, .. } => format!("{name} is {} now", role.as_str()),
            _ => return Ok(self.show.json_only(&json)?),
        };
        // One knows about oneself.
        if user == self.me && matches!(event, ServerFrame::Presence { .. }) {
            return Ok(self.show.json_only(&json)?);
        }
        Ok(self.show.note(&format!("{}{text}", self.place_of(room)), &json)?)
    }

    fn left(&mut self, event: &ServerFrame, room: RoomId, user: UserId) -> Result<(), Trouble> {
        let mut json = json!(event);
        json["name"] = self.names.of(user).into();
        if user != self.me {
            let text = format!("{}{} left", self.place_of(room), self.names.of(user));
            return Ok(self.show.note(&text, &json)?);
        }
        if !self.forget(room) {
            return Ok(self.show.json_only(&json)?);
        }
        Ok(self.show.note(&format!("you are no longer in {}", self.room_name(room)), &json)?)
    }

    /// A room is listened to no more. Whether it was before.
    pub(super) fn forget(&mut self, room: RoomId) -> bool {
        let before = self.rooms.len();
        self.rooms.retain(|known| known.id != room);
        self.current = self.current.filter(|current| *current != room);
        self.rooms.len() < before
    }

    fn settings(&mut self, event: &ServerFrame, info: &RoomInfo) -> Result<(), Trouble> {
        let name = names_room(info, &self.names);
        if let Some(room) = self.rooms.iter_mut().find(|room| room.id == info.room) {
            room.name.clone_from(&name);
        }
        let mut text = format!("the room is {name}");
        for (set, says) in [
            (info.read_only, "only moderators write".to_owned()),
            (info.slow_s > 0, format!("a message in {} s", info.slow_s)),
            (info.invited, "by invitation".to_owned()),
        ] {
            if set {
                text.push_str(&format!(", {says}"));
            }
        }
        Ok(self.show.note(&format!("{}{text}", self.place_of(info.room)), &json!(event))?)
    }
}
