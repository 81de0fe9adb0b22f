//! Who may do what, as a table: every request of the protocol by everybody who may ask, by each interface, and every route with and
//! without a token.
//! A request or a route without a row fails the test.

use std::collections::BTreeSet;

use chatlab::harness::Stack;
use chatlab_kit::{
    ids::{MessageId, RoomId, UserId},
    servers::Topology,
    wire::Role,
};
use chatlab_load::{client::WsClient, http::HttpClient};
use serde_json::{Value, json};

use crate::{
    common::shared,
    interfaces::{ALL, Asker, Interface, is_everywhere, rest},
};

/// Who asks. The first four are members; who is blocked asks about the direct chat with the one who blocks them.
const WHO: [&str; 8] =
    ["owner", "admin", "moderator", "member", "non-member", "banned", "blocked", "anonymous"];
/// How many of them are users.
const USERS: usize = 7;
/// The one of them who is blocked.
const BLOCKED: usize = 6;

/// What each of [`WHO`] is answered: the type of the answer, or the code of its error.
const TABLE: &[(&str, [&str; 8])] = &[
    ("ping", ["pong", "pong", "pong", "pong", "pong", "pong", "pong", "bad_state"]),
    ("create", ["ok", "ok", "ok", "ok", "ok", "ok", "ok", "bad_state"]),
    ("join", ["ok", "ok", "ok", "ok", "ok", "forbidden", "forbidden", "bad_state"]),
    ("leave", ["ok", "ok", "ok", "ok", "not_found", "not_found", "not_found", "bad_state"]),
    ("send", ["ack", "ack", "ack", "ack", "forbidden", "forbidden", "forbidden", "bad_state"]),
    ("forward", ["ack", "ack", "ack", "ack", "forbidden", "forbidden", "forbidden", "bad_state"]),
    // Of what somebody else wrote.
    (
        "edit",
        [
            "forbidden",
            "forbidden",
            "forbidden",
            "forbidden",
            "forbidden",
            "forbidden",
            "forbidden",
            "bad_state",
        ],
    ),
    ("delete", ["ack", "ack", "ack", "forbidden", "forbidden", "forbidden", "forbidden", "bad_state"]),
    ("pin", ["ack", "ack", "ack", "forbidden", "forbidden", "forbidden", "forbidden", "bad_state"]),
    ("react", ["ack", "ack", "ack", "ack", "forbidden", "forbidden", "forbidden", "bad_state"]),
    ("pins", ["pins", "pins", "pins", "pins", "forbidden", "forbidden", "forbidden", "bad_state"]),
    ("mark", ["marks", "marks", "marks", "marks", "forbidden", "forbidden", "forbidden", "bad_state"]),
    ("history", ["page", "page", "page", "page", "forbidden", "forbidden", "forbidden", "bad_state"]),
    ("search", ["found", "found", "found", "found", "forbidden", "forbidden", "forbidden", "bad_state"]),
    ("thread", ["found", "found", "found", "found", "forbidden", "forbidden", "forbidden", "bad_state"]),
    ("who", ["who", "who", "who", "who", "forbidden", "forbidden", "forbidden", "bad_state"]),
    (
        "members",
        ["members", "members", "members", "members", "forbidden", "forbidden", "forbidden", "bad_state"],
    ),
    ("role", ["ok", "ok", "forbidden", "forbidden", "forbidden", "forbidden", "forbidden", "bad_state"]),
    ("remove", ["ok", "ok", "ok", "forbidden", "forbidden", "forbidden", "forbidden", "bad_state"]),
    ("unban", ["ok", "ok", "ok", "forbidden", "forbidden", "forbidden", "forbidden", "bad_state"]),
    ("add", ["ok", "ok", "ok", "forbidden", "forbidden", "forbidden", "forbidden", "bad_state"]),
    ("settings", ["ok", "ok", "forbidden", "forbidden", "forbidden", "forbidden", "forbidden", "bad_state"]),
    ("direct", ["ok", "ok", "ok", "ok", "ok", "ok", "forbidden", "bad_state"]),
    (
        "end",
        ["forbidden", "forbidden", "forbidden", "forbidden", "forbidden", "forbidden", "ok", "bad_state"],
    ),
    ("rooms", ["rooms", "rooms", "rooms", "rooms", "rooms", "rooms", "rooms", "bad_state"]),
    // Of somebody whom nobody blocks; who is blocked asks about the one who blocks them.
    ("profile", ["profile", "profile", "profile", "profile", "profile", "profile", "not_found", "bad_state"]),
    (
        "set_profile",
        ["profile", "profile", "profile", "profile", "profile", "profile", "profile", "bad_state"],
    ),
    ("friend", ["friends", "friends", "friends", "friends", "friends", "friends", "forbidden", "bad_state"]),
    ("friends", ["friends", "friends", "friends", "friends", "friends", "friends", "friends", "bad_state"]),
    (
        "leaders",
        ["leaders", "leaders", "leaders", "leaders", "forbidden", "forbidden", "forbidden", "bad_state"],
    ),
    ("block", ["blocks", "blocks", "blocks", "blocks", "blocks", "blocks", "blocks", "bad_state"]),
    ("blocks", ["blocks", "blocks", "blocks", "blocks", "blocks", "blocks", "blocks", "bad_state"]),
    ("typing", ["ok", "ok", "ok", "ok", "forbidden", "forbidden", "forbidden", "bad_state"]),
];

