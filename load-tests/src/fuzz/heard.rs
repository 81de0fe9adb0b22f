//! What the server says, byte by byte, and whether it may say that.

use chatlab_kit::wire::{ErrorCode, ServerFrame};
use serde_json::Value;

/// The longest frame of the server that is taken in, in bytes.
const MAX_FRAME: usize = 1 << 20;
/// Requests of ours have numbers from here on, in acknowledgements too.
pub(super) const FIRST_OWN: u64 = 1 << 40;
/// The longest head of a response that is taken in, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// One thing that the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A response: its status, the code in it where it has one, and its body.
    Status { status: u16, code: Option<String>, body: String },
    /// A text: its type, with the code of an error.
    Text { name: String, own_fault: bool },
    /// The answer to a request of the protocol with this number.
    Answer(u64),
    /// A pong of RFC 6455 with this payload.
    Pong(Vec<u8>),
    /// A ping of RFC 6455.
    Ping,
    /// A close frame; its code, if it has one.
    Close(Option<u16>),
    /// What no server may say.
    Nonsense(String),
}

impl Heard {
    /// One of the many answers that a flood gets, with nothing wrong about it.
    pub(super) fn is_ordinary(&self) -> bool {
        matches!(self, Self::Pong(_) | Self::Ping | Self::Answer(_) | Self::Text { own_fault: false, .. })
    }

    /// By what it is counted.
    pub(super) fn label(&self) -> Option<String> {
        match self {
            Self::Status { status, code: Some(code), .. } => Some(format!("HTTP {status} {code}")),
            Self::Status { status, code: None, .. } => Some(format!("HTTP {status}")),
            Self::Text { name, .. } => Some(name.clone()),
            Self::Close(code) => Some(code.map_or("close".to_owned(), |code| format!("close {code}"))),
            Self::Nonsense(_) => Some("nonsense".to_owned()),
            // These are ours, not the inputs'.
            Self::Answer(_) | Self::Pong(_) | Self::Ping => None,
        }
    }
}

/// What texts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Frames of our protocol.
    Native,
    /// Packets of Engine.IO.
    Engine,
}

enum Mode {
    Head,
    Body {
        status: u16,
        length: usize,
        json: bool,
    },
    Frames,
    /// After a close frame nothing may come.
    Closed,
    /// What comes is not understood any more.
    Deaf,
}

/// Takes in bytes, gives what they say.
pub(super) struct Ear {
    bytes: Vec<u8>,
    mode: Mode,
    dialect: Dialect,
}

impl Ear {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { bytes: Vec::new(), mode: Mode::Head, dialect }
    }

    pub(super) fn take_in(&mut self, bytes: &[u8], heard: &mut Vec<Heard>) {
        self.bytes.extend_from_slice(bytes);
        loop {
            let next = match self.mode {
                Mode::Head => self.head(),
                Mode::Body { status, length, json } => self.body(status, length, json),
                Mode::Frames => self.frame(),
                Mode::Closed if !self.bytes.is_empty() => nonsense("bytes after a close frame"),
                Mode::Closed => Step::More,
                Mode::Deaf => {
                    self.bytes.clear();
                    Step::More
                }
            };
            match next {
                Step::More => return,
                Step::On => {}
                Step::Said(said) => {
                    if matches!(said, Heard::Nonsense(_)) {
                        self.mode = Mode::Deaf;
                    }
                    heard.push(said);
                }
            }
        }
    }

    fn head(&mut self) -> Step {
        let Some(end) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            let begins = b"HTTP/1.".iter().zip(&self.bytes).all(|(a, b)| a == b);
            return match begins && self.bytes.len() < MAX_HEAD {
                true => Step::More,
                false => nonsense("not the head of a response"),
            };
        };
        let head = String::from_utf8_lossy(&self.bytes[..end]).into_owned();
        self.bytes.drain(..end + 4);
        let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse::<u16>().ok());
        let Some(status) = status.filter(|status| (100..600).contains(status)) else {
            return nonsense("a response without a status");
        };
        let header = |wanted: &str| {
            head.lines().skip(1).find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case(wanted).then(|| value.trim().to_ascii_lowercase())
            })
        };
        let said = Heard::Status { status, code: None, body: String::new() };
        if status == 101 {
            self.mode = Mode::Frames;
            return Step::Said(said);
        }
        if status < 200 {
            return Step::Said(said);
        }
        let json = header("content-type").is_some_and(|kind| {
            ["application/json", "application/problem+json"].iter().any(|json| kind.starts_with(json))
        });
        match header("content-length").map(|length| length.parse::<usize>()) {
            Some(Ok(length)) if length <= MAX_FRAME => {
                self.mode = Mode::Body { status, length, json };
                Step::On
            }
            Some(_) => nonsense("a response without a length that makes sense"),
            // To the end, or in chunks: its body is nobody's concern here.
            None => {
                self.mode = Mode::Deaf;
                Step::Said(said)
            }
        }
    }

    fn body(&mut self, status: u16, length: usize, json: bool) -> Step {
        if self.bytes.len() < length {
            return Step::More;
        }
        let body = String::from_utf8_lossy(&self.bytes[..length]).into_owned();
        self.bytes.drain(..length);
        self.mode = Mode::Head;
        let value = serde_json::from_str::<Value>(&body).ok();
        if json && value.is_none() {
            return nonsense("a body that says it is JSON and is not");
        }
        let code = value.and_then(|value| Some(value.get("code")?.as_str()?.to_owned()));
        Step::Said(Heard::Status { status, code, body })
    }

    fn frame(&mut self) -> Step {
        let (Some(&first), Some(&second)) = (self.bytes.first(), self.bytes.get(1)) else {
            return Step::More;
        };
        if first & 0x80 == 0 || first & 0x70 != 0 || second & 0x80 != 0 {
            return nonsense(&format!("a frame that begins with {first:02x} {second:02x}"));
        }
        let (at, length) = match second {
            126 => (4, self.bytes.get(2..4).map(|two| two.iter().fold(0, |n, b| n << 8 | usize::from(*b)))),
            127 => {
                (10, self.bytes.get(2..10).map(|eight| eight.iter().fold(0, |n, b| n << 8 | usize::from(*b))))
            }
            short => (2, Some(usize::from(short))),
        };
        let Some(length) = length else { return Step::More };
        if length > MAX_FRAME {
            return nonsense(&format!("a frame of {length} bytes"));
        }
        let Some(payload) = self.bytes.get(at..at + length) else { return Step::More };
        let said = match first & 0x0f {
            0x1 => text(self.dialect, payload),
            0x2 if self.dialect == Dialect::Engine => Heard::Text { name: "binary".into(), own_fault: false },
            0x8 => closed(payload),
            0x9 => Heard::Ping,
            0xa => Heard::Pong(payload.to_vec()),
            other => Heard::Nonsense(format!("a frame with opcode {other}")),
        };
        self.bytes.drain(..at + length);
        if matches!(said, Heard::Close(_)) {
            self.mode = Mode::Closed;
        }
        Step::Said(said)
    }
}

