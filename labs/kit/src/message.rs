//! Messages, and the envelope in which they are stored and published.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{ClientMsgId, MessageId, RoomId, UserId};

/// The longest message body, in bytes of UTF-8.
pub const MAX_BODY_BYTES: usize = 4096;
/// The longest emoji, in bytes of UTF-8: a family of four takes 25, a flag by tags 28.
pub const MAX_EMOJI_BYTES: usize = 64;
/// The most reactions of one message, all users and emojis together.
pub const REACTIONS_MAX: usize = 256;
/// The most pinned messages of a room.
pub const PINS_MAX: usize = 50;
/// The most messages in one page of history.
pub const MAX_PAGE: usize = 200;
/// The longest name of an epoch, in bytes.
pub const MAX_EPOCH_BYTES: usize = 64;

/// A message's place in its room: 1, 2, 3, … without a hole.
pub type Seq = u64;

/// Names one unbroken run of a room's sequence. It changes when the sequence can no longer be
/// trusted to continue (the room's keys were lost), and then every client must resynchronise.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Epoch(#[schemars(length(max = MAX_EPOCH_BYTES))] pub String);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// Written by a person.
    #[default]
    Text,
    /// Written by the server itself.
    System,
    /// The new text of the message that it is `about`.
    Edit,
    /// Takes the text away from the message that it is `about`.
    Delete,
    /// Pins the message that it is `about` in its room.
    Pin,
    /// Takes the pin of the message that it is `about` away.
    Unpin,
    /// A reaction to the message that it is `about`: the emoji is the `body`.
    React,
    /// Takes that reaction back.
    Unreact,
}

impl MessageKind {
    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::System => "system",
            Self::Edit => "edit",
            Self::Delete => "delete",
            Self::Pin => "pin",
            Self::Unpin => "unpin",
            Self::React => "react",
            Self::Unreact => "unreact",
        }
    }

    /// Whether it changes what another message says.
    pub const fn changes_text(self) -> bool {
        matches!(self, Self::Edit | Self::Delete)
    }

    /// Whether it says something about another message, and is nothing by itself.
    pub const fn is_about_another(self) -> bool {
        !matches!(self, Self::Text | Self::System)
    }
}

/// A message as its sender wrote it: everything but what the store decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Draft {
    /// The room it goes to.
    pub room: RoomId,
    /// The id it will have; a retry that is recognised keeps the first one's.
    pub id: MessageId,
    /// Who sends it.
    pub from: UserId,
    /// The client's own name for it, unique for the sender in the room.
    pub cid: ClientMsgId,
    /// What it is.
    #[serde(default)]
    pub kind: MessageKind,
    /// The message that this one is about: edits, deletes, pins, reacts to; none for what stands for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<MessageId>,
    /// The message of the room that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// Who wrote the text, where it was forwarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded_from: Option<UserId>,
    /// The text; of a reaction its emoji. Empty in a message that was deleted, in what deletes or pins one, and in the edits of one that was
    /// deleted later.
    #[schemars(length(max = MAX_BODY_BYTES), extend("x-max-bytes" = MAX_BODY_BYTES))]
    pub body: String,
}

/// A message in its room's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// The sequence's run.
    pub epoch: Epoch,
    /// The place in the room.
    pub seq: Seq,
    /// When the store accepted it, in milliseconds since 1970 by Redis' clock.
    pub ts: u64,
    /// What became of it since; none for most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Changed>,
    /// The reactions that it has now, in the order in which each emoji came first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = REACTIONS_MAX))]
    pub reactions: Vec<Reaction>,
    /// The rest. Of a deleted message the body is empty.
    #[serde(flatten)]
    pub draft: Draft,
}

/// One emoji under a message, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reaction {
    /// The emoji.
    #[schemars(length(min = 1, max = MAX_EMOJI_BYTES), extend("x-max-bytes" = MAX_EMOJI_BYTES))]
    pub emoji: String,
    /// Who reacted so, the first one first.
    #[schemars(length(min = 1, max = REACTIONS_MAX))]
    pub users: Vec<UserId>,
}

/// The latest change of a message that keeps its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    /// What was done.
    pub what: Change,
    /// When, in milliseconds since 1970 by Redis' clock.
    pub ts: u64,
    /// By whom, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<UserId>,
}

/// What can be done to a message.
///
/// A change is told by a message of its own, of the kind `edit` or `delete`, in its place in the room's order; the message that is changed
/// stays in its place, looks as it does now, and says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It has another body now.
    Edited,
    /// It has no body any more: a tombstone in its place.
    Deleted,
}

impl Change {
    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Edited => "edited",
            Self::Deleted => "deleted",
        }
    }
}

