//! What the services ask about e-mail: whose an address is, and sending to it.

use async_trait::async_trait;
use chatlab_kit::ids::UserId;

use super::ArchiveError;

/// A letter to one reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The address; without anything that could be more than one.
    pub to: String,
    /// One line.
    pub subject: String,
    /// Plain text.
    pub text: String,
}

/// Why a letter was not taken.
#[derive(Debug, thiserror::Error)]
#[error("the letter was not taken: {0}")]
pub struct PostError(pub String);

/// The port: an outbox for letters. Taken is not delivered: that is for whoever empties it.
#[async_trait]
pub trait Post: Send + Sync {
    /// Takes a letter for good.
    ///
    /// # Errors
    /// When it can't be kept.
    async fn hand_in(&self, letter: &Letter) -> Result<(), PostError>;
}

/// The addresses of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mailbox {
    /// The one that was shown to be theirs.
    pub verified: Option<String>,
    /// The one that a code was sent to, which is still good.
    pub waiting: Option<String>,
}

/// An address that is to be shown to be a user's.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The address.
    pub address: String,
    /// The code that was sent there, hashed.
    pub code_hash: String,
    /// When it is sent, in milliseconds since 1970.
    pub sent_ms: i64,
    /// When the code ends.
    pub expires_ms: i64,
}

/// What became of a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmed {
    /// The address is the user's.
    Yes(String),
    /// It is another one; so many tries are left.
    Wrong(u32),
    /// There is none that is still good.
    None,
    /// Another account has the address.
    Taken,
}

/// The port: addresses and codes. Every method is one transaction.
#[async_trait]
pub trait Mailboxes: Send + Sync {
    /// The addresses of a user.
    async fn mailbox(&self, user: &UserId, now_ms: i64) -> Result<Mailbox, ArchiveError>;

    /// Puts a code down in place of the one before; unless that was sent after `not_after_ms`: then when it was.
    async fn propose(
        &self,
        user: &UserId,
        proposal: &Proposal,
        not_after_ms: i64,
    ) -> Result<Option<i64>, ArchiveError>;

    /// Takes a code back that could not be sent.
    async fn withdraw(&self, user: &UserId) -> Result<(), ArchiveError>;

    /// Tries a code, of which there are `most` tries; the right one makes its address the user's.
    async fn confirm(
        &self,
        user: &UserId,
        code_hash: &str,
        now_ms: i64,
        most: u32,
    ) -> Result<Confirmed, ArchiveError>;

    /// Forgets the addresses of a user; false when there were none.
    async fn forget_mailbox(&self, user: &UserId) -> Result<bool, ArchiveError>;
}
