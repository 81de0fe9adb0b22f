//! What good clients send: the beginning of every mutation.

use chatlab_kit::{
    ids::{ClientMsgId, MessageId, RoomId, UserId},
    message::{Epoch, MessageKind, Position},
    wire::{AckLevel, ClientFrame, FriendAct, MarkRoom, RequestId, Role, Status, VERSION},
};
use serde_json::{Value, json};
use uuid::Uuid;

/// Stands in a case for an access token that the server takes.
pub(super) const TOKEN: &str = "@TOKEN@";
/// Stands in a case for a room that there is. A UUID itself, so that frames can be made of it.
pub(super) const ROOM: &str = "fafafafa-0000-4000-8000-000000000001";
/// Stands in a case for the session id that Engine.IO gave.
pub(super) const SID: &str = "@SID@";

fn room() -> RoomId {
    ROOM.parse().unwrap_or_default()
}

/// Every kind of frame, with all its fields and without those that may be left out.
pub(super) fn client_frames() -> Vec<Value> {
    let (id, room) = (7, room());
    let uuid = Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001);
    let after = Position { epoch: Epoch(uuid.to_string()), seq: 3, id: Some(MessageId(uuid)) };
    // `c-1` is a name; a test counts the kinds.
    let (msg, body) = (MessageId(uuid), String::from("hello there"));
    let (kind, level, user) = (MessageKind::Text, AckLevel::Replica, UserId(uuid));
    let stored = "c-1".parse::<ClientMsgId>().ok().map(|cid| {
        [
            ClientFrame::Send {
                id,
                room,
                cid: cid.clone(),
                kind,
                body: body.clone(),
                reply_to: Some(msg),
                level,
            },
            ClientFrame::Forward { id, room, cid: cid.clone(), from: room, msg, level },
            ClientFrame::Edit { id, room, cid: cid.clone(), msg, body, level },
            ClientFrame::Delete { id, room, cid: cid.clone(), msg, level },
            ClientFrame::Pin { id, room, cid: cid.clone(), msg, on: true, level },
            ClientFrame::React { id, room, cid, msg, emoji: "👍".into(), on: true, level },
        ]
    });
    let frames = [
        hello(),
        ClientFrame::Ping { id },
        ClientFrame::Create { id, name: "Tea".into() },
        ClientFrame::Join { id, room, after: None },
        ClientFrame::Join { id, room, after: Some(after) },
        ClientFrame::History { id, room, before: Some(9), limit: Some(5) },
        ClientFrame::History { id, room, before: None, limit: None },
        ClientFrame::Who { id, room, start_after: Some(user), limit: Some(5) },
        ClientFrame::Pins { id, room },
        ClientFrame::Mark { id, rooms: vec![MarkRoom { room, read: Some(3), delivered: Some(5) }] },
        ClientFrame::Mark { id, rooms: vec![MarkRoom { room, read: None, delivered: None }; 3] },
        ClientFrame::Members { id, room, start_after: Some(user), limit: Some(5) },
        ClientFrame::Role { id, room, user, role: Role::Moderator },
        ClientFrame::Remove { id, room, user, ban: true },
        ClientFrame::Unban { id, room, user },
        ClientFrame::Add { id, room, user },
        ClientFrame::Settings {
            id,
            room,
            name: Some("Chai".into()),
            read_only: Some(false),
            slow_s: Some(0),
            invited: Some(false),
        },
        ClientFrame::Settings { id, room, name: None, read_only: None, slow_s: None, invited: None },
        ClientFrame::Search { id, room, query: "hello th".into(), cursor: Some(9), limit: Some(5) },
        ClientFrame::Thread { id, room, msg, cursor: Some(3), limit: Some(5) },
        ClientFrame::Direct { id, user, for_s: Some(60) },
        ClientFrame::End { id, room },
        ClientFrame::Rooms { id, start_after: Some(room), limit: Some(5) },
        ClientFrame::Block { id, user, on: true },
        ClientFrame::Blocks { id },
        ClientFrame::Typing { id, room, on: true },
        ClientFrame::Leave { id, room },
    ];
    let people = of_people(id, room, user);
    let frames = frames.iter().chain(&people).chain(stored.iter().flatten());
    frames.filter_map(|frame| serde_json::to_value(frame).ok()).collect()
}

/// Those about users.
fn of_people(id: RequestId, room: RoomId, user: UserId) -> [ClientFrame; 6] {
    [
        ClientFrame::Profile { id, user: Some(user) },
        ClientFrame::Profile { id, user: None },
        ClientFrame::SetProfile {
            id,
            about: Some("a\nb".into()),
            status: Some(Status::Invisible),
            status_text: Some("tea".into()),
        },
        ClientFrame::Friend { id, user, act: FriendAct::Request },
        ClientFrame::Friends { id },
        ClientFrame::Leaders { id, room, days: Some(7), limit: Some(5) },
    ]
}

pub(super) fn hello() -> ClientFrame {
    ClientFrame::Hello { v: VERSION, token: TOKEN.into() }
}

