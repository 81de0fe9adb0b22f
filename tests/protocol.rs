//! The protocol as it is written down: the schema against frames of a real conversation, PROTOCOL.md against the types.

use std::collections::{BTreeMap, BTreeSet};

use chatlab::harness::Stack;
use chatlab_kit::{
    servers::Topology,
    wire::{ClientFrame, ErrorCode, ServerFrame},
};
use chatlab_load::schema::Schema;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message as WsMessage};

use crate::common::{SOON, own};

const PROTOCOL: &str = include_str!("../docs/PROTOCOL.md");

fn schema() -> Schema {
    Schema::read(include_str!("../docs/protocol.schema.json")).unwrap()
}

/// A connection that keeps every frame of both sides as it was on the wire.
struct Recorder {
    socket: WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>,
    next_id: u64,
    sent: Vec<Value>,
    heard: Vec<Value>,
}

impl Recorder {
    async fn connect(stack: &Stack, token: &str) -> Self {
        let (socket, _) = connect_async(stack.ws_url(0)).await.unwrap();
        let mut recorder = Self { socket, next_id: 1, sent: Vec::new(), heard: Vec::new() };
        recorder.say(json!({ "t": "hello", "v": 1, "token": token })).await;
        recorder.until(|frame| frame["t"] == "welcome").await;
        recorder
    }

    async fn say(&mut self, frame: Value) {
        self.socket.send(WsMessage::text(frame.to_string())).await.unwrap();
        self.sent.push(frame);
    }

    /// The next frame that is so; those before it are kept too.
    async fn until(&mut self, is_so: impl Fn(&Value) -> bool) -> Value {
        loop {
            let next = tokio::time::timeout(SOON, self.socket.next()).await;
            let frame = match next.unwrap_or_else(|_| panic!("not heard: {:?}", self.heard.last())) {
                Some(Ok(WsMessage::Text(text))) => serde_json::from_str::<Value>(&text).unwrap(),
                Some(Ok(WsMessage::Ping(_) | WsMessage::Pong(_))) => continue,
                other => panic!("{other:?}"),
            };
            self.heard.push(frame.clone());
            if is_so(&frame) {
                return frame;
            }
        }
    }

    /// The answer to a request, which gets its number here.
    async fn ask(&mut self, mut frame: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        frame["id"] = id.into();
        self.say(frame).await;
        self.until(|answer| answer["id"] == id).await
    }

    async fn type_of_event(&mut self, t: &str) -> Value {
        self.until(|frame| frame["t"] == t && frame.get("id").is_none()).await
    }
}

/// Edits, reactions, pins, marks and deletions.
async fn what_is_about_messages(
    ada: &mut Recorder,
    bob: &mut Recorder,
    room: &Value,
    (first, second): (&Value, &Value),
) {
    for change in [
        json!({ "t": "edit", "room": room, "cid": "c-4", "msg": first, "body": "hello" }),
        json!({ "t": "edit", "room": room, "cid": "c-5", "msg": first, "body": "hello!", "level": "replica" }),
        json!({ "t": "react", "room": room, "cid": "c-8", "msg": first, "emoji": "👍", "on": true }),
        json!({ "t": "react", "room": room, "cid": "c-9", "msg": first, "emoji": "🎉", "on": true, "level": "replica" }),
        json!({ "t": "pin", "room": room, "cid": "c-10", "msg": first, "on": true, "level": "replica" }),
        json!({ "t": "pin", "room": room, "cid": "c-11", "msg": second, "on": true }),
    ] {
        let ack = ada.ask(change).await;
        assert_eq!(ack["t"], "ack", "{ack}");
    }
    let pins = bob.ask(json!({ "t": "pins", "room": room })).await;
    assert!(pins["messages"][0]["reactions"].is_array() && pins["messages"][1].is_object(), "{pins}");
    let marks = bob.ask(json!({ "t": "mark", "rooms": [{ "room": room, "read": 1, "delivered": 2 }] })).await;
    assert_eq!(marks["rooms"][0]["unread"], 2, "{marks}");
    bob.ask(json!({ "t": "mark", "rooms": [{ "room": room }] })).await;
    ada.type_of_event("receipt").await;
    let bobs = bob.ask(json!({ "t": "members", "room": room, "limit": 1 })).await["members"][0].clone();
    ada.ask(json!({ "t": "members", "room": room, "start_after": bobs["user"] })).await;
    for change in [
        json!({ "t": "delete", "room": room, "cid": "c-6", "msg": second, "level": "archived" }),
        json!({ "t": "delete", "room": room, "cid": "c-7", "msg": first }),
    ] {
        let ack = ada.ask(change).await;
        assert_eq!(ack["t"], "ack", "{ack}");
    }
}

