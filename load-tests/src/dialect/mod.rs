//! Dialects: how to talk to a WebSocket server that is not ours, from a small file.
//!
//! A dialect says what is sent on opening, on joining a room and for a message, and how an acknowledgement and a delivery are
//! recognised. Bodies are the same as everywhere ([`crate::payload`]): run, room, number, intended instant, checksum. Such
//! servers number nothing that we know of, so that the ledger counts by what was sent: see `ws/foreign.rs`.

mod quick;
pub mod socketio;

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::quick::Quick;
use crate::template::Template;

/// The most frames on opening, and on joining.
const FRAMES_MAX: usize = 16;
/// What templates may name: a user and the token that it has, a room, the message's number (from 1), its body.
pub const PLACES: &[&str] = &["user", "token", "room", "id", "body"];

/// What lies between a WebSocket frame and a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// Nothing: a text frame is a message, in JSON.
    #[default]
    Plain,
    /// Socket.IO 4 over Engine.IO 4, on a WebSocket from the beginning: a message is an event, a JSON array.
    Socketio,
}

/// A value in a message, and what it must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Where: a JSON pointer (RFC 6901), such as `/type`, or `/0` for an event's name.
    pub at: String,
    /// What it is there.
    pub is: Value,
}

impl Match {
    /// Whether a message is meant.
    pub fn meets(&self, message: &Value) -> bool {
        message.pointer(&self.at) == Some(&self.is)
    }
}

/// How an acknowledgement is recognised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    /// See [`Match`].
    pub at: String,
    /// See [`Match`].
    pub is: Value,
    /// Where `${id}` comes back: a JSON pointer to a number, or to its text.
    pub id: String,
}

/// How a delivery is recognised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// See [`Match`].
    pub at: String,
    /// See [`Match`].
    pub is: Value,
    /// Where the body is: a JSON pointer to a text.
    pub body: String,
}

fn yes() -> bool {
    true
}

/// A dialect's file; see `dialects/socketio.toml` and `dialects/plain.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dialect {
    /// What lies between frames and messages.
    #[serde(default)]
    pub framing: Framing,
    /// In place of the path of the target's URL; a template.
    #[serde(default)]
    pub path: Option<String>,
    /// What the upgrade asks for.
    #[serde(default)]
    pub subprotocol: Option<String>,
    /// Socket.IO: what the `CONNECT` packet carries; a template of JSON.
    #[serde(default)]
    pub auth: String,
    /// Sent on opening, in order; templates.
    #[serde(default)]
    pub open: Vec<String>,
    /// Sent for each room, in order; templates.
    #[serde(default)]
    pub join: Vec<String>,
    /// What tells that a room is joined; it is waited for. With Socket.IO's acknowledgements those are waited for.
    #[serde(default)]
    pub joined: Option<Match>,
    /// A message; a template.
    pub send: String,
    /// Socket.IO: joins and messages are sent with an acknowledgement asked for.
    #[serde(default)]
    pub acks: bool,
    /// What acknowledges a message. Without it, and without `acks`, its first delivery does.
    #[serde(default)]
    pub ack: Option<Ack>,
    /// What delivers one.
    pub delivery: Delivery,
    /// Whether a sender gets its own messages.
    #[serde(default = "yes")]
    pub echo: bool,
}

/// A dialect that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("dialect {file}: {why}")]
pub struct DialectError {
    file: String,
    why: String,
}

impl Dialect {
    /// Reads a dialect from TOML. Unknown fields are errors.
    ///
    /// # Errors
    /// [`DialectError`] with line and field.
    pub fn parse(file: &str, text: &str) -> Result<Self, DialectError> {
        let fail = |why: String| DialectError { file: file.to_owned(), why };
        let dialect: Self = toml::from_str(text).map_err(|e| fail(e.to_string()))?;
        dialect.ready().map_err(fail)?;
        Ok(dialect)
    }

    /// Reads a dialect's file.
    ///
    /// # Errors
    /// [`DialectError`] with what could not be read, or line and field.
    pub fn read(file: &Path) -> Result<Self, DialectError> {
        let name = file.display().to_string();
        match fs::read_to_string(file) {
            Ok(text) => Self::parse(&name, &text),
            Err(error) => Err(DialectError { file: name, why: error.to_string() }),
        }
    }

