//! Runs a history on a variant and writes down every fact that it proves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chatlab_kit::{
    LabError, LabResult,
    budget::no_walk,
    check::{self, Finding, Record, Stop, Subject, answered},
    ids::RoomId,
};
use futures_util::{TryStreamExt, stream};

use crate::{
    BACKLOG_MAX, Fanout, Subscription,
    feedback::{Ear, Message, Topic},
    fence::Fence,
    outage::Outage,
    steps::Step,
};

/// How long one item is waited for before another message is published, in milliseconds at pace 1.
const LISTEN_MS: u64 = 10;
/// So many further messages, each acknowledged, and none of them heard: the feed is deaf.
const PATIENCE: u32 = 150;
/// How often a feed that ended is opened again.
const REOPEN_ATTEMPTS: u32 = 100;
/// Messages of a flood in flight.
const FLOOD_WIDTH: usize = 200;
/// After a flood what is under way arrives, in milliseconds at pace 1.
const FLOOD_REST_MS: u64 = 60;
/// A flood that proves nothing is repeated slower; at this pace it proves something.
const FLOOD_PACE: u32 = 9;

#[derive(Debug, Default)]
struct Room {
    id: RoomId,
    published: u64,
}

/// Rooms, feeds, and the variant twice: one that is cut, one that is not.
pub(crate) struct World<'a> {
    subject: &'a Subject<'a, dyn Fanout>,
    outage: Outage,
    subscriber: Arc<dyn Fanout>,
    publisher: Arc<dyn Fanout>,
    rooms: BTreeMap<u32, Room>,
    ears: BTreeMap<u32, Ear>,
    /// Names this run's messages.
    run: String,
    record: Record<Topic>,
}

impl<'a> World<'a> {
    pub(crate) async fn new(subject: &'a Subject<'a, dyn Fanout>) -> LabResult<Self> {
        let outage = Outage::new(&subject.probe()).await?;
        Ok(Self {
            subscriber: subject.client_over(&outage.redis, "S"),
            publisher: subject.client("P"),
            subject,
            outage,
            rooms: BTreeMap::new(),
            ears: BTreeMap::new(),
            run: RoomId::new().0.simple().to_string(),
            record: Record::default(),
        })
    }

    fn room(&mut self, room: u32) -> RoomId {
        self.rooms.entry(room).or_default().id
    }

    async fn open(&mut self, room: u32) -> LabResult<Subscription> {
        let id = self.room(room);
        self.subscriber.subscribe(&id).await
    }

    async fn subscribe(&mut self, f: u32, room: u32) -> Result<(), Stop> {
        let feed = answered("subscribe", self.open(room).await)?;
        let published = self.rooms.get(&room).map_or(0, |room| room.published);
        self.ears.insert(f, Ear::new(feed, room, published));
        Ok(())
    }

    /// Who returns although the server has refused claims to be subscribed: then it must hear of what is published now.
    async fn subscribe_refused(&mut self, f: u32, room: u32) -> Result<(), Stop> {
        let (subscriber, id) = (self.subscriber.clone(), self.room(room));
        let bound = Duration::from_millis(self.subject.pace.ms(2 * LISTEN_MS));
        self.outage.refuse().await?;
        let mut opening = Box::pin(subscriber.subscribe(&id));
        let early = tokio::time::timeout(bound, &mut opening).await;
        let before = self.rooms.get(&room).map_or(0, |room| room.published);
        let published = match early {
            Ok(Ok(_)) => self.publish(room).await,
            _ => Ok(()),
        };
        self.outage.end().await?;
        published?;
        let opened = match early {
            Ok(opened) => opened,
            Err(_) => opening.await,
        };
        let feed = match opened {
            Ok(feed) => feed,
            Err(error @ LabError::Unfinished(_)) => return Err(Stop::of("subscribe", error)),
            Err(_) => self.reopen(room).await?,
        };
        self.ears.insert(f, Ear::new(feed, room, before));
        self.publish(room).await
    }

    async fn publish(&mut self, room: u32) -> Result<(), Stop> {
        let id = self.room(room);
        let state = self.rooms.entry(room).or_default();
        state.published += 1;
        let payload = Message::Numbered(state.published).payload(&self.run, room);
        answered("notify", self.publisher.notify(&id, payload).await)
    }