enum Step {
    /// Bytes are missing.
    More,
    /// Something was read that says nothing by itself.
    On,
    Said(Heard),
}

fn nonsense(why: &str) -> Step {
    Step::Said(Heard::Nonsense(why.to_owned()))
}

fn closed(payload: &[u8]) -> Heard {
    let (code, reason) = match payload {
        [] => return Heard::Close(None),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        _ => return Heard::Nonsense("a close frame of one byte".into()),
    };
    let may_be_sent = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    if !may_be_sent || std::str::from_utf8(reason).is_err() || payload.len() > 125 {
        return Heard::Nonsense(format!("a close frame with code {code}"));
    }
    Heard::Close(Some(code))
}

fn text(dialect: Dialect, payload: &[u8]) -> Heard {
    let Ok(text) = std::str::from_utf8(payload) else {
        return Heard::Nonsense("text that is not UTF-8".into());
    };
    match dialect {
        Dialect::Native => native(text),
        Dialect::Engine => engine(text),
    }
}

fn native(text: &str) -> Heard {
    let Ok(frame) = serde_json::from_str::<ServerFrame>(text) else {
        return Heard::Nonsense(format!("no frame of the protocol: {}", start(text)));
    };
    match frame {
        ServerFrame::Pong { id } if id >= FIRST_OWN => Heard::Answer(id),
        ServerFrame::Error { code, .. } => coded("error", code),
        ServerFrame::Bye { code, .. } => coded("bye", code),
        _ => {
            let t = serde_json::from_str::<Value>(text).ok();
            let t = t.as_ref().and_then(|value| value["t"].as_str());
            Heard::Text { name: t.unwrap_or_default().to_owned(), own_fault: false }
        }
    }
}

fn coded(what: &str, code: ErrorCode) -> Heard {
    let name = serde_json::to_value(code).ok().and_then(|name| name.as_str().map(str::to_owned));
    coded_as(what, &name.unwrap_or_default())
}

fn engine(text: &str) -> Heard {
    let mut types = text.chars();
    let name = match (types.next(), types.next()) {
        (Some('4'), Some('2' | '3')) => return told(text),
        (Some('4'), Some('4')) => match code_in(&text[2..], "/data/code") {
            Some(code) => return coded_as("refused", &code),
            None => "44".to_owned(),
        },
        (Some('4'), Some(kind @ '0'..='6')) => format!("4{kind}"),
        (Some(kind @ ('0'..='3' | '5' | '6')), _) => kind.to_string(),
        _ => return Heard::Nonsense(format!("no packet: {}", start(text))),
    };
    Heard::Text { name: format!("packet {name}"), own_fault: false }
}

