//! Telling a room how far its members have read: bounded in notices, the newest of each.
//!
//! The marks themselves are in the history. A receipt is a hint, at most once a [`NOTICE_EVERY`] for a user and room: the first goes out
//! at once, what follows waits, newest state only, for the task that also forgets those of whom everything is told.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use chatlab_history::Marks;
use chatlab_kit::ids::{RoomId, UserId};
use chatlab_pubsub::Fanout;
use futures_util::{StreamExt, stream};
use tokio::{sync::Notify, time::Instant};

use super::{hub::room::Notice, lock};

/// The shortest time between two notices about one user in one room.
pub const NOTICE_EVERY: Duration = Duration::from_secs(1);
/// Users and rooms that are kept; one more is not told of, and counted.
const MAX_READERS: usize = 65_536;
/// How often it is looked for what has to be told.
const TICK: Duration = Duration::from_millis(100);
/// Notices of that task under way at once.
const NOTICES_IN_FLIGHT: usize = 16;

type Key = (RoomId, UserId);

struct Reader {
    /// What is not told yet.
    waits: Option<Marks>,
    told_at: Instant,
}

/// Whose marks moved, and what the rooms were told of it.
#[derive(Default)]
struct Readers(HashMap<Key, Reader>);

impl Readers {
    /// Takes new marks in. True when they are to be told at once.
    fn put(&mut self, key: Key, marks: Marks, now: Instant) -> bool {
        if let Some(reader) = self.0.get_mut(&key) {
            let late = now.duration_since(reader.told_at) >= NOTICE_EVERY;
            if late {
                *reader = Reader { waits: None, told_at: now };
            } else {
                reader.waits = Some(marks);
            }
            return late;
        }
        if self.0.len() >= MAX_READERS {
            metrics::counter!("chatlab_receipts_untold_total").increment(1);
            return false;
        }
        self.0.insert(key, Reader { waits: None, told_at: now });
        true
    }

    /// What is to be told by now. Forgets those of whom everything is told.
    fn due(&mut self, now: Instant) -> Vec<(Key, Marks)> {
        let mut due = Vec::new();
        self.0.retain(|key, reader| {
            if now.duration_since(reader.told_at) < NOTICE_EVERY {
                return true;
            }
            let Some(marks) = reader.waits.take() else { return false };
            due.push((*key, marks));
            reader.told_at = now;
            true
        });
        due
    }
}

/// Receipts, as this instance tells them.
pub struct Receipts {
    fanout: Arc<dyn Fanout>,
    readers: Mutex<Readers>,
    wake: Notify,
}

impl Receipts {
    /// Tells on the rooms' channels.
    pub fn new(fanout: Arc<dyn Fanout>) -> Self {
        Self { fanout, readers: Mutex::default(), wake: Notify::new() }
    }

    /// A user's marks have moved. They have moved whatever becomes of the notice.
    pub async fn moved(&self, room: RoomId, user: UserId, marks: Marks) {
        let at_once = lock(&self.readers).put((room, user), marks, Instant::now());
        self.wake.notify_one();
        if at_once {
            self.tell(room, user, marks).await;
        }
    }

    /// A user is no longer in a room: nothing more is told of them.
    pub fn forget(&self, room: RoomId, user: UserId) {
        lock(&self.readers).0.remove(&(room, user));
    }

    /// Tells what had to wait. Runs until it is dropped; one at a time.
    pub async fn tend(&self) {
        loop {
            if lock(&self.readers).0.is_empty() {
                self.wake.notified().await;
            }
            // What moves meanwhile is told together; nobody reads, nothing ticks.
            tokio::time::sleep(TICK).await;
            let due = lock(&self.readers).due(Instant::now());
            let telling = stream::iter(due)
                .for_each_concurrent(NOTICES_IN_FLIGHT, |((room, user), marks)| self.tell(room, user, marks));
            telling.await;
        }
    }

    async fn tell(&self, room: RoomId, user: UserId, marks: Marks) {
        let Marks { read, delivered } = marks;
        let told = match serde_json::to_vec(&Notice::Receipt { user, read, delivered }) {
            Ok(notice) => {
                self.fanout.notify(&room, Bytes::from(notice)).await.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        let counter =
            if told.is_ok() { "chatlab_receipts_notices_total" } else { "chatlab_receipts_untold_total" };
        metrics::counter!(counter).increment(1);
        if let Err(error) = told {
            tracing::warn!(%room, %error, "receipts.notify");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn key() -> Key {
        (RoomId::new(), UserId::new())
    }

    fn read(read: u64) -> Marks {
        Marks { read, delivered: read }
    }

    #[tokio::test]
    async fn the_first_is_told_at_once_and_then_the_newest_once_a_second() {
        let (mut readers, key, start) = (Readers::default(), key(), Instant::now());
        assert!(readers.put(key, read(1), start));
        for n in [2, 3, 4] {
            assert!(!readers.put(key, read(n), start + MS * 100 * n as u32));
        }
        assert_eq!(readers.due(start + 999 * MS), []);
        assert_eq!(readers.due(start + 1_000 * MS), [(key, read(4))]);
        assert!(!readers.put(key, read(5), start + 1_500 * MS), "a second has not gone by since");
        assert_eq!(readers.due(start + 2_000 * MS), [(key, read(5))]);
        assert_eq!(readers.due(start + 3_000 * MS), []);
        assert!(readers.0.is_empty());
    }

    #[tokio::test]
    async fn what_waits_is_not_told_after_what_is_newer() {
        let (mut readers, key, start) = (Readers::default(), key(), Instant::now());
        readers.put(key, read(1), start);
        readers.put(key, read(2), start + 10 * MS);
        // The task is late.
        assert!(readers.put(key, read(3), start + 1_010 * MS));
        assert_eq!(readers.due(start + 2_010 * MS), []);
    }

    #[tokio::test]
    async fn their_number_is_bounded() {
        let (mut readers, start) = (Readers::default(), Instant::now());
        for _ in 0..MAX_READERS {
            assert!(readers.put(key(), read(1), start));
        }
        assert!(!readers.put(key(), read(1), start));
        assert_eq!(readers.0.len(), MAX_READERS);
    }
}
