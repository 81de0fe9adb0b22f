//! Who is online, and telling the rooms of a user who came or went.
//!
//! The presence lab knows who is online; this module asks it at every connect and disconnect, keeps this instance alive in it, and
//! reaps instances that died. A user who came online, went offline or changed their status is told of in their rooms: put down here, newest state
//! only, and worked off by one task at a bounded rate. A notice is a hint, at most once; `who` gives the state.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use chatlab_kit::{
    LabError, LabResult,
    ids::{ConnectionId, RoomId, UserId},
};
use chatlab_presence::{MAX_ASKED, Presence};
use chatlab_pubsub::Fanout;
use futures_util::{StreamExt, stream};
use tokio::{sync::Notify, time::Instant};
use tokio_util::task::TaskTracker;

use super::{
    ServiceError, ServiceResult,
    events::{Event, Events, Topic},
    hub::room::Notice,
    lock,
    ports::{Archive, StatusRecord},
    sparse::Sparse,
};
use pending::{News, Pending};
use unsettled::{Intent, Unsettled};

mod pending;
mod unsettled;

/// Users whose state is looked up together.
const BATCH: usize = 64;
/// The most rooms of one user that are told.
const MAX_NOTICE_ROOMS: u32 = 256;
/// Notices under way at once.
const NOTICES_IN_FLIGHT: usize = 16;
/// Room notices a second, of one instance, in the long run.
const NOTICES_PER_S: f64 = 2_000.0;
/// How far the notices may run ahead of that rate.
const NOTICE_BURST: Duration = Duration::from_millis(100);
/// How often a disconnect is tried by itself before it waits for the next refresh.
const DEPART_ATTEMPTS: u32 = 8;
/// The first pause between two tries; doubles from try to try.
const DEPART_PAUSE: Duration = Duration::from_millis(100);

/// How often the connections to Redis are looked at, to find a failover: at the most so often everything is written once more.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Who is online, as this instance sees to it.
pub struct Attendance {
    presence: Arc<dyn Presence>,
    archive: Arc<dyn Archive>,
    fanout: Arc<dyn Fanout>,
    refresh: Duration,
    waiting: Mutex<Pending>,
    wake: Notify,
    departures: TaskTracker,
    unsettled: Unsettled,
    events: Events,
    /// About rooms that could not be told.
    lines: Sparse,
}

impl Attendance {
    /// Over a variant of presence that wants to be refreshed this often.
    pub fn new(
        presence: Arc<dyn Presence>,
        archive: Arc<dyn Archive>,
        fanout: Arc<dyn Fanout>,
        refresh: Duration,
        events: Events,
    ) -> Self {
        Self {
            presence,
            archive,
            fanout,
            refresh,
            waiting: Mutex::default(),
            wake: Notify::new(),
            departures: TaskTracker::new(),
            unsettled: Unsettled::default(),
            events,
            lines: Sparse::default(),
        }
    }

    /// A connection was authenticated. Presence is not worth refusing somebody: a failure is logged, and tried again with the next
    /// refresh.
    pub async fn arrive(&self, user: UserId, conn: ConnectionId) {
        match self.presence.connect(&user, &conn).await {
            Ok(true) => self.put_down(user, true),
            Ok(false) => {}
            Err(error) => {
                self.unsettled.intend(user, conn, true);
                failed("presence.connect", user, &error);
            }
        }
    }