/// Another role, a removal, a ban and its end.
async fn what_is_about_members(ada: &mut Recorder, bob: &mut Recorder, room: &Value) {
    let bobs = bob.heard[0]["user"].clone();
    assert!(bobs.is_string(), "{:?}", bob.heard[0]);
    ada.ask(json!({ "t": "role", "room": room, "user": bobs, "role": "moderator" })).await;
    bob.type_of_event("role").await;
    ada.ask(json!({ "t": "remove", "room": room, "user": bobs })).await;
    ada.ask(json!({ "t": "remove", "room": room, "user": bobs, "ban": true })).await;
    ada.ask(json!({ "t": "unban", "room": room, "user": bobs })).await;
    bob.ask(json!({ "t": "join", "room": room })).await;
}

/// Settings, one who is added, direct chats, replies, forwards, and what is found of all that.
async fn what_is_about_rooms(ada: &mut Recorder, bob: &mut Recorder, room: &Value, stranger: &mut Recorder) {
    let ids = [&bob.heard[0]["user"], &stranger.heard[0]["user"]].map(Value::clone);
    let [bobs, strangers] = &ids;
    ada.ask(json!({ "t": "settings", "room": room, "name": "Chai", "slow_s": 5, "read_only": true, "invited": true }))
        .await;
    bob.type_of_event("settings").await;
    ada.ask(json!({ "t": "settings", "room": room, "slow_s": 0 })).await;
    ada.ask(json!({ "t": "settings", "room": room, "read_only": false })).await;
    bob.until(|frame| frame["t"] == "settings" && frame["read_only"] == false).await;
    let added = ada.ask(json!({ "t": "add", "room": room, "user": strangers })).await;
    assert_eq!(added["t"], "ok", "{added}");
    assert_eq!(stranger.type_of_event("added").await["name"], "Chai");
    let direct = ada.ask(json!({ "t": "direct", "user": bobs, "for_s": 600 })).await["room"].clone();
    assert_eq!(bob.type_of_event("added").await["room"], direct);
    bob.ask(json!({ "t": "direct", "user": ada.heard[0]["user"] })).await;
    let asked = ada
        .ask(json!({ "t": "send", "room": room, "cid": "q-1", "body": "two teas?", "level": "archived" }))
        .await;
    let asked = &asked["msg"];
    for cid in ["r-1", "r-2"] {
        ada.ask(json!({ "t": "send", "room": room, "cid": cid, "body": "two", "reply_to": asked, "level": "archived" }))
            .await;
    }
    let forward = json!({ "t": "forward", "room": direct, "cid": "f-1", "from": room, "msg": asked });
    let ack = ada.ask(forward).await;
    assert_eq!(ack["t"], "ack", "{ack}");
    let forward = json!({ "t": "forward", "room": direct, "cid": "f-2", "from": room, "msg": asked, "level": "replica" });
    ada.ask(forward).await;
    bob.until(|frame| frame["t"] == "message" && frame["forwarded_from"].is_string()).await;
    for (t, key, value) in [("search", "query", json!("two")), ("thread", "msg", asked.clone())] {
        let mut ask = json!({ "t": t, "room": room, "limit": 1 });
        ask[key] = value;
        let found = bob.ask(ask.clone()).await;
        assert!(found["messages"][0].is_object(), "{found}");
        ask["cursor"] = found["next"].clone();
        bob.ask(ask.clone()).await;
        ask.as_object_mut().unwrap().retain(|name, _| name != "limit" && name != "cursor");
        bob.ask(ask).await;
    }
    let first = bob.ask(json!({ "t": "rooms", "limit": 1 })).await;
    bob.ask(json!({ "t": "rooms", "start_after": first["next"] })).await;
    what_is_about_people(ada, bob, room, stranger).await;
    bob.ask(json!({ "t": "block", "user": strangers, "on": true })).await;
    bob.ask(json!({ "t": "blocks" })).await;
    let ended = ada.ask(json!({ "t": "end", "room": direct })).await;
    assert_eq!(ended["t"], "ok", "{ended}");
    bob.until(|frame| frame["t"] == "left" && frame["room"] == direct).await;
}