/// What each route answers without a token, with a forged one, and with one's own.
const ROUTES: &[(&str, &str, [u16; 3])] = &[
    ("GET", "/", [200, 200, 200]),
    // Without a body: they are asked, and ask for one.
    ("POST", "/v1/register", [415, 415, 415]),
    ("POST", "/v1/login", [415, 415, 415]),
    ("POST", "/v1/refresh", [415, 415, 415]),
    ("GET", "/v1/sessions", [401, 401, 200]),
    // Of somebody else.
    ("DELETE", "/v1/sessions/{id}", [401, 401, 404]),
    // Without a body, again.
    ("GET", "/v1/email", [401, 401, 200]),
    ("PUT", "/v1/email", [401, 401, 415]),
    ("POST", "/v1/email/code", [401, 401, 415]),
    ("DELETE", "/v1/email", [401, 401, 204]),
    ("GET", "/v1/profile", [401, 401, 200]),
    // Of a room that there is not.
    ("GET", "/v1/rooms/{room}", [401, 401, 404]),
    ("GET", "/v1/rooms/{room}/messages/{msg}", [401, 401, 404]),
    // Without saying which rooms.
    ("GET", "/v1/events", [401, 401, 400]),
    ("GET", "/v1/events/poll", [401, 401, 400]),
    ("GET", "/ws", [400, 400, 400]),
    ("GET", "/health", [200, 200, 200]),
    ("GET", "/health/liveness", [200, 200, 200]),
    ("GET", "/health/readiness", [200, 200, 200]),
    ("GET", "/metrics", [200, 200, 200]),
    // Last: these end the session.
    ("POST", "/v1/logout", [401, 401, 204]),
    ("DELETE", "/v1/sessions", [401, 401, 401]),
];

/// A room with everybody in it who may be, and what is to be asked about.
struct Scene {
    room: RoomId,
    /// Another one, to leave.
    side: RoomId,
    /// A text of a member who asks nothing, for each who asks.
    texts: Vec<MessageId>,
    /// Members who ask nothing: for each who asks one to get a role, and one to go.
    targets: Vec<UserId>,
    /// For each who asks one who is banned.
    banned: Vec<UserId>,
    /// For each who asks one who is in no room, to be added, talked to and blocked.
    strangers: Vec<UserId>,
    /// The direct chat of who is blocked, and who blocks them.
    direct: (RoomId, UserId),
    askers: Vec<Asker>,
}

async fn scene(stack: &Stack, interface: Interface) -> Scene {
    let made = stack.provision(5 * USERS, 2).await.unwrap();
    let (room, side) = (made.rooms[0], made.rooms[1]);
    let mut clients = Vec::new();
    for token in &made.tokens {
        clients.push(WsClient::connect(&stack.ws_url(1), token).await.unwrap());
    }
    let users: Vec<UserId> = clients.iter().map(|client| client.welcome().unwrap().user).collect();
    for (nth, client) in clients.iter_mut().enumerate() {
        if !(4..USERS).contains(&nth) && nth < 4 * USERS {
            client.join(room, None).await.unwrap();
            client.join(side, None).await.unwrap();
        }
    }
    let (targets, banned) = (users[USERS..3 * USERS].to_vec(), users[3 * USERS..4 * USERS].to_vec());
    let strangers = users[4 * USERS..].to_vec();
    let mut texts = Vec::new();
    for nth in 0..BLOCKED {
        texts.push(clients[USERS].send(room, &format!("t{nth}"), "text").await.unwrap().msg);
    }
    let blocker = &mut clients[USERS];
    let direct = blocker.direct(users[BLOCKED], None).await.unwrap();
    texts.push(blocker.send(direct, "t", "text").await.unwrap().msg);
    blocker.block(users[BLOCKED], true).await.unwrap();
    let direct = (direct, users[USERS]);
    let owner = &mut clients[0];
    for (nth, role) in [(1, Role::Admin), (2, Role::Moderator)] {
        owner.set_role(room, users[nth], role).await.unwrap();
    }
    for user in banned.iter().chain([&users[5]]) {
        owner.remove(room, *user, true).await.unwrap();
    }
    let mut askers = Vec::new();
    for (nth, token) in made.tokens[..USERS].iter().enumerate() {
        let mut asker = Asker::connect(interface, stack, 0, Some(token)).await;
        if nth < 4 {
            for of in [room, side] {
                assert_eq!(asker.outcome(json!({ "t": "join", "room": of })).await, "ok");
            }
        }
        askers.push(asker);
    }
    Scene { room, side, texts, targets, banned, strangers, direct, askers }
}