/// A place in a room's history that can be verified: after it a client has nothing unseen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Position {
    /// The run in which `seq` counts.
    pub epoch: Epoch,
    /// The last sequence seen; 0 before the first message.
    pub seq: Seq,
    /// The message at `seq`; none at the beginning of a room, and at that of a new epoch after a loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
}

/// What is wrong with stored or published bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an envelope: {0}")]
pub struct EnvelopeError(pub &'static str);

/// `EPOCH SEQ TS JSON`: what the store writes and publishes.
///
/// The script puts the head in front of JSON that the sending process serialised, so a message is
/// serialised once in its life, and a reader learns its order from the head without parsing JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The sequence's run.
    pub epoch: &'a str,
    /// The place in the room.
    pub seq: Seq,
    /// Milliseconds since 1970 by Redis' clock.
    pub ts: u64,
    /// A JSON object: the serialised [`Draft`], and `changed` and `reactions` of [`Message`] when it has them.
    pub json: &'a str,
}

impl<'a> Envelope<'a> {
    /// Reads the head; the JSON is left alone.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        let text = std::str::from_utf8(bytes).map_err(|_| EnvelopeError("not UTF-8"))?;
        let mut parts = text.splitn(4, ' ');
        let mut next = || parts.next().ok_or(EnvelopeError("too short"));
        let epoch = next()?;
        let number = |text: &str| text.parse().map_err(|_| EnvelopeError("not a number"));
        let seq = number(next()?)?;
        let ts = number(next()?)?;
        let json = next()?;
        if !json.starts_with('{') {
            return Err(EnvelopeError("no JSON object after the head"));
        }
        Ok(Self { epoch, seq, ts, json })
    }

    /// The whole message.
    pub fn message(&self) -> Result<Message, EnvelopeError> {
        #[derive(Deserialize)]
        struct Stored {
            #[serde(default)]
            changed: Option<Changed>,
            #[serde(default)]
            reactions: Vec<Reaction>,
            #[serde(flatten)]
            draft: Draft,
        }
        let Stored { changed, reactions, draft } =
            serde_json::from_str(self.json).map_err(|_| EnvelopeError("the JSON is not a message"))?;
        let (epoch, seq, ts) = (Epoch(self.epoch.to_owned()), self.seq, self.ts);
        Ok(Message { epoch, seq, ts, changed, reactions, draft })
    }

    /// The `message` frame for a client: head and body spliced, nothing serialised again.
    pub fn frame(&self) -> String {
        let Self { epoch, seq, ts, json } = self;
        format!(r#"{{"t":"message","epoch":"{epoch}","seq":{seq},"ts":{ts},{}"#, &json[1..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_splices_into_the_frame_that_serde_reads() {
        let draft = Draft {
            room: RoomId::new(),
            id: MessageId::new(),
            from: UserId::new(),
            cid: "c1".parse().unwrap(),
            kind: MessageKind::Edit,
            about: Some(MessageId::new()),
            reply_to: Some(MessageId::new()),
            forwarded_from: Some(UserId::new()),
            body: "hello world \"quoted\"".into(),
        };
        let bytes = format!("e1 7 1700 {}", serde_json::to_string(&draft).unwrap());
        let envelope = Envelope::parse(bytes.as_bytes()).unwrap();
        let message = envelope.message().unwrap();
        assert_eq!((message.seq, message.ts, &message.draft), (7, 1700, &draft));
        let frame: crate::wire::ServerFrame = serde_json::from_str(&envelope.frame()).unwrap();
        assert_eq!(frame, crate::wire::ServerFrame::Message(message));
    }

    #[test]
    fn a_changed_message_says_so_in_the_envelope_and_in_the_frame() {
        let (room, id, from) = (RoomId::new(), MessageId::new(), UserId::new());
        let bytes = format!(
            r#"e1 7 1700 {{"body":"","cid":"c1","changed":{{"what":"deleted","ts":1800}},"from":"{from}","id":"{id}","room":"{room}"}}"#
        );
        let envelope = Envelope::parse(bytes.as_bytes()).unwrap();
        let message = envelope.message().unwrap();
        assert_eq!(message.changed, Some(Changed { what: Change::Deleted, ts: 1800, by: None }));
        let frame: crate::wire::ServerFrame = serde_json::from_str(&envelope.frame()).unwrap();
        assert_eq!(frame, crate::wire::ServerFrame::Message(message));
    }

    #[test]
    fn broken_envelopes_are_refused() {
        for bad in ["", "e 1 2", "e x 2 {}", "e 1 2 []", "e 1 2"] {
            assert!(Envelope::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(Envelope::parse(&[0xff, b' ', b'1']).is_err());
    }
}