/// Profiles, friends, and who writes most.
async fn what_is_about_people(ada: &mut Recorder, bob: &mut Recorder, room: &Value, stranger: &mut Recorder) {
    let ids = [&bob.heard[0]["user"], &stranger.heard[0]["user"]].map(Value::clone);
    let [bobs, strangers] = &ids;
    bob.ask(json!({ "t": "set_profile", "about": "tea", "status": "busy", "status_text": "brewing" })).await;
    ada.until(|frame| frame["t"] == "presence" && frame["status"] == "busy").await;
    let who = ada.ask(json!({ "t": "who", "room": room })).await;
    assert_eq!(who["statuses"][0]["status_text"], "brewing", "{who}");
    ada.ask(json!({ "t": "profile" })).await;
    for act in ["request", "remove", "request"] {
        ada.ask(json!({ "t": "friend", "user": bobs, "act": act })).await;
        bob.type_of_event("friend").await;
    }
    bob.ask(json!({ "t": "friend", "user": ada.heard[0]["user"], "act": "accept" })).await;
    assert_eq!(ada.type_of_event("friend").await["state"], "friend");
    ada.ask(json!({ "t": "friend", "user": strangers, "act": "request" })).await;
    ada.ask(json!({ "t": "friends" })).await;
    let shown = ada.ask(json!({ "t": "profile", "user": bobs })).await;
    assert_eq!(shown["profile"]["friend"], "friend", "{shown}");
    bob.ask(json!({ "t": "leaders", "room": room })).await;
    let leaders = bob.ask(json!({ "t": "leaders", "room": room, "days": 30, "limit": 3 })).await;
    assert_eq!(leaders["leaders"][0]["place"], 1, "{leaders}");
    bob.ask(json!({ "t": "set_profile", "status": "available", "status_text": "" })).await;
}

