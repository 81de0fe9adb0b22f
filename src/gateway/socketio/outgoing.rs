//! How frames are put for Socket.IO: events, and acknowledgements.
//!
//! A frame begins with its type and, when it answers, the number of the request; the rest is what the event or the
//! acknowledgement carries. So a packet is cut out of the frame's text, not serialised again, and a message's packet is made once
//! for all who listen.

use axum::extract::ws::Message;
use bytes::Bytes;
use chatlab_kit::wire::{ErrorCode, ServerFrame};
use serde_json::json;

use super::{incoming, packet};
use crate::{
    gateway::live::{writer::Dialect, written::Goodbye},
    service::hub::frame::Frame,
};

/// Native frames that are told under another name.
const EVENTS: [(&[u8], &str); 12] = [
    (b"message", "message"),
    (b"presence", "user:status"),
    (b"typing", "message:typing"),
    (b"receipt", "message:read"),
    (b"role", "chat:role"),
    (b"settings", "chat:settings"),
    (b"added", "chat:added"),
    (b"friend", "user:friend"),
    (b"resync", "resync"),
    (b"left", "left"),
    (b"welcome", "welcome"),
    (b"error", "error"),
];
/// Native frames that answer a request.
const ANSWERS: [&[u8]; 14] = [
    b"ok", b"ack", b"page", b"pins", b"marks", b"found", b"who", b"members", b"rooms", b"blocks", b"profile",
    b"friends", b"leaders", b"error",
];

/// The words of Socket.IO.
pub struct SocketIo;

impl Dialect for SocketIo {
    fn text(frame: &Frame) -> Option<Bytes> {
        frame.translated(translate)
    }

    fn ping() -> Message {
        Message::Text(packet::PING.into())
    }

    fn goodbye(goodbye: Goodbye) -> Result<Vec<String>, serde_json::Error> {
        let Goodbye { code, message, resume, known } = goodbye;
        if !known {
            return Ok(vec![refusal(code, &message)]);
        }
        let bye = serde_json::to_vec(&ServerFrame::Bye { code, message, resume })?;
        let mut words = Vec::new();
        if let Some((_, rest)) = split(&bye) {
            words.push(String::from_utf8_lossy(&event("bye", rest)).into_owned());
        }
        // Official clients connect again by themselves unless the server has disconnected them.
        if !code.retryable() {
            words.push(packet::DISCONNECT.to_owned());
        }
        Ok(words)
    }
}

/// Refuses to let a client in: `connect_error` there, with these as its `message` and `data`.
fn refusal(code: ErrorCode, message: &str) -> String {
    let data = json!({ "code": code, "message": message, "retryable": code.retryable() });
    format!("44{}", json!({ "message": message, "data": data }))
}

/// A native frame as a packet; nothing when it answers a request that nobody waits for.
fn translate(text: &[u8]) -> Option<Bytes> {
    let (name, rest) = split(text)?;
    if ANSWERS.contains(&name)
        && let Some((id, rest)) = number(rest)
    {
        match incoming::ack_of(id) {
            Some(ack) => return Some(acknowledgement(ack, name == b"error", rest)),
            None if name != b"error" => return None,
            None => return Some(event("error", rest)),
        }
    }
    let (_, event_name) = EVENTS.iter().find(|(native, _)| *native == name)?;
    Some(event(if name == b"message" { message_event(rest) } else { event_name }, rest))
}

/// What a message is told as: what changes another one has a name of its own. Within a text the quotes would be escaped.
fn message_event(rest: &[u8]) -> &'static str {
    const KIND: &[u8] = br#","kind":""#;
    let Some(at) = rest.windows(KIND.len()).position(|part| part == KIND) else { return "message" };
    let kind = rest[at + KIND.len()..].split(|byte| *byte == b'"').next().unwrap_or_default();
    match kind {
        b"edit" => "message:update",
        b"delete" => "message:delete",
        b"pin" | b"unpin" => "message:pin",
        b"react" | b"unreact" => "message:react",
        _ => "message",
    }
}

