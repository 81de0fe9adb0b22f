//! Requests for a WebSocket that are wrong somehow, as HTTP or as RFC 6455.

use rand::{Rng, RngCore, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use super::{
    case::{Leave, Step, leave},
    frames,
};

/// What an upgrade request is made of.
struct Request {
    line: String,
    headers: Vec<(String, String)>,
    /// Between the lines.
    end: &'static str,
    rest: Vec<u8>,
}

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

impl Request {
    fn good(path: &str) -> Self {
        let header = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            line: format!("GET {path} HTTP/1.1"),
            headers: [
                ("Host", "localhost"),
                ("Connection", "Upgrade"),
                ("Upgrade", "websocket"),
                ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", KEY),
                ("Sec-WebSocket-Protocol", "chatlab.v1"),
            ]
            .map(header)
            .into(),
            end: "\r\n",
            rest: Vec::new(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text = self.line.clone();
        text.push_str(self.end);
        for (name, value) in &self.headers {
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value);
            text.push_str(self.end);
        }
        text.push_str(self.end);
        [text.as_bytes(), &self.rest].concat()
    }
}

/// A good one, as bytes.
pub(super) fn good(path: &str) -> Vec<u8> {
    Request::good(path).bytes()
}

type Change = fn(&mut Request, &mut ChaCha8Rng);

const CHANGES: [Change; 9] = [method, path, version, without, twice, value, many, large, body];

fn method(request: &mut Request, rng: &mut ChaCha8Rng) {
    // HEAD and CONNECT have answers that can't be told from their lengths.
    let methods = ["POST", "PUT", "OPTIONS", "TRACE", "get", "G\u{0}ET", "", "PRI", "GET GET"];
    let method = methods.choose(rng).copied().unwrap_or("POST");
    request.line = request.line.replacen("GET", method, 1);
}

/// Its own path, not quite so; never that of another protocol, whose answers would not be understood.
fn path(request: &mut Request, rng: &mut ChaCha8Rng) {
    let own = request.line.split(' ').nth(1).unwrap_or("/").to_owned();
    let path = match rng.random_range(0..16) {
        0 => format!("/{own}"),
        1 => format!("{own}/"),
        2 => own.to_uppercase(),
        3 => format!("{own}/..{own}"),
        4 => format!("{own}%00"),
        5 => own.replacen("/w", "/%77", 1).replacen("/s", "/%73", 1),
        6 => format!("{own}?token=x"),
        7 => format!("{own}#x"),
        8 => format!("http://localhost{own}"),
        9 => format!("http://[::1{own}"),
        10 => format!("{own}\tx"),
        11 => format!("{own}?{}", "a=1&".repeat(rng.random_range(1..20_000))),
        12 => own.trim_start_matches('/').to_owned(),
        13 => format!("/metrics/..{own}"),
        _ => {
            ["/", "*", "", "/\u{e9}", "/v1/login", "/nowhere"].choose(rng).copied().unwrap_or("/").to_owned()
        }
    };
    request.line = format!("GET {path} HTTP/1.1");
}

fn version(request: &mut Request, rng: &mut ChaCha8Rng) {
    let versions = ["HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.11", "HTTP/1", "http/1.1", "ICY", ""];
    let version = versions.choose(rng).copied().unwrap_or("HTTP/1.0");
    request.line = request.line.replacen("HTTP/1.1", version, 1);
}

fn without(request: &mut Request, rng: &mut ChaCha8Rng) {
    request.headers.remove(rng.random_range(0..request.headers.len()));
}

fn twice(request: &mut Request, rng: &mut ChaCha8Rng) {
    if let Some(header) = request.headers.choose(rng).cloned() {
        request.headers.push(header);
    }
}

fn value(request: &mut Request, rng: &mut ChaCha8Rng) {
    let values = [
        "",
        "x",
        "websocket, h2c",
        "h2c",
        "keep-alive, Upgrade",
        "close",
        "13, 8",
        "8",
        "-1",
        "99999999999999999999",
        "AAAA",
        "%%%%",
        "dGhlIHNhbXBsZSBub25jZQ==\r\nX-Injected: 1",
        "a\u{0}b",
        "\u{e9}\u{2028}",
        "x\r\n folded",
        "\"quoted\\\"",
        "chatlab.v1, chatlab.v1",
        "chatlab.v2",
        ",,,,",
        "\t13\t",
    ];
    let nth = rng.random_range(0..request.headers.len());
    values.choose(rng).copied().unwrap_or("").clone_into(&mut request.headers[nth].1);
}

fn many(request: &mut Request, rng: &mut ChaCha8Rng) {
    for nth in 0..rng.random_range(1..300) {
        request.headers.push((format!("X-{nth}"), "y".repeat(rng.random_range(0..30))));
    }
}

fn large(request: &mut Request, rng: &mut ChaCha8Rng) {
    let name = ["Cookie", "Origin", "Sec-WebSocket-Protocol", "Authorization", "X-Request-Id", "X"];
    let name = name.choose(rng).copied().unwrap_or("X");
    let length = *[100, 5_000, 70_000, 500_000].choose(rng).unwrap_or(&100);
    request.headers.push((name.to_owned(), "z".repeat(length)));
}

fn body(request: &mut Request, rng: &mut ChaCha8Rng) {
    let lengths = [
        ("Content-Length", "5"),
        ("Content-Length", "-5"),
        ("Content-Length", "5, 6"),
        ("Content-Length", "1e3"),
        ("Content-Length", "18446744073709551616"),
        ("Transfer-Encoding", "chunked"),
        ("Transfer-Encoding", "gzip"),
        ("Transfer-Encoding", "chunked, identity"),
        ("Expect", "100-continue"),
        ("Expect", "200-ok"),
    ];
    for _ in 0..rng.random_range(1..=2) {
        if let Some((name, value)) = lengths.choose(rng) {
            request.headers.push(((*name).to_owned(), (*value).to_owned()));
        }
    }
    let bodies: [&[u8]; 5] = [
        b"hello",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\n",
        b"0\r\n\r\nGET /ws HTTP/1.1\r\n\r\n",
        b"",
    ];
    request.rest = bodies.choose(rng).copied().unwrap_or(b"").to_vec();
}

/// One or two requests, a change or more in each, and frames behind them as if they had been taken.
pub(super) fn bytes(path: &str, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut request = Request::good(path);
    for _ in 0..rng.random_range(1..=2) {
        if let Some(change) = CHANGES.choose(rng) {
            change(&mut request, rng);
        }
    }
    if rng.random_bool(0.1) {
        request.end = ["\n", "\r", "\r\n\r"].choose(rng).copied().unwrap_or("\n");
    }
    let mut bytes = request.bytes();
    if rng.random_bool(0.1) {
        let copy = bytes.clone();
        bytes.extend(copy);
    }
    if rng.random_bool(0.2) {
        bytes.extend(frames::text(r#"{"t":"ping","id":1}"#, rng.random()));
    }
    bytes
}

/// A connection that asks for a WebSocket, wrongly.
pub(super) fn steps(rng: &mut ChaCha8Rng) -> (Vec<Step>, Leave) {
    steps_to("/ws", rng)
}

pub(super) fn steps_to(path: &str, rng: &mut ChaCha8Rng) -> (Vec<Step>, Leave) {
    let mut bytes = bytes(path, rng);
    match rng.random_range(0..20) {
        // A head that does not end: the server waits, as long as it says.
        0 => {
            bytes.truncate(rng.random_range(1..bytes.len().min(300)));
            return (vec![Step::Bytes(bytes), Step::Quiet], leave(rng, false));
        }
        1 => {
            bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
        }
        // The beginning of a TLS handshake.
        2 => bytes = [&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..], &[7; 300]].concat(),
        3 => {
            bytes = vec![0; rng.random_range(1..3_000)];
            rng.fill_bytes(&mut bytes);
        }
        4 => {
            bytes.truncate(200);
            return (vec![Step::Drip(bytes), Step::Quiet], leave(rng, false));
        }
        _ => {}
    }
    let after = if ends(&bytes) { Step::Answered } else { Step::Quiet };
    (vec![Step::Bytes(bytes), after], leave(rng, false))
}

/// Whether an answer is due: the head has its end, and no body is waited for.
fn ends(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    text.contains("\r\n\r\n") && !text.contains("content-length") && !text.contains("chunked")
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn no_request_is_for_the_endpoint_of_another_protocol() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..3_000 {
            let bytes = bytes("/socket.io/?EIO=4", &mut rng);
            let line = bytes.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
            assert!(!String::from_utf8_lossy(line).contains("/ws"));
        }
    }

    #[test]
    fn a_good_request_is_one_and_the_others_differ_from_it() {
        let good = String::from_utf8(good("/ws")).unwrap();
        assert!(good.starts_with("GET /ws HTTP/1.1\r\nHost: localhost\r\n") && good.ends_with("\r\n\r\n"));
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let same = (0..500).filter(|_| bytes("/ws", &mut rng) == good.as_bytes()).count();
        assert!(same < 25, "{same}");
    }
}
