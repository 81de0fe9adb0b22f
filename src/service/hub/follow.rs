//! Follows one room: reads its subscription in order, and closes gaps from the history.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chatlab_history::Since;
use chatlab_kit::{
    ids::{RoomId, UserId},
    message::{Envelope, Position},
    wire::ServerFrame,
};
use chatlab_pubsub::{FeedItem, Subscription};
use rand::Rng;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    Ports,
    former::{evict_former_members, evict_if_left},
    frame::{Frame, Mark, id_of, position_of},
    members::{Kind, Offer},
    place::{Arrival, Recent, arrival},
    resync,
    room::{Notice, Room},
    settings::settle,
};
use crate::service::{ServiceError, ServiceResult};

/// The first pause before Redis is asked again; doubles from attempt to attempt.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest pause.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// How often the history is asked for what an announced message says must be there, before the
/// room starts over from the head.
const MAX_HOLE_ROUNDS: u32 = 5;
/// How long messages wait for the memberships after a gap. An archive that takes longer does not
/// silence the room; the check goes on beside it.
const MEMBERS_WAIT: Duration = Duration::from_secs(2);

/// The most messages that are offered to the members together. Under load they wait in the subscription; then a connection gets
/// many of them by one system call.
const MAX_TOGETHER: usize = 32;

/// The task of one room.
pub struct Follower {
    room: Arc<Room>,
    ports: Arc<Ports>,
    stop: CancellationToken,
    position: Position,
    /// What was at the places up to it.
    recent: Recent,
    /// The history was asked about a number from before those places, and nothing has come live since.
    asked: bool,
    /// Messages up to the position that were not offered yet.
    ready: Vec<Offer>,
    /// The check of the members after the latest gap.
    checking: Option<JoinHandle<()>>,
}

/// The room was closed.
struct Stopped;

impl Follower {
    /// From the room's position on, until `stop`.
    pub fn new(room: Arc<Room>, ports: Arc<Ports>, stop: CancellationToken) -> Self {
        let position = room.members().position.clone();
        let recent = Recent::at(&position);
        Self { room, ports, stop, position, recent, asked: false, ready: Vec::new(), checking: None }
    }

    /// Runs until the room is closed.
    pub async fn run(mut self, mut feed: Subscription) {
        loop {
            let waiting = if self.ready.len() < MAX_TOGETHER { feed.try_recv() } else { None };
            let item = match waiting {
                Some(item) => Some(item),
                None => {
                    self.offer_ready().await;
                    tokio::select! {
                        biased;
                        () = self.stop.cancelled() => return,
                        item = feed.recv() => item,
                    }
                }
            };
            let done = match item {
                Some(FeedItem::Payload(payload)) => self.payload(&payload).await,
                Some(FeedItem::Gap) => self.gap().await,
                None => match self.resubscribe().await {
                    Ok(fresh) => {
                        feed = fresh;
                        self.gap().await
                    }
                    Err(stopped) => Err(stopped),
                },
            };
            if done.is_err() {
                return;
            }
        }
    }

    async fn payload(&mut self, payload: &Bytes) -> Result<(), Stopped> {
        if payload.first() == Some(&b'{') {
            self.notice(payload).await;
            return Ok(());
        }
        let envelope = match Envelope::parse(payload) {
            Ok(envelope) => envelope,
            Err(error) => {
                tracing::error!(room = %self.room.id, %error, "hub.bad_payload");
                return Ok(());
            }
        };
        for round in 0..=MAX_HOLE_ROUNDS {
            match arrival(&self.position, envelope.epoch, envelope.seq) {
                Arrival::Old => return self.old(&envelope).await,
                Arrival::Next => {
                    self.deliver_live(&envelope);
                    return Ok(());
                }
                Arrival::Hole if round == 0 => self.catch_up().await?,
                Arrival::Hole => {
                    self.pause(round).await?;
                    self.catch_up().await?;
                }
            }
            // Of another run, and the history stands by ours: it is the announcement that is stale.
            if self.position.epoch.0 != envelope.epoch && !self.position.epoch.0.is_empty() {
                return Ok(());
            }
        }
        tracing::warn!(room = %self.room.id, seq = envelope.seq, "hub.hole_stays");
        self.start_over().await
    }

