//! Engine.IO 4 and Socket.IO 5 packets that are wrong somehow, on a WebSocket and by polling.
//!
//! A text begins with Engine.IO's type (0 open, 1 close, 2 ping, 3 pong, 4 message, 5 upgrade, 6 noop), and a message with
//! Socket.IO's (0 connect, 1 disconnect, 2 event, 3 ack, 4 error, 5 and 6 with binary attachments). By polling, packets are
//! joined by 0x1e, and a binary one is `b` and base64.

use rand::{Rng, RngCore, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{
    case::{Leave, Step, leave},
    corpus::{self, SID, TOKEN},
    json, upgrade,
};

/// Where the endpoint is.
pub(super) const PATH: &str = "/socket.io/";
/// The most packets of one connection.
const MAX_PACKETS: usize = 12;
/// The most binary attachments that a packet declares and that are sent.
const MAX_ATTACHMENTS: usize = 20;

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

/// On a WebSocket: opens, asks to be let in more often than not, and sends packets.
pub(super) fn packets(rng: &mut ChaCha8Rng) -> (Vec<Step>, Leave) {
    let mut steps = vec![Step::Open(websocket_path()), Step::Packet("0".into())];
    if rng.random_bool(0.8) {
        steps.extend([Step::Text(connect()), Step::Packet("40".into())]);
    }
    for _ in 0..rng.random_range(1..=MAX_PACKETS) {
        steps.push(Step::Text(packet(rng)));
        if rng.random_bool(0.2) {
            let some = rng.random_range(1..=3);
            let count = if rng.random_bool(0.1) { MAX_ATTACHMENTS } else { some };
            // One step each counts against the bound of a case's inputs.
            let attachments = (0..count.min(2)).map(|_| Step::Binary(blob(rng)));
            steps.extend(attachments);
            break;
        }
    }
    // Whatever those were, the transport lives, or it was closed.
    steps.push(Step::Quiet);
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
    (vec![Step::Request { head, body: String::new() }], leave(rng, false))
}

fn get(query: &str) -> Step {
    let head = format!("GET {PATH}?EIO=4&transport=polling{query} HTTP/1.1\r\nHost: localhost\r\n");
    Step::Request { head, body: String::new() }
}

fn post(body: String, rng: &mut ChaCha8Rng) -> Step {
    let kinds = [
        "text/plain;charset=UTF-8",
        "text/plain;charset=UTF-8",
        "application/octet-stream",
        "application/json",
        "",
    ];
    let kind = kinds.choose(rng).copied().unwrap_or("");
    let head = format!(
        "POST {PATH}?EIO=4&transport=polling&sid={SID} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
    );
    Step::Request { head, body }
}

/// By polling: a session, and payloads for it; at times two polls at once, or a WebSocket that takes the session over.
pub(super) fn polling(rng: &mut ChaCha8Rng) -> (Vec<Step>, Leave) {
    let mut steps = vec![get("")];
    if rng.random_bool(0.8) {
        steps.extend([post(connect(), rng), get(&format!("&sid={SID}"))]);
    }
    for _ in 0..rng.random_range(1..=6) {
        let mut packets: Vec<String> = (0..rng.random_range(1..=4)).map(|_| packet(rng)).collect();
        if rng.random_bool(0.2) {
            packets.push(
                ["bAQIDBA==", "b", "b====", "b!!!!", "bAQID\u{1e}"]
                    .choose(rng)
                    .copied()
                    .unwrap_or("b")
                    .to_owned(),
            );
        }
        let joint = ["\u{1e}", "\u{1e}", "\u{1e}", "\u{1e}\u{1e}", ":", "2:4"]
            .choose(rng)
            .copied()
            .unwrap_or("\u{1e}");
        steps.push(post(packets.join(joint), rng));
        if rng.random_bool(0.3) {
            steps.push(get(&format!("&sid={SID}")));
        }
    }
    if rng.random_bool(0.2) {
        steps.push(Step::Open(format!("{}&sid={SID}", websocket_path())));
        let probes = ["2probe", "2", "3probe", "5", "4", ""];
        steps.push(Step::Text(probes.choose(rng).copied().unwrap_or("5").to_owned()));
        steps.push(Step::Text("5".to_owned()));
        steps.push(Step::Quiet);
    }
    (steps, leave(rng, true))
}
