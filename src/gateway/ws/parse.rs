//! From a text frame to a request, or to what exactly is wrong with it.

use chatlab_kit::wire::{ClientFrame, ErrorCode};
use serde_json::Value;

use crate::{
    gateway::{
        http::shorten,
        live::fields::{self, Refusal},
    },
    service::ServiceError,
};

/// Every type in `t`.
const TYPES: [&str; 34] = [
    "hello",
    "ping",
    "create",
    "join",
    "leave",
    "send",
    "forward",
    "edit",
    "delete",
    "pin",
    "react",
    "pins",
    "mark",
    "history",
    "search",
    "thread",
    "who",
    "members",
    "role",
    "remove",
    "unban",
    "add",
    "settings",
    "direct",
    "end",
    "rooms",
    "block",
    "blocks",
    "profile",
    "set_profile",
    "friend",
    "friends",
    "leaders",
    "typing",
];

/// Reads a frame. The fast way first; only a frame that fails is looked at twice.
pub fn parse(text: &str) -> Result<ClientFrame, Refusal> {
    serde_json::from_str(text).map_err(|error| diagnose(text, &error))
}

fn diagnose(text: &str, error: &serde_json::Error) -> Refusal {
    let bad_frame =
        |message: &str| Refusal { id: None, error: ServiceError::new(ErrorCode::BadFrame, message) };
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return bad_frame("the frame is not JSON");
    };
    let Value::Object(fields) = value else {
        return bad_frame("the frame is not a JSON object");
    };
    let id = fields.get("id").and_then(Value::as_u64);
    let error = match fields.get("t") {
        Some(Value::String(t)) if TYPES.contains(&t.as_str()) => fields::invalid(t, &fields, error),
        Some(Value::String(t)) => {
            ServiceError::new(ErrorCode::UnknownType, format!("`{}` is no type of frame", shorten(t)))
        }
        _ => ServiceError::new(ErrorCode::BadFrame, "the frame has no type in `t`"),
    };
    Refusal { id, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_known() {
        let schema: Value = serde_json::from_str(include_str!("../../../docs/protocol.schema.json")).unwrap();
        let frames = schema["$defs"]["ClientFrame"]["oneOf"].as_array().unwrap();
        let documented: Vec<_> =
            frames.iter().map(|f| f["properties"]["t"]["const"].as_str().unwrap()).collect();
        assert_eq!(TYPES, documented[..]);
        for t in TYPES {
            let refusal = parse(&format!(r#"{{"t":"{t}","id":"no number"}}"#)).unwrap_err();
            assert_eq!(refusal.error.code, ErrorCode::Invalid, "{t}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_its_code_and_number() {
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        let cases = [
            ("", ErrorCode::BadFrame, None),
            ("{", ErrorCode::BadFrame, None),
            ("[1]", ErrorCode::BadFrame, None),
            (deep.as_str(), ErrorCode::BadFrame, None),
            (r#"{"id":1}"#, ErrorCode::BadFrame, Some(1)),
            (r#"{"t":7,"id":2}"#, ErrorCode::BadFrame, Some(2)),
            (r#"{"t":"dance","id":3}"#, ErrorCode::UnknownType, Some(3)),
            (r#"{"t":"join","id":4,"room":"x"}"#, ErrorCode::Invalid, Some(4)),
            (r#"{"t":"send","id":5}"#, ErrorCode::Invalid, Some(5)),
            (r#"{"t":"ping","id":-1}"#, ErrorCode::Invalid, None),
        ];
        for (text, code, id) in cases {
            let refusal = parse(text).unwrap_err();
            assert_eq!((refusal.error.code, refusal.id), (code, id), "{text}");
        }
        let join = parse(r#"{"t":"join","id":4,"room":"x"}"#).unwrap_err().error.message;
        assert!(join.starts_with("join: room: "), "{join}");
        let send = parse(r#"{"t":"send","id":5}"#).unwrap_err().error.message;
        assert!(send.contains("missing field `room`"), "{send}");
    }
}
