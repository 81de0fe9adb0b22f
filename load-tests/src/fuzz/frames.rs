//! Bytes that RFC 6455 does not allow, and some that it allows and nobody sends. Each with what must follow.

use rand::{Rng, RngCore, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use super::case::{Leave, Step, leave};

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
const FIN: u8 = 0x80;
/// The most bytes in a flood that nobody reads the answers to: more than the kernel holds for a connection.
const MAX_FLOOD_BYTES: usize = 8 << 20;
/// The most frames in any flood: small ones cost the server time by the frame.
const MAX_FLOOD_FRAMES: usize = 60_000;
/// The server's own bound of a frame.
const MAX_FRAME: usize = chatlab_kit::wire::MAX_FRAME_BYTES;

/// What must follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The connection lives and answers.
    Alive,
    /// It is closed with this code.
    Dead(u16),
    /// Either, or it waits for more.
    Unclear,
}

/// Writes a frame: its first byte, its length in the shortest form, and the payload, masked.
pub(super) fn frame(first: u8, payload: &[u8], mask: u32) -> Vec<u8> {
    let mut bytes = head(first, payload.len() as u64, 0x80);
    mask_onto(&mut bytes, payload, mask);
    bytes
}

pub(super) fn text(text: &str, mask: u32) -> Vec<u8> {
    frame(FIN | TEXT, text.as_bytes(), mask)
}

pub(super) fn close(code: u16, mask: u32) -> Vec<u8> {
    frame(FIN | CLOSE, &code.to_be_bytes(), mask)
}

pub(super) fn ping(payload: &[u8], mask: u32) -> Vec<u8> {
    frame(FIN | PING, payload, mask)
}

