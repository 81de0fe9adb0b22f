//! Encryption of messages at rest: what Redis and the archive keep of a text is sealed, and opened for who may read it.
//!
//! A text is sealed with XChaCha20-Poly1305 under the first of the keys, by a nonce of its own, and bound to the room and the message that
//! it is the text of: it can't be moved to another place. The others of the keys only open, so that a key is replaced by putting a new one
//! before it. Without keys nothing is sealed. What is sealed under a key that is not there, or was changed, stays as it is.

use std::{collections::BTreeSet, sync::LazyLock, time::Instant};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use chatlab_kit::{
    ids::{MessageId, RoomId},
    message::{Draft, Message, MessageKind},
};
use rand::RngCore;

use super::{ServiceError, ServiceResult, sparse::Sparse};

/// What every sealed text begins with: the second part is the way of sealing.
pub const SEALED: &str = "sealed:1:";
/// The bytes of a key.
pub const KEY_BYTES: usize = 32;
/// The longest name of a key.
pub const MAX_KEY_NAME: usize = 32;
/// The most keys.
pub const MAX_KEYS: usize = 100;
const NONCE_BYTES: usize = 24;

/// The log's lines about what can't be opened.
static UNOPENED: LazyLock<Sparse> = LazyLock::new(Sparse::default);

/// What is wrong with a list of keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// A line is not a name and a key.
    #[error(
        "line {0}: it must be NAME KEY, the name of 1 to {MAX_KEY_NAME} of a-z 0-9 -, the key {KEY_BYTES} bytes in base64"
    )]
    Line(usize),
    /// Two keys have the same name.
    #[error("line {0}: there is a key of that name already")]
    Twice(usize),
    /// There is no key, or there are too many.
    #[error("there must be 1 to {MAX_KEYS} keys")]
    Count,
}

struct Key {
    name: String,
    cipher: XChaCha20Poly1305,
}

/// Seals texts and opens them.
#[derive(Default)]
pub struct Vault {
    /// The first one seals.
    keys: Vec<Key>,
}

impl Vault {
    /// From lines of names and keys, the one that seals first. Empty lines, and what comes after `#`, say nothing.
    ///
    /// # Errors
    /// [`VaultError`], with the number of the line; never with what is in it.
    pub fn parse(text: &str) -> Result<Self, VaultError> {
        let (mut keys, mut names) = (Vec::new(), BTreeSet::new());
        for (nth, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let wrong = || VaultError::Line(nth + 1);
            let (name, key) = line.split_once(char::is_whitespace).ok_or_else(wrong)?;
            if !is_name(name) {
                return Err(wrong());
            }
            let key = STANDARD_NO_PAD.decode(key.trim().trim_end_matches('=')).map_err(|_| wrong())?;
            let cipher = XChaCha20Poly1305::new_from_slice(&key).map_err(|_| wrong())?;
            if !names.insert(name.to_owned()) {
                return Err(VaultError::Twice(nth + 1));
            }
            keys.push(Key { name: name.to_owned(), cipher });
        }
        if (1..=MAX_KEYS).contains(&keys.len()) { Ok(Self { keys }) } else { Err(VaultError::Count) }
    }

