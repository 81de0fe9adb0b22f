//! Doing what a line says.

use chatlab_kit::{
    ids::{RoomId, UserId},
    message::{MAX_BODY_BYTES, Message, Seq},
    wire::{MAX_FRAME_BYTES, MAX_WHO, MemberEntry, RoomKind},
};
use chatlab_load::client::ClientError;
use serde_json::{Value, json};

use super::{
    commands::{About, COMMANDS, Command, parse},
    find::{MEMBER_PAGES_MAX, names_room},
    input::{LINE_BYTES_MAX, Line},
    session::{Session, Trouble},
};

/// What a frame has besides the text, in bytes; generously.
const FRAME_REST_BYTES: usize = 1_024;
/// The messages that `/search` shows.
const FOUND_MAX: u32 = 20;
/// The width of a command in `/help`.
const COMMAND_WIDTH: usize = 18;

impl Session {
    /// Does what a line says; safe to repeat with the same `cid`. Whether it was the last line.
    pub(super) async fn act(&mut self, line: &Line, cid: &str) -> Result<bool, Trouble> {
        let Line::Typed(line) = line else {
            return Err(Trouble::Line(format!("a line has {LINE_BYTES_MAX} bytes at the most")));
        };
        match parse(line).map_err(Trouble::Line)? {
            Command::Nothing => {}
            Command::Quit => return Ok(true),
            Command::Help => self.help()?,
            Command::Say(text) => self.say(&text, cid).await?,
            Command::Rooms => self.list_rooms().await?,
            Command::Join(named) => {
                let room = self.room(&named).await?;
                self.join(room).await?;
            }
            Command::Create(name) => self.create(&name).await?,
            Command::Direct(named) => {
                let user = self.user(&named).await?;
                let room = self.client.direct(user, None).await?;
                self.talk_in(room).await?;
            }
            Command::Who => self.who().await?,
            Command::Members => self.members().await?,
            Command::History(count) => {
                let here = self.here()?;
                let page = self.client.history(here, None, Some(count)).await?;
                self.page("page", page.messages, "nothing was said here yet").await?;
            }
            Command::Pins => {
                let here = self.here()?;
                let pinned = self.client.pins(here).await?;
                self.page("pins", pinned, "nothing is pinned here").await?;
            }
            Command::Search(words) => {
                let here = self.here()?;
                let found = self.client.search(here, &words, (None, Some(FOUND_MAX))).await?;
                self.page("found", found.messages, "nothing was found; what was just said may come later")
                    .await?;
            }
            Command::About(seq, what) => self.about(seq, what, cid).await?,
            Command::Leaders(days) => self.leaders(days).await?,
            Command::Profile(named) => self.profile(&named).await?,
            Command::Status(status, text) => self.status(status, text).await?,
            Command::AboutOneself(about) => self.about_oneself(about).await?,
            Command::Friends => self.friends().await?,
            Command::Friend(act, named) => self.friend(act, &named).await?,
            Command::Leave => {
                let here = self.here()?;
                let name = self.room_name(here);
                self.client.leave(here).await?;
                self.forget(here);
                let json = json!({ "t": "left", "room": here, "user": self.me });
                self.show.note(&format!("you left {name}"), &json)?;
            }
        }
        Ok(false)
    }

    async fn say(&mut self, text: &str, cid: &str) -> Result<(), Trouble> {
        let room = self.here()?;
        check(text)?;
        let ack = self.client.send(room, cid, text).await?;
        self.acknowledged(&ack);
        Ok(())
    }

    fn acknowledged(&mut self, ack: &chatlab_load::client::Ack) {
        if self.current == Some(ack.room) {
            self.said = Some(ack.seq);
        }
    }

    async fn about(&mut self, seq: Seq, what: About, cid: &str) -> Result<(), Trouble> {
        let room = self.here()?;
        if let About::Reply(text) | About::Edit(text) = &what {
            check(text)?;
        }
        let message = self.message(room, seq).await?;
        let client = &mut self.client;
        let ack = match what {
            About::Reply(text) => client.reply(room, cid, message, &text).await?,
            About::Edit(text) => client.edit(room, cid, message, &text).await?,
            About::Delete => client.delete(room, cid, message).await?,
            About::React(emoji, on) => client.react(room, cid, message, (&emoji, on)).await?,
            About::Pin(on) => client.pin(room, cid, message, on).await?,
        };
        self.acknowledged(&ack);
        Ok(())
    }

    async fn create(&mut self, name: &str) -> Result<(), Trouble> {
        let made = self.client.create(name).await;
        let room = match made {
            Ok(room) => room,
            Err(error @ (ClientError::Refused { .. } | ClientError::Id(_))) => return Err(error.into()),
            // Made again, there might be two.
            Err(_) => {
                return Err(Trouble::Line(
                    "the connection was lost: /rooms shows whether the room was made".to_owned(),
                ));
            }
        };
        self.talk_in(room).await?;
        Ok(self
            .show
            .note(&format!("others join it with /join {room}"), &json!({ "t": "made", "room": room }))?)
    }