    async fn cut(&mut self, messages: u64) -> Result<(), Stop> {
        let rooms: Vec<u32> = self.ears.values().map(|ear| ear.room).collect();
        if rooms.is_empty() {
            return Ok(());
        }
        for ear in self.ears.values_mut() {
            ear.cut = true;
        }
        let mut fence = Fence::new(&self.subject.probe()).await?;
        let killed = self.outage.begin().await?;
        let sent = self.publish_to_all(&rooms, messages).await;
        let passed = fence.pass().await;
        self.outage.end().await?;
        sent?;
        passed?;
        if killed == 0 {
            let why = "the subscriber had no connection that could be cut";
            self.record.doubt(Topic::Gap, why);
            self.record.doubt(Topic::Resumed, why);
        }
        Ok(())
    }

    async fn publish_to_all(&mut self, rooms: &[u32], messages: u64) -> Result<(), Stop> {
        for _ in 0..messages {
            for room in rooms {
                self.publish(*room).await?;
            }
        }
        Ok(())
    }

    /// Reads every feed up to the newest message, or past it: when nothing comes, another message is published, because
    /// only what comes later proves that something is missing.
    async fn listen(&mut self) -> Result<(), Stop> {
        let feeds: Vec<u32> = self.ears.keys().copied().collect();
        for f in feeds {
            let Some(mut ear) = self.ears.remove(&f) else { continue };
            let before = self.broken();
            let deaf = self.listen_to(&mut ear).await?;
            if !deaf && ear.heard && ear.cut {
                self.record.fact(Topic::Resumed, Ok(()));
            }
            if self.broken() == before {
                self.all_is_well(&ear);
            }
            self.ears.insert(f, ear);
        }
        Ok(())
    }

    fn broken(&self) -> usize {
        self.record.facts.iter().filter(|(_, held)| held.is_err()).count()
    }