    /// Whether texts are sealed.
    pub fn seals(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether a text is sealed as it is kept.
    pub fn is_sealed(text: &str) -> bool {
        text.starts_with(SEALED)
    }

    /// Seals what a draft says, where that is a text.
    ///
    /// # Errors
    /// `internal`.
    pub fn seal(&self, draft: &mut Draft) -> ServiceResult<()> {
        let (Some(key), Some(of)) = (self.keys.first(), text_of(draft)) else { return Ok(()) };
        let mut sealed = vec![0; NONCE_BYTES];
        rand::rng().fill_bytes(&mut sealed);
        let place = place(&draft.room, &of);
        let payload = Payload { msg: draft.body.as_bytes(), aad: &place };
        let text = XNonce::try_from(sealed.as_slice())
            .ok()
            .and_then(|nonce| key.cipher.encrypt(&nonce, payload).ok());
        let text = text.ok_or_else(|| ServiceError::internal("a text could not be sealed"))?;
        sealed.extend_from_slice(&text);
        draft.body = format!("{SEALED}{}:{}", key.name, STANDARD_NO_PAD.encode(&sealed));
        Ok(())
    }

    /// Opens what a message says, if it is sealed.
    pub fn open(&self, message: &mut Message) {
        let draft = &mut message.draft;
        let Some(of) = text_of(draft) else { return };
        let Some(sealed) = draft.body.strip_prefix(SEALED) else { return };
        match self.opened(sealed, &place(&draft.room, &of)) {
            Some(text) => draft.body = text,
            None => {
                metrics::counter!("chatlab_texts_unopened_total").increment(1);
                if let Some(left_out) = UNOPENED.admit(Instant::now()) {
                    tracing::warn!(room = %draft.room, message = %draft.id, left_out, "vault.unopened");
                }
            }
        }
    }

    /// Opens what some messages say.
    pub fn open_all(&self, messages: &mut [Message]) {
        for message in messages {
            self.open(message);
        }
    }

    fn opened(&self, sealed: &str, place: &[u8]) -> Option<String> {
        let (name, text) = sealed.split_once(':')?;
        let key = self.keys.iter().find(|key| key.name == name)?;
        let bytes = STANDARD_NO_PAD.decode(text).ok()?;
        let (nonce, text) = bytes.split_at_checked(NONCE_BYTES)?;
        let nonce = XNonce::try_from(nonce).ok()?;
        let text = key.cipher.decrypt(&nonce, Payload { msg: text, aad: place }).ok()?;
        String::from_utf8(text).ok()
    }
}

/// A new key under a name that says when it was made, as a line of the list.
pub fn new_key(name: &str) -> String {
    let mut key = [0; KEY_BYTES];
    rand::rng().fill_bytes(&mut key);
    format!("{name} {}\n", STANDARD_NO_PAD.encode(key))
}

/// Whether a key can have that name.
pub fn is_name(name: &str) -> bool {
    (1..=MAX_KEY_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Of which message the body is the text: of the draft's own, or of the one that it edits. None where the body is no text.
fn text_of(draft: &Draft) -> Option<MessageId> {
    match draft.kind {
        MessageKind::Text | MessageKind::System if !draft.body.is_empty() => Some(draft.id),
        MessageKind::Edit if !draft.body.is_empty() => draft.about,
        _ => None,
    }
}

/// What a text is bound to.
fn place(room: &RoomId, message: &MessageId) -> Vec<u8> {
    [&room.0.as_bytes()[..], &message.0.as_bytes()[..]].concat()
}

#[cfg(test)]
mod tests {
    use chatlab_kit::{ids::UserId, message::Epoch};

    use super::*;

    fn message(kind: MessageKind, about: Option<MessageId>, body: &str) -> Message {
        let draft = Draft {
            room: RoomId::new(),
            id: MessageId::new(),
            from: UserId::new(),
            cid: "c".parse().unwrap(),
            kind,
            about,
            reply_to: None,
            forwarded_from: None,
            body: body.into(),
        };
        Message { epoch: Epoch("e".into()), seq: 1, ts: 1, changed: None, reactions: Vec::new(), draft }
    }

    #[test]
    fn a_text_is_opened_in_its_place_by_the_key_that_sealed_it() {
        let (old, new) = (new_key("2025"), new_key("2026"));
        let (first, rotated) = (Vault::parse(&old).unwrap(), Vault::parse(&format!("{new}{old}")).unwrap());
        let said = message(MessageKind::Text, None, "the plan");
        let mut sealed = said.clone();
        first.seal(&mut sealed.draft).unwrap();
        assert!(sealed.draft.body.starts_with("sealed:1:2025:") && !sealed.draft.body.contains("plan"));
        let mut again = said.clone();
        first.seal(&mut again.draft).unwrap();
        assert_ne!(again.draft.body, sealed.draft.body, "each by a nonce of its own");
        for vault in [&first, &rotated] {
            let mut opened = sealed.clone();
            vault.open(&mut opened);
            assert_eq!(opened, said);
        }
        // By another key, in another place, and changed.
        let other = Vault::parse(&new_key("2025")).unwrap();
        let mut moved = sealed.clone();
        moved.draft.id = MessageId::new();
        let mut changed = sealed.clone();
        changed.draft.body.replace_range(20..21, if &changed.draft.body[20..21] == "A" { "B" } else { "A" });
        for (vault, text) in
            [(&other, &sealed), (&Vault::default(), &sealed), (&first, &moved), (&first, &changed)]
        {
            let mut opened = text.clone();
            vault.open(&mut opened);
            assert_eq!(&opened, text);
        }
    }

    #[test]
    fn the_text_of_an_edit_is_that_of_the_message_that_it_edits() {
        let vault = Vault::parse(&new_key("k")).unwrap();
        let mut text = message(MessageKind::Text, None, "first");
        let mut edit = message(MessageKind::Edit, Some(text.draft.id), "second");
        edit.draft.room = text.draft.room;
        vault.seal(&mut edit.draft).unwrap();
        // As an edit does it.
        text.draft.body = edit.draft.body.clone();
        for mut opened in [text, edit] {
            vault.open(&mut opened);
            assert_eq!(opened.draft.body, "second");
        }
        for (kind, body) in [(MessageKind::React, "👍"), (MessageKind::Delete, ""), (MessageKind::Text, "")]
        {
            let mut other = message(kind, Some(MessageId::new()), body);
            vault.seal(&mut other.draft).unwrap();
            assert_eq!(other.draft.body, body, "{kind:?}");
        }
    }

    #[test]
    fn a_list_of_keys_is_read_or_refused_by_line() {
        let key = new_key("a");
        let text = format!("# the keys\n\n{key}  # since May\n");
        assert!(Vault::parse(&text).unwrap().seals());
        assert!(!Vault::default().seals());
        for (text, wrong) in [
            (String::new(), VaultError::Count),
            ("# none\n".into(), VaultError::Count),
            (format!("{key}b\n"), VaultError::Line(2)),
            ("a c2hvcnQ\n".into(), VaultError::Line(1)),
            (key.replacen('a', "A!", 1), VaultError::Line(1)),
            (format!("{key}\n{key}"), VaultError::Twice(3)),
            ((0..=MAX_KEYS).map(|nth| new_key(&format!("k{nth}"))).collect(), VaultError::Count),
        ] {
            assert_eq!(Vault::parse(&text).err(), Some(wrong), "{text}");
        }
    }
}
