//! The registry: which channel has which subscribers, and which connection delivers it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dashmap::DashMap;
use tokio::sync::{Notify, mpsc, oneshot};

use super::{ChannelKind, FeedItem, SUBSCRIBER_QUEUE};
use crate::keys::PROBE_PREFIX;

/// Channels that wait for the manager; above it the manager looks at all of them instead.
const WORK_QUEUE: usize = 65_536;
/// The connection of a channel that has none.
pub(super) const NOWHERE: u64 = 0;

/// One subscriber's end of its queue.
struct Subscriber {
    id: u64,
    queue: mpsc::Sender<FeedItem>,
    /// The newest item of the queue is a gap. One place of the queue is kept for it.
    gap_is_last: bool,
    /// The channel was lost while this one listened, and is not back yet.
    lost: bool,
}

impl Subscriber {
    fn deliver(&mut self, payload: &Bytes) {
        if self.queue.capacity() >= 2 {
            // Only the subscriber's end can close the queue, and then nobody misses the item.
            let _ = self.queue.try_send(FeedItem::Payload(payload.clone()));
            self.gap_is_last = false;
        } else if !self.gap_is_last {
            self.gap();
        }
    }

    /// Puts one gap behind what is queued, unless an unread one is there already.
    fn gap(&mut self) {
        let unread = self.queue.capacity() < self.queue.max_capacity();
        if !(self.gap_is_last && unread) {
            let _ = self.queue.try_send(FeedItem::Gap);
            self.gap_is_last = true;
        }
    }
}

/// One channel and its local subscribers.
pub(super) struct Channel {
    pub(super) kind: ChannelKind,
    pub(super) name: Arc<str>,
    /// Meaningful for sharded channels.
    pub(super) slot: u16,
    state: Mutex<ChannelState>,
}

pub(super) struct ChannelState {
    /// The connection that was asked to subscribe, or [`NOWHERE`].
    pub(super) target: u64,
    /// The target's server has confirmed.
    pub(super) confirmed: bool,
    pub(super) asked_at: Option<Instant>,
    /// Since when it is wanted but not confirmed.
    pub(super) unsettled_since: Option<Instant>,
    subscribers: Vec<Subscriber>,
    waiters: Vec<oneshot::Sender<()>>,
}

impl ChannelState {
    pub(super) fn is_wanted(&self) -> bool {
        !self.subscribers.is_empty()
    }

    /// The channel is no longer delivered by anyone.
    pub(super) fn lose(&mut self) {
        if self.confirmed {
            for subscriber in &mut self.subscribers {
                subscriber.lost = true;
            }
        }
        self.target = NOWHERE;
        self.confirmed = false;
        self.unsettled_since.get_or_insert_with(Instant::now);
    }

    /// The channel was asked of connection `target`, just now.
    pub(super) fn asked(&mut self, target: u64) {
        self.target = target;
        self.asked_at = Some(Instant::now());
    }

    fn confirm(&mut self) {
        self.confirmed = true;
        self.unsettled_since = None;
        for waiter in self.waiters.drain(..) {
            let _ = waiter.send(());
        }
        for subscriber in &mut self.subscribers {
            if std::mem::take(&mut subscriber.lost) {
                subscriber.gap();
            }
        }
    }
}

impl Channel {
    pub(super) fn lock(&self) -> MutexGuard<'_, ChannelState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_probe(&self) -> bool {
        self.name.starts_with(PROBE_PREFIX)
    }
}

/// What the connections, the manager and the subscribers share.
pub(super) struct Registry {
    sharded: DashMap<Arc<str>, Arc<Channel>>,
    classic: DashMap<Arc<str>, Arc<Channel>>,
    next_id: AtomicU64,
    work: mpsc::Sender<Arc<Channel>>,
    /// Someone lost a connection, or there was more work than the queue takes: look at everything.
    pub(super) wake: Notify,
    /// A server answered that it does not own the slot: the map is out of date.
    pub(super) map_is_stale: AtomicBool,
    pub(super) connected_nodes: AtomicUsize,
    pub(super) connections_made: AtomicU64,
}

/// A new subscriber of a channel.
pub(super) struct Joined {
    pub(super) channel: Arc<Channel>,
    pub(super) id: u64,
    pub(super) queue: mpsc::Receiver<FeedItem>,
    /// Resolves at confirmation; none when the channel is confirmed already.
    pub(super) confirmed: Option<oneshot::Receiver<()>>,
}

