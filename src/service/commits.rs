//! Which messages the archive has committed, for those who wait for one.
//!
//! This instance's archivist says what it has committed. Another instance's does not: so the archive is asked, for all who
//! wait at once and at fixed intervals.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use chatlab_kit::ids::MessageId;
use tokio::{
    sync::{Notify, oneshot},
    time::{sleep, timeout},
};

use super::{lock, ports::Archive};

/// The most who wait at a time; one more is not waited for.
pub const MAX_WAITING: usize = 16_384;
/// How often the archive is asked while somebody waits. This instance's archivist needs less.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// The most messages of one question to the archive.
const ASKED_AT_ONCE: usize = 500;

/// Who waits for which message.
#[derive(Default)]
struct Waiting {
    by_id: HashMap<MessageId, Vec<oneshot::Sender<()>>>,
    count: usize,
}

/// The messages that are waited for, and the archive that is asked for them.
pub struct Commits {
    archive: Arc<dyn Archive>,
    waiting: Mutex<Waiting>,
    begun: Notify,
}

impl Commits {
    /// Nobody waits.
    pub fn new(archive: Arc<dyn Archive>) -> Self {
        Self { archive, waiting: Mutex::default(), begun: Notify::new() }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        lock(&self.waiting).count
    }

    /// These are committed.
    pub fn committed<'a>(&self, ids: impl IntoIterator<Item = &'a MessageId>) {
        let mut waiting = lock(&self.waiting);
        if waiting.count == 0 {
            return;
        }
        for id in ids {
            let told = waiting.by_id.remove(id).unwrap_or_default();
            waiting.count -= told.len();
            for waiter in told {
                // Who waited may be gone.
                let _ = waiter.send(());
            }
        }
    }

    /// Waits until a message is committed, at most so long. One that is `old` may have been committed before anybody waited
    /// for it.
    ///
    /// # Errors
    /// Why that was not seen: `too_late`, or `too_many` who wait.
    pub async fn wait(&self, id: MessageId, old: bool, within: Duration) -> Result<(), &'static str> {
        let mut waiter = self.enter(id).ok_or("too_many")?;
        let heard = async {
            // After it entered: what is committed from here on is told.
            if old && self.ask(&[id]).await {
                return Ok(());
            }
            (&mut waiter.told).await.map_err(|_| "too_late")
        };
        timeout(within, heard).await.unwrap_or(Err("too_late"))
    }

    fn enter(&self, id: MessageId) -> Option<Waiter<'_>> {
        let mut waiting = lock(&self.waiting);
        if waiting.count >= MAX_WAITING {
            return None;
        }
        let (tell, told) = oneshot::channel();
        waiting.by_id.entry(id).or_default().push(tell);
        waiting.count += 1;
        drop(waiting);
        self.begun.notify_one();
        Some(Waiter { commits: self, id, told })
    }

    /// Asks the archive as long as somebody waits. Never returns.
    pub async fn tend(&self) {
        loop {
            self.begun.notified().await;
            loop {
                sleep(ASK_EVERY).await;
                let ids: Vec<MessageId> = lock(&self.waiting).by_id.keys().copied().collect();
                if ids.is_empty() {
                    break;
                }
                for some in ids.chunks(ASKED_AT_ONCE) {
                    self.ask(some).await;
                }
            }
        }
    }

    /// Tells who waits for what the archive has; whether it has all of them.
    async fn ask(&self, ids: &[MessageId]) -> bool {
        match self.archive.kept(ids).await {
            Ok(kept) => {
                self.committed(&kept);
                kept.len() == ids.len()
            }
            Err(error) => {
                tracing::debug!(%error, "commits.ask");
                false
            }
        }
    }
}

/// One who waits, until it is dropped.
struct Waiter<'a> {
    commits: &'a Commits,
    id: MessageId,
    told: oneshot::Receiver<()>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.told.close();
        let waiting = &mut *lock(&self.commits.waiting);
        if let Some(waiters) = waiting.by_id.get_mut(&self.id) {
            let before = waiters.len();
            waiters.retain(|waiter| !waiter.is_closed());
            waiting.count -= before - waiters.len();
            if waiters.is_empty() {
                waiting.by_id.remove(&self.id);
            }
        }
    }
}
