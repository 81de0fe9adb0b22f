//! Engine.IO 4 and Socket.IO 5 packets that are wrong somehow, on a WebSocket and by polling.
//!
//! A text begins with Engine.IO's type (0 open, 1 close, 2 ping, 3 pong, 4 message, 5 upgrade, 6 noop), and a message with
//! Socket.IO's (0 connect, 1 disconnect, 2 event, 3 ack, 4 error, 5 and 6 with binary attachments). By polling, packets are
//! joined by 0x1e, and a binary one is `b` and base64.

use rand::{Rng, RngCore, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{
    case::{Leave, Request, Step, leave},
    corpus::{self, SID, TOKEN},
    json, upgrade,
};

/// Where the endpoint is.
pub(super) const PATH: &str = "/socket.io/";
/// The most packets of one connection.
const MAX_PACKETS: usize = 12;
/// The most binary frames in a row.
const MAX_ATTACHMENTS: usize = 4;

pub(super) fn websocket_path() -> String {
    format!("{PATH}?EIO=4&transport=websocket")
}

/// The packet that asks to be let in.
pub(super) fn connect() -> String {
    format!("40{}", json!({ "token": TOKEN }))
}

fn event(rng: &mut ChaCha8Rng) -> Value {
    corpus::events().choose(rng).cloned().unwrap_or_default()
}

/// A text with one packet in it, or what looks like one.
fn packet(rng: &mut ChaCha8Rng) -> String {
    let data = if rng.random_bool(0.15) { event(rng).to_string() } else { json::mutated(&event(rng), rng) };
    let ids = ["", "0", "7", "18446744073709551615", "99999999999999999999999", "-1", "1.5"];
    let id = ids.choose(rng).copied().unwrap_or("");
    let spaces = ["", "", "", "/,", "/chat,", "/chat", "/admin?x=1,", "/\u{0},", "//,"];
    let space = spaces.choose(rng).copied().unwrap_or("");
    match rng.random_range(0..14) {
        0..=4 => format!("42{space}{id}{data}"),
        5 => format!("43{space}{id}{data}"),
        6 => format!("44{space}{data}"),
        7 => format!("40{space}{}", json::mutated(&json!({ "token": TOKEN }), rng)),
        8 => format!("41{space}"),
        // More attachments declared than come, or none at all.
        9 => {
            let kind = rng.random_range(5..=6);
            let declared =
                ["1-", "0-", "3-", "99999999999-", "-", "1", "-1-"].choose(rng).copied().unwrap_or("1-");
            let place = json!({ "_placeholder": true, "num": rng.random_range(0..4) });
            format!("4{kind}{declared}{space}{id}{}", json::mutated(&json!(["message", place, place]), rng))
        }
        10 => format!("{}{data}", rng.random_range(0..10)),
        11 => format!("4{}{data}", rng.random_range(0..10)),
        12 => [
            "", "4", "2", "2probe", "3", "3probe", "5", "6", "1", "b", "4b", "\u{1e}", "42", "42[", "420",
            "40{", "451-",
        ]
        .choose(rng)
        .copied()
        .unwrap_or("")
        .to_owned(),
        _ => json::mutated(&event(rng), rng),
    }
}

fn blob(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = vec![0; rng.random_range(0..2_000)];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// Opens a WebSocket and is let in.
pub(super) fn let_in() -> [Step; 4] {
    [Step::Open(websocket_path()), Step::Packet("0".into()), Step::Text(connect()), Step::Packet("40".into())]
}

/// On a WebSocket: opens, is let in more often than not, and sends packets.
pub(super) fn packets(rng: &mut ChaCha8Rng) -> (Vec<Step>, Leave) {
    let known = rng.random_bool(0.85);
    let mut steps = let_in().to_vec();
    if !known {
        steps.truncate(2);
    }
    if known && rng.random_bool(0.6) {
        steps.push(Step::Text(format!("42{}", json!(["chat:join", { "room": corpus::ROOM }]))));
    }
    for _ in 0..rng.random_range(1..=MAX_PACKETS) {
        steps.push(Step::Text(packet(rng)));
        if rng.random_bool(0.1) {
            steps.extend((0..rng.random_range(1..=MAX_ATTACHMENTS)).map(|_| Step::Binary(blob(rng))));
        }
        // Whatever that was, the connection lives, or it was closed.
        steps.push(if known && rng.random() { Step::Fence } else { Step::Quiet });
    }
    (steps, leave(rng, true))
}

/// Handshakes: bad requests for a WebSocket, and bad queries.
pub(super) fn handshake(rng: &mut ChaCha8Rng) -> (Vec<Step>, Leave) {
    if rng.random() {
        return upgrade::steps_to(&websocket_path(), rng);
    }
    let long = "a".repeat(rng.random_range(1..8_000));
    let sids = ["", "x", "AAAAAAAAAAAAAAAAAAAA", "../../etc", "%00", "\u{e9}", &long];
    let sid = sids.choose(rng).copied().unwrap_or("");
    let queries = [
        "EIO=4",
        "EIO=3&transport=polling",
        "EIO=4&transport=",
        "EIO=4&transport=carrier-pigeon",
        "transport=polling",
        "EIO=99999999999999999999&transport=polling",
        "EIO=4&EIO=4&transport=polling&transport=websocket",
        "",
        "&&&===",
        "EIO=4&transport=polling&j=0",
        "EIO=4&transport=polling&b64=1",
        "EIO=4&transport=websocket",
    ];
    let query = queries.choose(rng).copied().unwrap_or("");
    let method = ["GET", "GET", "POST", "OPTIONS", "PUT", "DELETE"].choose(rng).copied().unwrap_or("GET");
    let with = if rng.random() { format!("&sid={sid}") } else { String::new() };
    let head = format!("{method} {PATH}?{query}{with} HTTP/1.1\r\nHost: localhost\r\n");
    (vec![Step::Requests(vec![Request { head, body: String::new() }])], leave(rng, false))
}

fn get(query: &str) -> Request {
    let head = format!("GET {PATH}?EIO=4&transport=polling{query} HTTP/1.1\r\nHost: localhost\r\n");
    Request { head, body: String::new() }
}

fn poll() -> Request {
    get(&format!("&sid={SID}"))
}

fn post(body: String, rng: &mut ChaCha8Rng) -> Request {
    let text = "text/plain;charset=UTF-8";
    let kind = [text, text, "application/octet-stream", "application/json", ""].choose(rng).copied();
    let head = format!(
        "POST {PATH}?EIO=4&transport=polling&sid={SID} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {}\r\n",
        kind.unwrap_or(text)
    );
    Request { head, body }
}

/// What a `POST` brings: packets, and what joins them.
fn payload(rng: &mut ChaCha8Rng) -> String {
    let most = if rng.random_bool(0.05) { 100 } else { 4 };
    let mut packets: Vec<String> = (0..rng.random_range(1..=most)).map(|_| packet(rng)).collect();
    if rng.random_bool(0.2) {
        let binary = ["bAQIDBA==", "b", "b====", "b!!!!", "bAQID\u{1e}"].choose(rng).copied();
        packets.push(binary.unwrap_or("b").to_owned());
    }
    let joint = ["\u{1e}", "\u{1e}", "\u{1e}", "\u{1e}\u{1e}", ":", "2:4"].choose(rng).copied();
    packets.join(joint.unwrap_or("\u{1e}"))
}

/// By polling: a session, and payloads for it; at times two requests at once, or a WebSocket that takes the session over.
pub(super) fn polling(rng: &mut ChaCha8Rng) -> (Vec<Step>, Leave) {
    let mut steps = vec![Step::Requests(vec![get("")])];
    if rng.random_bool(0.8) {
        let text = Request { head: post(String::new(), rng).head, body: connect() };
        steps.push(Step::Requests(vec![text, poll()]));
    }
    for _ in 0..rng.random_range(1..=4) {
        let mut at_once = vec![post(payload(rng), rng)];
        match rng.random_range(0..6) {
            0 => at_once.push(post(payload(rng), rng)),
            1 => at_once.push(poll()),
            2 => at_once.extend([poll(), poll()]),
            _ => {}
        }
        steps.push(Step::Requests(at_once));
    }
    if rng.random_bool(0.25) {
        // As official clients do it, and not quite so.
        steps.push(Step::Open(format!("{}&sid={SID}", websocket_path())));
        let probe = ["2probe", "2probe", "2", "3probe", "5", "4", ""].choose(rng).copied().unwrap_or("5");
        steps.push(Step::Text(probe.to_owned()));
        if rng.random() {
            steps.push(Step::Requests(vec![poll()]));
        }
        steps.extend([Step::Text("5".to_owned()), Step::Text(packet(rng)), Step::Quiet]);
    }
    (steps, leave(rng, true))
}