    /// A connection is gone. Goes on by itself: whoever says so may be in the middle of a panic.
    pub fn depart(self: &Arc<Self>, user: UserId, conn: ConnectionId) {
        let intent = self.unsettled.intend(user, conn, false);
        let this = self.clone();
        let leaving = async move {
            for attempt in 0..DEPART_ATTEMPTS {
                if this.try_depart(&intent).await {
                    return;
                }
                // Between two tries, bounded by `DEPART_ATTEMPTS`.
                tokio::time::sleep(DEPART_PAUSE * 2u32.pow(attempt)).await;
            }
        };
        // Without a runtime the process is ending, and others reap it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.departures.spawn_on(leaving, &runtime);
        }
    }

    /// True when presence knows that a connection is gone.
    async fn try_depart(&self, intent: &Intent) -> bool {
        match self.presence.disconnect(&intent.user, &intent.conn).await {
            Ok(went_offline) => {
                self.unsettled.confirm(intent);
                if went_offline {
                    self.put_down(intent.user, false);
                }
                true
            }
            Err(error) => {
                failed("presence.disconnect", intent.user, &error);
                false
            }
        }
    }

    /// Tries again what failed, until something fails.
    async fn make_up(&self) {
        for intent in self.unsettled.all() {
            let done =
                if intent.here { self.try_arrive(&intent).await } else { self.try_depart(&intent).await };
            if !done {
                return;
            }
        }
    }

    /// True when presence knows that a connection is there, or that it went meanwhile.
    async fn try_arrive(&self, intent: &Intent) -> bool {
        match self.presence.connect(&intent.user, &intent.conn).await {
            Ok(came_online) => {
                if self.unsettled.confirm(intent) && came_online {
                    self.put_down(intent.user, true);
                }
                true
            }
            Err(error) => {
                failed("presence.connect", intent.user, &error);
                false
            }
        }
    }

    /// Keeps this instance alive and reaps those that are not. Runs until it is dropped.
    pub async fn tend(&self) {
        let mut connections = self.fanout.health().connections_made;
        let mut due = Instant::now();
        loop {
            tokio::time::sleep_until(due.min(Instant::now() + LOOK_EVERY)).await;
            // A connection that had to be made anew may mean another master, without what its predecessor was told last. That is put
            // right soon: should this instance die before, nobody would.
            let now = self.fanout.health().connections_made;
            if now != connections {
                connections = now;
                self.presence.doubt();
                due = due.min(Instant::now());
            }
            if Instant::now() >= due {
                due = Instant::now() + self.refresh;
                self.refresh_and_reap().await;
            }
        }
    }

    async fn refresh_and_reap(&self) {
        if let Err(error) = self.presence.refresh().await {
            return tracing::warn!(%error, "presence.refresh");
        }
        self.make_up().await;
        for user in self.presence.returned() {
            self.put_down(user, true);
        }
        match self.presence.reap().await {
            Ok(gone) => {
                if !gone.is_empty() {
                    tracing::info!(users = gone.len(), "presence.reaped");
                }
                for user in gone {
                    self.put_down(user, false);
                }
            }
            Err(error) => tracing::warn!(%error, "presence.reap"),
        }
    }

    fn put_down(&self, user: UserId, online: bool) {
        let topic = if online { Topic::UserOnline } else { Topic::UserOffline };
        self.events.tell(topic, Event::new(topic.name(), Some(user), None));
        self.put_down_news(user, News::transition(online));
    }

    /// A user has another status, or says something else beside it.
    pub fn changed(&self, user: UserId) {
        self.put_down_news(user, News::status());
    }

    fn put_down_news(&self, user: UserId, news: News) {
        if lock(&self.waiting).put(user, news) {
            self.wake.notify_one();
        } else {
            metrics::counter!("chatlab_presence_untold_total").increment(1);
        }
    }

    /// Tells the rooms what was put down. Runs until it is dropped; one at a time.
    pub async fn tell(&self) {
        // When the notices so far would be through at the rate.
        let mut through = Instant::now();
        loop {
            let batch = lock(&self.waiting).take(BATCH);
            if batch.is_empty() {
                self.wake.notified().await;
                continue;
            }
            match self.tell_batch(&batch).await {
                Ok(notices) => {
                    let took = Duration::from_secs_f64(notices as f64 / NOTICES_PER_S);
                    through = through.max(Instant::now()) + took;
                }
                Err(error) => {
                    metrics::counter!("chatlab_presence_untold_total").increment(batch.len() as u64);
                    if let Some(left_out) = self.lines.admit(std::time::Instant::now()) {
                        tracing::warn!(%error, users = batch.len(), left_out, "presence.not_told");
                    }
                }
            }
            lock(&self.waiting).busy = false;
            tokio::time::sleep_until(through.checked_sub(NOTICE_BURST).unwrap_or(through)).await;
        }
    }

    /// How many notices were sent.
    async fn tell_batch(&self, batch: &[(UserId, News)]) -> ServiceResult<usize> {
        let users: Vec<_> = batch.iter().map(|(user, _)| *user).collect();
        let now = self.presence.online(&users).await?;
        let mut standings = self.standings(&users).await?;
        let mut notices = Vec::new();
        for ((user, news), now) in batch.iter().zip(now) {
            let StatusRecord { status, text } = standings.remove(user).unwrap_or_default();
            let Some(online) = news.told(now, status.shown().is_some()) else { continue };
            let (status, status_text) = if online { (status.shown(), text) } else { (None, String::new()) };
            let notice = Notice::Presence { user: *user, online, status, status_text };
            let notice = Bytes::from(serde_json::to_vec(&notice).map_err(ServiceError::internal)?);
            let rooms = self.archive.rooms_of(user, MAX_NOTICE_ROOMS).await?;
            notices.extend(rooms.into_iter().map(|room| (room, notice.clone())));
        }
        let sent = notices.len();
        let sending = stream::iter(notices)
            .map(|(room, notice)| self.notify(room, notice))
            .buffer_unordered(NOTICES_IN_FLIGHT);
        sending.for_each(|()| std::future::ready(())).await;
        Ok(sent)
    }

    async fn notify(&self, room: RoomId, notice: Bytes) {
        match self.fanout.notify(&room, notice).await {
            Ok(()) => metrics::counter!("chatlab_presence_notices_total").increment(1),
            Err(error) => {
                metrics::counter!("chatlab_presence_untold_total").increment(1);
                tracing::warn!(%room, %error, "presence.notify");
            }
        }
    }

    /// Those of `users` who are online, in their order.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn online(&self, users: &[UserId]) -> ServiceResult<Vec<UserId>> {
        let mut online = Vec::new();
        for page in users.chunks(MAX_ASKED) {
            let states: LabResult<Vec<bool>> = self.presence.online(page).await;
            online.extend(page.iter().zip(states?).filter_map(|(user, there)| there.then_some(*user)));
        }
        Ok(online)
    }

    /// Those of `users` who are online and not invisible, in their order, with their statuses; the viewer sees themselves in any case.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn seen(
        &self,
        users: &[UserId],
        viewer: Option<UserId>,
    ) -> ServiceResult<Vec<(UserId, StatusRecord)>> {
        let online = self.online(users).await?;
        let mut standings = self.standings(&online).await?;
        let standing = |user| (user, standings.remove(&user).unwrap_or_default());
        let each = online.into_iter().map(standing);
        Ok(each.filter(|(user, of)| of.status.shown().is_some() || Some(*user) == viewer).collect())
    }

    /// The statuses of those who are not simply available.
    async fn standings(&self, users: &[UserId]) -> ServiceResult<HashMap<UserId, StatusRecord>> {
        Ok(self.archive.statuses(users).await?.into_iter().collect())
    }

    /// Waits, in bounds, until all who left are taken out and told of.
    pub async fn settle(&self, within: Duration) {
        self.departures.close();
        let settled = async {
            self.departures.wait().await;
            while self.is_telling() {
                // A poll, bounded by `within`: the telling task wakes nobody when it is through.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(within, settled).await.is_err() {
            tracing::warn!(departures = self.departures.len(), "presence.not_settled");
        }
    }

    fn is_telling(&self) -> bool {
        lock(&self.waiting).is_telling()
    }
}

fn failed(what: &'static str, user: UserId, error: &LabError) {
    metrics::counter!("chatlab_presence_errors_total").increment(1);
    tracing::warn!(%user, %error, "{what}");
}
