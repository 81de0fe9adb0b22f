//! Ids. Each is its own type, so that a room can't be passed for a user.
//!
//! Users, rooms and messages have UUIDv7 ids: unique without coordination and ordered by time.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A UUID with hyphens, as the server writes it.
const UUID_PATTERN: &str = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}";

/// What is wrong with a text that should have been an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}: {why}")]
pub struct IdError {
    /// Which kind of id was expected.
    pub kind: &'static str,
    /// What is wrong.
    pub why: &'static str,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id from the clock and the thread's random generator.
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "format": "uuid",
                    "pattern": format!("^{UUID_PATTERN}$"),
                    "description": concat!("A ", $kind, "."),
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($kind, ":{}"), self.0.as_hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::parse_str(text)
                    .map(Self)
                    .map_err(|_| IdError { kind: $kind, why: "not a UUID" })
            }
        }
    };
}

uuid_id!(
    /// A registered user.
    UserId,
    "user id"
);
uuid_id!(
    /// A room: direct, group or channel.
    RoomId,
    "room id"
);
uuid_id!(
    /// A stored message, named by the server.
    MessageId,
    "message id"
);
uuid_id!(
    /// One open connection of a user's device.
    ConnectionId,
    "connection id"
);
uuid_id!(
    /// One running server process.
    InstanceId,
    "instance id"
);

/// The name a client gives to a message before it sends it, so that a retry is recognised.
///
/// 1 to [`ClientMsgId::MAX_BYTES`] characters of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ClientMsgId(String);

impl ClientMsgId {
    /// The longest client message id, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientMsgId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let err = |why| Err(IdError { kind: "client message id", why });
        if text.is_empty() {
            return err("empty");
        }
        if text.len() > Self::MAX_BYTES {
            return err("longer than 64 bytes");
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            return err("only A-Z a-z 0-9 . _ - are allowed");
        }
        Ok(Self(text.to_owned()))
    }
}

impl JsonSchema for ClientMsgId {
    fn schema_name() -> Cow<'static, str> {
        "ClientMsgId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": format!("^[A-Za-z0-9._-]{{1,{}}}$", Self::MAX_BYTES),
            "description": "A client's own name for a message.",
        })
    }
}

impl<'de> Deserialize<'de> for ClientMsgId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for ClientMsgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A login session: the user and an unguessable secret, so that a session's keys can be found
/// under its user's hash tag from the id alone. Shown as `USER.SECRET`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "String")]
pub struct SessionId {
    /// Whose session it is.
    pub user: UserId,
    secret: Uuid,
}

impl SessionId {
    /// A new session with 122 random bits from the operating system's generator.
    pub fn new(user: UserId) -> Self {
        Self { user, secret: Uuid::new_v4() }
    }

    /// The part that names the session among its user's, without hyphens.
    pub fn secret(&self) -> String {
        self.secret.as_simple().to_string()
    }

    /// Puts a session id together again from the user and what [`SessionId::secret`] gave.
    pub fn from_parts(user: UserId, secret: &str) -> Result<Self, IdError> {
        let secret =
            Uuid::parse_str(secret).map_err(|_| IdError { kind: "session id", why: "not a UUID" })?;
        Ok(Self { user, secret })
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.user, self.secret.as_simple())
    }
}

impl fmt::Debug for SessionId {
    /// Never prints the secret: ids end up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session:{}.…", self.user)
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.to_string()
    }
}

impl FromStr for SessionId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let (user, secret) = text
            .split_once('.')
            .ok_or(IdError { kind: "session id", why: "no dot between user and secret" })?;
        Self::from_parts(user.parse()?, secret)
    }
}

impl JsonSchema for SessionId {
    fn schema_name() -> Cow<'static, str> {
        "SessionId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": format!(r"^{UUID_PATTERN}\.[0-9a-f]{{32}}$"),
            "description": "A login session: its user and a secret.",
        })
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_a_round_trip_through_text() {
        let session = SessionId::new(UserId::new());
        assert_eq!(session.to_string().parse::<SessionId>().unwrap(), session);
        assert!(!format!("{session:?}").contains(&session.secret()));
    }

    #[test]
    fn client_message_ids_are_bounded_and_plain() {
        assert!("a.b_c-9".parse::<ClientMsgId>().is_ok());
        for bad in ["", "a b", "ä", "a{b}", &"x".repeat(65)] {
            assert!(bad.parse::<ClientMsgId>().is_err(), "{bad:?}");
        }
    }
}
