//! Rooms, users and messages by what people call them.

use chatlab_kit::{
    ids::{MessageId, RoomId, UserId},
    message::Seq,
    wire::{MAX_ROOMS_PAGE, MAX_WHO, RoomInfo, RoomKind},
};
use uuid::Uuid;

use super::{
    names::Names,
    session::{Session, Trouble},
};

/// The pages of one's rooms that are looked through.
const ROOM_PAGES_MAX: usize = 10;
/// The direct chats whose other end is asked for, when rooms are listed.
const PARTNERS_MAX: usize = 50;
/// The rooms whose members are looked through for a name.
const ROOMS_SEARCHED_MAX: usize = 20;
/// The pages of a room's members that are looked through.
pub(super) const MEMBER_PAGES_MAX: usize = 10;
/// The rooms of the same name that an error lists.
const SAME_NAMED_MAX: usize = 5;

/// What a room is called: a direct chat by the other one.
pub(super) fn names_room(info: &RoomInfo, names: &Names) -> String {
    match info.with.filter(|_| info.kind == RoomKind::Direct) {
        Some(with) => format!("@{}", names.of(with)),
        None => info.name.clone(),
    }
}

impl Session {
    /// The rooms that one is in.
    pub(super) async fn all_rooms(&mut self) -> Result<Vec<RoomInfo>, Trouble> {
        let (mut all, mut after) = (Vec::new(), None);
        for _ in 0..ROOM_PAGES_MAX {
            let (rooms, next) = self.client.rooms(after, Some(MAX_ROOMS_PAGE as u32)).await?;
            all.extend(rooms);
            after = next;
            if after.is_none() {
                break;
            }
        }
        let direct = all.iter().filter_map(|room| Some((room.room, room.with?)));
        for (room, with) in direct.take(PARTNERS_MAX) {
            self.names.learn(&mut self.client, room, with).await;
        }
        Ok(all)
    }

    /// What is known of a room of one's own.
    pub(super) async fn info(&mut self, room: RoomId) -> Result<Option<RoomInfo>, Trouble> {
        // Pages are in the order of ids: the first one after the id before is the one.
        let before = room.0.as_u128().checked_sub(1).map(|before| RoomId(Uuid::from_u128(before)));
        let (rooms, _) = self.client.rooms(before, Some(1)).await?;
        let found = rooms.into_iter().find(|found| found.room == room);
        if let Some(with) = found.as_ref().and_then(|info| info.with) {
            self.names.learn(&mut self.client, room, with).await;
        }
        Ok(found)
    }

    /// A room by its id, or one's own by its name; a direct chat by `@` and the other's.
    pub(super) async fn room(&mut self, named: &str) -> Result<RoomId, Trouble> {
        if let Ok(room) = named.parse() {
            return Ok(room);
        }
        let all = self.all_rooms().await?;
        let called: Vec<(RoomId, String)> =
            all.iter().map(|info| (info.room, names_room(info, &self.names))).collect();
        let mut found: Vec<RoomId> =
            called.iter().filter(|(_, name)| name == named).map(|(room, _)| *room).collect();
        if found.is_empty() {
            let named = named.to_lowercase();
            found = called.iter().filter(|(_, name)| name.to_lowercase() == named).map(|(r, _)| *r).collect();
        }
        match found.as_slice() {
            [room] => Ok(*room),
            [] => Err(Trouble::Line(format!(
                "you are in no room called {named}: /rooms lists yours; others are joined by their id"
            ))),
            several => {
                let ids: Vec<String> = several.iter().take(SAME_NAMED_MAX).map(ToString::to_string).collect();
                Err(Trouble::Line(format!(
                    "{} rooms of yours are called {named}: name one by its id, such as {}",
                    several.len(),
                    ids.join(" ")
                )))
            }
        }
    }

    /// A user by id, or by name if they are in a room of one's own.
    pub(super) async fn user(&mut self, named: &str) -> Result<UserId, Trouble> {
        if let Ok(user) = named.parse() {
            return Ok(user);
        }
        let named = named.trim_start_matches('@');
        if let Some(user) = self.names.whose(named) {
            return Ok(user);
        }
        for room in self.all_rooms().await?.into_iter().take(ROOMS_SEARCHED_MAX) {
            let mut after = None;
            for _ in 0..MEMBER_PAGES_MAX {
                let (members, next) = self.client.members(room.room, after, Some(MAX_WHO as u32)).await?;
                self.names.keep_all(&members);
                if let Some(member) = members.iter().find(|member| member.name.eq_ignore_ascii_case(named)) {
                    return Ok(member.user);
                }
                after = next;
                if after.is_none() {
                    break;
                }
            }
        }
        Err(Trouble::Line(format!(
            "nobody in your rooms is called {named}: name them by their id, which they see in /members"
        )))
    }

    /// The room that one talks in.
    pub(super) fn here(&self) -> Result<RoomId, Trouble> {
        self.current.ok_or_else(|| {
            Trouble::Line(
                "you are in no room: /rooms lists yours, /join ROOM talks in one, /create NAME makes one"
                    .into(),
            )
        })
    }

    /// A message of the room by its number.
    pub(super) async fn message(&mut self, room: RoomId, seq: Seq) -> Result<MessageId, Trouble> {
        let page = self.client.history(room, Some(seq.saturating_add(1)), Some(1)).await?;
        let found = page.messages.iter().find(|message| message.seq == seq);
        found.map(|message| message.draft.id).ok_or_else(|| {
            Trouble::Line(format!("there is no message {seq} here: /history shows the numbers"))
        })
    }
}