    /// The templates, taken apart.
    ///
    /// # Errors
    /// One sentence that names the field.
    pub fn ready(&self) -> Result<Ready, String> {
        let template =
            |field: &str, text: &str| Template::parse(text, PLACES).map_err(|why| format!("{field}: {why}"));
        let all = |field: &str, texts: &[String]| match texts.len() <= FRAMES_MAX {
            true => texts.iter().map(|text| template(field, text)).collect::<Result<Vec<_>, _>>(),
            false => Err(format!("{field}: at most {FRAMES_MAX} frames")),
        };
        let pointers = [
            Some(("delivery.at", &self.delivery.at)),
            Some(("delivery.body", &self.delivery.body)),
            self.ack.as_ref().map(|ack| ("ack.at", &ack.at)),
            self.ack.as_ref().map(|ack| ("ack.id", &ack.id)),
            self.joined.as_ref().map(|joined| ("joined.at", &joined.at)),
        ];
        for (field, pointer) in pointers.into_iter().flatten() {
            if !pointer.is_empty() && !pointer.starts_with('/') {
                return Err(format!("{field}: a JSON pointer begins with /"));
            }
        }
        if self.framing == Framing::Plain && (self.acks || !self.auth.is_empty()) {
            return Err("acks and auth are Socket.IO's: framing = \"socketio\"".into());
        }
        let send = template("send", &self.send)?;
        if !send.has("body") {
            return Err("send: without ${body} nothing can be followed".into());
        }
        if self.ack.is_some() && !send.has("id") {
            return Err("send: [ack] needs ${id} in it".into());
        }
        Ok(Ready {
            path: self.path.as_deref().map(|path| template("path", path)).transpose()?,
            auth: template("auth", &self.auth)?,
            open: all("open", &self.open)?,
            join: all("join", &self.join)?,
            send,
            quick: Quick::of(self),
        })
    }
}

/// A dialect's templates, taken apart.
#[derive(Clone, Debug)]
pub struct Ready {
    /// In place of the target's path.
    pub path: Option<Template>,
    /// Socket.IO: what `CONNECT` carries.
    pub auth: Template,
    /// On opening.
    pub open: Vec<Template>,
    /// For each room.
    pub join: Vec<Template>,
    /// A message.
    pub send: Template,
    /// Reads deliveries without a JSON parser, where their form allows it.
    pub quick: Option<Quick>,
}

/// What a frame turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame<'a> {
    /// A message: JSON.
    Message(&'a str),
    /// Socket.IO: the answer to what was sent with this number.
    Ack(u64),
    /// The other side is there.
    Opened,
    /// It takes us.
    Connected,
    /// It does not; why.
    Refused(&'a str),
    /// To be answered with this.
    Ping(String),
    /// Nothing to do.
    Nothing,
    /// The other side says that it ends.
    Closed,
    /// None that is known here.
    Unknown,
}

impl Framing {
    /// What a text frame is.
    pub fn read(self, text: &str) -> Frame<'_> {
        match self {
            Self::Plain => Frame::Message(text),
            Self::Socketio => socketio::read(text),
        }
    }

    /// The frame of a message; Socket.IO: with this number for its acknowledgement.
    pub fn message(self, text: &str, ack: Option<u64>) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Socketio => socketio::event(text, ack),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = include_str!("../../dialects/plain.toml");

    #[test]
    fn the_dialects_that_come_along_are_well_formed() {
        let plain = Dialect::parse("plain", PLAIN).unwrap();
        assert!(plain.ack.is_some() && plain.echo && plain.framing == Framing::Plain);
        let socketio = Dialect::parse("socketio", include_str!("../../dialects/socketio.toml")).unwrap();
        assert!(socketio.acks && socketio.framing == Framing::Socketio);
        let ready = socketio.ready().unwrap();
        assert!(ready.path.is_some() && ready.send.has("room"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, named) in [
            ("${body}", "body", "nothing can be followed"),
            ("\"id\":${id},", "", "needs ${id}"),
            ("body = \"/body\"", "body = \"body\"", "delivery.body"),
            ("send =", "sned =", "sned"),
            ("${room}", "${romo}", "romo"),
            ("framing = \"plain\"", "framing = \"plain\"\nacks = true", "Socket.IO's"),
            ("framing = \"plain\"", "framing = \"smoke\"", "smoke"),
        ] {
            let error = Dialect::parse("x.toml", &PLAIN.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("x.toml"), "{error}");
        }
        assert!(Dialect::read(Path::new("/no/such")).unwrap_err().to_string().contains("/no/such"));
    }

    #[test]
    fn messages_are_told_apart_by_a_value() {
        let message: Value = serde_json::from_str(r#"["said",{"body":"x","n":1}]"#).unwrap();
        let meets = |at: &str, is: Value| Match { at: at.into(), is }.meets(&message);
        assert!(meets("/0", "said".into()) && meets("/1/n", 1.into()));
        assert!(!meets("/0", "ack".into()) && !meets("/2", "said".into()));
    }
}
