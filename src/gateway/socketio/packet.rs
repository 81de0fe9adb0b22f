//! The packets of Socket.IO (its protocol's revision 5) within the messages of Engine.IO (revision 4).
//!
//! ```text
//! 4 2 /ns, 7 ["event",{…}]
//! │ │ │    │ └ JSON
//! │ │ │    └ the number of the acknowledgement, if one is wanted
//! │ │ └ the namespace, unless it is "/"
//! │ └ Socket.IO: 0 connect, 1 disconnect, 2 event, 3 acknowledgement, 4 connect error, 5 and 6 binary
//! └ Engine.IO: 0 open, 1 close, 2 ping, 3 pong, 4 message, 5 upgrade, 6 noop
//! ```

use axum::extract::ws::Utf8Bytes;

use crate::gateway::live::source::Heard;

/// The version of Engine.IO in the query.
pub const ENGINE: &str = "4";
/// Asks a client for a sign of life.
pub const PING: &str = "2";
/// Ends a session on the polling transport.
pub const CLOSE: &str = "1";
/// What a poll gets that is to end without news.
pub const NOOP: &str = "6";
/// What a client asks a new transport.
pub const PROBE: &str = "2probe";
/// The answer to that.
pub const PROBED: &str = "3probe";
/// The client goes on on the new transport.
pub const UPGRADE: &str = "5";
/// Ends the client's part in the namespace: it does not connect again by itself.
pub const DISCONNECT: &str = "41";

/// The greatest acknowledgement number: JavaScript's greatest whole number.
const MAX_ACK: u64 = (1 << 53) - 1;
/// The longest namespace that is answered.
const MAX_NAMESPACE_BYTES: usize = 128;
/// The only namespace.
const ROOT: &str = "/";
/// Why binary is refused.
const NO_BINARY: &str = "binary data is not understood";

/// A packet of Socket.IO from a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Wants into the namespace; with what it says about itself.
    Connect(&'a str),
    /// Wants into another namespace, or uses one.
    Foreign(&'a str),
    /// An event: its acknowledgement number, and a JSON array.
    Event(Option<u64>, &'a str),
    /// An event with binary data, which is not understood.
    Binary(Option<u64>),
}

/// What an Engine.IO packet is, as far as its first bytes tell.
pub fn heard(text: Utf8Bytes) -> Heard {
    match text.as_bytes() {
        [b'1', ..] => Heard::Gone,
        // Of our only namespace, so the connection has no more use.
        [b'4', b'1'] | [b'4', b'1', b'/'] | [b'4', b'1', b'/', b','] => Heard::Gone,
        [b'4', b'1', ..] | [b'2' | b'3' | b'6', ..] => Heard::Sign,
        [b'b', ..] => Heard::Odd(NO_BINARY),
        _ => Heard::Text(text),
    }
}

/// Reads a message.
///
/// # Errors
/// Why it is none.
pub fn parse(text: &str) -> Result<Packet<'_>, &'static str> {
    let text = text.strip_prefix('4').ok_or("no packet of Engine.IO that has a meaning here")?;
    let (kind, mut rest) = text
        .split_at_checked(1)
        .ok_or("the packet is empty")
        .map(|(kind, rest)| (kind.as_bytes()[0], rest))?;
    if matches!(kind, b'5' | b'6') {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        rest = rest.strip_prefix('-').ok_or("a binary packet without the number of its parts")?;
    }
    if rest.starts_with(ROOT) {
        let (namespace, after) = rest.split_once(',').unwrap_or((rest, ""));
        let namespace = namespace.split('?').next().unwrap_or_default();
        if namespace.len() > MAX_NAMESPACE_BYTES {
            return Err("the namespace is too long");
        }
        if namespace != ROOT {
            return Ok(Packet::Foreign(namespace));
        }
        rest = after;
    }
    if kind == b'0' {
        return Ok(Packet::Connect(rest));
    }
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, json) = rest.split_at(digits);
    let ack = match number {
        "" => None,
        number => Some(number.parse().ok().filter(|n| *n <= MAX_ACK).ok_or("the number is too great")?),
    };
    match kind {
        b'2' => Ok(Packet::Event(ack, json)),
        b'5' => Ok(Packet::Binary(ack)),
        b'3' | b'6' => Err("nothing was asked that could be acknowledged"),
        _ => Err("no packet of Socket.IO that a client sends"),
    }
}

/// Lets a client in.
pub fn connected(sid: &str) -> String {
    format!(r#"40{{"sid":"{sid}"}}"#)
}

/// Refuses a namespace that there is not.
pub fn no_namespace(namespace: &str) -> String {
    format!(r#"44{namespace},{{"message":"Invalid namespace"}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_taken_apart() {
        let cases = [
            ("40", Packet::Connect("")),
            (r#"40{"token":"x"}"#, Packet::Connect(r#"{"token":"x"}"#)),
            (r#"40/,{"token":"x"}"#, Packet::Connect(r#"{"token":"x"}"#)),
            ("40/admin,", Packet::Foreign("/admin")),
            ("40/admin", Packet::Foreign("/admin")),
            ("40/admin?a=b,{}", Packet::Foreign("/admin")),
            (r#"42["message",{}]"#, Packet::Event(None, r#"["message",{}]"#)),
            (r#"4212["message",{}]"#, Packet::Event(Some(12), r#"["message",{}]"#)),
            (r#"42/,0["message"]"#, Packet::Event(Some(0), r#"["message"]"#)),
            (r#"42/x,0["message"]"#, Packet::Foreign("/x")),
            (r#"451-7["m",{"_placeholder":true,"num":0}]"#, Packet::Binary(Some(7))),
            ("429007199254740991[]", Packet::Event(Some(MAX_ACK), "[]")),
        ];
        for (text, packet) in cases {
            assert_eq!(parse(text), Ok(packet), "{text}");
        }
        let long = format!("40/{},", "n".repeat(MAX_NAMESPACE_BYTES));
        for bad in
            ["", "4", "5", "0{}", "43[]", "430[]", "44{}", "49", "45x", "429007199254740992[]", "4é", &long]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_request_is_known_by_its_first_bytes() {
        let kind = |text: &str| match heard(Utf8Bytes::from(text)) {
            Heard::Text(_) => "text",
            Heard::Odd(_) => "odd",
            Heard::Sign => "sign",
            Heard::Gone => "gone",
            Heard::Broken(_) => "broken",
        };
        let cases = [
            ("3", "sign"),
            ("2", "sign"),
            ("6", "sign"),
            ("1", "gone"),
            ("41", "gone"),
            ("41/,", "gone"),
            ("41/other,", "sign"),
            ("bAAEC", "odd"),
            ("40{}", "text"),
            ("", "text"),
            ("what", "text"),
        ];
        for (text, expected) in cases {
            assert_eq!(kind(text), expected, "{text:?}");
        }
    }
}
