//! One connection's commands and replies, paired up.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::request::Request;
use crate::redis::{Answer, Sent, Trace, Trip, printable_arg};
use crate::resp::{Kind, Reply, one_line};

/// The most confirmations of one command whose text is kept.
const CONFIRMATIONS_SHOWN: usize = 20;

/// Subscriptions are three kinds: channels, patterns, shard channels.
const KINDS: [(&str, &str); 3] =
    [("SUBSCRIBE", "UNSUBSCRIBE"), ("PSUBSCRIBE", "PUNSUBSCRIBE"), ("SSUBSCRIBE", "SUNSUBSCRIBE")];

/// The state of a connection, as the commands and replies so far make it.
#[derive(Debug)]
pub(super) struct Wire {
    trace: Trace,
    conn: Arc<str>,
    node: Arc<str>,
    waiting: VecDeque<Waiting>,
    trip: Option<Trip>,
    /// A reply has come since the round trip began.
    answered: bool,
    replies: Replies,
    resp3: bool,
    monitor: bool,
    subscriptions: [HashSet<Vec<u8>>; 3],
}

/// What `CLIENT REPLY` made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replies {
    On,
    /// Not to the next command.
    Skip,
    Off,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    request: Request,
    /// Of a command about subscriptions, its kind.
    kind: Option<usize>,
    /// The confirmations that are still to come.
    left: Option<usize>,
    texts: Vec<String>,
    bytes_in: u64,
}

/// What a frame from the server is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// A reply, or something that nobody asked for, to be handed on as it is.
    AsIs,
    /// A reply that may tell addresses.
    Addresses,
    /// From now on this is no conversation any more, but replication.
    Raw,
}

