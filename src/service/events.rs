//! Events: what happened, told on a topic to whoever reads it by group.
//!
//! New messages are told by the script that stores them, in one step with the message. Everything else is told here, beside
//! what it is about and shortly after it: a queue of bounded length and one task, so that nobody waits for it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use chatlab_audit::outbox::Outbox;
use chatlab_kit::{
    ids::{RoomId, UserId},
    slots::Partition,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{
    Notify,
    mpsc::{self, error::TrySendError},
};

use super::now_ms;

/// Events that wait to be written; a further one is lost, and counted.
const MAX_WAITING: usize = 4_096;
/// How often an event is tried before it is given up, and counted.
const ATTEMPTS: u32 = 5;
/// The first pause between two tries; doubles from try to try.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// A stream of events of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// A message was stored. Written by the history's own script, as an envelope.
    MessageCreated,
    /// A room was made.
    ChatCreated,
    /// A room was changed: its settings, a member's role, the end of a membership by somebody else, a ban.
    ChatUpdated,
    /// A direct chat has ended.
    ChatDeleted,
    /// A user became a member.
    UserJoinedChat,
    /// A user is no member any more.
    UserLeftChat,
    /// A user's first connection anywhere.
    UserOnline,
    /// A user's last connection is gone.
    UserOffline,
    /// What has to be accounted for: registrations, log-ins and their ends, rooms and memberships.
    AuditLog,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::MessageCreated,
        Self::ChatCreated,
        Self::ChatUpdated,
        Self::ChatDeleted,
        Self::UserJoinedChat,
        Self::UserLeftChat,
        Self::UserOnline,
        Self::UserOffline,
        Self::AuditLog,
    ];

    /// As in the key of its streams.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MessageCreated => "message.created",
            Self::ChatCreated => "chat.created",
            Self::ChatUpdated => "chat.updated",
            Self::ChatDeleted => "chat.deleted",
            Self::UserJoinedChat => "user.joined.chat",
            Self::UserLeftChat => "user.left.chat",
            Self::UserOnline => "user.online",
            Self::UserOffline => "user.offline",
            Self::AuditLog => "audit.log",
        }
    }

    /// The topic of that name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }

    /// The groups of the server itself that read it.
    pub const fn groups(self) -> &'static [&'static str] {
        match self {
            Self::MessageCreated => &["persistence"],
            Self::AuditLog => &["audit"],
            _ => &[],
        }
    }
}

/// An event of every topic but [`Topic::MessageCreated`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in milliseconds since 1970 by the server's clock.
    pub at_ms: i64,
    /// What, such as `session.started`.
    pub action: String,
    /// By whom, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// In which room, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomId>,
    /// More about it, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Event {
    /// Now.
    pub fn new(action: &str, user: Option<UserId>, room: Option<RoomId>) -> Self {
        Self { at_ms: now_ms(), action: action.to_owned(), user, room, detail: String::new() }
    }

    fn partition(&self) -> Partition {
        match (&self.room, &self.user) {
            (Some(room), _) => Partition::of(room),
            (None, Some(user)) => Partition::of_user(user),
            (None, None) => Partition::FIRST,
        }
    }
}

/// The partitions of a topic in which this instance has put something that nobody may have read.
#[derive(Debug, Default)]
pub struct Wakes {
    bits: [AtomicU64; 4],
    wake: Notify,
}

impl Wakes {
    /// There is something to read.
    pub fn mark(&self, partition: Partition) {
        let index = usize::from(partition.index());
        self.bits[index / 64].fetch_or(1 << (index % 64), Relaxed);
        self.wake.notify_one();
    }

    /// There may be something anywhere: other instances write too, and die.
    pub(super) fn mark_all(&self) {
        self.bits.iter().for_each(|bits| bits.store(u64::MAX, Relaxed));
    }

