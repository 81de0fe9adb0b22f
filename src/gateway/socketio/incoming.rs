//! From an event to a request.

use axum::extract::ws::Utf8Bytes;
use chatlab_kit::wire::{ClientFrame, ErrorCode, RequestId};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use super::packet::{self, Packet};
use crate::{
    gateway::{
        http::shorten,
        live::fields::{self, Refusal},
    },
    service::ServiceError,
};

/// The events that a client may send, and the native requests that they are.
const EVENTS: [(&str, &str); 32] = [
    ("message", "send"),
    ("message:forward", "forward"),
    ("message:update", "edit"),
    ("message:delete", "delete"),
    ("message:pin", "pin"),
    ("message:react", "react"),
    ("message:read", "mark"),
    ("message:typing", "typing"),
    ("chat:pins", "pins"),
    ("chat:create", "create"),
    ("chat:join", "join"),
    ("chat:leave", "leave"),
    ("chat:history", "history"),
    ("chat:search", "search"),
    ("chat:thread", "thread"),
    ("chat:members", "members"),
    ("chat:role", "role"),
    ("chat:remove", "remove"),
    ("chat:unban", "unban"),
    ("chat:add", "add"),
    ("chat:settings", "settings"),
    ("chat:direct", "direct"),
    ("chat:end", "end"),
    ("chat:list", "rooms"),
    ("user:block", "block"),
    ("user:blocks", "blocks"),
    ("user:get-online", "who"),
    ("user:profile", "profile"),
    ("user:status", "set_profile"),
    ("user:friend", "friend"),
    ("user:friends", "friends"),
    ("chat:leaders", "leaders"),
];

/// A request that nobody waits for: its answer is not written.
pub const UNASKED: RequestId = 0;

/// The number of a request, out of the number of its acknowledgement.
fn request_id(ack: Option<u64>) -> RequestId {
    ack.map_or(UNASKED, |ack| ack + 1)
}

/// The number of the acknowledgement that answers a request.
pub fn ack_of(id: RequestId) -> Option<u64> {
    id.checked_sub(1)
}

/// What a packet of a connected client is.
#[derive(Debug)]
pub enum Incoming {
    /// A request, or why it is none.
    Request(Result<Box<ClientFrame>, Refusal>),
    /// Something for another namespace.
    Foreign(String),
}

/// Reads a packet of a client that is connected already.
pub fn incoming(text: &str) -> Incoming {
    let refused = |ack, code, message: &str| {
        Incoming::Request(Err(Refusal { id: Some(request_id(ack)), error: ServiceError::new(code, message) }))
    };
    match packet::parse(text) {
        Ok(Packet::Event(ack, json)) => {
            let id = request_id(ack);
            Incoming::Request(
                request(id, json).map(Box::new).map_err(|error| Refusal { id: Some(id), error }),
            )
        }
        Ok(Packet::Foreign(namespace)) => Incoming::Foreign(namespace.to_owned()),
        Ok(Packet::Connect(_)) => refused(None, ErrorCode::BadState, "connected already"),
        Ok(Packet::Binary(ack)) => refused(ack, ErrorCode::BadFrame, "binary data is not understood"),
        Err(why) => refused(None, ErrorCode::BadFrame, why),
    }
}

/// The request that an event is.
fn request(id: RequestId, json: &str) -> Result<ClientFrame, ServiceError> {
    let bad_frame = |message: &str| ServiceError::new(ErrorCode::BadFrame, message);
    let parts: Vec<&RawValue> =
        serde_json::from_str(json).map_err(|_| bad_frame("an event is a JSON array"))?;
    let (name, arguments) = parts.split_first().ok_or_else(|| bad_frame("an event without a name"))?;
    let name: String =
        serde_json::from_str(name.get()).map_err(|_| bad_frame("an event's name is a string"))?;
    let Some((_, t)) = EVENTS.iter().find(|(event, _)| *event == name) else {
        let message = format!("`{}` is no event that is understood", shorten(&name));
        return Err(ServiceError::new(ErrorCode::UnknownType, message));
    };
    let [argument] = arguments else {
        return Err(ServiceError::invalid(format!("{name}: takes one object")));
    };
    let mut fields: Map<String, Value> = serde_json::from_str(argument.get())
        .map_err(|error| ServiceError::invalid(format!("{name}: {}", shorten(&error.to_string()))))?;
    fields.insert("t".to_owned(), Value::from(*t));
    fields.insert("id".to_owned(), Value::from(id));
    fields::request(&name, fields)
}

