//! Who is writing in which room: told to the other listeners, bounded in notices, forgotten by itself, never stored.
//!
//! Each instance keeps those who said so here. The first word goes out at once; what follows within
//! [`NOTICE_EVERY`] waits, newest state only, for the task that also ends what nobody renewed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use chatlab_kit::{
    ids::{RoomId, UserId},
    wire::TYPING_TTL_MS,
};
use chatlab_pubsub::Fanout;
use futures_util::{StreamExt, stream};
use tokio::{sync::Notify, time::Instant};

use super::{ServiceError, ServiceResult, hub::room::Notice, lock};

/// How long a user counts as typing without saying so again.
pub const TYPING_TTL: Duration = Duration::from_millis(TYPING_TTL_MS);
/// The shortest time between two notices about one user in one room.
pub const NOTICE_EVERY: Duration = Duration::from_secs(1);
/// Users and rooms that are kept; one more is not told of, and counted.
const MAX_TYPISTS: usize = 16_384;
/// How often it is looked for what has to be told or has run out.
const TICK: Duration = Duration::from_millis(100);
/// Notices of that task under way at once.
const NOTICES_IN_FLIGHT: usize = 16;

type Key = (RoomId, UserId);

struct Typist {
    on: bool,
    until: Instant,
    told: bool,
    told_at: Instant,
}

/// Who is writing, and what the rooms were told of it.
#[derive(Default)]
struct Typists(HashMap<Key, Typist>);

impl Typists {
    /// Takes a word in. What is to be told at once, if anything.
    fn put(&mut self, key: Key, on: bool, now: Instant) -> Option<bool> {
        if let Some(typist) = self.0.get_mut(&key) {
            typist.on = on;
            if on {
                typist.until = now + TYPING_TTL;
            }
            let late = now.duration_since(typist.told_at) >= NOTICE_EVERY;
            return (late && (on || typist.told)).then(|| typist.tell(now));
        }
        if !on {
            return None;
        }
        if self.0.len() >= MAX_TYPISTS {
            metrics::counter!("chatlab_typing_untold_total").increment(1);
            return None;
        }
        self.0.insert(key, Typist { on, until: now + TYPING_TTL, told: on, told_at: now });
        Some(on)
    }

    /// What is to be told by now. Forgets those of whom everything is told.
    fn due(&mut self, now: Instant) -> Vec<(Key, bool)> {
        let mut due = Vec::new();
        self.0.retain(|key, typist| {
            typist.on &= now < typist.until;
            if now.duration_since(typist.told_at) < NOTICE_EVERY {
                return true;
            }
            if typist.on != typist.told {
                due.push((*key, typist.tell(now)));
                return true;
            }
            typist.on
        });
        due
    }
}

impl Typist {
    fn tell(&mut self, now: Instant) -> bool {
        self.told = self.on;
        self.told_at = now;
        self.on
    }
}

/// Who is writing, as this instance heard it.
pub struct Typing {
    fanout: Arc<dyn Fanout>,
    typists: Mutex<Typists>,
    wake: Notify,
}

impl Typing {
    /// Tells on the rooms' channels.
    pub fn new(fanout: Arc<dyn Fanout>) -> Self {
        Self { fanout, typists: Mutex::default(), wake: Notify::new() }
    }

    /// A user says that they are writing, or no longer.
    ///
    /// # Errors
    /// `unavailable` when it could not be told.
    pub async fn set(&self, room: RoomId, user: UserId, on: bool) -> ServiceResult<()> {
        let tell = lock(&self.typists).put((room, user), on, Instant::now());
        self.wake.notify_one();
        match tell {
            Some(on) => self.tell(room, user, on).await,
            None => Ok(()),
        }
    }

    /// A user is no longer in a room: nothing more is told of them.
    pub fn forget(&self, room: RoomId, user: UserId) {
        lock(&self.typists).0.remove(&(room, user));
    }

    /// Tells what had to wait and ends what was not renewed. Runs until it is dropped; one at a time.
    pub async fn tend(&self) {
        loop {
            if lock(&self.typists).0.is_empty() {
                self.wake.notified().await;
            }
            tokio::time::sleep(TICK).await;
            let due = lock(&self.typists).due(Instant::now());
            let telling =
                stream::iter(due).for_each_concurrent(NOTICES_IN_FLIGHT, |((room, user), on)| async move {
                    if let Err(error) = self.tell(room, user, on).await {
                        tracing::warn!(%room, %error, "typing.notify");
                    }
                });
            telling.await;
        }
    }

    async fn tell(&self, room: RoomId, user: UserId, on: bool) -> ServiceResult<()> {
        let notice = serde_json::to_vec(&Notice::Typing { user, on }).map_err(ServiceError::internal)?;
        let told = self.fanout.notify(&room, Bytes::from(notice)).await;
        let counter =
            if told.is_ok() { "chatlab_typing_notices_total" } else { "chatlab_typing_untold_total" };
        metrics::counter!(counter).increment(1);
        Ok(told?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn key() -> Key {
        (RoomId::new(), UserId::new())
    }

    #[tokio::test]
    async fn the_first_word_goes_out_at_once_and_then_one_a_second() {
        let (mut typists, key, start) = (Typists::default(), key(), Instant::now());
        assert_eq!(typists.put(key, true, start), Some(true));
        for ms in [1, 500, 999] {
            assert_eq!(typists.put(key, true, start + ms * MS), None, "{ms} ms");
        }
        assert_eq!(typists.put(key, true, start + 1000 * MS), Some(true), "renewed for those who count");
        assert_eq!(typists.put(key, false, start + 1500 * MS), None);
        assert_eq!(typists.due(start + 1999 * MS), []);
        assert_eq!(typists.due(start + 2000 * MS), [(key, false)], "what had to wait");
        assert_eq!(typists.due(start + 3000 * MS), []);
        assert!(typists.0.is_empty());
    }

    #[tokio::test]
    async fn a_state_that_came_and_went_between_two_notices_is_not_told() {
        let (mut typists, key, start) = (Typists::default(), key(), Instant::now());
        typists.put(key, true, start);
        typists.put(key, false, start + 100 * MS);
        typists.put(key, true, start + 200 * MS);
        assert_eq!(typists.due(start + 1200 * MS), []);
        assert_eq!(typists.put(key, false, start + 1300 * MS), Some(false));
        assert_eq!(typists.put(key, false, start + 5000 * MS), None, "said twice");
    }

    #[tokio::test]
    async fn nobody_types_longer_than_was_said() {
        let (mut typists, key, start) = (Typists::default(), key(), Instant::now());
        typists.put(key, true, start);
        assert_eq!(typists.due(start + TYPING_TTL - MS), []);
        assert_eq!(typists.due(start + TYPING_TTL), [(key, false)]);
        assert_eq!(typists.due(start + TYPING_TTL + NOTICE_EVERY), []);
        assert!(typists.0.is_empty());
        assert_eq!(typists.put(key, false, start + 2 * TYPING_TTL), None, "who never began does not end");
    }

    #[tokio::test]
    async fn their_number_is_bounded() {
        let (mut typists, start) = (Typists::default(), Instant::now());
        for _ in 0..MAX_TYPISTS {
            assert_eq!(typists.put(key(), true, start), Some(true));
        }
        assert_eq!(typists.put(key(), true, start), None);
        assert_eq!(typists.0.len(), MAX_TYPISTS);
    }
}
