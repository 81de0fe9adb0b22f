//! A request as a call of the REST API.

use std::fmt::Write as _;

use chatlab_load::http::HttpClient;
use serde_json::{Map, Value, json};

/// How a request is called: the method, the path, the body, the key.
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    pub method: &'static str,
    /// As the description has it, with names in braces.
    pub route: &'static str,
    path: String,
    body: Option<Value>,
    key: Option<String>,
}

/// Some fields of a frame, those that there are.
fn some(frame: &Value, names: &[&str]) -> Value {
    let there = names.iter().filter_map(|name| Some(((*name).to_owned(), frame.get(*name)?.clone())));
    Value::Object(there.collect::<Map<_, _>>())
}

/// Text as a part of a URL.
pub fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte.into());
        } else {
            write!(out, "%{byte:02X}").unwrap();
        }
        out
    })
}

/// Some fields of a frame as a query.
fn query(frame: &Value, names: &[&str]) -> String {
    let pairs = names.iter().filter_map(|name| {
        let value = frame.get(*name)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Some(format!("{name}={}", encoded(&text)))
    });
    let pairs: Vec<String> = pairs.collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

/// By which route a frame is said, and what its body is.
fn route(frame: &Value) -> (&'static str, &'static str, Option<Value>) {
    const ROOM: &str = "/v1/rooms/{room}";
    const MEMBER: &str = "/v1/rooms/{room}/members/{user}";
    const BAN: &str = "/v1/rooms/{room}/bans/{user}";
    const MESSAGE: &str = "/v1/rooms/{room}/messages/{msg}";
    const PIN: &str = "/v1/rooms/{room}/messages/{msg}/pin";
    const REACTION: &str = "/v1/rooms/{room}/messages/{msg}/reactions/{emoji}";
    const TYPING: &str = "/v1/rooms/{room}/typing";
    const BLOCK: &str = "/v1/blocks/{user}";
    let body = |names: &[&str]| Some(some(frame, names));
    let put_or_delete = if frame["on"] == false { "DELETE" } else { "PUT" };
    match frame["t"].as_str().unwrap() {
        "create" => ("POST", "/v1/rooms", body(&["name"])),
        "rooms" => ("GET", "/v1/rooms", None),
        "direct" => ("POST", "/v1/direct", body(&["user", "for_s"])),
        "settings" => ("PATCH", ROOM, body(&["name", "read_only", "slow_s", "invited"])),
        "end" => ("DELETE", ROOM, None),
        "join" => ("POST", "/v1/rooms/{room}/join", None),
        "leave" => ("POST", "/v1/rooms/{room}/leave", None),
        "members" => ("GET", "/v1/rooms/{room}/members", None),
        "who" => ("GET", "/v1/rooms/{room}/online", None),
        "add" => ("PUT", MEMBER, None),
        "role" => ("PATCH", MEMBER, body(&["role"])),
        "remove" if frame["ban"] == true => ("PUT", BAN, None),
        "remove" => ("DELETE", MEMBER, None),
        "unban" => ("DELETE", BAN, None),
        "typing" => (put_or_delete, TYPING, None),
        "history" => ("GET", "/v1/rooms/{room}/messages", None),
        "send" => ("POST", "/v1/rooms/{room}/messages", body(&["body", "reply_to", "level"])),
        "forward" => ("POST", "/v1/rooms/{room}/forwards", body(&["from", "msg", "level"])),
        "pins" => ("GET", "/v1/rooms/{room}/pins", None),
        "search" => ("GET", "/v1/rooms/{room}/search", None),
        "mark" => ("POST", "/v1/marks", body(&["rooms"])),
        "edit" => ("PATCH", MESSAGE, body(&["body", "level"])),
        "delete" => ("DELETE", MESSAGE, None),
        "pin" => (put_or_delete, PIN, None),
        "react" => (put_or_delete, REACTION, None),
        "thread" => ("GET", "/v1/rooms/{room}/messages/{msg}/replies", None),
        "block" => (put_or_delete, BLOCK, None),
        "blocks" => ("GET", "/v1/blocks", None),
        "profile" if frame.get("user").is_some() => ("GET", "/v1/users/{user}", None),
        "profile" => ("GET", "/v1/profile", None),
        "set_profile" => ("PATCH", "/v1/profile", body(&["about", "status", "status_text"])),
        "friends" => ("GET", "/v1/friends", None),
        "friend" => match frame["act"].as_str().unwrap() {
            "request" => ("PUT", "/v1/friends/requests/{user}", None),
            "decline" => ("DELETE", "/v1/friends/requests/{user}", None),
            "accept" => ("PUT", "/v1/friends/{user}", None),
            _ => ("DELETE", "/v1/friends/{user}", None),
        },
        "leaders" => ("GET", "/v1/rooms/{room}/leaders", None),
        other => panic!("{other}"),
    }
}

/// The call that says what a frame says.
pub fn call(frame: &Value) -> Call {
    let (method, route, body) = route(frame);
    let mut path = route.to_owned();
    for name in ["room", "user", "msg", "emoji"] {
        if let Some(value) = frame.get(name).and_then(Value::as_str) {
            path = path.replace(&format!("{{{name}}}"), &encoded(value));
        }
    }
    if body.is_none() {
        path += &query(frame, &["query", "before", "cursor", "start_after", "limit", "level", "days"]);
    }
    let key = frame.get("cid").and_then(Value::as_str).map(str::to_owned);
    Call { method, route, path, body, key }
}

/// Calls, and puts the answer into the words of the WebSocket protocol.
pub async fn ask(http: &HttpClient, token: Option<&str>, frame: &Value, t: &str) -> Value {
    let Call { method, path, body, key, .. } = call(frame);
    let body = body.map(|body| serde_json::to_vec(&body).unwrap());
    let headers: Vec<(&str, &str)> = key.iter().map(|key| ("idempotency-key", key.as_str())).collect();
    let method = method.parse().unwrap();
    let response = http.request_with(method, &path, token, body, &headers).await.unwrap();
    let said =
        if response.body.is_empty() { json!({}) } else { serde_json::from_slice(&response.body).unwrap() };
    let data = match response.status {
        // The resource by itself; a frame has it beside its number.
        ..300 if t == "profile" => json!({ "profile": said }),
        ..300 => said,
        _ => json!({ "error": said }),
    };
    super::worded(data, t)
}