    /// A number that was given before: by the same message, or is it given again because its first one is lost?
    async fn old(&mut self, envelope: &Envelope<'_>) -> Result<(), Stopped> {
        match id_of(envelope).ok().and_then(|id| self.recent.had(envelope.seq, id)) {
            Some(true) => return Ok(()),
            // Behind a gap many of them come, of which the history had told: one question for all.
            None if self.asked => return Ok(()),
            _ => {}
        }
        self.asked = true;
        // The history knows whether our position still holds.
        self.catch_up().await
    }

    fn deliver_live(&mut self, envelope: &Envelope<'_>) {
        match self.frame(envelope) {
            Ok(frame) => {
                self.asked = false;
                self.deliver(frame, envelope.seq);
            }
            Err(error) => tracing::error!(room = %self.room.id, %error, "hub.bad_payload"),
        }
    }

    /// Spliced as it came; a text that may be sealed is looked at.
    fn frame(&self, envelope: &Envelope<'_>) -> ServiceResult<Arc<Frame>> {
        if !self.ports.vault.seals() {
            return Frame::live(self.room.id, envelope).map_err(ServiceError::internal);
        }
        let mut message = envelope.message().map_err(ServiceError::internal)?;
        self.ports.vault.open(&mut message);
        Frame::stored(message)
    }

    fn deliver(&mut self, frame: Arc<Frame>, seq: u64) {
        if let Some(position) = frame.position() {
            self.position = position.clone();
            self.recent.add(position);
            self.ready.push((frame, Kind::Message(seq)));
        }
    }

    /// Offers what was delivered, before anything else is said or waited for.
    async fn offer_ready(&mut self) {
        if !self.ready.is_empty() {
            self.room.dispatch(&self.ready, Some(self.position.clone())).await;
            self.ready.clear();
        }
    }

    /// Delivers what the history has after our position, in order, until there is no more.
    async fn catch_up(&mut self) -> Result<(), Stopped> {
        self.offer_ready().await;
        metrics::counter!("chatlab_catch_ups_total").increment(1);
        let mut attempt = 0;
        loop {
            let since = self.ports.history.since(&self.room.id, &self.position).await;
            match since {
                Ok(Since::Continued { messages, more }) => {
                    attempt = 0;
                    for mut message in messages {
                        self.ports.vault.open(&mut message);
                        let (at, seq) = (position_of(&message), message.seq);
                        if arrival(&self.position, &at.epoch.0, seq) != Arrival::Next {
                            return self.start_over().await;
                        }
                        match Frame::stored(message) {
                            Ok(frame) => self.deliver(frame, seq),
                            Err(error) => tracing::error!(room = %self.room.id, %error, "hub.frame"),
                        }
                    }
                    self.offer_ready().await;
                    if !more {
                        return Ok(());
                    }
                    tokio::task::yield_now().await;
                }
                Ok(Since::Resync { head }) => {
                    let head = self.fenced(head).await;
                    self.restart_at(head).await;
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(room = %self.room.id, %error, attempt, "hub.catch_up");
                    attempt += 1;
                    self.pause(attempt).await?;
                }
            }
            if self.stop.is_cancelled() {
                return Err(Stopped);
            }
        }
    }

    /// Where the room stands. If it stands before what was seen here, or another message is in that place, a failover has lost the
    /// end: then a new run begins above it.
    async fn fenced(&self, head: Position) -> Position {
        if self.position.id.is_none() || head.epoch != self.position.epoch && !head.epoch.0.is_empty() {
            return head;
        }
        match self.ports.history.fence(&self.room.id, &self.position).await {
            Ok(fenced) => {
                if fenced.epoch != head.epoch {
                    metrics::counter!("chatlab_fences_total").increment(1);
                    tracing::warn!(room = %self.room.id, seen = self.position.seq, head = head.seq, "hub.tail_lost");
                }
                fenced
            }
            Err(error) => {
                tracing::warn!(room = %self.room.id, %error, "hub.fence");
                head
            }
        }
    }

    /// Goes on from the head, and says so.
    async fn start_over(&mut self) -> Result<(), Stopped> {
        let mut attempt = 0;
        loop {
            match self.ports.history.head(&self.room.id).await {
                Ok(head) => {
                    self.restart_at(head).await;
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(room = %self.room.id, %error, attempt, "hub.start_over");
                    attempt += 1;
                    self.pause(attempt).await?;
                }
            }
        }
    }