    /// What is marked, which it is no longer.
    pub(super) fn take(&self) -> Vec<Partition> {
        let bits: Vec<u64> = self.bits.iter().map(|bits| bits.swap(0, Relaxed)).collect();
        let marked = |partition: &Partition| {
            let index = usize::from(partition.index());
            bits[index / 64] & (1 << (index % 64)) != 0
        };
        Partition::all().filter(marked).collect()
    }

    pub(super) async fn marked(&self) {
        self.wake.notified().await;
    }
}

/// Where everybody tells what happened. Cheap to clone.
#[derive(Clone)]
pub struct Events {
    queue: mpsc::Sender<(Topic, Event)>,
    wakes: Arc<[Wakes; Topic::ALL.len()]>,
}

/// What is still to be written: for [`write()`].
pub type Waiting = mpsc::Receiver<(Topic, Event)>;

impl Events {
    /// A new one, and what [`write()`] works off.
    pub fn new() -> (Self, Waiting) {
        let (queue, waiting) = mpsc::channel(MAX_WAITING);
        (Self { queue, wakes: Arc::default() }, waiting)
    }

    /// Tells an event on its topic. It is written soon, or counted as lost.
    pub fn tell(&self, topic: Topic, event: Event) {
        match self.queue.try_send((topic, event)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => lost(topic),
        }
    }

    /// Tells an event on its topic and, as something to be accounted for, in the audit log.
    pub fn tell_and_audit(&self, topic: Topic, event: Event) {
        self.tell(Topic::AuditLog, event.clone());
        self.tell(topic, event);
    }

    /// A message was stored, and told by its script.
    pub fn stored(&self, room: &RoomId) {
        self.wakes(Topic::MessageCreated).mark(Partition::of(room));
    }

    /// What wakes the readers of a topic.
    pub fn wakes(&self, topic: Topic) -> &Wakes {
        &self.wakes[topic as usize]
    }
}

fn lost(topic: Topic) {
    metrics::counter!("chatlab_events_lost_total", "topic" => topic.name()).increment(1);
}

/// Writes what was told, one after the other, until all who tell are gone; how many were lost.
pub async fn write(outbox: Arc<dyn Outbox>, events: Events, mut waiting: Waiting) -> u64 {
    // Its own handle must not keep the queue open.
    let wakes = events.wakes.clone();
    drop(events);
    let mut gone = 0;
    while let Some((topic, event)) = waiting.recv().await {
        let partition = event.partition();
        let Ok(payload) = serde_json::to_vec(&event) else {
            lost(topic);
            gone += 1;
            continue;
        };
        if emit(&*outbox, partition, topic, &payload).await {
            wakes[topic as usize].mark(partition);
        } else {
            lost(topic);
            gone += 1;
        }
    }
    gone
}

async fn emit(outbox: &dyn Outbox, partition: Partition, topic: Topic, payload: &[u8]) -> bool {
    for attempt in 0..ATTEMPTS {
        match outbox.emit(partition, topic.name(), payload).await {
            Ok(_) => return true,
            Err(error) => tracing::warn!(topic = topic.name(), %error, attempt, "events.emit"),
        }
        // Between two tries, bounded by `ATTEMPTS`.
        tokio::time::sleep(PAUSE * 2u32.pow(attempt)).await;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_have_names_of_their_own() {
        for (index, topic) in Topic::ALL.into_iter().enumerate() {
            assert_eq!((Topic::of(topic.name()), topic as usize), (Some(topic), index));
        }
        assert_eq!(Topic::of("message"), None);
    }

    #[test]
    fn marks_are_taken_once() {
        let wakes = Wakes::default();
        let some: Vec<_> = Partition::all().filter(|p| [0, 63, 64, 255].contains(&p.index())).collect();
        for partition in &some {
            wakes.mark(*partition);
            wakes.mark(*partition);
        }
        assert_eq!(wakes.take(), some);
        assert!(wakes.take().is_empty());
        wakes.mark_all();
        assert_eq!(wakes.take().len(), 256);
    }
}