impl Scene {
    /// What is asked, so that it can be done if it may be.
    fn request(&self, t: &str, who: usize) -> Value {
        let nth = who.min(USERS - 1);
        let (cid, msg) = (format!("{t}-{who}"), self.texts[nth]);
        let (room, side) =
            if who == BLOCKED { (self.direct.0, self.direct.0) } else { (self.room, self.side) };
        match t {
            "ping" => json!({ "t": t }),
            "create" => json!({ "t": t, "name": "Tea" }),
            "leave" => json!({ "t": t, "room": side }),
            "forward" => json!({ "t": t, "room": room, "cid": cid, "from": room, "msg": msg }),
            "search" => json!({ "t": t, "room": room, "query": "text" }),
            "thread" => json!({ "t": t, "room": room, "msg": msg }),
            "add" => json!({ "t": t, "room": room, "user": self.strangers[nth] }),
            "settings" => json!({ "t": t, "room": room, "name": "Coffee" }),
            "direct" if who == BLOCKED => json!({ "t": t, "user": self.direct.1 }),
            "direct" => json!({ "t": t, "user": self.strangers[nth] }),
            "profile" if who == BLOCKED => json!({ "t": t, "user": self.direct.1 }),
            "profile" => json!({ "t": t, "user": self.strangers[nth] }),
            "set_profile" => json!({ "t": t, "status": "busy" }),
            "friend" if who == BLOCKED => json!({ "t": t, "user": self.direct.1, "act": "request" }),
            "friend" => json!({ "t": t, "user": self.strangers[nth], "act": "request" }),
            "friends" => json!({ "t": t }),
            "block" => json!({ "t": t, "user": self.strangers[nth], "on": true }),
            "send" => json!({ "t": t, "room": room, "cid": cid, "body": "hi" }),
            "edit" => json!({ "t": t, "room": room, "cid": cid, "msg": msg, "body": "other" }),
            "delete" => json!({ "t": t, "room": room, "cid": cid, "msg": msg }),
            "pin" => json!({ "t": t, "room": room, "cid": cid, "msg": msg, "on": true }),
            "react" => json!({ "t": t, "room": room, "cid": cid, "msg": msg, "emoji": "👍", "on": true }),
            "mark" => json!({ "t": t, "rooms": [{ "room": room }] }),
            "role" => json!({ "t": t, "room": room, "user": self.targets[nth], "role": "member" }),
            "remove" => json!({ "t": t, "room": room, "user": self.targets[USERS + nth] }),
            "unban" => json!({ "t": t, "room": room, "user": self.banned[nth] }),
            "typing" => json!({ "t": t, "room": room, "on": true }),
            // Those that take a room and no more.
            _ => json!({ "t": t, "room": room }),
        }
    }
}