/// Two people use everything that there is: every frame of both sides, as text.
async fn conversation(stack: &mut Stack) -> (Vec<Value>, Vec<Value>) {
    let made = stack.provision(3, 0).await.unwrap();
    let mut ada = Recorder::connect(stack, &made.tokens[0]).await;
    let room = ada.ask(json!({ "t": "create", "name": "Tea" })).await["room"].clone();
    let mut bob = Recorder::connect(stack, &made.tokens[1]).await;
    bob.ask(json!({ "t": "join", "room": room })).await;
    // A member's second connection is no news; the first one's end and beginning are.
    let mut eve = Recorder::connect(stack, &made.tokens[0]).await;
    eve.ask(json!({ "t": "ping" })).await;

    let mut stored = Vec::new();
    for (cid, level) in [("c-1", None), ("c-1", None), ("c-2", Some("replica")), ("c-3", Some("archived"))] {
        let mut send =
            json!({ "t": "send", "room": room, "cid": cid, "kind": "text", "body": "hi \u{1F600}" });
        if let Some(level) = level {
            send["level"] = level.into();
        }
        let ack = ada.ask(send).await;
        assert_eq!(ack["t"], "ack", "{ack}");
        stored.push(ack["msg"].clone());
    }
    let third = bob.until(|frame| frame["t"] == "message" && frame["cid"] == "c-3").await;
    let [first, _, second, _] = &stored[..] else { unreachable!() };
    what_is_about_messages(&mut ada, &mut bob, &room, (first, second)).await;
    let page = bob.ask(json!({ "t": "history", "room": room, "before": 3, "limit": 2 })).await;
    assert!(page["messages"][0]["changed"].is_object(), "{page}");
    bob.ask(json!({ "t": "history", "room": room, "limit": 1 })).await;
    bob.ask(json!({ "t": "who", "room": room })).await;
    bob.ask(json!({ "t": "who", "room": room, "limit": 1, "start_after": uuid::Uuid::nil() })).await;
    bob.ask(json!({ "t": "typing", "room": room, "on": true })).await;
    ada.type_of_event("typing").await;
    bob.ask(json!({ "t": "join", "room": uuid::Uuid::now_v7() })).await;
    bob.say(json!({ "t": "dance" })).await;
    bob.until(|frame| frame["t"] == "error" && frame.get("id").is_none()).await;

    let at = json!({ "epoch": third["epoch"], "seq": 2, "id": third["id"] });
    bob.ask(json!({ "t": "join", "room": room, "after": at })).await;
    bob.type_of_event("resync").await;
    let mut cid = Recorder::connect(stack, &made.tokens[1]).await;
    cid.ask(json!({ "t": "join", "room": room })).await;
    bob.ask(json!({ "t": "leave", "room": room })).await;
    ada.type_of_event("left").await;
    bob.ask(json!({ "t": "join", "room": room })).await;
    what_is_about_members(&mut ada, &mut bob, &room).await;
    let mut stranger = Recorder::connect(stack, &made.tokens[2]).await;
    what_is_about_rooms(&mut ada, &mut bob, &room, &mut stranger).await;
    // Bob's last connection ends, and a new one begins.
    for gone in [&mut bob, &mut cid] {
        gone.socket.close(None).await.unwrap();
    }
    ada.type_of_event("presence").await;
    stack.stop_server(0).await.unwrap();
    ada.type_of_event("bye").await;
    let (mut sent, mut heard) = (Vec::new(), Vec::new());
    for recorder in [ada, bob, eve, cid, stranger] {
        sent.extend(recorder.sent);
        heard.extend(recorder.heard);
    }
    // The one that no schema should take.
    sent.retain(|frame| frame["t"] != "dance");
    (sent, heard)
}

/// By their types, one of each shape: the same fields.
fn shapes(frames: &[Value]) -> BTreeMap<String, Vec<&Value>> {
    let mut shapes: BTreeMap<String, (BTreeSet<Vec<&String>>, Vec<&Value>)> = BTreeMap::new();
    for frame in frames {
        let fields: Vec<_> = frame.as_object().unwrap().keys().collect();
        let (seen, kept) = shapes.entry(frame["t"].as_str().unwrap().to_owned()).or_default();
        if seen.insert(fields) {
            kept.push(frame);
        }
    }
    shapes.into_iter().map(|(t, (_, kept))| (t, kept)).collect()
}

/// The types of one side's frames, as the schema has them.
fn types(schema: &Schema, side: &str) -> BTreeSet<String> {
    let frames = schema.document()["$defs"][side]["oneOf"].as_array().unwrap();
    frames.iter().map(|frame| frame["properties"]["t"]["const"].as_str().unwrap().to_owned()).collect()
}

/// What is not the type of a value.
fn another_type(value: &Value) -> Value {
    if value.is_number() { "text".into() } else { json!(-0.5) }
}

/// Every frame without one of its fields, and with one of another type, in depth; and where that was.
fn mutations(frame: &Value) -> Vec<(String, Value)> {
    fn walk(whole: &Value, at: &str, mutated: &mut Vec<(String, Value)>) {
        let here = whole.pointer(at).unwrap();
        let steps: Vec<String> = match here {
            Value::Object(fields) => fields.keys().cloned().collect(),
            Value::Array(items) => (0..items.len().min(1)).map(|nth| nth.to_string()).collect(),
            _ => return,
        };
        for step in steps {
            let place = format!("{at}/{step}");
            let mut other = whole.clone();
            let value = other.pointer_mut(&place).unwrap();
            *value = another_type(value);
            mutated.push((format!("{place} of another type"), other));
            if here.is_object() {
                let mut other = whole.clone();
                other.pointer_mut(at).unwrap().as_object_mut().unwrap().remove(&step);
                mutated.push((format!("{place} missing"), other));
            }
            walk(whole, &place, mutated);
        }
    }
    let mut mutated = Vec::new();
    walk(frame, "", &mut mutated);
    mutated
}