/// An event or an acknowledgement of Socket.IO: of what, or with which code.
fn told(text: &str) -> Heard {
    let (kind, rest) = text.split_at(2);
    let (number, json) =
        rest.split_at(rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len());
    let Ok(Value::Array(parts)) = serde_json::from_str(json) else {
        return Heard::Nonsense(format!("no packet of Socket.IO: {}", start(text)));
    };
    if kind == "43" {
        return match (number.parse(), code_in(json, "/0/error/code")) {
            (Ok(number), _) if number >= FIRST_OWN => Heard::Answer(number),
            (Ok(_), Some(code)) => coded_as("ack", &code),
            (Ok(_), None) => Heard::Text { name: "ack".into(), own_fault: false },
            (Err(_), _) => Heard::Nonsense(format!("an acknowledgement of nothing: {}", start(text))),
        };
    }
    let name = parts.first().and_then(Value::as_str).unwrap_or_default();
    match code_in(json, "/1/code") {
        Some(code) if matches!(name, "error" | "bye") => coded_as(name, &code),
        _ => Heard::Text { name: format!("event {name}"), own_fault: false },
    }
}

fn code_in(json: &str, pointer: &str) -> Option<String> {
    let value: Value = serde_json::from_str(json).ok()?;
    Some(value.pointer(pointer)?.as_str()?.to_owned())
}

fn coded_as(what: &str, code: &str) -> Heard {
    Heard::Text { name: format!("{what} {code}"), own_fault: matches!(code, "internal" | "unavailable") }
}

fn start(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(dialect: Dialect, bytes: &[u8]) -> Vec<Heard> {
        let (mut whole, mut ear) = (Vec::new(), Ear::new(dialect));
        ear.take_in(bytes, &mut whole);
        // However it is cut.
        let (mut piecewise, mut ear) = (Vec::new(), Ear::new(dialect));
        bytes.iter().for_each(|byte| ear.take_in(&[*byte], &mut piecewise));
        assert_eq!(whole, piecewise);
        whole
    }

    const UPGRADED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n";

    fn after_upgrade(dialect: Dialect, frames: &[&[u8]]) -> Vec<Heard> {
        let mut all = heard(dialect, &[UPGRADED, &frames.concat()].concat());
        assert!(matches!(all.remove(0), Heard::Status { status: 101, .. }));
        all
    }

    #[test]
    fn a_conversation_is_understood() {
        let error = br#"{"t":"error","code":"invalid","message":"x","retryable":false}"#;
        let all = after_upgrade(
            Dialect::Native,
            &[
                &[0x81, 62],
                error,
                b"\x89\0",
                b"\x8a\x02ab",
                &[0x81, 31],
                br#"{"t":"pong","id":1099511627776}"#,
                b"\x88\x02\x03\xea",
            ],
        );
        let text = Heard::Text { name: "error invalid".into(), own_fault: false };
        let pong = Heard::Pong(b"ab".to_vec());
        assert_eq!(all, [text, Heard::Ping, pong, Heard::Answer(FIRST_OWN), Heard::Close(Some(1002))]);
        let all = after_upgrade(Dialect::Engine, &[&[0x81, 7], br#"40{"a":"#, b"\x81\x012", b"\x82\x01x"]);
        assert_eq!(
            all.iter().filter_map(Heard::label).collect::<Vec<_>>(),
            ["packet 40", "packet 2", "binary"]
        );
    }

    #[test]
    fn responses_are_read_one_after_the_other_with_their_codes() {
        let body = r#"{"status":400,"code":"invalid"}"#;
        let one = format!(
            "HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let all = heard(Dialect::Native, format!("HTTP/1.1 100 Continue\r\n\r\n{one}{one}").as_bytes());
        let labels: Vec<_> = all.iter().filter_map(Heard::label).collect();
        assert_eq!(labels, ["HTTP 100", "HTTP 400 invalid", "HTTP 400 invalid"]);
    }

    #[test]
    fn what_no_server_may_say_is_nonsense() {
        let http: [&[u8]; 4] = [
            b"hello",
            b"HTTP/1.1 abc\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n{",
        ];
        for bytes in http {
            assert!(matches!(heard(Dialect::Native, bytes)[..], [Heard::Nonsense(_)]), "{bytes:?}");
        }
        let frames: [&[u8]; 11] = [
            b"\x81\x80\0\0\0\0",
            b"\x01\x01x",
            b"\xc1\x01x",
            b"\x82\x01x",
            b"\x80\0",
            b"\x83\0",
            b"\x81\x01\xff",
            b"\x81\x02{}",
            b"\x88\x01\x03",
            b"\x88\x02\x03\xed",
            b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
        ];
        for bytes in frames {
            let all = after_upgrade(Dialect::Native, &[bytes]);
            assert!(matches!(all[..], [Heard::Nonsense(_)]), "{bytes:?}: {all:?}");
        }
        let after = after_upgrade(Dialect::Native, &[b"\x88\0", b"\x89\0"]);
        assert!(matches!(after[..], [Heard::Close(None), Heard::Nonsense(_)]), "{after:?}");
        let all = after_upgrade(Dialect::Engine, &[b"\x81\x02hi"]);
        assert!(matches!(all[..], [Heard::Nonsense(_)]));
    }

    #[test]
    fn a_fault_of_the_servers_own_is_told_apart() {
        for (code, own) in [("internal", true), ("unavailable", true), ("invalid", false)] {
            let text = format!(r#"{{"t":"error","code":"{code}","message":"x","retryable":true}}"#);
            assert!(matches!(native(&text), Heard::Text { own_fault, .. } if own_fault == own), "{code}");
        }
    }
}
