//! The commands of a mixed load, ready to be appended.
//!
//! Key names have a fixed width, so that a command is copied in a few pieces around its numbers. Structures have keys of
//! their own (`load:s:` strings, `load:i:` counters, `load:h:` hashes, …), so that no command meets the wrong type.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{codec, keys::Dice};

/// Digits of a key's number.
const KEY_DIGITS: usize = 12;
/// Members of a set or sorted set and fields of a hash that are written: 0 to this, without it.
const MEMBERS: u64 = 1_000;
/// Entries that a stream keeps, roughly.
const STREAM_LEN: &[u8] = b"1000";

/// One kind of command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// `GET key`
    Get,
    /// `SET key value`
    Set,
    /// `INCR key`
    Incr,
    /// `HSET key field value`
    HSet,
    /// `HGET key field`
    HGet,
    /// `SADD key member`
    SAdd,
    /// `ZADD key score member`
    ZAdd,
    /// `ZRANGE key 0 9`
    ZRange,
    /// `LPUSH key value`; give `rpop` the same weight, or the lists grow.
    LPush,
    /// `RPOP key`
    RPop,
    /// `XADD key MAXLEN ~ 1000 * f value`
    XAdd,
    /// `PUBLISH channel payload`
    Publish,
    /// `SPUBLISH channel payload`
    SPublish,
    /// `PING`
    Ping,
}

impl Op {
    /// All, in the order of [`Op::index`].
    pub const ALL: [Self; 14] = [
        Self::Get,
        Self::Set,
        Self::Incr,
        Self::HSet,
        Self::HGet,
        Self::SAdd,
        Self::ZAdd,
        Self::ZRange,
        Self::LPush,
        Self::RPop,
        Self::XAdd,
        Self::Publish,
        Self::SPublish,
        Self::Ping,
    ];

    /// The command's name, as in `INFO commandstats`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Incr => "incr",
            Self::HSet => "hset",
            Self::HGet => "hget",
            Self::SAdd => "sadd",
            Self::ZAdd => "zadd",
            Self::ZRange => "zrange",
            Self::LPush => "lpush",
            Self::RPop => "rpop",
            Self::XAdd => "xadd",
            Self::Publish => "publish",
            Self::SPublish => "spublish",
            Self::Ping => "ping",
        }
    }

    /// Its place in [`Op::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether it publishes.
    pub const fn publishes(self) -> bool {
        matches!(self, Self::Publish | Self::SPublish)
    }

    /// Whether a cluster has a node for it: the others may go to any node.
    pub const fn has_slot(self) -> bool {
        !matches!(self, Self::Publish | Self::Ping)
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Get | Self::Set => "load:s:",
            Self::Incr => "load:i:",
            Self::HSet | Self::HGet => "load:h:",
            Self::SAdd => "load:m:",
            Self::ZAdd | Self::ZRange => "load:z:",
            Self::LPush | Self::RPop => "load:l:",
            Self::XAdd => "load:x:",
            Self::Publish => "load:p:",
            Self::SPublish => "load:q:",
            Self::Ping => "",
        }
    }

    /// The key or channel of a number.
    pub fn key(self, number: u64) -> String {
        format!("{}{number:0KEY_DIGITS$}", self.prefix())
    }

    /// The words of a command; the value is cut or repeated as needed.
    pub fn words(self, key: u64, dice: &mut Dice, value: &[u8]) -> Vec<Vec<u8>> {
        let mut member = || format!("{:03}", dice.below(MEMBERS)).into_bytes();
        let mut words = vec![self.name().to_ascii_uppercase().into_bytes()];
        if self != Self::Ping {
            words.push(self.key(key).into_bytes());
        }
        match self {
            Self::Get | Self::Incr | Self::RPop | Self::Ping => {}
            Self::Set | Self::LPush | Self::Publish | Self::SPublish => words.push(value.to_vec()),
            Self::HGet | Self::SAdd => words.push(member()),
            Self::HSet => words.extend([member(), value.to_vec()]),
            Self::ZAdd => {
                let member = member();
                words.extend([member.clone(), member]);
            }
            Self::ZRange => words.extend([b"0".to_vec(), b"9".to_vec()]),
            Self::XAdd => {
                let fixed: [&[u8]; 5] = [b"MAXLEN", b"~", STREAM_LEN, b"*", b"f"];
                words.extend(fixed.map(<[u8]>::to_vec));
                words.push(value.to_vec());
            }
        }
        words
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A piece of a [`Template`].
#[derive(Clone, Debug)]
enum Piece {
    Bytes(Vec<u8>),
    /// [`KEY_DIGITS`] of the key's number.
    Key,
    /// Three digits of a member.
    Member,
}

/// One kind of command on the wire, with gaps for its numbers.
#[derive(Clone, Debug)]
pub struct Template(Vec<Piece>);

impl Template {
    /// Of a command with that value. Publishing has no template: its payload changes.
    fn new(op: Op, value: &[u8]) -> Self {
        let mut wire = Vec::new();
        let words = op.words(0, &mut Dice::of(0, 0), value);
        let members = match op {
            Op::HSet | Op::HGet | Op::SAdd => 2..3,
            Op::ZAdd => 2..4,
            _ => 0..0,
        };
        let mut pieces = Vec::new();
        wire.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for (at, word) in words.iter().enumerate() {
            wire.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            if at == 1 {
                wire.extend_from_slice(&word[..word.len() - KEY_DIGITS]);
                pieces.extend([Piece::Bytes(std::mem::take(&mut wire)), Piece::Key]);
            } else if members.contains(&at) {
                pieces.extend([Piece::Bytes(std::mem::take(&mut wire)), Piece::Member]);
            } else {
                wire.extend_from_slice(word);
            }
            wire.extend_from_slice(b"\r\n");
        }
        pieces.push(Piece::Bytes(wire));
        Self(pieces)
    }

    /// Appends the command.
    pub fn append(&self, out: &mut Vec<u8>, key: u64, dice: &mut Dice) {
        // One member for the whole command: the score of ZADD is its member's number.
        let mut member = None;
        for piece in &self.0 {
            match piece {
                Piece::Bytes(bytes) => out.extend_from_slice(bytes),
                Piece::Key => out.extend_from_slice(&digits::<KEY_DIGITS>(key)),
                Piece::Member => {
                    let member = *member.get_or_insert_with(|| dice.below(MEMBERS));
                    out.extend_from_slice(&digits::<3>(member));
                }
            }
        }
    }
}

fn digits<const N: usize>(number: u64) -> [u8; N] {
    let (mut text, mut left) = ([b'0'; N], number);
    for place in text.iter_mut().rev() {
        *place = b'0' + (left % 10) as u8;
        left /= 10;
    }
    text
}

/// Which command comes how often, and how each looks.
#[derive(Clone, Debug)]
pub struct Mix {
    /// With the sum of weights up to and with each.
    ops: Vec<(Op, u64)>,
    sum: u64,
    templates: Vec<Template>,
}

impl Mix {
    /// Of weights, and the value that is written. Weights of 0 are left out.
    pub fn new(weights: &BTreeMap<Op, u32>, value_bytes: usize) -> Self {
        let value = value(value_bytes);
        let mut sum = 0;
        let mut ops = Vec::new();
        for (op, weight) in weights.iter().filter(|(_, weight)| **weight > 0) {
            sum += u64::from(*weight);
            ops.push((*op, sum));
        }
        let templates = Op::ALL.iter().map(|op| Template::new(*op, &value)).collect();
        Self { ops, sum, templates }
    }

    /// The kinds, as the weights name them.
    pub fn ops(&self) -> impl Iterator<Item = Op> + '_ {
        self.ops.iter().map(|(op, _)| *op)
    }

    /// Draws a kind; `PING` when there is none.
    pub fn draw(&self, dice: &mut Dice) -> Op {
        if let [(only, _)] = self.ops.as_slice() {
            return *only;
        }
        let ticket = dice.below(self.sum.max(1));
        let at = self.ops.partition_point(|(_, sum)| *sum <= ticket);
        self.ops.get(at).map_or(Op::Ping, |(op, _)| *op)
    }

    /// Appends a command that has a template.
    pub fn append(&self, out: &mut Vec<u8>, op: Op, key: u64, dice: &mut Dice) {
        if let Some(template) = self.templates.get(op.index()) {
            template.append(out, key, dice);
        }
    }
}