async fn every_frame_is_as_the_schema_says_and_a_broken_one_is_not(topology: Topology) {
    let mut stack = own(topology, 1).await;
    let (sent, heard) = conversation(&mut stack).await;
    let schema = schema();
    let (mut accepted, mut refused) = (0, 0);
    for (side, frames) in [("ClientFrame", &sent), ("ServerFrame", &heard)] {
        let shapes = shapes(frames);
        assert_eq!(shapes.keys().cloned().collect::<BTreeSet<_>>(), types(&schema, side), "{side}");
        for frame in frames {
            assert_eq!(schema.check_as(side, frame, "frame"), Vec::<String>::new(), "{frame}");
            accepted += 1;
        }
        for frame in shapes.into_values().flatten() {
            for (what, other) in mutations(frame) {
                // The schema and the parser of the same side agree on what a frame is. The parser forgives a default left out.
                let parsed = match side {
                    "ClientFrame" => serde_json::from_value::<ClientFrame>(other.clone()).is_ok(),
                    _ => serde_json::from_value::<ServerFrame>(other.clone()).is_ok(),
                };
                let complaints = schema.check_as(side, &other, "frame");
                if what.ends_with("another type") {
                    assert!(!complaints.is_empty() && !parsed, "{what}: {other}");
                }
                assert!(parsed || !complaints.is_empty(), "{what}: {other}");
                refused += usize::from(!complaints.is_empty());
            }
        }
    }
    println!("{topology}: {accepted} frames accepted, {refused} broken ones refused");
    assert!(refused > 150, "{refused}");
}

/// The rows of the table below a heading, its cells without backticks.
fn table(heading: &str) -> Vec<Vec<String>> {
    let section = PROTOCOL.split_once(&format!("## {heading}\n")).expect(heading).1;
    let rows = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|l| l.starts_with('|'));
    rows.skip(2)
        .map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().replace('`', "")).collect())
        .collect()
}

#[test]
fn the_documented_codes_are_those_of_the_types() {
    let rows = table("Codes");
    assert_eq!(rows.len(), ErrorCode::ALL.len());
    for (row, code) in rows.iter().zip(ErrorCode::ALL) {
        assert_eq!(serde_json::to_value(code).unwrap(), row[0].as_str());
        let retryable = if code.retryable() { "yes" } else { "no" };
        assert_eq!(row[2], retryable, "{}", row[0]);
        assert_eq!(row[3], code.close_code().to_string(), "{}", row[0]);
        // The first one is the code's own; some requests get a closer one.
        let http = code.http_status().map(|status| status.to_string()).unwrap_or_default();
        assert_eq!(row[4].split(", ").next().unwrap(), http, "{}", row[0]);
    }
}

#[test]
fn every_frame_is_documented() {
    let schema = schema();
    let clients: BTreeSet<String> =
        table("Client frames").iter().map(|row| row[0].split(',').next().unwrap().to_owned()).collect();
    assert_eq!(clients, types(&schema, "ClientFrame"));
    let section = PROTOCOL.split_once("## Server frames\n").unwrap().1;
    let examples = section.split_once("```json\n").unwrap().1.split_once("```").unwrap().0;
    let of_line = |line: &str| line.split('"').nth(3).unwrap().to_owned();
    let servers: BTreeSet<String> = examples.lines().map(of_line).collect();
    assert_eq!(servers, types(&schema, "ServerFrame"));
}

crate::on_both!(every_frame_is_as_the_schema_says_and_a_broken_one_is_not);
