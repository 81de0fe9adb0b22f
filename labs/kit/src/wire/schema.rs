//! The protocol for machines: JSON Schema 2020-12, generated from the types of the frames.
//!
//! `docs/protocol.schema.json` is [`text`]; a test compares the two. What JSON Schema has no word for begins with `x-`: bytes of
//! UTF-8 (`x-max-bytes`), what a code means for a retry, a close and HTTP, and the bounds that no single field has.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    ARCHIVED_WAIT_MS, ClientFrame, ErrorCode, HELLO_TIMEOUT_MS, MAX_FRAME_BYTES, MAX_LEVEL_WAITS,
    MAX_ROOMS_PER_CONN, REPLICA_WAIT_MS, SUBPROTOCOL, ServerFrame, TYPING_TTL_MS, VERSION,
};
use crate::message::{MAX_BODY_BYTES, MAX_PAGE};

/// The schema: any frame of version 1; `$defs/ClientFrame` and `$defs/ServerFrame` are those of one side.
pub fn document() -> Value {
    let mut defs = Map::new();
    // What the server takes may leave out what has a default; what it writes has it.
    define::<ClientFrame>(SchemaSettings::draft2020_12().for_deserialize(), &mut defs);
    define::<ServerFrame>(SchemaSettings::draft2020_12().for_serialize(), &mut defs);
    define::<ErrorCode>(SchemaSettings::draft2020_12().for_serialize(), &mut defs);
    if let Some(codes) = defs.get_mut("ErrorCode").and_then(|codes| codes["oneOf"].as_array_mut()) {
        codes.iter_mut().for_each(explain_code);
    }
    let mut document = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("chatlab WebSocket protocol, version {VERSION}"),
        "description": "One JSON object a text frame, its type in `t`. Fields that are not described here are to be ignored.",
        "anyOf": [{ "$ref": "#/$defs/ClientFrame" }, { "$ref": "#/$defs/ServerFrame" }],
        "x-version": VERSION,
        "x-subprotocol": SUBPROTOCOL,
        "x-limits": {
            "max_frame_bytes": MAX_FRAME_BYTES,
            "max_body_bytes": MAX_BODY_BYTES,
            "max_page": MAX_PAGE,
            "max_rooms_per_connection": MAX_ROOMS_PER_CONN,
            "max_level_waits_per_connection": MAX_LEVEL_WAITS,
            "hello_timeout_ms": HELLO_TIMEOUT_MS,
            "replica_wait_ms": REPLICA_WAIT_MS,
            "archived_wait_ms": ARCHIVED_WAIT_MS,
            "typing_ttl_ms": TYPING_TTL_MS,
        },
        "$defs": defs,
    });
    tidy(&mut document);
    document
}

/// [`document`], as the file has it.
pub fn text() -> String {
    format!("{:#}\n", document())
}

/// Adds a type and all that it is made of.
fn define<T: JsonSchema>(settings: SchemaSettings, defs: &mut Map<String, Value>) {
    let mut generator = settings.into_generator();
    generator.subschema_for::<T>();
    defs.extend(generator.take_definitions(true));
}

fn explain_code(code: &mut Value) {
    let found = serde_json::from_value::<ErrorCode>(code["const"].clone());
    if let (Ok(found), Some(fields)) = (found, code.as_object_mut()) {
        fields.insert("x-retryable".into(), found.retryable().into());
        fields.insert("x-close".into(), found.close_code().into());
        fields.insert("x-http".into(), found.http_status().into());
    }
}

/// A field without a value is left out, by both sides: nothing is `null`, though the server takes it for left out. And a
/// description is one line.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(all) => all.iter_mut().for_each(tidy),
        Value::Object(fields) => {
            if let Some(Value::String(text)) = fields.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            if fields.get("default") == Some(&Value::Null) {
                fields.remove("default");
            }
            if let Some(Value::Array(types)) = fields.get_mut("type") {
                types.retain(|one| one != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    fields.insert("type".into(), only);
                }
            }
            let null = json!({ "type": "null" });
            if let Some(Value::Array(any)) = fields.get_mut("anyOf")
                && any.contains(&null)
            {
                any.retain(|one| *one != null);
                if let [Value::Object(only)] = any.as_slice() {
                    let only = only.clone();
                    fields.remove("anyOf");
                    fields.extend(only);
                }
            }
            fields.values_mut().for_each(tidy);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The types of one side's frames.
    fn types(document: &Value, side: &str) -> Vec<String> {
        let branches = document["$defs"][side]["oneOf"].as_array().unwrap();
        branches.iter().map(|frame| frame["properties"]["t"]["const"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_published_schema_is_the_generated_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.schema.json");
        if std::env::var_os("CHATLAB_BLESS").is_some() {
            std::fs::write(path, text()).unwrap();
        }
        let published: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(
            published == document(),
            "docs/protocol.schema.json is out of date: run this test with CHATLAB_BLESS=1"
        );
    }

    #[test]
    fn every_frame_of_both_sides_is_described() {
        let document = document();
        assert_eq!(
            types(&document, "ClientFrame"),
            [
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
                "typing"
            ]
        );
        assert_eq!(
            types(&document, "ServerFrame"),
            [
                "welcome", "pong", "ok", "ack", "page", "pins", "found", "rooms", "blocks", "profile",
                "friends", "leaders", "marks", "message", "resync", "left", "presence", "typing", "receipt",
                "who", "members", "role", "settings", "added", "friend", "error", "bye"
            ]
        );
    }

    #[test]
    fn every_code_says_what_it_means_for_a_retry() {
        let document = document();
        let codes = document["$defs"]["ErrorCode"]["oneOf"].as_array().unwrap();
        assert_eq!(codes.len(), ErrorCode::ALL.len());
        for (described, code) in codes.iter().zip(ErrorCode::ALL) {
            assert_eq!(described["const"], serde_json::to_value(code).unwrap());
            assert_eq!(described["x-retryable"], code.retryable());
            assert!(described["description"].is_string() && described["x-close"].is_u64(), "{described}");
        }
    }

    #[test]
    fn nothing_is_null_and_every_reference_leads_somewhere() {
        fn look(document: &Value, at: &Value) {
            match at {
                Value::Array(all) => all.iter().for_each(|one| look(document, one)),
                Value::Object(fields) => {
                    assert!(fields.get("type") != Some(&"null".into()), "{at}");
                    if let Some(Value::String(to)) = fields.get("$ref") {
                        assert!(document.pointer(to.trim_start_matches('#')).is_some(), "{to}");
                    }
                    fields.values().for_each(|one| look(document, one));
                }
                _ => {}
            }
        }
        let document = document();
        look(&document, &document);
        assert!(!text().contains("[`"), "a link of rustdoc is no text for others");
    }
}