/// The type of a frame, and what comes after it: `,"…":…}` or `}`.
fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(br#"{"t":""#)?;
    let end = text.iter().position(|byte| *byte == b'"')?;
    Some((&text[..end], &text[end + 1..]))
}

/// The number of the request that is answered, and what comes after it.
fn number(rest: &[u8]) -> Option<(u64, &[u8])> {
    let rest = rest.strip_prefix(br#","id":"#)?;
    let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    let number = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    Some((number, &rest[end..]))
}

fn event(name: &str, rest: &[u8]) -> Bytes {
    let mut packet = Vec::with_capacity(name.len() + rest.len() + 8);
    packet.extend_from_slice(b"42[\"");
    packet.extend_from_slice(name.as_bytes());
    packet.extend_from_slice(b"\",{");
    packet.extend_from_slice(rest.strip_prefix(b",").unwrap_or(rest));
    packet.push(b']');
    packet.into()
}

fn acknowledgement(ack: u64, is_error: bool, rest: &[u8]) -> Bytes {
    let mut packet = format!("43{ack}[{}{{", if is_error { r#"{"error":"# } else { "" }).into_bytes();
    packet.extend_from_slice(rest.strip_prefix(b",").unwrap_or(rest));
    packet.extend_from_slice(if is_error { b"}]" } else { b"]" });
    packet.into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chatlab_kit::{
        ids::{MessageId, RoomId, UserId},
        message::{Draft, Envelope, Epoch, Message, MessageKind, Position},
        wire::{FriendEntry, Role, Status},
    };
    use serde_json::Value;

    use super::*;
    use crate::service::hub::frame::Mark;

    fn said(frame: &ServerFrame) -> Option<(String, Value)> {
        put(&Frame::new(frame, Mark::None).unwrap())
    }

    /// The digits at the beginning of a packet, and its JSON.
    fn put(frame: &Frame) -> Option<(String, Value)> {
        let text = SocketIo::text(frame)?;
        let text = std::str::from_utf8(&text).unwrap();
        let at = text.find('[').unwrap();
        Some((text[..at].to_owned(), serde_json::from_str(&text[at..]).unwrap()))
    }

    #[test]
    fn a_live_message_is_an_event_made_once_for_all() {
        let draft = Draft {
            room: RoomId::new(),
            id: MessageId::new(),
            from: UserId::new(),
            cid: "c1".parse().unwrap(),
            kind: MessageKind::Text,
            about: None,
            reply_to: None,
            forwarded_from: None,
            body: "hi \"there\" ]".into(),
        };
        let bytes = format!("e1 7 1700 {}", serde_json::to_string(&draft).unwrap());
        let frame = Frame::live(draft.room, &Envelope::parse(bytes.as_bytes()).unwrap()).unwrap();
        let (digits, event) = put(&frame).unwrap();
        assert_eq!((digits.as_str(), &event[0], &event[1]["seq"]), ("42", &json!("message"), &json!(7)));
        assert_eq!((&event[1]["body"], &event[1]["t"]), (&json!(draft.body), &Value::Null));
        let again = SocketIo::text(&frame).unwrap();
        assert_eq!(SocketIo::text(&Arc::clone(&frame)).unwrap().as_ptr(), again.as_ptr(), "one buffer");
    }

    #[test]
    fn a_change_of_a_message_is_an_event_of_its_own() {
        let draft = |kind, about| Draft {
            room: RoomId::new(),
            id: MessageId::new(),
            from: UserId::new(),
            cid: "c1".parse().unwrap(),
            kind,
            about,
            reply_to: None,
            forwarded_from: None,
            body: r#","kind":"delete","#.into(),
        };
        let cases = [
            (MessageKind::Text, None, "message"),
            (MessageKind::Edit, Some(MessageId::new()), "message:update"),
            (MessageKind::Delete, Some(MessageId::new()), "message:delete"),
            (MessageKind::Pin, Some(MessageId::new()), "message:pin"),
            (MessageKind::Unpin, Some(MessageId::new()), "message:pin"),
            (MessageKind::React, Some(MessageId::new()), "message:react"),
            (MessageKind::Unreact, Some(MessageId::new()), "message:react"),
        ];
        for (kind, about, name) in cases {
            let message = Message {
                epoch: Epoch("e".into()),
                seq: 7,
                ts: 1,
                changed: None,
                reactions: Vec::new(),
                draft: draft(kind, about),
            };
            let stored = Frame::stored(message.clone()).unwrap();
            let bytes = format!("e 7 1 {}", serde_json::to_string(&message.draft).unwrap());
            let live = Frame::live(message.draft.room, &Envelope::parse(bytes.as_bytes()).unwrap()).unwrap();
            for frame in [&stored, &live] {
                let (_, event) = put(frame).unwrap();
                assert_eq!((&event[0], &event[1]["about"]), (&json!(name), &json!(about)), "{event}");
            }
        }
    }

    #[test]
    fn answers_go_to_their_acknowledgement_and_to_nobody_without_one() {
        let room = RoomId::new();
        let head = Position { epoch: Epoch("e".into()), seq: 0, id: None };
        let ok = |id| ServerFrame::Ok { id, room, head: Some(head.clone()) };
        let expected = json!([{ "room": room, "head": { "epoch": "e", "seq": 0 } }]);
        assert_eq!(said(&ok(1)), Some(("430".into(), expected.clone())));
        assert_eq!(said(&ok(13)), Some(("4312".into(), expected)));
        assert_eq!(said(&ok(incoming::UNASKED)), None);
    }

    #[test]
    fn errors_go_to_the_acknowledgement_or_become_an_event() {
        let error = |id| ServerFrame::Error {
            id,
            code: ErrorCode::Forbidden,
            message: "no".into(),
            retryable: false,
        };
        let body = json!({ "code": "forbidden", "message": "no", "retryable": false });
        assert_eq!(said(&error(Some(3))), Some(("432".into(), json!([{ "error": body }]))));
        for id in [None, Some(incoming::UNASKED)] {
            assert_eq!(said(&error(id)), Some(("42".into(), json!(["error", body]))), "{id:?}");
        }
    }

    #[test]
    fn notices_have_names_of_their_own() {
        let (room, user) = (RoomId::new(), UserId::new());
        let (status, status_text) = (Some(Status::Busy), "tea".into());
        let presence = ServerFrame::Presence { room, user, online: true, status, status_text };
        let friend = FriendEntry { user, name: "ada".into(), state: None, status: None };
        let cases = [
            (ServerFrame::Friend(friend), "user:friend"),
            (presence, "user:status"),
            (ServerFrame::Typing { room, user, on: true }, "message:typing"),
            (ServerFrame::Receipt { room, user, read: 2, delivered: 3 }, "message:read"),
            (ServerFrame::Role { room, user, role: Role::Admin }, "chat:role"),
            (ServerFrame::Left { room, user }, "left"),
        ];
        for (frame, name) in cases {
            let (digits, event) = said(&frame).unwrap();
            assert_eq!((digits.as_str(), &event[0], &event[1]["user"]), ("42", &json!(name), &json!(user)));
        }
    }

    #[test]
    fn who_may_come_again_is_not_disconnected() {
        let goodbye = |code, known| {
            let words = Goodbye { code, message: "why".into(), resume: Vec::new(), known };
            SocketIo::goodbye(words).unwrap()
        };
        let bye = |code: &str| format!(r#"42["bye",{{"code":"{code}","message":"why","resume":[]}}]"#);
        assert_eq!(goodbye(ErrorCode::GoingAway, true), [bye("going_away")]);
        assert_eq!(goodbye(ErrorCode::SessionRevoked, true), [bye("session_revoked"), "41".into()]);
        let refused = &goodbye(ErrorCode::Unauthorized, false)[0];
        let refused: Value = serde_json::from_str(refused.strip_prefix("44").unwrap()).unwrap();
        let data = json!({ "code": "unauthorized", "message": "why", "retryable": false });
        assert_eq!(refused, json!({ "message": "why", "data": data }));
    }
}
