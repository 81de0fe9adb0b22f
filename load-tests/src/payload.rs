//! The body of a generated message, and reading delivered frames without a JSON parser.
//!
//! `cl1 RRRRRRRR OOOO NNNNNNNN IIIIIIIIIIIIIIII CCCCCCCCCCCCCCCC ` and padding, all numbers in
//! hexadecimal: run, room, message number, intended instant in nanoseconds since the run's start,
//! checksum over everything else. Plain ASCII that JSON never escapes.

use chatlab_kit::{message::MAX_BODY_BYTES, wire::ServerFrame};

/// The shortest body: everything but the padding.
pub const MIN_BODY_BYTES: usize = 61;
const CHECKSUM_AT: usize = 44;
const CHECKSUM_END: usize = 60;
const PADDING: &[u8] = b"the quick brown fox jumps over the lazy dog ";

/// What a generated body says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Tells runs apart.
    pub run: u32,
    /// The room's number in the plan.
    pub room: u16,
    /// The message's number in the run.
    pub number: u32,
    /// When it was due, in nanoseconds since the run's start.
    pub intended_ns: u64,
}

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPayload {
    /// Not a generated body at all.
    Foreign,
    /// A generated body whose checksum does not match.
    Corrupt,
}

impl Payload {
    /// The body, padded to `bytes` (held between [`MIN_BODY_BYTES`] and the protocol's maximum).
    pub fn body(&self, bytes: usize) -> String {
        let bytes = bytes.clamp(MIN_BODY_BYTES, MAX_BODY_BYTES);
        let Self { run, room, number, intended_ns } = self;
        let mut body = format!("cl1 {run:08x} {room:04x} {number:08x} {intended_ns:016x} {:016x} ", 0);
        body.extend(PADDING.iter().cycle().take(bytes.saturating_sub(body.len())).map(|b| char::from(*b)));
        let sum = format!("{:016x}", checksum(body.as_bytes()));
        body.replace_range(CHECKSUM_AT..CHECKSUM_END, &sum);
        body
    }

    /// Reads a body and verifies its checksum.
    ///
    /// # Errors
    /// [`BadPayload`] says whether it was someone else's or damaged.
    pub fn parse(body: &[u8]) -> Result<Self, BadPayload> {
        if body.len() < MIN_BODY_BYTES || !body.starts_with(b"cl1 ") {
            return Err(BadPayload::Foreign);
        }
        let hex = |from: usize, to: usize| parse_hex(&body[from..to]).ok_or(BadPayload::Corrupt);
        if hex(CHECKSUM_AT, CHECKSUM_END)? != checksum(body) {
            return Err(BadPayload::Corrupt);
        }
        Ok(Self {
            run: hex(4, 12)? as u32,
            room: hex(13, 17)? as u16,
            number: hex(18, 26)? as u32,
            intended_ns: hex(27, 43)?,
        })
    }
}

fn parse_hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(value << 4 | u64::from(digit))
    })
}

/// Over everything but the checksum's own place; eight bytes a step, because this runs for every
/// delivery. Not cryptographic: it finds damage, not forgery.
fn checksum(body: &[u8]) -> u64 {
    const PRIME: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut sum = body.len() as u64;
    for part in [&body[..CHECKSUM_AT], &body[CHECKSUM_END..]] {
        let (words, tail) = part.as_chunks::<8>();
        for word in words {
            sum = (sum ^ u64::from_le_bytes(*word)).wrapping_mul(PRIME).rotate_left(29);
        }
        for byte in tail {
            sum = (sum ^ u64::from(*byte)).wrapping_mul(PRIME).rotate_left(29);
        }
    }
    sum
}

/// The fields of a `message` frame that the generator needs, borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// The sequence's run.
    pub epoch: &'a str,
    /// The place in the room.
    pub seq: u64,
    /// The room's id as text.
    pub room: &'a str,
    /// The message's id as text.
    pub id: &'a str,
    /// The body, as it stands in the JSON.
    pub body: &'a str,
}