impl Registry {
    pub(super) fn new() -> (Arc<Self>, mpsc::Receiver<Arc<Channel>>) {
        let (work, todo) = mpsc::channel(WORK_QUEUE);
        let registry = Self {
            sharded: DashMap::new(),
            classic: DashMap::new(),
            next_id: AtomicU64::new(NOWHERE + 1),
            work,
            wake: Notify::new(),
            map_is_stale: AtomicBool::new(false),
            connected_nodes: AtomicUsize::new(0),
            connections_made: AtomicU64::new(0),
        };
        (Arc::new(registry), todo)
    }

    fn map(&self, kind: ChannelKind) -> &DashMap<Arc<str>, Arc<Channel>> {
        match kind {
            ChannelKind::Sharded => &self.sharded,
            ChannelKind::Classic => &self.classic,
        }
    }

    /// A number that no connection and no subscriber has.
    pub(super) fn fresh_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn len(&self) -> usize {
        self.sharded.len() + self.classic.len()
    }

    pub(super) fn find(&self, kind: ChannelKind, name: &str) -> Option<Arc<Channel>> {
        self.map(kind).get(name).map(|channel| channel.clone())
    }

    /// A snapshot of all channels.
    pub(super) fn all(&self) -> Vec<Arc<Channel>> {
        [&self.sharded, &self.classic]
            .into_iter()
            .flat_map(|map| map.iter().map(|entry| entry.value().clone()))
            .collect()
    }

    /// Adds a subscriber. The entry stays locked meanwhile, so that `remove_unwanted` cannot take
    /// the channel away.
    pub(super) fn join(&self, kind: ChannelKind, name: &str) -> Joined {
        let (sender, queue) = mpsc::channel(SUBSCRIBER_QUEUE + 1);
        let id = self.fresh_id();
        let entry = self.map(kind).entry(Arc::from(name)).or_insert_with(|| {
            Arc::new(Channel {
                kind,
                name: Arc::from(name),
                slot: crate::slots::slot(name.as_bytes()),
                state: Mutex::new(ChannelState {
                    target: NOWHERE,
                    confirmed: false,
                    asked_at: None,
                    unsettled_since: Some(Instant::now()),
                    subscribers: Vec::new(),
                    waiters: Vec::new(),
                }),
            })
        });
        let channel = entry.value().clone();
        let mut state = channel.lock();
        state.subscribers.push(Subscriber { id, queue: sender, gap_is_last: false, lost: false });
        let confirmed = if state.confirmed {
            None
        } else {
            let (waiter, confirmed) = oneshot::channel();
            state.waiters.push(waiter);
            Some(confirmed)
        };
        drop(state);
        drop(entry);
        Joined { channel, id, queue, confirmed }
    }

    /// Removes a subscriber; of the last one the manager is told.
    pub(super) fn leave(&self, channel: &Arc<Channel>, id: u64) {
        let mut state = channel.lock();
        state.subscribers.retain(|subscriber| subscriber.id != id);
        let wanted = state.is_wanted();
        drop(state);
        if !wanted {
            self.attend(channel);
        }
    }

    /// Has the manager look at `channel`.
    pub(super) fn attend(&self, channel: &Arc<Channel>) {
        if self.work.try_send(channel.clone()).is_err() {
            self.wake.notify_one();
        }
    }

    /// Forgets the channel if it still has no subscribers; `true` if it was forgotten now.
    pub(super) fn remove_unwanted(&self, channel: &Channel) -> bool {
        self.map(channel.kind)
            .remove_if(&channel.name, |_, found| {
                std::ptr::eq(Arc::as_ptr(found), channel) && !found.lock().is_wanted()
            })
            .is_some()
    }

    /// A message came in on connection `link`.
    pub(super) fn deliver(&self, kind: ChannelKind, name: &str, link: u64, payload: Vec<u8>) {
        let Some(channel) = self.map(kind).get(name) else {
            return;
        };
        let mut state = channel.lock();
        // After a move the old owner may still talk; its messages would come twice.
        if state.target == link && state.confirmed {
            let payload = Bytes::from(payload);
            for subscriber in &mut state.subscribers {
                subscriber.deliver(&payload);
            }
        }
    }