/// What a Socket.IO client's events carry, by the names of the endpoint.
pub(super) fn events() -> Vec<Value> {
    vec![
        json!(["message", { "room": ROOM, "cid": "c-1", "body": "hello there" }]),
        json!(["message:update", { "room": ROOM, "cid": "c-2", "msg": ROOM, "body": "other" }]),
        json!(["message:delete", { "room": ROOM, "cid": "c-3", "msg": ROOM }]),
        json!(["message:pin", { "room": ROOM, "cid": "c-4", "msg": ROOM, "on": true }]),
        json!(["message:react", { "room": ROOM, "cid": "c-5", "msg": ROOM, "emoji": "👍", "on": false }]),
        json!(["message:read", { "rooms": [{ "room": ROOM, "read": 3 }, { "room": ROOM }] }]),
        json!(["chat:pins", { "room": ROOM }]),
        json!(["message:typing", { "room": ROOM, "on": true }]),
        json!(["chat:create", { "name": "Tea" }]),
        json!(["chat:join", { "room": ROOM }]),
        json!(["chat:join", { "room": ROOM, "after": { "epoch": ROOM, "seq": 3, "id": ROOM } }]),
        json!(["chat:leave", { "room": ROOM }]),
        json!(["chat:history", { "room": ROOM, "before": 9, "limit": 5 }]),
        json!(["chat:members", { "room": ROOM, "start_after": ROOM, "limit": 5 }]),
        json!(["chat:role", { "room": ROOM, "user": ROOM, "role": "admin" }]),
        json!(["chat:remove", { "room": ROOM, "user": ROOM, "ban": true }]),
        json!(["chat:unban", { "room": ROOM, "user": ROOM }]),
        json!(["chat:add", { "room": ROOM, "user": ROOM }]),
        json!(["chat:settings", { "room": ROOM, "name": "Chai", "slow_s": 5, "read_only": true, "invited": true }]),
        json!(["chat:search", { "room": ROOM, "query": "hello \"th", "cursor": 9, "limit": 5 }]),
        json!(["chat:thread", { "room": ROOM, "msg": ROOM, "cursor": 3, "limit": 5 }]),
        json!(["chat:direct", { "user": ROOM, "for_s": 60 }]),
        json!(["chat:end", { "room": ROOM }]),
        json!(["chat:list", { "start_after": ROOM, "limit": 5 }]),
        json!(["user:block", { "user": ROOM, "on": true }]),
        json!(["user:blocks", {}]),
        json!(["message:forward", { "room": ROOM, "cid": "c-6", "from": ROOM, "msg": ROOM }]),
        json!(["user:get-online", { "room": ROOM, "start_after": ROOM, "limit": 5 }]),
        json!(["user:profile", { "user": ROOM }]),
        json!(["user:status", { "status": "away", "status_text": "tea", "about": "a" }]),
        json!(["user:friend", { "user": ROOM, "act": "accept" }]),
        json!(["user:friends", {}]),
        json!(["chat:leaders", { "room": ROOM, "days": 7, "limit": 5 }]),
        // What there is not.
        json!(["message", ROOM, "hello there", 3, null, [1, 2]]),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A new kind of frame is told here by the compiler, and belongs into [`client_frames`].
    fn name(frame: &ClientFrame) -> &'static str {
        match frame {
            ClientFrame::Hello { .. } => "hello",
            ClientFrame::Ping { .. } => "ping",
            ClientFrame::Create { .. } => "create",
            ClientFrame::Join { .. } => "join",
            ClientFrame::Leave { .. } => "leave",
            ClientFrame::Send { .. } => "send",
            ClientFrame::Forward { .. } => "forward",
            ClientFrame::Edit { .. } => "edit",
            ClientFrame::Delete { .. } => "delete",
            ClientFrame::Pin { .. } => "pin",
            ClientFrame::React { .. } => "react",
            ClientFrame::Pins { .. } => "pins",
            ClientFrame::Mark { .. } => "mark",
            ClientFrame::History { .. } => "history",
            ClientFrame::Who { .. } => "who",
            ClientFrame::Members { .. } => "members",
            ClientFrame::Role { .. } => "role",
            ClientFrame::Remove { .. } => "remove",
            ClientFrame::Unban { .. } => "unban",
            ClientFrame::Search { .. } => "search",
            ClientFrame::Thread { .. } => "thread",
            ClientFrame::Add { .. } => "add",
            ClientFrame::Settings { .. } => "settings",
            ClientFrame::Direct { .. } => "direct",
            ClientFrame::End { .. } => "end",
            ClientFrame::Rooms { .. } => "rooms",
            ClientFrame::Block { .. } => "block",
            ClientFrame::Blocks { .. } => "blocks",
            ClientFrame::Profile { .. } => "profile",
            ClientFrame::SetProfile { .. } => "set_profile",
            ClientFrame::Friend { .. } => "friend",
            ClientFrame::Friends { .. } => "friends",
            ClientFrame::Leaders { .. } => "leaders",
            ClientFrame::Typing { .. } => "typing",
        }
    }

    #[test]
    fn every_kind_of_frame_is_in_the_corpus_and_valid() {
        let frames: Vec<ClientFrame> =
            client_frames().into_iter().map(|value| serde_json::from_value(value).unwrap()).collect();
        let names: BTreeSet<_> = frames.iter().map(name).collect();
        assert_eq!(names.len(), 34, "{names:?}");
    }
}