pub(super) fn lock(wire: &Mutex<Wire>) -> MutexGuard<'_, Wire> {
    wire.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wire {
    pub(super) fn new(trace: Trace, number: u64, node: Arc<str>) -> Self {
        Self {
            trace,
            conn: Arc::from(format!("c{number}")),
            node,
            waiting: VecDeque::new(),
            trip: None,
            answered: false,
            replies: Replies::On,
            resp3: false,
            monitor: false,
            subscriptions: Default::default(),
        }
    }

    pub(super) fn conn(&self) -> Arc<str> {
        self.conn.clone()
    }

    pub(super) fn subscribed(&self) -> bool {
        self.subscriptions.iter().any(|kind| !kind.is_empty())
    }

    /// A read has brought something. It begins a new round trip unless it goes on with the one before.
    pub(super) fn read(&mut self, midway: bool) {
        let goes_on = self.trip.is_some_and(|trip| self.trace.continues(trip)) && (midway || !self.answered);
        if !goes_on {
            self.trip = None;
            self.answered = false;
        }
    }

    /// A command was read. Returns its number in the trace.
    pub(super) fn sent(&mut self, request: Request, at: Instant) -> u64 {
        let trip = *self.trip.get_or_insert_with(|| self.trace.trip());
        let number = self.trace.begin(Sent {
            at,
            command: request.printable(),
            conn: self.conn.clone(),
            node: self.node.clone(),
            trip,
            bytes_out: request.bytes,
        });
        if self.wants_reply(&request) {
            let verb = request.upper(0);
            let kind = KINDS.iter().position(|(on, off)| *on == verb || *off == verb);
            let waiting = Waiting { number, request, kind, left: None, texts: Vec::new(), bytes_in: 0 };
            self.waiting.push_back(waiting);
        } else {
            let text = "(no reply wanted)".to_owned();
            self.trace.answer(number, Answer { text, error: false, bytes_in: 0 });
        }
        number
    }

    fn wants_reply(&mut self, request: &Request) -> bool {
        let now = self.replies;
        let mode = (request.upper(0) == "CLIENT" && request.upper(1) == "REPLY" && request.count == 3)
            .then(|| request.upper(2));
        match (mode.as_deref(), now) {
            (Some("ON"), _) => {
                self.replies = Replies::On;
                true
            }
            (Some("OFF"), _) => {
                self.replies = Replies::Off;
                false
            }
            (Some("SKIP"), Replies::On | Replies::Skip) => {
                self.replies = Replies::Skip;
                false
            }
            (_, Replies::On) => true,
            (_, Replies::Skip) => {
                self.replies = Replies::On;
                false
            }
            (_, Replies::Off) => false,
        }
    }

    /// A frame has come from the server.
    pub(super) fn came(&mut self, value: &Reply, bytes: u64) -> Came {
        if let Some((kind, subscribes, name)) = self.confirmation(value) {
            if subscribes {
                self.subscriptions[kind].insert(name);
            } else {
                self.subscriptions[kind].remove(&name);
            }
            if self.waiting.front().is_some_and(|front| front.kind == Some(kind)) {
                self.confirmed(kind, subscribes, value, bytes);
                return Came::AsIs;
            }
            self.push(value, bytes);
            return Came::AsIs;
        }
        if self.is_push(value) {
            self.push(value, bytes);
            return Came::AsIs;
        }
        let Some(done) = self.waiting.pop_front() else {
            self.push(value, bytes);
            return Came::AsIs;
        };
        self.answered = true;
        let answer =
            Answer { text: one_line(value), error: value.is_error(), bytes_in: bytes + done.bytes_in };
        self.trace.answer(done.number, answer);
        self.effect(&done.request, value)
    }

    /// The kind of subscription, whether it begins, and its name, when the frame says so.
    fn confirmation(&self, value: &Reply) -> Option<(usize, bool, Vec<u8>)> {
        let Reply::Items(shape @ (Kind::Array | Kind::Push), items) = value else { return None };
        let [what, name, Reply::Int(_)] = items.items.as_slice() else { return None };
        let what = String::from_utf8_lossy(what.text()?).to_ascii_uppercase();
        let kind = KINDS.iter().position(|(on, off)| *on == what || *off == what)?;
        let asked = self.waiting.front().is_some_and(|front| front.kind == Some(kind));
        let unasked = *shape == Kind::Push || (!self.resp3 && self.subscribed());
        (asked || unasked).then(|| (kind, what == KINDS[kind].0, name.text().unwrap_or_default().to_vec()))
    }

    /// One of the confirmations of the command in front: one a channel that it names; without names, one a subscription
    /// that there was.
    fn confirmed(&mut self, kind: usize, subscribes: bool, value: &Reply, bytes: u64) {
        let remaining = self.subscriptions[kind].len();
        let Some(front) = self.waiting.front_mut() else { return };
        let names = front.request.count - 1;
        let all = if names == 0 && !subscribes { remaining + 1 } else { names };
        let left = front.left.get_or_insert(all.max(1));
        *left -= 1;
        front.bytes_in += bytes;
        if front.texts.len() < CONFIRMATIONS_SHOWN {
            front.texts.push(one_line(value));
        }
        if *left == 0
            && let Some(done) = self.waiting.pop_front()
        {
            self.answered = true;
            let answer = Answer { text: done.texts.join(" "), error: false, bytes_in: done.bytes_in };
            self.trace.answer(done.number, answer);
        }
    }

    fn is_push(&self, value: &Reply) -> bool {
        match value {
            Reply::Items(Kind::Push, _) => true,
            Reply::Items(Kind::Array, items) => {
                let first = items.items.first().and_then(Reply::text);
                let message = matches!(first, Some(b"message" | b"pmessage" | b"smessage"));
                message && !self.resp3 && self.subscribed()
            }
            Reply::Simple(text) => self.monitor && text.bytes.first().is_some_and(u8::is_ascii_digit),
            _ => false,
        }
    }

    fn push(&self, value: &Reply, bytes: u64) {
        let mut command = vec!["(push)".to_owned()];
        let mut text = one_line(value);
        if let Some([labels @ .., last]) = value.list() {
            command.extend(labels.iter().map(|label| match label.text() {
                Some(label) => printable_arg(label),
                None => one_line(label),
            }));
            text = one_line(last);
        }
        self.trace.push(&self.conn, &self.node, command, Answer { text, error: false, bytes_in: bytes });
    }

    /// What a reply changes.
    fn effect(&mut self, request: &Request, value: &Reply) -> Came {
        if let Reply::Error(text) = value {
            let redirect = text.bytes.starts_with(b"MOVED ") || text.bytes.starts_with(b"ASK ");
            return if redirect { Came::Addresses } else { Came::AsIs };
        }
        match (request.upper(0).as_str(), request.upper(1).as_str()) {
            ("HELLO", version @ ("2" | "3")) => self.resp3 = version == "3",
            ("RESET", _) => {
                self.resp3 = false;
                self.monitor = false;
                self.subscriptions = Default::default();
            }
            ("MONITOR", _) => self.monitor = true,
            ("SYNC" | "PSYNC", _) => return Came::Raw,
            ("CLUSTER", "SLOTS" | "SHARDS" | "NODES" | "REPLICAS" | "SLAVES") => return Came::Addresses,
            _ => {}
        }
        Came::AsIs
    }

    /// The connection is closed: nothing that waits will be answered.
    pub(super) fn close(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            let text = "(no reply: the connection was closed)".to_owned();
            self.trace.answer(waiting.number, Answer { text, error: true, bytes_in: waiting.bytes_in });
        }
        self.subscriptions = Default::default();
    }
}