/// Reads a `message` frame whose fields stand in the usual order; none when they do not, or the
/// body holds an escape, and then a JSON parser must read it.
pub fn quick_parse(frame: &str) -> Option<Delivery<'_>> {
    let rest = frame.strip_prefix(r#"{"t":"message","epoch":""#)?;
    let (epoch, rest) = rest.split_once('"')?;
    let rest = rest.strip_prefix(r#","seq":"#)?;
    let (seq, rest) = number(rest)?;
    let rest = rest.strip_prefix(r#","ts":"#)?;
    let (_, rest) = number(rest)?;
    let rest = rest.strip_prefix(r#","room":""#)?;
    let (room, rest) = rest.split_at_checked(36)?;
    // `","id":"` UUID `","from":"` UUID `","cid":"`
    let (id, rest) = rest.strip_prefix(r#"","id":""#)?.split_at_checked(36)?;
    let rest = skip(rest, r#"","from":""#, 36)?;
    let rest = rest.strip_prefix(r#"","cid":""#)?;
    let (_, rest) = rest.split_once('"')?;
    let rest = rest.strip_prefix(r#","kind":"text","body":""#)?;
    let body = rest.strip_suffix(r#""}"#)?;
    let plain = !body.bytes().any(|b| b == b'"' || b == b'\\');
    plain.then_some(Delivery { epoch, seq, room, id, body })
}

fn skip<'a>(text: &'a str, prefix: &str, bytes: usize) -> Option<&'a str> {
    text.strip_prefix(prefix)?.get(bytes..)
}

fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.bytes().position(|b| !b.is_ascii_digit())?;
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// Any frame that [`quick_parse`] does not read.
///
/// # Errors
/// What the JSON parser says.
pub fn slow_parse(frame: &str) -> Result<ServerFrame, serde_json::Error> {
    serde_json::from_str(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chatlab_kit::{
        ids::{MessageId, RoomId, UserId},
        message::{Draft, Envelope},
    };

    fn payload() -> Payload {
        Payload { run: 0xABCD_EF01, room: 19, number: 123_456, intended_ns: 12_345_678_901 }
    }

    fn frame(body: &str) -> (String, Draft) {
        let draft = Draft {
            room: RoomId::new(),
            id: MessageId::new(),
            from: UserId::new(),
            cid: "r1-7".parse().unwrap(),
            kind: Default::default(),
            about: None,
            reply_to: None,
            forwarded_from: None,
            body: body.to_owned(),
        };
        let bytes = format!("ep-1 42 1700000000000 {}", serde_json::to_string(&draft).unwrap());
        (Envelope::parse(bytes.as_bytes()).unwrap().frame(), draft)
    }

    #[test]
    fn a_body_survives_and_has_the_asked_length() {
        for bytes in [0, 61, 62, 180, 4096, 9999] {
            let body = payload().body(bytes);
            assert_eq!(body.len(), bytes.clamp(MIN_BODY_BYTES, MAX_BODY_BYTES));
            assert_eq!(Payload::parse(body.as_bytes()), Ok(payload()));
        }
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let body = payload().body(180).into_bytes();
        for at in 4..body.len() {
            let mut damaged = body.clone();
            damaged[at] ^= 1;
            assert_eq!(Payload::parse(&damaged), Err(BadPayload::Corrupt), "byte {at}");
        }
        assert_eq!(Payload::parse(b"hello"), Err(BadPayload::Foreign));
    }

    #[test]
    fn the_quick_parser_reads_what_the_server_splices() {
        let body = payload().body(180);
        let (text, draft) = frame(&body);
        let got = quick_parse(&text).unwrap();
        let room = draft.room.to_string();
        let id = draft.id.to_string();
        assert_eq!(got, Delivery { epoch: "ep-1", seq: 42, room: &room, id: &id, body: &body });
    }

    #[test]
    fn escapes_and_other_frames_are_left_to_the_json_parser() {
        for body in ["say \"hi\"", "back\\slash"] {
            assert_eq!(quick_parse(&frame(body).0), None);
        }
        for other in ["", "{}", r#"{"t":"pong","id":1}"#, r#"{"t":"message","epoch":"é"#] {
            assert_eq!(quick_parse(other), None);
        }
    }
}