    fn help(&self) -> Result<(), Trouble> {
        let lines = COMMANDS.iter().map(|(name, arguments, what)| {
            let command = format!("/{name} {arguments}");
            (format!("{command:<COMMAND_WIDTH$}"), (*what).to_owned())
        });
        let json = COMMANDS.map(|(name, arguments, what)| {
            json!({ "command": format!("/{name}"), "arguments": arguments, "what": what })
        });
        Ok(self.show.list(&lines.collect::<Vec<_>>(), &json!({ "t": "help", "commands": json }))?)
    }

    async fn list_rooms(&mut self) -> Result<(), Trouble> {
        let (mut lines, mut documents) = (Vec::new(), Vec::new());
        for room in self.all_rooms().await? {
            let name = names_room(&room, &self.names);
            let here = if self.current == Some(room.room) { "> " } else { "  " };
            let kind = if room.kind == RoomKind::Direct { ", direct" } else { "" };
            lines.push((format!("{here}{} ", room.room), format!("{name}{kind}")));
            let mut json = json!(room);
            json["called"] = name.into();
            documents.push(json);
        }
        if lines.is_empty() {
            lines.push((String::new(), "you are in no room: /create NAME makes one".to_owned()));
        }
        Ok(self.show.list(&lines, &json!({ "t": "rooms", "rooms": documents }))?)
    }

    /// The members of the room, the first pages of them; and whether there are more.
    async fn roster(&mut self, room: RoomId) -> Result<(Vec<MemberEntry>, bool), Trouble> {
        let (mut all, mut after) = (Vec::new(), None);
        for _ in 0..MEMBER_PAGES_MAX {
            let (members, next) = self.client.members(room, after, Some(MAX_WHO as u32)).await?;
            self.names.keep_all(&members);
            all.extend(members);
            after = next;
            if after.is_none() {
                break;
            }
        }
        Ok((all, after.is_some()))
    }

    async fn members(&mut self) -> Result<(), Trouble> {
        let here = self.here()?;
        let (members, more) = self.roster(here).await?;
        let line = |member: &MemberEntry| {
            (format!("  {} ", member.user), format!("{}, {}", member.name, member.role.as_str()))
        };
        let mut lines: Vec<_> = members.iter().map(line).collect();
        if more {
            lines.push((String::new(), "and more".to_owned()));
        }
        Ok(self.show.list(&lines, &json!({ "t": "members", "members": members, "more": more }))?)
    }

    async fn who(&mut self) -> Result<(), Trouble> {
        let here = self.here()?;
        let (mut online, mut after): (Vec<UserId>, _) = (Vec::new(), None);
        for _ in 0..MEMBER_PAGES_MAX {
            let page = self.client.who(here, after, Some(MAX_WHO as u32)).await?;
            online.extend(page.online);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let mut names = Vec::new();
        for user in online {
            self.names.learn(&mut self.client, here, user).await;
            names.push(self.names.of(user));
        }
        let more = if after.is_some() { ", and more" } else { "" };
        let text = format!("online: {}{more}", names.join(", "));
        let json = json!({ "t": "who", "online": names, "more": after.is_some() });
        Ok(self.show.list(&[(String::new(), text)], &json)?)
    }

    /// Shows messages that were asked for.
    pub(super) async fn page(&mut self, t: &str, messages: Vec<Message>, none: &str) -> Result<(), Trouble> {
        let (mut lines, mut documents): (Vec<(String, String)>, Vec<Value>) = (Vec::new(), Vec::new());
        for message in &messages {
            self.know(message).await;
        }
        for message in &messages {
            let (first, text, _) = self.words_of(message);
            lines.push((first, text));
            documents.push(self.json_of(message));
        }
        if lines.is_empty() {
            lines.push((String::new(), none.to_owned()));
        }
        Ok(self.show.list(&lines, &json!({ "t": t, "messages": documents }))?)
    }
}

/// What the server would refuse, or close the connection for.
fn check(text: &str) -> Result<(), Trouble> {
    let in_frame = json!(text).to_string().len();
    if text.len() > MAX_BODY_BYTES || in_frame > MAX_FRAME_BYTES - FRAME_REST_BYTES {
        let why = format!(
            "a message has {MAX_BODY_BYTES} bytes at the most (this one: {}), and fits in a frame: make it shorter",
            text.len()
        );
        return Err(Trouble::Line(why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_the_connection_by_its_length() {
        assert!(check(&"x".repeat(MAX_BODY_BYTES)).is_ok());
        for long in ["x".repeat(MAX_BODY_BYTES + 1), "\u{1}".repeat(MAX_BODY_BYTES)] {
            assert!(matches!(check(&long), Err(Trouble::Line(_))));
        }
    }
}