fn head(first: u8, length: u64, masked: u8) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(masked | length as u8),
        126..=0xffff => {
            bytes.push(masked | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(masked | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes
}

fn mask_onto(bytes: &mut Vec<u8>, payload: &[u8], mask: u32) {
    let mask = mask.to_be_bytes();
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// What the server answers after hello: to be cut into pieces.
const GOOD: &str = r#"{"t":"ping","id":99}"#;

type Blow = fn(&mut ChaCha8Rng) -> (Step, Then);

/// Needs no hello before it.
const LOW: [Blow; 17] = [
    reserved_opcode,
    reserved_bits,
    unmasked,
    giant,
    just_over,
    long_form,
    cut_control,
    big_control,
    control,
    odd_close,
    stray_continuation,
    data_in_fragments,
    endless_fragments,
    bad_utf8,
    noise,
    flood,
    dripped_ping,
];
/// Needs one.
const HIGH: [Blow; 5] = [fragments, dripped, binary, flipped, truncated];

fn bytes_of(count: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = vec![0; count];
    rng.fill_bytes(&mut bytes);
    bytes
}

fn reserved_opcode(rng: &mut ChaCha8Rng) -> (Step, Then) {
    let opcode = *[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].choose(rng).unwrap_or(&3);
    let payload = bytes_of(rng.random_range(0..=125), rng);
    (Step::Bytes(frame(FIN | opcode, &payload, rng.random())), Then::Dead(1002))
}

fn reserved_bits(rng: &mut ChaCha8Rng) -> (Step, Then) {
    let bits = rng.random_range(1..8u8) << 4;
    let opcode = *[TEXT, BINARY, PING, PONG].choose(rng).unwrap_or(&TEXT);
    (Step::Bytes(frame(FIN | bits | opcode, b"{}", rng.random())), Then::Dead(1002))
}

fn unmasked(rng: &mut ChaCha8Rng) -> (Step, Then) {
    let opcode = *[TEXT, BINARY, PING, PONG, CLOSE].choose(rng).unwrap_or(&TEXT);
    let mut bytes = head(FIN | opcode, GOOD.len() as u64, 0);
    bytes.extend(GOOD.as_bytes());
    (Step::Bytes(bytes), Then::Dead(1002))
}

/// Declares more than anybody will send, and sends some of it.
fn giant(rng: &mut ChaCha8Rng) -> (Step, Then) {
    let lengths = [1 << 20, 1 << 30, 1 << 32, (1 << 40) + 7, i64::MAX as u64, 1 << 63, u64::MAX];
    let mut bytes = head(FIN | TEXT, *lengths.choose(rng).unwrap_or(&(1 << 32)), 0x80);
    mask_onto(&mut bytes, &bytes_of(rng.random_range(0..3_000), rng), rng.random());
    (Step::Bytes(bytes), Then::Dead(1009))
}

fn just_over(rng: &mut ChaCha8Rng) -> (Step, Then) {
    let over = rng.random_range(1..200);
    let opcode = *[TEXT, BINARY].choose(rng).unwrap_or(&TEXT);
    (Step::Bytes(frame(FIN | opcode, &vec![b' '; MAX_FRAME + over], rng.random())), Then::Dead(1009))
}

/// A short length in a long form. RFC 6455 wants the shortest; nothing depends on it.
fn long_form(rng: &mut ChaCha8Rng) -> (Step, Then) {
    let payload = bytes_of(rng.random_range(0..=125), rng);
    let mut bytes = vec![FIN | PING];
    if rng.random() {
        bytes.push(0x80 | 126);
        bytes.extend((payload.len() as u16).to_be_bytes());
    } else {
        bytes.push(0x80 | 127);
        bytes.extend((payload.len() as u64).to_be_bytes());
    }
    mask_onto(&mut bytes, &payload, rng.random());
    (Step::Bytes(bytes), Then::Unclear)
}

fn cut_control(rng: &mut ChaCha8Rng) -> (Step, Then) {
    let opcode = *[PING, PONG, CLOSE].choose(rng).unwrap_or(&PING);
    (Step::Bytes(frame(opcode, b"", rng.random())), Then::Dead(1002))
}

fn big_control(rng: &mut ChaCha8Rng) -> (Step, Then) {
    let opcode = *[PING, PONG, CLOSE].choose(rng).unwrap_or(&PING);
    let payload = vec![b'x'; rng.random_range(126..4_000)];
    (Step::Bytes(frame(FIN | opcode, &payload, rng.random())), Then::Dead(1002))
}

fn control(rng: &mut ChaCha8Rng) -> (Step, Then) {
    let opcode = *[PING, PONG].choose(rng).unwrap_or(&PING);
    let payload = bytes_of(rng.random_range(0..=125), rng);
    (Step::Bytes(frame(FIN | opcode, &payload, rng.random())), Then::Alive)
}

fn odd_close(rng: &mut ChaCha8Rng) -> (Step, Then) {
    let codes = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX];
    let code = codes.choose(rng).copied().unwrap_or(0).to_be_bytes();
    let (payload, then) = match rng.random_range(0..3) {
        0 => (vec![3], Then::Dead(1002)),
        1 => (code.to_vec(), Then::Dead(1002)),
        _ => ([&1000u16.to_be_bytes()[..], b"\xff\xfe"].concat(), Then::Dead(1007)),
    };
    (Step::Bytes(frame(FIN | CLOSE, &payload, rng.random())), then)
}

fn stray_continuation(rng: &mut ChaCha8Rng) -> (Step, Then) {
    let fin = if rng.random() { FIN } else { 0 };
    (Step::Bytes(frame(fin, GOOD.as_bytes(), rng.random())), Then::Dead(1002))
}

fn data_in_fragments(rng: &mut ChaCha8Rng) -> (Step, Then) {
    let mut bytes = frame(TEXT, b"{", rng.random());
    bytes.extend(frame(FIN | if rng.random() { TEXT } else { BINARY }, b"}", rng.random()));
    (Step::Bytes(bytes), Then::Dead(1002))
}

/// Fragments that are each within the bound and together over it.
fn endless_fragments(rng: &mut ChaCha8Rng) -> (Step, Then) {
    let size = rng.random_range(200..3_000);
    let mut bytes = frame(TEXT, &vec![b' '; size], rng.random());
    for _ in 0..MAX_FRAME / size + 1 {
        bytes.extend(frame(0, &vec![b' '; size], rng.random()));
    }
    (Step::Bytes(bytes), Then::Dead(1009))
}

fn bad_utf8(rng: &mut ChaCha8Rng) -> (Step, Then) {
    let bad: &[&[u8]] = &[
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"{\"t\":\"\xe2\x28\xa1\"}",
        b"\xf0\x9f\x98",
    ];
    let bad = bad.choose(rng).copied().unwrap_or(b"\xff");
    let bytes = if rng.random() {
        frame(FIN | TEXT, bad, rng.random())
    } else {
        let (a, b) = bad.split_at(rng.random_range(0..=bad.len()));
        [frame(TEXT, a, rng.random()), frame(FIN, b, rng.random())].concat()
    };
    (Step::Bytes(bytes), Then::Dead(1007))
}

fn noise(rng: &mut ChaCha8Rng) -> (Step, Then) {
    (Step::Bytes(bytes_of(rng.random_range(1..4_096), rng)), Then::Unclear)
}

/// Pings without end, and now and then so many that their answers fit nowhere.
fn flood(rng: &mut ChaCha8Rng) -> (Step, Then) {
    let payload = bytes_of(rng.random_range(0..=125), rng);
    let bytes = frame(FIN | if rng.random_bool(0.8) { PING } else { PONG }, &payload, rng.random());
    let most = if rng.random_ratio(1, 40) { MAX_FLOOD_BYTES } else { 64 << 10 };
    let times = rng.random_range(1..=(most / bytes.len()).min(MAX_FLOOD_FRAMES) as u32);
    (Step::Flood { bytes, times }, Then::Alive)
}

fn dripped_ping(rng: &mut ChaCha8Rng) -> (Step, Then) {
    (Step::Drip(ping(b"drip", rng.random())), Then::Alive)
}

/// A good request in pieces, empty ones and pings among them.
fn fragments(rng: &mut ChaCha8Rng) -> (Step, Then) {
    let (mut bytes, mut first, mut rest) = (Vec::new(), TEXT, GOOD.as_bytes());
    let empty = if rng.random_bool(0.2) { 2_000 } else { 3 };
    for _ in 0..rng.random_range(1..=empty) {
        bytes.extend(frame(first, b"", rng.random()));
        first = 0;
    }
    while rest.len() > 1 {
        let (piece, others) = rest.split_at(rng.random_range(1..rest.len()));
        bytes.extend(frame(first, piece, rng.random()));
        if rng.random() {
            bytes.extend(ping(b"between", rng.random()));
        }
        (first, rest) = (0, others);
    }
    bytes.extend(frame(FIN, rest, rng.random()));
    (Step::Bytes(bytes), Then::Alive)
}

fn dripped(rng: &mut ChaCha8Rng) -> (Step, Then) {
    (Step::Drip(text(GOOD, rng.random())), Then::Alive)
}

fn binary(rng: &mut ChaCha8Rng) -> (Step, Then) {
    (Step::Binary(bytes_of(rng.random_range(0..200), rng)), Then::Alive)
}

/// Some good frames in which a few bits are wrong.
fn flipped(rng: &mut ChaCha8Rng) -> (Step, Then) {
    let mut bytes: Vec<u8> = (0..4).flat_map(|_| text(GOOD, rng.random())).collect();
    for _ in 0..rng.random_range(1..=8) {
        let at = rng.random_range(0..bytes.len());
        bytes[at] ^= 1 << rng.random_range(0..8);
    }
    (Step::Bytes(bytes), Then::Unclear)
}

/// A good frame that stops somewhere.
fn truncated(rng: &mut ChaCha8Rng) -> (Step, Then) {
    let mut bytes = text(&GOOD.repeat(rng.random_range(1..20)), rng.random());
    bytes.truncate(rng.random_range(1..bytes.len()));
    (Step::Bytes(bytes), Then::Unclear)
}

/// A connection that is opened, says hello more often than not, and then does what it should not.
pub(super) fn steps(rng: &mut ChaCha8Rng) -> (Vec<Step>, Leave) {
    let mut steps = vec![Step::Open("/ws".to_owned())];
    let greeted = rng.random_bool(0.7);
    if greeted {
        steps.push(Step::Hello);
    }
    for _ in 0..rng.random_range(1..=6) {
        let high = greeted && rng.random_bool(0.3);
        let blows: &[Blow] = if high { &HIGH } else { &LOW };
        let Some(blow) = blows.choose(rng) else { continue };
        let (step, then) = blow(rng);
        steps.push(step);
        match then {
            Then::Alive => steps.push(if greeted { Step::Fence } else { Step::LowFence }),
            Then::Dead(code) => {
                steps.push(Step::Closed(vec![code]));
                return (steps, leave(rng, false));
            }
            Then::Unclear => {
                steps.push(Step::Quiet);
                return (steps, leave(rng, false));
            }
        }
    }
    (steps, leave(rng, true))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn frames_are_written_as_rfc_6455_says() {
        // The masked example of section 5.7.
        assert_eq!(text("Hello", 0x37fa_213d), b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        assert_eq!(head(0x82, 256, 0), b"\x82\x7e\x01\x00");
        assert_eq!(head(0x82, 65_536, 0), b"\x82\x7f\0\0\0\0\0\x01\0\0");
    }

    #[test]
    fn nothing_that_must_be_survived_is_larger_than_a_frame_may_be() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..200 {
            for blow in LOW.iter().chain(&HIGH) {
                if let (Step::Bytes(bytes), Then::Alive) = blow(&mut rng) {
                    assert!(bytes.len() < 4 * MAX_FRAME);
                }
            }
        }
    }
}
