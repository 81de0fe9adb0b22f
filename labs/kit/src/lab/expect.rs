//! The vocabulary of console steps: what must be so, and what happens around the learner.

use serde::{Deserialize, Deserializer};

/// A number, or a text that is one: `max = "${limit}"` in a manifest, where the template itself reads as 0.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(i64),
    Text(String),
}

impl Number {
    fn read<T: TryFrom<i64>, E: serde::de::Error>(self) -> Result<T, E> {
        let number = match self {
            Self::Number(number) => number,
            Self::Text(text) if text.contains("${") => 0,
            Self::Text(text) => {
                text.parse().map_err(|_| E::custom(format!("`{text}` is neither a number nor a choice")))?
            }
        };
        T::try_from(number).map_err(|_| E::custom(format!("{number} is out of range")))
    }
}

fn number<'de, D: Deserializer<'de>, T: TryFrom<i64>>(from: D) -> Result<T, D::Error> {
    Number::deserialize(from)?.read()
}

fn optional<'de, D: Deserializer<'de>, T: TryFrom<i64>>(from: D) -> Result<Option<T>, D::Error> {
    Number::deserialize(from)?.read().map(Some)
}

/// A predicate of a console step: over the state of the server, or over what the learner sent in this step.
/// Further keys that the learner made do no harm.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "predicate", rename_all = "snake_case", deny_unknown_fields)]
pub enum Expect {
    /// The key exists and has this type.
    Type {
        /// The key.
        key: String,
        /// As `TYPE` answers.
        is: String,
    },
    /// The key does not exist.
    Absent {
        /// The key.
        key: String,
    },
    /// The key expires within these bounds.
    Ttl {
        /// The key.
        key: String,
        /// At least, in milliseconds.
        #[serde(deserialize_with = "number")]
        min_ms: u64,
        /// At most, in milliseconds.
        #[serde(deserialize_with = "number")]
        max_ms: u64,
    },
    /// The key exists and never expires.
    NoTtl {
        /// The key.
        key: String,
    },
    /// The string has this value.
    Value {
        /// The key.
        key: String,
        /// The value.
        is: String,
    },
    /// The number in a string, a hash field or as a member's score lies within these bounds.
    Number {
        /// The key.
        key: String,
        /// The hash's field or the sorted set's member; none for a string.
        of: Option<String>,
        /// At least.
        #[serde(default, deserialize_with = "optional")]
        min: Option<i64>,
        /// At most.
        #[serde(default, deserialize_with = "optional")]
        max: Option<i64>,
    },
    /// The hash has this field.
    Field {
        /// The hash.
        key: String,
        /// The field.
        field: String,
        /// Its value, where that matters.
        is: Option<String>,
    },
    /// The set, the sorted set or the list contains this member.
    Has {
        /// The key.
        key: String,
        /// The member.
        member: String,
    },
    /// The set, the sorted set or the list does not contain this member; an absent key contains nothing.
    Lacks {
        /// The key.
        key: String,
        /// The member.
        member: String,
    },
    /// The sorted set or the set has this many members.
    Members {
        /// The set.
        key: String,
        /// How many.
        #[serde(deserialize_with = "number")]
        count: u64,
    },
    /// A list, stream, set, sorted set, hash (fields) or string (bytes) is so long; an absent key is 0 long.
    Length {
        /// The key.
        key: String,
        /// At least.
        #[serde(default, deserialize_with = "optional")]
        min: Option<u64>,
        /// At most.
        #[serde(default, deserialize_with = "optional")]
        max: Option<u64>,
    },
    /// The list or the sorted set holds exactly these, in this order.
    Sequence {
        /// The key.
        key: String,
        /// The members.
        is: Vec<String>,
    },
    /// `OBJECT ENCODING` says this.
    Encoding {
        /// The key.
        key: String,
        /// Such as `listpack`.
        is: String,
    },
    /// The stream has this consumer group, with so many entries pending.
    Group {
        /// The stream.
        key: String,
        /// The group.
        group: String,
        /// At least so many pending.
        #[serde(default, deserialize_with = "optional")]
        pending_min: Option<u64>,
        /// At most so many pending.
        #[serde(default, deserialize_with = "optional")]
        pending_max: Option<u64>,
    },
    /// These keys lie in one hash slot.
    SameSlot {
        /// The keys.
        keys: Vec<String>,
    },
    /// A command with this verb was sent in this step.
    Sent {
        /// The verb, in capitals; of a container command with its subcommand: `XGROUP CREATE`.
        verb: String,
        /// At least so many times; 1 without it.
        #[serde(default, deserialize_with = "optional")]
        min: Option<u64>,
        /// At most so many times.
        #[serde(default, deserialize_with = "optional")]
        max: Option<u64>,
    },
    /// No command with this verb was sent in this step.
    NotSent {
        /// The verb, in capitals.
        verb: String,
    },
    /// A whole command, arguments joined by single blanks, fits this pattern; `*` stands for anything. Case does not matter.
    SentLike {
        /// Such as `SET * NX *`.
        pattern: String,
    },
    /// No whole command fits this pattern.
    NotSentLike {
        /// As of `SentLike`.
        pattern: String,
    },
    /// A reply to a command with this verb, as redis-cli shows it on one line, fits this pattern.
    ReplyLike {
        /// The verb, in capitals; `*` for any.
        verb: String,
        /// Such as `*MOVED*`.
        pattern: String,
    },
    /// These verbs were sent, in this order, between one MULTI and an EXEC that succeeded.
    InMulti {
        /// The verbs, in capitals.
        verbs: Vec<String>,
    },
    /// A message arrived on this channel through the learner's connection.
    Received {
        /// The channel.
        channel: String,
        /// At least so many.
        #[serde(deserialize_with = "number")]
        min: u64,
    },
    /// The step took at most so many round trips; a pipeline is one.
    RoundTrips {
        /// At most.
        #[serde(deserialize_with = "number")]
        max: u64,
    },
    /// No command of the step costs time in proportion to the size of the keyspace or of a whole key
    /// (`KEYS`, `SMEMBERS`, `LRANGE 0 -1`, …).
    NothingLinear,
}

/// Something that happens around the learner during a step.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Drive {
    /// Waits until the learner has sent this verb so many times in this step.
    AwaitSent {
        /// The verb, in capitals.
        verb: String,
        /// How often; 1 without it.
        #[serde(default, deserialize_with = "optional")]
        times: Option<u64>,
    },
    /// Sends commands past the learner's connection.
    Run {
        /// As typed into redis-cli.
        commands: Vec<String>,
    },
    /// Cuts the learner's connections that have subscribed; all of them with `all`.
    Cut {
        /// Those without a subscription too.
        #[serde(default)]
        all: bool,
    },
    /// From now on every command takes so much longer.
    Latency {
        /// Added to each round trip, in milliseconds.
        #[serde(deserialize_with = "number")]
        ms: u64,
    },
}