async fn everybody_may_do_what_the_table_says_and_nothing_else(topology: Topology) {
    let mut wrong = Vec::new();
    for interface in ALL {
        wrong.extend(what_is_not_as_the_table_says(shared(topology).await, interface).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn what_is_not_as_the_table_says(stack: &Stack, interface: Interface) -> Vec<String> {
    let mut scene = scene(stack, interface).await;
    let mut wrong = Vec::new();
    let has = |t: &str| interface == Interface::Native || is_everywhere(t);
    // A join of who is no member makes them one, a deletion leaves nothing to react to, and an end nothing at all: those come last.
    let mut rows: Vec<_> = TABLE.iter().filter(|(t, _)| has(t)).collect();
    rows.sort_by_key(|(t, _)| match *t {
        "delete" | "join" => 1,
        "end" => 2,
        _ => 0,
    });
    for (t, expected) in rows {
        for (who, expected) in expected.iter().enumerate() {
            let request = scene.request(t, who);
            let (answer, expected) = match (scene.askers.get_mut(who), interface) {
                (Some(asker), _) => (asker.outcome(request).await, *expected),
                // It says who it is before anything else, or it is no connection.
                (None, Interface::SocketIo) => continue,
                (None, of) => {
                    let expected = if of == Interface::Rest { "unauthorized" } else { *expected };
                    (Asker::connect(of, stack, 0, None).await.outcome(request).await, expected)
                }
            };
            if answer != expected {
                let who = WHO[who];
                wrong.push(format!(
                    "{interface:?}: {who} asks to {t}: {answer}, and the table says {expected}"
                ));
            }
        }
    }
    wrong
}

#[test]
fn every_request_has_its_row() {
    let schema: Value = serde_json::from_str(include_str!("../docs/protocol.schema.json")).unwrap();
    let frames = schema["$defs"]["ClientFrame"]["oneOf"].as_array().unwrap();
    let requests = frames.iter().map(|frame| frame["properties"]["t"]["const"].as_str().unwrap());
    // Who says `hello` asks for nothing yet: `sessions.rs` has what becomes of tokens.
    let requests: BTreeSet<&str> = requests.filter(|t| *t != "hello").collect();
    assert_eq!(TABLE.iter().map(|(t, _)| *t).collect::<BTreeSet<_>>(), requests);
}

/// The routes that the description has.
fn described() -> BTreeSet<(String, String)> {
    let document = chatlab::gateway::rest::document().unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let each = paths.flat_map(|(path, item)| {
        item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone()))
    });
    each.collect()
}

#[test]
fn every_route_has_its_row() {
    let mut routes = described();
    for line in include_str!("../src/gateway/mod.rs").lines() {
        let line = line.trim().strip_prefix(".route(\"").and_then(|rest| rest.split_once("\", "));
        if let Some((path, methods)) = line {
            assert!(methods.starts_with("get("), "{path}: what takes more stands in the table of `rest`");
            routes.insert(("GET".into(), path.into()));
        }
    }
    assert!(routes.len() > 40, "{routes:?}");
    // Those by which the requests of the table are said are asked there, by everybody.
    let room = RoomId::new().to_string();
    let sample = |t: &str, on: bool, act: &str| {
        rest::call(
            &json!({ "t": t, "room": room, "user": room, "msg": room, "emoji": "x", "on": on, "ban": on, "act": act }),
        )
    };
    let requests = TABLE.iter().filter(|(t, _)| is_everywhere(t));
    let of_table: BTreeSet<(String, String)> = requests
        .flat_map(|(t, _)| {
            [(true, "request"), (false, "decline"), (true, "accept"), (false, "remove")]
                .map(|(on, act)| sample(t, on, act))
        })
        .map(|call| (call.method.to_owned(), call.route.to_owned()))
        .collect();
    let of_routes = ROUTES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()));
    assert_eq!(of_routes.chain(of_table).collect::<BTreeSet<_>>(), routes);
}

async fn every_route_asks_for_the_token_that_the_table_says(topology: Topology) {
    let stack = shared(topology).await;
    let made = stack.provision(2, 0).await.unwrap();
    let other = WsClient::connect(&stack.ws_url(0), &made.tokens[1]).await.unwrap();
    let foreign = other.welcome().unwrap().session.to_string();
    let forged = format!("{}x", made.tokens[0]);
    let (http, mut wrong) = (HttpClient::new(&stack.http_url(0)), Vec::new());
    for (method, path, expected) in ROUTES {
        let nowhere = RoomId::new().to_string();
        let path = path.replace("{id}", &foreign).replace("{room}", &nowhere).replace("{msg}", &nowhere);
        let tokens =
            [("no token", None), ("a forged token", Some(&forged)), ("a token", Some(&made.tokens[0]))];
        for ((shown, token), expected) in tokens.into_iter().zip(expected) {
            let token = token.map(String::as_str);
            let status = http.request(method.parse().unwrap(), &path, token, None).await.unwrap().status;
            if status != *expected {
                wrong.push(format!("{method} {path} with {shown}: {status}, and the table says {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

crate::on_each!(
    everybody_may_do_what_the_table_says_and_nothing_else,
    every_route_asks_for_the_token_that_the_table_says,
);