/// The token in what a client says when it connects: `{"token":"…"}`.
///
/// # Errors
/// `unauthorized` without one.
pub fn token(auth: &str) -> Result<String, ServiceError> {
    #[derive(Deserialize)]
    struct Auth {
        token: String,
    }
    serde_json::from_str::<Auth>(auth).map(|auth| auth.token).map_err(|_| {
        ServiceError::new(ErrorCode::Unauthorized, "show a token: `auth: { token: … }` when connecting")
    })
}

/// The namespace that a packet of a client that is not connected yet wants into, with what it says about itself.
///
/// # Errors
/// `bad_state` for anything but a connect.
pub fn connect(text: &Utf8Bytes) -> Result<Packet<'_>, ServiceError> {
    match packet::parse(text) {
        Ok(packet @ (Packet::Connect(_) | Packet::Foreign(_))) => Ok(packet),
        Ok(_) => Err(ServiceError::new(ErrorCode::BadState, "connect first")),
        Err(why) => Err(ServiceError::new(ErrorCode::BadFrame, why)),
    }
}

#[cfg(test)]
mod tests {
    use chatlab_kit::ids::RoomId;

    use super::*;

    fn parsed(text: &str) -> Result<ClientFrame, (Option<RequestId>, ErrorCode, String)> {
        match incoming(text) {
            Incoming::Request(request) => {
                request.map(|frame| *frame).map_err(|r| (r.id, r.error.code, r.error.message))
            }
            Incoming::Foreign(namespace) => panic!("foreign: {namespace}"),
        }
    }

    #[test]
    fn events_are_native_requests_by_another_name() {
        let room = RoomId::new();
        let text = format!(r#"423["chat:join",{{"room":"{room}","t":"leave","id":99,"more":[1]}}]"#);
        assert_eq!(parsed(&text), Ok(ClientFrame::Join { id: 4, room, after: None }));
        let text = format!(r#"42["message:typing",{{"room":"{room}","on":true}}]"#);
        assert_eq!(parsed(&text), Ok(ClientFrame::Typing { id: UNASKED, room, on: true }));
        for (event, t) in EVENTS {
            let (_, code, message) = match parsed(&format!(r#"42["{event}",{{}}]"#)) {
                // What needs no more to be said.
                Ok(
                    ClientFrame::Rooms { .. }
                    | ClientFrame::Blocks { .. }
                    | ClientFrame::Profile { .. }
                    | ClientFrame::SetProfile { .. }
                    | ClientFrame::Friends { .. },
                ) => continue,
                other => other.unwrap_err(),
            };
            assert_eq!(code, ErrorCode::Invalid, "{event} is {t}");
            assert!(message.starts_with(event) && message.contains("missing field"), "{message}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_its_code_to_the_acknowledgement() {
        let deep = format!(r#"425["message",{{"room":{}1{}}}]"#, "[".repeat(2000), "]".repeat(2000));
        let cases = [
            ("423", Some(4), ErrorCode::BadFrame),
            ("423{}", Some(4), ErrorCode::BadFrame),
            ("423[]", Some(4), ErrorCode::BadFrame),
            ("423[7,{}]", Some(4), ErrorCode::BadFrame),
            (r#"423["message","#, Some(4), ErrorCode::BadFrame),
            (r#"423["dance",{}]"#, Some(4), ErrorCode::UnknownType),
            (r#"423["message"]"#, Some(4), ErrorCode::Invalid),
            (r#"423["message","text"]"#, Some(4), ErrorCode::Invalid),
            (r#"423["message",{},{}]"#, Some(4), ErrorCode::Invalid),
            (r#"420["chat:join",{"room":"x"}]"#, Some(1), ErrorCode::Invalid),
            (deep.as_str(), Some(6), ErrorCode::Invalid),
            (r#"451-3["message",{}]"#, Some(4), ErrorCode::BadFrame),
            ("40{}", Some(UNASKED), ErrorCode::BadState),
            ("nonsense", Some(UNASKED), ErrorCode::BadFrame),
        ];
        for (text, id, code) in cases {
            let refused = parsed(text).unwrap_err();
            assert_eq!((refused.0, refused.1), (id, code), "{text}: {}", refused.2);
        }
        let (_, _, message) = parsed(r#"420["chat:join",{"room":"x"}]"#).unwrap_err();
        assert!(message.starts_with("chat:join: room: "), "{message}");
    }

    #[test]
    fn a_token_is_asked_for() {
        assert_eq!(token(r#"{"token":"abc"}"#).unwrap(), "abc");
        for bad in ["", "null", "{}", r#"{"token":7}"#, r#""abc""#] {
            assert_eq!(token(bad).unwrap_err().code, ErrorCode::Unauthorized, "{bad}");
        }
    }
}