    /// The server at the end of `link` confirmed the channel.
    pub(super) fn confirmed(&self, kind: ChannelKind, name: &str, link: u64) {
        if let Some(channel) = self.find(kind, name) {
            let mut state = channel.lock();
            if state.target == link {
                state.confirm();
            }
        }
    }

    /// The server at the end of `link` dropped the channel without being asked to: its slot is
    /// elsewhere now.
    pub(super) fn dropped(&self, kind: ChannelKind, name: &str, link: u64) {
        let Some(channel) = self.find(kind, name) else {
            return;
        };
        let mut state = channel.lock();
        if state.target != link {
            return;
        }
        state.lose();
        drop(state);
        self.map_is_stale.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// How many channels there are without the probes, how many of them are confirmed, and whether
    /// one has been waiting for longer than `patience`.
    pub(super) fn tally(&self, patience: Duration) -> (usize, usize, bool) {
        let (mut channels, mut confirmed, mut overdue) = (0, 0, false);
        for channel in self.all() {
            let state = channel.lock();
            if !channel.is_probe() && state.is_wanted() {
                channels += 1;
                confirmed += usize::from(state.confirmed);
                overdue |= state.unsettled_since.is_some_and(|since| since.elapsed() > patience);
            }
        }
        (channels, confirmed, overdue)
    }

    /// Ends every subscription: each subscriber's queue closes.
    pub(super) fn close(&self) {
        for channel in self.all() {
            let mut state = channel.lock();
            state.lose();
            state.subscribers.clear();
            state.waiters.clear();
        }
        self.sharded.clear();
        self.classic.clear();
        self.connected_nodes.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: u64 = 1_000;

    fn confirmed_channel(registry: &Registry) -> Joined {
        let joined = registry.join(ChannelKind::Sharded, "c");
        joined.channel.lock().asked(LINK);
        registry.confirmed(ChannelKind::Sharded, "c", LINK);
        joined
    }

    fn send(registry: &Registry, number: usize) {
        let payload = number.to_string().into_bytes();
        registry.deliver(ChannelKind::Sharded, "c", LINK, payload);
    }

    #[test]
    fn an_overflow_is_one_gap_where_the_messages_are_missing() {
        let (registry, _todo) = Registry::new();
        let mut joined = confirmed_channel(&registry);
        for number in 0..SUBSCRIBER_QUEUE + 50 {
            send(&registry, number);
        }
        for number in 0..SUBSCRIBER_QUEUE {
            let expected = FeedItem::Payload(number.to_string().into());
            assert_eq!(joined.queue.try_recv(), Ok(expected));
        }
        assert_eq!(joined.queue.try_recv(), Ok(FeedItem::Gap));
        assert!(joined.queue.try_recv().is_err());
        send(&registry, 7);
        assert_eq!(joined.queue.try_recv(), Ok(FeedItem::Payload("7".into())));
    }

    #[test]
    fn a_loss_is_a_gap_before_the_first_message_of_the_new_connection() {
        let (registry, _todo) = Registry::new();
        let mut joined = confirmed_channel(&registry);
        send(&registry, 1);
        registry.dropped(ChannelKind::Sharded, "c", LINK);
        send(&registry, 2);
        let mut late = registry.join(ChannelKind::Sharded, "c");
        joined.channel.lock().asked(LINK);
        registry.confirmed(ChannelKind::Sharded, "c", LINK);
        send(&registry, 3);
        assert_eq!(joined.queue.try_recv(), Ok(FeedItem::Payload("1".into())));
        assert_eq!(joined.queue.try_recv(), Ok(FeedItem::Gap));
        assert_eq!(joined.queue.try_recv(), Ok(FeedItem::Payload("3".into())));
        assert_eq!(late.queue.try_recv(), Ok(FeedItem::Payload("3".into())));
    }

    #[test]
    fn another_connection_cannot_deliver_or_drop_a_channel() {
        let (registry, _todo) = Registry::new();
        let mut joined = confirmed_channel(&registry);
        registry.deliver(ChannelKind::Sharded, "c", LINK + 1, b"x".to_vec());
        registry.dropped(ChannelKind::Sharded, "c", LINK + 1);
        registry.deliver(ChannelKind::Classic, "c", LINK, b"x".to_vec());
        assert!(joined.queue.try_recv().is_err());
        assert!(joined.channel.lock().confirmed);
    }
}
