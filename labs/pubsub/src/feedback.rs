//! What one subscriber has heard, and what that proves.

use std::fmt;

use bytes::Bytes;
use chatlab_kit::{check::Fact, subscribe::FeedItem};

use crate::Subscription;

/// What a fact is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// In order, once, without a gap that nobody caused.
    Order,
    /// The first message after `subscribe`.
    Subscribed,
    /// What a cut took is told.
    Gap,
    /// After a cut messages arrive again.
    Resumed,
    /// Messages of other rooms.
    Rooms,
    /// A subscriber that does not read.
    Slow,
    /// Round trips.
    Trips,
    /// Commands that walk over everything.
    Verbs,
}

/// A message of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// The `n`-th of its room, in order.
    Numbered(u64),
    /// One of a flood, in no order.
    Flood(u64),
}

impl Message {
    /// `RUN/ROOM/N`.
    pub(crate) fn payload(self, run: &str, room: u32) -> Bytes {
        match self {
            Self::Numbered(n) => format!("{run}/r{room}/m{n}").into(),
            Self::Flood(n) => format!("{run}/r{room}/f{n}").into(),
        }
    }

    /// The message, if it belongs to this room of this run.
    fn read(payload: &[u8], run: &str, room: u32) -> Option<Self> {
        let rest = std::str::from_utf8(payload).ok()?.strip_prefix(run)?;
        let number = rest.strip_prefix(&format!("/r{room}/"))?;
        match number.split_at_checked(1)? {
            ("m", n) => n.parse().ok().map(Self::Numbered),
            ("f", n) => n.parse().ok().map(Self::Flood),
            _ => None,
        }
    }
}

/// Numbers from the first to the second, for people.
struct Range(u64, u64);

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == self.1 { write!(f, "m{}", self.0) } else { write!(f, "m{} to m{}", self.0, self.1) }
    }
}

/// One subscriber.
pub(crate) struct Ear {
    pub(crate) feed: Subscription,
    pub(crate) room: u32,
    /// The number that comes next if nothing is missing.
    pub(crate) next: u64,
    /// A gap was told and no message has come since.
    gap: bool,
    /// All gaps told.
    pub(crate) gaps: u64,
    /// It heard a message at some time.
    pub(crate) heard: bool,
    /// Its connection was cut, or it was flooded: gaps are to be expected.
    pub(crate) cut: bool,
    pub(crate) flooded: bool,
    pub(crate) flood_heard: u64,
}

impl Ear {
    /// A subscriber of a room of which `published` messages were published before.
    pub(crate) fn new(feed: Subscription, room: u32, published: u64) -> Self {
        Self {
            feed,
            room,
            next: published + 1,
            gap: false,
            gaps: 0,
            heard: false,
            cut: false,
            flooded: false,
            flood_heard: 0,
        }
    }

    /// What the topic of a loss is, here and now.
    pub(crate) fn topic(&self) -> Topic {
        match (self.cut, self.flooded, self.heard) {
            (true, ..) => Topic::Gap,
            (_, true, _) => Topic::Slow,
            (.., true) => Topic::Order,
            (.., false) => Topic::Subscribed,
        }
    }

    /// Notes one item; the fact if it breaks something. `None` is the end of the feed.
    pub(crate) fn hear(&mut self, item: Option<&FeedItem>, run: &str) -> Option<Fact<Topic>> {
        let payload = match item {
            Some(FeedItem::Payload(payload)) => payload,
            Some(FeedItem::Gap) => return self.told("a gap is told"),
            None => return self.told("the feed ended"),
        };
        let Some(message) = Message::read(payload, run, self.room) else {
            let what = String::from_utf8_lossy(payload).replace(&format!("{run}/"), "");
            return Some((Topic::Rooms, Err(format!("{what} arrived in r{}", self.room))));
        };
        let n = match message {
            Message::Numbered(n) => n,
            Message::Flood(_) => {
                self.flood_heard += 1;
                return None;
            }
        };
        let topic = self.topic();
        let (expected, told) = (self.next, self.gap);
        self.heard = true;
        self.gap = false;
        self.next = self.next.max(n + 1);
        if n < expected {
            let what = format!("m{n} arrived after m{}: twice, or out of order", expected - 1);
            return Some((Topic::Order, Err(what)));
        }
        if n > expected && !told {
            let lost = Range(expected, n - 1);
            return Some((
                topic,
                Err(format!("m{n} arrived in r{}, {lost} never did, and no gap was told", self.room)),
            ));
        }
        None
    }

    fn told(&mut self, what: &str) -> Option<Fact<Topic>> {
        self.gap = true;
        self.gaps += 1;
        let why = format!("{what} in r{}, though nobody cut it and it was read at once", self.room);
        (!self.cut && !self.flooded).then_some((Topic::Order, Err(why)))
    }
}
