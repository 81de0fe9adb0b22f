//! What the client's methods answer, and how they fail.

use std::net::IpAddr;

use chatlab_kit::{
    ids::{ClientMsgId, MessageId, RoomId, SessionId, UserId},
    message::{Epoch, Message, Position, Seq},
    wire::{AckLevel, ErrorCode, SUBPROTOCOL, StatusEntry},
};

use super::MAX_QUEUED_EVENTS;

/// Why a request of [`WsClient`](super::WsClient) failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection, or the server refused the upgrade (with the HTTP status where there is one).
    #[error("cannot open {url}: {why}")]
    Connect {
        /// Where to.
        url: String,
        /// The HTTP status of a refused upgrade.
        status: Option<u16>,
        /// What the system or the server said.
        why: String,
    },
    /// Nothing came in time.
    #[error("timed out waiting for {0}")]
    Timeout(&'static str),
    /// The server answered with an error frame.
    #[error("refused: {code:?}: {message}")]
    Refused {
        /// The stable code.
        code: ErrorCode,
        /// The server's words.
        message: String,
        /// Whether trying again may help.
        retryable: bool,
    },
    /// The connection is closed; the code and reason where the server gave them.
    #[error("connection closed: {0:?}")]
    Closed(Option<(u16, String)>),
    /// The server sent what the protocol does not allow.
    #[error("protocol: {0}")]
    Protocol(String),
    /// [`MAX_QUEUED_EVENTS`] events wait and were not taken.
    #[error("more than {MAX_QUEUED_EVENTS} events wait")]
    QueueFull,
    /// A message id that [`ClientMsgId`] does not allow.
    #[error(transparent)]
    Id(#[from] chatlab_kit::ids::IdError),
}

/// What the methods here return.
pub type Result<T> = std::result::Result<T, ClientError>;

/// What the server said in `welcome`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Who the token is for.
    pub user: UserId,
    /// The login session.
    pub session: SessionId,
    /// The server's ping interval, in milliseconds.
    pub heartbeat_ms: u64,
    /// The largest frame the server takes, in bytes.
    pub max_frame: usize,
}

/// The answer to a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Where the room's history stood; everything after it follows as messages.
    pub head: Option<Position>,
}

/// The answer to a send: the message is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Which room.
    pub room: RoomId,
    /// The client's name for the message.
    pub cid: ClientMsgId,
    /// The sequence's run.
    pub epoch: Epoch,
    /// Its place in the room.
    pub seq: Seq,
    /// Its id.
    pub msg: MessageId,
    /// Milliseconds since 1970 by Redis' clock.
    pub ts: u64,
    /// True when an earlier attempt had already stored it.
    pub dup: bool,
    /// How safe it is known to be.
    pub level: AckLevel,
    /// What was asked for, when that was not reached.
    pub wanted: Option<AckLevel>,
}

/// The answer to a history request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Oldest first.
    pub messages: Vec<Message>,
    /// `before` for the next, older page.
    pub next: Option<Seq>,
}

/// What a connection sends in its upgrade request.
#[derive(Clone, Debug)]
pub struct Upgrade {
    /// The `Origin` header; browsers send one, this client none unless asked to.
    pub origin: Option<String>,
    /// The offered subprotocol.
    pub subprotocol: Option<String>,
    /// The receive buffer that the system is asked for, in bytes: a small one, and a client that does not read is soon behind.
    pub recv_buffer: Option<u32>,
    /// The address of this machine that it comes from; the system's choice without one.
    pub from: Option<IpAddr>,
}

impl Default for Upgrade {
    fn default() -> Self {
        Self { origin: None, subprotocol: Some(SUBPROTOCOL.to_owned()), recv_buffer: None, from: None }
    }
}

/// The answer to a `who`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The members of the page that have a connection and are not invisible.
    pub online: Vec<UserId>,
    /// Of those, who is not simply available.
    pub statuses: Vec<StatusEntry>,
    /// Where the next page goes on from; none at the end.
    pub next: Option<UserId>,
}