    /// `true` when nothing arrives any more.
    async fn listen_to(&mut self, ear: &mut Ear) -> Result<bool, Stop> {
        let target = self.rooms.get(&ear.room).map_or(0, |room| room.published);
        let bound = Duration::from_millis(self.subject.pace.ms(LISTEN_MS));
        let mut unheard = 0;
        while ear.next <= target {
            match tokio::time::timeout(bound, ear.feed.recv()).await {
                Ok(item) => {
                    let ended = item.is_none();
                    self.record.facts.extend(ear.hear(item.as_ref(), &self.run));
                    if ended {
                        ear.feed = self.reopen(ear.room).await?;
                    }
                }
                Err(_) if unheard < PATIENCE => {
                    unheard += 1;
                    self.publish(ear.room).await?;
                }
                Err(_) => {
                    self.deaf(ear, target);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn deaf(&mut self, ear: &Ear, target: u64) {
        let what = format!(
            "nothing arrives in r{} since m{}: m{target} and {PATIENCE} more were published, and nobody was told",
            ear.room,
            ear.next - 1
        );
        if ear.cut {
            self.record.fact(Topic::Resumed, Err(what.clone()));
        }
        self.record.fact(ear.topic(), Err(what));
    }

    /// A feed that ends is a gap that is told; the subscriber comes back by itself, as the server does.
    async fn reopen(&mut self, room: u32) -> Result<Subscription, Stop> {
        let mut last = None;
        for _ in 0..REOPEN_ATTEMPTS {
            match self.open(room).await {
                Ok(feed) => return Ok(feed),
                Err(error @ LabError::Unfinished(_)) => return Err(Stop::of("subscribe", error)),
                Err(error) => last = Some(error),
            }
            // The pace of attempts, at most `REOPEN_ATTEMPTS`.
            tokio::time::sleep(Duration::from_millis(self.subject.pace.ms(LISTEN_MS))).await;
        }
        let why = last.map_or_else(String::new, |error| error.to_string());
        let what = format!("subscribe failed {REOPEN_ATTEMPTS} times after a cut, last with: {why}");
        Err(Stop::Variant(Finding::Broken(what)))
    }

    fn all_is_well(&mut self, ear: &Ear) {
        if !ear.heard {
            return;
        }
        self.record.facts.extend([
            (Topic::Subscribed, Ok(())),
            (Topic::Order, Ok(())),
            (Topic::Rooms, Ok(())),
        ]);
        if ear.cut {
            self.record.fact(Topic::Gap, Ok(()));
        }
    }

    async fn flood(&mut self, room: u32, count: u64) -> Result<(), Stop> {
        let id = self.room(room);
        for ear in self.ears.values_mut().filter(|ear| ear.room == room) {
            ear.flooded = true;
        }
        let (publisher, run) = (self.publisher.clone(), self.run.clone());
        let messages = (1..=count).map(|n| publisher.notify(&id, Message::Flood(n).payload(&run, room)));
        stream::iter(messages.map(Ok))
            .try_for_each_concurrent(FLOOD_WIDTH, |sent| sent)
            .await
            .map_err(|error| Stop::of("notify", error))?;
        // Part of the planted fault: nobody reads meanwhile.
        tokio::time::sleep(Duration::from_millis(self.subject.pace.ms(FLOOD_REST_MS))).await;
        for (key, kept) in self.outage.kept(&id).await? {
            if kept > BACKLOG_MAX as u64 {
                self.record.fact(Topic::Slow, Err(format!("{key} keeps {kept} messages of {count}")));
            }
        }
        self.publish(room).await?;
        let feeds: Vec<u32> = self.ears.iter().filter(|(_, e)| e.room == room).map(|(f, _)| *f).collect();
        for f in feeds {
            let Some(mut ear) = self.ears.remove(&f) else { continue };
            let (gaps, heard) = (ear.gaps, ear.flood_heard);
            self.listen_to(&mut ear).await?;
            self.judge_flood(count, ear.flood_heard - heard, ear.gaps - gaps);
            self.ears.insert(f, ear);
        }
        Ok(())
    }

    fn judge_flood(&mut self, count: u64, heard: u64, gaps: u64) {
        if gaps > 0 {
            self.record.fact(Topic::Slow, Ok(()));
        } else if heard < count {
            let what = format!("{heard} of {count} messages arrived, and no gap was told");
            self.record.fact(Topic::Slow, Err(what));
        } else if self.subject.pace.0 >= FLOOD_PACE {
            let what =
                format!("all {count} messages waited for a reader that did not read: what bounds them?");
            self.record.fact(Topic::Slow, Err(what));
        } else {
            self.record.doubt(Topic::Slow, "the reader may have kept up with the flood");
        }
    }

    async fn budget(&mut self, room: u32, count: u64) -> Result<(), Stop> {
        self.publish(room).await?;
        // The first one may have had to load a script.
        self.subject.trace().clear();
        for _ in 0..count {
            self.publish(room).await?;
        }
        let entries = self.subject.trace().entries();
        let mut trips: Vec<u64> = entries.iter().filter(|e| e.conn == "P").map(|e| e.round_trip).collect();
        trips.dedup();
        let trips = trips.len() as u64;
        let held =
            if trips <= count { Ok(()) } else { Err(format!("{count} notifies took {trips} round trips")) };
        self.record.fact(Topic::Trips, held);
        self.record.fact(Topic::Verbs, no_walk(&entries));
        Ok(())
    }
}

#[async_trait]
impl check::World for World<'_> {
    type Step = Step;
    type Topic = Topic;

    async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        self.record.line(step.to_string());
        match *step {
            Step::Subscribe { f, room } => self.subscribe(f, room).await,
            Step::SubscribeRefused { f, room } => self.subscribe_refused(f, room).await,
            Step::Leave { f } => {
                self.ears.remove(&f);
                Ok(())
            }
            Step::Publish { room, count } => {
                for _ in 0..count {
                    self.publish(room).await?;
                }
                Ok(())
            }
            Step::Listen => self.listen().await,
            Step::Cut { messages } => self.cut(messages).await,
            Step::Flood { room, count } => self.flood(room, count).await,
            Step::Budget { room, count } => self.budget(room, count).await,
        }
    }

    fn aliases(&self) -> Vec<(String, String)> {
        let rooms = self.rooms.iter().map(|(number, room)| (room.id.to_string(), format!("r{number}")));
        rooms.chain([(format!("{}/", self.run), String::new())]).collect()
    }

    fn record(&mut self) -> &mut Record<Topic> {
        &mut self.record
    }

    /// Ends all feeds and removes what the rooms have left.
    async fn clean_up(self: Box<Self>) -> LabResult<()> {
        let world = *self;
        drop(world.ears);
        drop(world.subscriber);
        world.outage.clean_up(world.rooms.into_values().map(|room| room.id)).await
    }
}
