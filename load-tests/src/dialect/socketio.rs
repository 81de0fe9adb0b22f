//! Socket.IO 4 over Engine.IO 4, as text frames of a WebSocket.
//!
//! Engine.IO's packet type is the first character (0 open, 1 close, 2 ping, 3 pong, 4 message, 6 noop), Socket.IO's the second of
//! a message (0 connect, 1 disconnect, 2 event, 3 ack, 4 connect error; 5 and 6 are binary); then a namespace with its comma if
//! it is not `/`, the acknowledgement's number if there is one, and JSON. Sources: "The Engine.IO protocol", revision 4, and "The
//! Socket.IO protocol", revision 5, both at socket.io/docs/v4. Only the namespace `/` is spoken; binary packets are not.

use super::Frame;

/// What a frame is.
pub fn read(text: &str) -> Frame<'_> {
    let (Some(kind), rest) = (text.chars().next(), text.get(1..).unwrap_or_default()) else {
        return Frame::Unknown;
    };
    match kind {
        '0' => Frame::Opened,
        '1' => Frame::Closed,
        // A pong carries what its ping did.
        '2' => Frame::Ping(format!("3{rest}")),
        '3' | '6' => Frame::Nothing,
        '4' => packet(rest),
        _ => Frame::Unknown,
    }
}

fn packet(text: &str) -> Frame<'_> {
    let (Some(kind), rest) = (text.chars().next(), text.get(1..).unwrap_or_default()) else {
        return Frame::Unknown;
    };
    let rest = match rest.strip_prefix('/') {
        Some(named) => named.split_once(',').map_or("", |(_, rest)| rest),
        None => rest,
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (number, data) = rest.split_at(digits);
    match kind {
        '0' => Frame::Connected,
        '1' => Frame::Closed,
        '2' => Frame::Message(data),
        '3' => number.parse().map_or(Frame::Unknown, Frame::Ack),
        '4' => Frame::Refused(data),
        _ => Frame::Unknown,
    }
}

/// The packet that asks to be taken, with what it carries (JSON, or nothing).
pub fn connect(auth: &str) -> String {
    format!("40{auth}")
}

/// An event (a JSON array: its name, then its arguments), with the number of the acknowledgement that is asked for.
pub fn event(data: &str, ack: Option<u64>) -> String {
    ack.map_or_else(|| format!("42{data}"), |number| format!("42{number}{data}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_as_the_protocol_says() {
        for (text, frame) in [
            (r#"0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#, Frame::Opened),
            (r#"40{"sid":"b"}"#, Frame::Connected),
            (r#"44{"message":"Not authorized"}"#, Frame::Refused(r#"{"message":"Not authorized"}"#)),
            ("2", Frame::Ping("3".into())),
            ("2probe", Frame::Ping("3probe".into())),
            ("3", Frame::Nothing),
            ("6", Frame::Nothing),
            (r#"42["said",{"n":1}]"#, Frame::Message(r#"["said",{"n":1}]"#)),
            (r#"4217["said"]"#, Frame::Message(r#"["said"]"#)),
            (r#"42/chat,17["said"]"#, Frame::Message(r#"["said"]"#)),
            ("4312[]", Frame::Ack(12)),
            (r#"43/chat,7["ok"]"#, Frame::Ack(7)),
            ("41", Frame::Closed),
            ("1", Frame::Closed),
            ("43[]", Frame::Unknown),
            ("451-[]", Frame::Unknown),
            ("", Frame::Unknown),
            ("4", Frame::Unknown),
            ("é", Frame::Unknown),
            ("hello", Frame::Unknown),
        ] {
            assert_eq!(read(text), frame, "{text}");
        }
    }

    #[test]
    fn packets_are_written_as_the_protocol_says() {
        assert_eq!(connect(""), "40");
        assert_eq!(connect(r#"{"token":"u1"}"#), r#"40{"token":"u1"}"#);
        assert_eq!(event(r#"["join","r1"]"#, None), r#"42["join","r1"]"#);
        assert_eq!(event(r#"["join","r1"]"#, Some(3)), r#"423["join","r1"]"#);
    }
}
