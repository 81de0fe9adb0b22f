//! What a subscriber reads from, and the bounded queue behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use chatlab_kit::subscribe::{self, FeedItem, Health};
use tokio::{sync::mpsc, task::JoinHandle};

/// One subscriber of one room. Dropping it ends it.
#[derive(Debug)]
pub struct Subscription(Source);

#[derive(Debug)]
enum Source {
    Channel(subscribe::Subscription),
    Queue { items: mpsc::Receiver<FeedItem>, task: JoinHandle<()> },
}

impl From<subscribe::Subscription> for Subscription {
    fn from(subscription: subscribe::Subscription) -> Self {
        Self(Source::Channel(subscription))
    }
}

impl Subscription {
    /// A feed of at most `bound` waiting items, filled by a task that ends with it. When the task returns, the feed ends.
    pub fn fed_by<F>(bound: usize, task: impl FnOnce(Feeder) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // One place more, for the gap that an overflow leaves.
        let (queue, items) = mpsc::channel(bound + 1);
        let task = tokio::spawn(task(Feeder { queue, gap_is_last: false }));
        Self(Source::Queue { items, task })
    }

    /// The next item, in order of publication; none when the feed has ended. Safe to cancel.
    pub async fn recv(&mut self) -> Option<FeedItem> {
        match &mut self.0 {
            Source::Channel(subscription) => subscription.recv().await,
            Source::Queue { items, .. } => items.recv().await,
        }
    }

    /// An item that is there already.
    pub fn try_recv(&mut self) -> Option<FeedItem> {
        match &mut self.0 {
            Source::Channel(subscription) => subscription.try_recv(),
            Source::Queue { items, .. } => items.try_recv().ok(),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Source::Queue { task, .. } = &self.0 {
            task.abort();
        }
    }
}

/// The end of a feed that is written to.
#[derive(Debug)]
pub struct Feeder {
    queue: mpsc::Sender<FeedItem>,
    /// The newest item of the queue is a gap.
    gap_is_last: bool,
}

impl Feeder {
    /// Adds a message, and waits for as long as the queue is full: for a source that can wait too.
    pub async fn send(&mut self, payload: Bytes) {
        self.gap_is_last = false;
        // An error means that the subscriber is gone; then this task is about to be aborted.
        let _ = self.queue.send(FeedItem::Payload(payload)).await;
    }

    /// Adds a gap, and waits for as long as the queue is full.
    pub async fn send_gap(&mut self) {
        self.gap_is_last = true;
        let _ = self.queue.send(FeedItem::Gap).await;
    }

    /// Adds a message, or, when the queue is full, leaves it out and a gap in its place: for a source that does not wait.
    pub fn offer(&mut self, payload: Bytes) {
        if self.queue.capacity() >= 2 {
            let _ = self.queue.try_send(FeedItem::Payload(payload));
            self.gap_is_last = false;
        } else {
            self.offer_gap();
        }
    }

    /// Adds a gap, unless the newest item that waits is one.
    pub fn offer_gap(&mut self) {
        let unread = self.queue.capacity() < self.queue.max_capacity();
        if !(self.gap_is_last && unread) {
            let _ = self.queue.try_send(FeedItem::Gap);
            self.gap_is_last = true;
        }
    }
}

/// Counts the feeds of a variant, and those that are connected, for [`Fanout::health`](crate::Fanout::health).
#[derive(Debug, Clone, Default)]
pub struct Feeds(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: AtomicUsize,
    live: AtomicUsize,
}

impl Feeds {
    /// One feed more, until what this returns is dropped.
    pub fn open(&self) -> Feed {
        self.0.all.fetch_add(1, Ordering::Relaxed);
        Feed { feeds: self.clone(), live: false }
    }

    /// Healthy while every feed is connected.
    pub fn health(&self) -> Health {
        let (channels, confirmed) = (self.0.all.load(Ordering::Relaxed), self.0.live.load(Ordering::Relaxed));
        let healthy = confirmed >= channels;
        Health {
            connected_nodes: usize::from(confirmed > 0),
            connections_made: 0,
            channels,
            confirmed,
            last_probe_ms_ago: None,
            healthy,
            why: (!healthy).then(|| format!("{} feeds are not connected", channels - confirmed)),
        }
    }
}

/// One feed in the counts of [`Feeds`].
#[derive(Debug)]
pub struct Feed {
    feeds: Feeds,
    live: bool,
}

impl Feed {
    /// Whether it is connected from now on.
    pub fn set_live(&mut self, live: bool) {
        match (self.live, live) {
            (false, true) => self.feeds.0.live.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.feeds.0.live.fetch_sub(1, Ordering::Relaxed),
            _ => return,
        };
        self.live = live;
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.set_live(false);
        self.feeds.0.all.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_overflow_is_one_gap_where_the_messages_are_missing() {
        let mut feed = Subscription::fed_by(2, |mut feeder| async move {
            for n in 0..5_u8 {
                feeder.offer(Bytes::copy_from_slice(&[n]));
            }
        });
        let mut items = Vec::new();
        while let Some(item) = feed.recv().await {
            items.push(item);
        }
        let payload = |n: u8| FeedItem::Payload(Bytes::copy_from_slice(&[n]));
        assert_eq!(items, [payload(0), payload(1), FeedItem::Gap]);
    }

    #[test]
    fn health_follows_the_feeds() {
        let feeds = Feeds::default();
        let mut feed = feeds.open();
        assert!(!feeds.health().healthy);
        feed.set_live(true);
        assert!(feeds.health().healthy);
        drop(feed);
        assert_eq!((feeds.health().channels, feeds.health().confirmed), (0, 0));
    }
}
