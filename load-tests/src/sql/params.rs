//! What is bound to a statement's `$1`, `$2`, …: drawn from the seed, the same for the same call.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::resp::keys::{Dice, Keys, Spread};

/// The instant in the ids of filled rows: row `n` has this many milliseconds, and `n`. The first of January 2026.
const BASE_MS: u64 = 1_767_225_600_000;
/// Ids made under load are later than all filled ones by this many milliseconds, and by the call's number.
const NEW_MS: u64 = 1 << 32;
/// The exponent of spread `zipf`: what caches are usually tried with.
const EXPONENT: f64 = 0.99;
/// The longest text, in bytes.
pub const TEXT_MAX: usize = 1 << 20;
const LETTERS: &[u8] = b"etaoin shrdlu cmfwyp vbgkjq xz";

fn one() -> u64 {
    1
}

/// One parameter. While tables are filled, rows are numbered from 0 and `(row / every) % below` says which thing is meant; under
/// load it is drawn below `below`. All parameters of one call that name the same thing (`of`) mean the same one, also in several
/// statements of a transaction, and the nth calls of two operations do too: what the nth `add_member` put in, the nth
/// `remove_member` takes out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Param {
    /// The id of one of `below` things: the text of a UUID of version 7.
    Id {
        /// What it is the id of.
        of: String,
        /// How many there are.
        below: u64,
        /// Filling: so many rows in a row mean the same one.
        #[serde(default = "one")]
        every: u64,
        /// Which are wanted how often.
        #[serde(default)]
        spread: Spread,
    },
    /// An id that no call had before.
    NewId {
        /// What it is the id of.
        of: String,
    },
    /// The name of one of `below` things: `user-17`.
    Name {
        /// What it is the name of.
        of: String,
        /// How many there are.
        below: u64,
        /// Filling: so many rows in a row mean the same one.
        #[serde(default = "one")]
        every: u64,
        /// Which are wanted how often.
        #[serde(default)]
        spread: Spread,
    },
    /// A name that no call had before.
    NewName {
        /// What it is the name of.
        of: String,
    },
    /// A text of that length, in bytes.
    Text {
        /// How long.
        bytes: usize,
    },
    /// A number from `from` up to and with `to`.
    Int {
        /// The lowest.
        from: i64,
        /// The highest.
        to: i64,
    },
    /// The time, in milliseconds since 1970.
    NowMs {},
    /// Always the same text.
    Fixed {
        /// Which.
        value: String,
    },
}

impl Param {
    /// Checks bounds.
    ///
    /// # Errors
    /// One sentence that names the field.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Id { below: 0, .. } | Self::Name { below: 0, .. } => Err("below must be at least 1".into()),
            Self::Id { every: 0, .. } | Self::Name { every: 0, .. } => Err("every must be at least 1".into()),
            Self::Text { bytes } if !(1..=TEXT_MAX).contains(bytes) => {
                Err(format!("bytes must be 1 to {TEXT_MAX}"))
            }
            Self::Int { from, to } if from > to => Err("from must not be over to".into()),
            _ => Ok(()),
        }
    }
}

/// A value to be bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// TEXT.
    Text(String),
    /// BIGINT.
    Int(i64),
}

/// Whose parameters are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// A row that is filled in before the run.
    Row(u64),
    /// The nth call of an operation.
    Call(u64),
}

/// Makes values under a seed.
#[derive(Clone, Copy, Debug)]
pub struct Values {
    seed: u64,
}

impl Values {
    /// Of a run.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The value of one parameter.
    pub fn of(&self, param: &Param, at: At) -> Value {
        match param {
            Param::Id { of, below, every, spread } => {
                Value::Text(id(of, self.number(of, at, (*below, *every, *spread))))
            }
            Param::Name { of, below, every, spread } => {
                Value::Text(format!("{of}-{}", self.number(of, at, (*below, *every, *spread))))
            }
            Param::NewId { of } => Value::Text(match at {
                At::Row(row) => id(of, row),
                At::Call(n) => id(of, NEW_MS + n),
            }),
            Param::NewName { of } => Value::Text(match at {
                At::Row(row) => format!("{of}-{row}"),
                At::Call(n) => format!("new-{of}-{n}"),
            }),
            Param::Text { bytes } => {
                let mut dice = self.dice("text", at);
                let letter = |_| char::from(LETTERS[dice.below(LETTERS.len() as u64) as usize]);
                Value::Text((0..*bytes).map(letter).collect())
            }
            Param::Int { from, to } => {
                let width = to.abs_diff(*from).saturating_add(1);
                Value::Int(from.saturating_add_unsigned(self.dice("int", at).below(width)))
            }
            Param::NowMs {} => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Value::Int(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
            }
            Param::Fixed { value } => Value::Text(value.clone()),
        }
    }