    async fn restart_at(&mut self, head: Position) {
        self.offer_ready().await;
        metrics::counter!("chatlab_resyncs_total", "scope" => "room").increment(1);
        tracing::warn!(room = %self.room.id, from = self.position.seq, to = head.seq, "hub.resync");
        self.position = head.clone();
        self.recent = Recent::at(&head);
        match resync(self.room.id, head.clone()) {
            Ok(frame) => self.room.dispatch(&[(frame, Kind::Resync)], Some(head)).await,
            Err(error) => tracing::error!(room = %self.room.id, %error, "hub.frame"),
        }
    }

    /// Messages and notices may be missing. Who left meanwhile is out before the messages come.
    async fn gap(&mut self) -> Result<(), Stopped> {
        self.offer_ready().await;
        metrics::counter!("chatlab_gaps_total").increment(1);
        if let Some(former) = self.checking.take() {
            former.abort();
        }
        let (room, ports, stop) = (self.room.clone(), self.ports.clone(), self.stop.clone());
        let mut check = tokio::spawn(async move {
            let check = async {
                evict_former_members(&room, &ports).await;
                settle(&room, &ports).await;
            };
            let _ = stop.run_until_cancelled(check).await;
        });
        if tokio::time::timeout(MEMBERS_WAIT, &mut check).await.is_err() {
            tracing::warn!(room = %self.room.id, "hub.members_late");
            self.checking = Some(check);
        }
        self.catch_up().await
    }

    async fn resubscribe(&mut self) -> Result<Subscription, Stopped> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            self.pause(attempt).await?;
            match self.ports.fanout.subscribe(&self.room.id).await {
                Ok(feed) => return Ok(feed),
                Err(error) => tracing::warn!(room = %self.room.id, %error, attempt, "hub.resubscribe"),
            }
        }
    }

    async fn notice(&mut self, payload: &[u8]) {
        self.offer_ready().await;
        let room = self.room.id;
        let (frame, kind) = match serde_json::from_slice::<Notice>(payload) {
            Ok(Notice::Left(user)) => return self.left(user),
            Ok(Notice::Settings {}) => return self.settings(),
            Ok(Notice::Presence { user, online, status, status_text }) => {
                let presence = ServerFrame::Presence { room, user, online, status, status_text };
                (Frame::new(&presence, Mark::Presence(room, user)), Kind::Notice)
            }
            Ok(Notice::Typing { user, on }) => (typing_frame(room, user, on), Kind::Typing(user)),
            Ok(Notice::Role { user, role }) => {
                (Frame::new(&ServerFrame::Role { room, user, role }, Mark::None), Kind::Notice)
            }
            Ok(Notice::Receipt { user, read, delivered }) => {
                let receipt = ServerFrame::Receipt { room, user, read, delivered };
                (Frame::new(&receipt, Mark::Receipt(room, user)), Kind::Notice)
            }
            Err(error) => return tracing::warn!(%room, %error, "hub.bad_notice"),
        };
        match frame {
            Ok(frame) => self.room.dispatch(&[(frame, kind)], None).await,
            Err(error) => tracing::error!(%room, %error, "hub.frame"),
        }
    }

    /// Not in line with the messages: the archive is asked first, because the user may have come
    /// back in the meantime.
    fn left(&self, user: UserId) {
        let (room, ports) = (self.room.clone(), self.ports.clone());
        tokio::spawn(async move {
            if let Err(error) = evict_if_left(&room, &ports, user).await {
                tracing::error!(room = %room.id, %error, "hub.evict");
            }
        });
    }

    /// Beside the messages: the archive is asked.
    fn settings(&self) {
        let (room, ports, stop) = (self.room.clone(), self.ports.clone(), self.stop.clone());
        tokio::spawn(async move {
            let _ = stop.run_until_cancelled(settle(&room, &ports)).await;
        });
    }

    /// Between two tries: what is away is not asked without rest. Bounded by `BACKOFF_MAX`, ended by a stop.
    async fn pause(&self, attempt: u32) -> Result<(), Stopped> {
        tokio::select! {
            () = self.stop.cancelled() => Err(Stopped),
            () = tokio::time::sleep(backoff(attempt)) => Ok(()),
        }
    }
}

/// Doubles from attempt to attempt up to a bound, and varies by half, so that rooms do not come in step.
pub(in super::super) fn backoff(attempt: u32) -> Duration {
    let full = BACKOFF_MIN.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(BACKOFF_MAX);
    full.mul_f64(rand::rng().random_range(0.5..1.0))
}

fn typing_frame(room: RoomId, user: UserId, on: bool) -> ServiceResult<Arc<Frame>> {
    Frame::new(&ServerFrame::Typing { room, user, on }, Mark::Typing(room, user))
}