/// Appends a publish.
pub fn publish(out: &mut Vec<u8>, op: Op, channel: u64, payload: &[u8]) {
    let name = if op == Op::SPublish { b"SPUBLISH".as_slice() } else { b"PUBLISH" };
    codec::command(out, &[name, op.key(channel).as_bytes(), payload]);
}

/// What is written: printable and not one letter over and over.
pub fn value(bytes: usize) -> Vec<u8> {
    b"abcdefghijklmnopqrstuvwxyz0123456789".iter().cycle().take(bytes).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_scenario_and_places_those_of_the_table() {
        for (place, op) in Op::ALL.into_iter().enumerate() {
            assert_eq!((op.index(), serde_json::to_string(&op).unwrap()), (place, format!("\"{op}\"")));
        }
    }

    #[test]
    fn a_template_gives_the_same_bytes_as_its_words() {
        let value = value(20);
        let all = Op::ALL.iter().map(|op| (*op, 1)).collect();
        let mix = Mix::new(&all, value.len());
        for op in Op::ALL.into_iter().filter(|op| !op.publishes()) {
            for number in [0, 7, 123_456] {
                let words = op.words(number, &mut Dice::of(3, number), &value);
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                let (mut wanted, mut got) = (Vec::new(), Vec::new());
                codec::command(&mut wanted, &words);
                mix.append(&mut got, op, number, &mut Dice::of(3, number));
                assert_eq!(String::from_utf8(got), String::from_utf8(wanted));
            }
        }
    }

    #[test]
    fn kinds_come_by_their_weights() {
        let mix = Mix::new(&BTreeMap::from([(Op::Get, 3), (Op::Set, 1), (Op::Incr, 0)]), 1);
        let mut counts = BTreeMap::new();
        for number in 0..40_000 {
            *counts.entry(mix.draw(&mut Dice::of(1, number))).or_insert(0u32) += 1;
        }
        assert_eq!(counts.len(), 2);
        assert!((29_000..31_000).contains(&counts[&Op::Get]), "{counts:?}");
    }
}