    fn number(&self, of: &str, at: At, (below, every, spread): (u64, u64, Spread)) -> u64 {
        match at {
            At::Row(row) => row / every.max(1) % below.max(1),
            At::Call(_) => Keys::new(below, spread, EXPONENT).draw(&mut self.dice(of, at)),
        }
    }

    fn dice(&self, what: &str, at: At) -> Dice {
        let number = match at {
            At::Row(row) => row,
            At::Call(n) => NEW_MS + n,
        };
        Dice::of(self.seed ^ salt(what), number)
    }
}

/// FNV-1a (Fowler, Noll and Vo, 1991): the same on every machine, unlike the standard library's hash.
fn salt(text: &str) -> u64 {
    text.bytes()
        .fold(0xCBF2_9CE4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
}

/// Ordered by number, as ids that are made one after the other are, and otherwise random: an index sees what it sees in service.
fn id(of: &str, number: u64) -> String {
    let mut dice = Dice::of(salt(of), number);
    let mut random = [0; 10];
    random[..8].copy_from_slice(&dice.next_u64().to_le_bytes());
    random[8..].copy_from_slice(&dice.next_u64().to_le_bytes()[..2]);
    uuid::Builder::from_unix_timestamp_millis(BASE_MS + number, &random).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn user(every: u64) -> Param {
        Param::Id { of: "user".into(), below: 100, every, spread: Spread::Uniform }
    }

    #[test]
    fn rows_go_round_and_calls_draw_only_what_rows_filled_in() {
        let values = Values::new(7);
        let filled: BTreeSet<String> = (0..100).map(|row| id("user", row)).collect();
        let rows: Vec<Value> = (0..400).map(|row| values.of(&user(2), At::Row(row))).collect();
        assert!(rows[0] == rows[1] && rows[1] != rows[2] && rows[0] == rows[200]);
        let mut drawn = BTreeSet::new();
        for n in 0..2000 {
            let Value::Text(text) = values.of(&user(1), At::Call(n)) else { panic!("text") };
            assert!(filled.contains(&text));
            drawn.insert(text);
        }
        assert_eq!(drawn.len(), 100, "all of them, sooner or later");
    }

    #[test]
    fn a_call_means_one_thing_by_one_name_and_new_things_are_new() {
        let (values, n) = (Values::new(7), At::Call(3));
        assert_eq!(values.of(&user(1), n), values.of(&user(1), n));
        assert_ne!(values.of(&user(1), n), Values::new(8).of(&user(1), n));
        let new = |n| values.of(&Param::NewId { of: "user".into() }, At::Call(n));
        let all: BTreeSet<String> = (0..1000).map(|n| format!("{:?}", new(n))).collect();
        assert_eq!(all.len(), 1000);
        let Value::Text(text) = new(0) else { panic!("text") };
        assert!(text > id("user", 1_000_000) && uuid::Uuid::parse_str(&text).is_ok(), "later than any row's");
    }

    #[test]
    fn texts_and_numbers_keep_their_bounds() {
        let values = Values::new(1);
        assert!(
            matches!(values.of(&Param::Text { bytes: 180 }, At::Call(1)), Value::Text(t) if t.len() == 180)
        );
        for n in 0..100 {
            let Value::Int(drawn) = values.of(&Param::Int { from: -2, to: 2 }, At::Call(n)) else {
                panic!("int")
            };
            assert!((-2..=2).contains(&drawn));
        }
        for wrong in [
            Param::Text { bytes: 0 },
            Param::Int { from: 2, to: 1 },
            user(0),
            Param::Name { of: "x".into(), below: 0, every: 1, spread: Spread::Zipf },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
