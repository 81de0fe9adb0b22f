//! A recorded conversation against the guarantees of docs/PROTOCOL.md.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Instant,
};

use chatlab_kit::{
    ids::{MessageId, RoomId, UserId},
    message::{Message, MessageKind, Position},
};

use super::{
    World,
    device::{Device, Noted, Step},
    looks::{self, Look},
    person::{Count, Person, Stored, What},
};

/// How much there was to judge.
#[derive(Debug, Default)]
pub struct Report {
    pub counts: BTreeMap<&'static str, Count>,
    pub said: usize,
    pub heard: usize,
    pub typing: usize,
    /// Acknowledged, and lost by a master's death: when that was, by Redis' clock.
    pub lost: Vec<(RoomId, u64)>,
    /// How often a device had heard what was lost, and was told.
    pub told: usize,
    pub resyncs: Vec<Instant>,
    /// Connections that were closed because they did not read.
    pub slow: usize,
}

/// A room's history as it is in the end.
pub struct History {
    room: RoomId,
    messages: Vec<Message>,
    by_id: HashMap<MessageId, usize>,
    looks: HashMap<MessageId, Look>,
}

impl History {
    /// Each message once, in each run without a hole, and the first run from 1.
    fn new(room: RoomId, messages: Vec<Message>, may_lose: bool) -> Self {
        let mut before: Option<&Message> = None;
        for message in &messages {
            let next = before.map_or(1, |before| before.seq + 1);
            let new_run = may_lose && before.is_some_and(|before| before.epoch != message.epoch);
            let right = if new_run { message.seq >= next } else { message.seq == next };
            assert!(right, "the history has a hole before {message:?}, after {before:?}");
            before = Some(message);
        }
        let by_id: HashMap<_, _> = messages.iter().enumerate().map(|(nth, m)| (m.draft.id, nth)).collect();
        let cids: BTreeSet<_> = messages.iter().map(|m| (m.draft.from, m.draft.cid.as_str())).collect();
        assert_eq!((by_id.len(), cids.len()), (messages.len(), messages.len()), "a second copy");
        let looks = looks::looks(&messages, may_lose);
        for message in &messages {
            looks::check(message, looks.get(&message.draft.id));
        }
        Self { room, messages, by_id, looks }
    }

    /// The body that a message must have by now, which was said with another one.
    fn body_now(&self, message: &Message) -> Option<&str> {
        let of_its_own = self.looks.get(&message.draft.id).and_then(|look| look.body.as_deref());
        // The text of an edit goes with that of its message.
        let about = message.draft.about.filter(|_| message.draft.kind == MessageKind::Edit);
        let gone =
            about.and_then(|about| self.looks.get(&about)?.body.as_deref()).filter(|body| body.is_empty());
        of_its_own.or(gone)
    }

    fn kept(&self, id: &MessageId) -> Option<&Message> {
        self.by_id.get(id).map(|nth| &self.messages[*nth])
    }

    /// Which room's.
    pub fn room(&self) -> RoomId {
        self.room
    }

    /// The sequence in the middle of it, 0 of none, and how many texts come after that.
    pub fn middle(&self) -> (u64, u64) {
        let (first, rest) = self.messages.split_at(self.messages.len() / 2);
        let texts = rest.iter().filter(|message| message.draft.kind == MessageKind::Text).count();
        (first.last().map_or(0, |message| message.seq), texts as u64)
    }

    /// The ids of its messages.
    pub fn ids(&self) -> impl Iterator<Item = MessageId> {
        self.messages.iter().map(|message| message.draft.id)
    }
}

/// What people said that they write, and since when.
type Typed = BTreeMap<(UserId, RoomId), Instant>;

/// Judges everything; panics with what is wrong. People are left as they are, in order, each with all devices connected.
pub async fn judge(world: &World, people: &mut [Person]) -> (Report, Vec<History>) {
    let mut report = Report::default();
    let mut histories = BTreeMap::new();
    for room in world.all_rooms() {
        let member = people.iter().position(|person| person.member.contains(&room)).unwrap_or_default();
        let messages = people[member].history(room).await;
        histories.insert(room, History::new(room, messages, world.may_lose));
    }
    let typed: Typed = people
        .iter()
        .flat_map(|person| person.typed.iter().map(|(room, since)| ((person.user(), *room), *since)))
        .collect();
    let (mut said, bodies) = (BTreeSet::new(), looks::bodies(people));
    for person in &*people {
        for (what, count) in &person.counts {
            let sum = report.counts.entry(what).or_default();
            (sum.done, sum.failed) = (sum.done + count.done, sum.failed + count.failed);
        }
        report.said += person.said.len();
        report.slow += usize::from(person.was_slow());
        for one in &person.said {
            let history = &histories[&one.room];
            let kept: Vec<_> =
                one.stored.iter().filter(|stored| history.kept(&stored.id).is_some()).collect();
            let stored = one.refused || !one.stored.is_empty();
            assert!(stored && kept.len() <= 1, "stored twice, or never: {one:?}");
            for stored in &one.stored {
                let body = if let What::Delete(_) = one.what { "" } else { &one.body };
                acknowledged(world, history, stored, (&one.cid, body), &mut report);
            }
            said.extend(kept.into_iter().map(|stored| stored.id));
        }
        for device in &person.devices {
            Listener { world, me: person.user(), typed: &typed, bodies: &bodies }.judge(
                device,
                &histories,
                &mut report,
            );
        }
    }
    let stored: usize = histories.values().map(|history| history.messages.len()).sum();
    assert_eq!(said.len(), stored, "each thing that was said is stored once, and nothing else");
    (report, histories.into_values().collect())
}

/// What was acknowledged is there, or was lost as it may be.
fn acknowledged(
    world: &World,
    history: &History,
    stored: &Stored,
    (cid, body): (&str, &str),
    report: &mut Report,
) {
    let Some(message) = history.kept(&stored.id) else {
        let explained = world.deaths.explain(history.room, stored.ts);
        assert!(explained, "acknowledged, and not there: {cid} {stored:?}, {:?}", world.deaths);
        return report.lost.push((history.room, stored.ts));
    };
    let body = history.body_now(message).unwrap_or(body);
    let kept = (&message.epoch, message.seq, message.ts, message.draft.cid.as_str(), &*message.draft.body);
    assert_eq!(kept, (&stored.epoch, stored.seq, stored.ts, cid, body), "not as it was acknowledged");
}

/// Where a device stands in a room.
#[derive(Default)]
struct Stand {
    /// None while it does not listen.
    at: Option<Position>,
    /// The first that it has heard, is lost, and was not told yet.
    heard_lost: Option<Position>,
    /// It was told another position than it gave, so `resync` must follow.
    owed: bool,
}

struct Listener<'a> {
    world: &'a World,
    me: UserId,
    typed: &'a Typed,
    bodies: &'a HashMap<MessageId, BTreeSet<String>>,
}

impl Listener<'_> {
    /// In each room every message after where it stood, in order, and nothing while it did not listen.
    fn judge(&self, device: &Device, histories: &BTreeMap<RoomId, History>, report: &mut Report) {
        let mut stands: BTreeMap<RoomId, Stand> = BTreeMap::new();
        for noted in &device.log {
            let stand = stands.entry(noted.room).or_default();
            self.step(noted, stand, &histories[&noted.room], report);
        }
        for (room, stand) in stands {
            let (Some(at), Some(last)) = (stand.at, histories[&room].messages.last()) else { continue };
            let end = (&last.epoch, last.seq, Some(last.draft.id));
            assert_eq!((&at.epoch, at.seq, at.id), end, "it never heard the end");
            let untold = stand.heard_lost;
            assert!(untold.is_none(), "it heard what was lost, and was never told: {untold:?}");
        }
    }

    fn step(&self, noted: &Noted, stand: &mut Stand, history: &History, report: &mut Report) {
        let Noted { room, when, step } = noted;
        match step {
            Step::Joined { after, head } => {
                // Who goes on from before what is lost has not heard it, by its own word.
                let from = after.as_ref().map(|after| (&after.epoch, after.seq));
                stand.heard_lost = stand
                    .heard_lost
                    .take()
                    .filter(|lost| from.is_some_and(|(epoch, seq)| *epoch != lost.epoch || seq >= lost.seq));
                stand.owed = after.as_ref().is_some_and(|after| after != head);
                if stand.owed {
                    // The answer itself tells: a client may be cut off before `resync` comes.
                    report.told += usize::from(stand.heard_lost.take().is_some());
                }
                stand.at = Some(head.clone());
                return;
            }
            Step::Ended => return stand.at = None,
            Step::Out => return *stand = Stand::default(),
            _ => {}
        }
        let at = stand.at.as_mut().unwrap_or_else(|| panic!("to who does not listen: {noted:?}"));
        match step {
            Step::Resync(head) => {
                let touched = self.world.deaths.touched(*room);
                assert!(touched, "told to start over in {room} for nothing: {head:?}");
                report.resyncs.push(*when);
                report.told += usize::from(stand.heard_lost.take().is_some());
                stand.owed = false;
                *at = head.clone();
            }
            Step::Heard(message) => {
                assert!(!stand.owed, "`resync` must come first: {noted:?}");
                let follows = at.epoch == message.epoch || at.epoch.0.is_empty();
                assert!(follows && message.seq == at.seq + 1, "a hole or a copy after {at:?}: {message:?}");
                let (epoch, seq, id) = (message.epoch.clone(), message.seq, Some(message.draft.id));
                *at = Position { epoch, seq, id };
                match history.kept(&message.draft.id) {
                    Some(kept) => {
                        let same = looks::same(message, kept, self.bodies.get(&message.draft.id));
                        assert!(same, "another one than others': {message:?}, {kept:?}");
                        let lost = &stand.heard_lost;
                        assert!(lost.is_none(), "a silent gap: {lost:?} is lost, and then came {at:?}");
                    }
                    None => {
                        let explained = self.world.deaths.explain(*room, message.ts);
                        assert!(explained, "heard, and not there: {message:?}, {:?}", self.world.deaths);
                        stand.heard_lost.get_or_insert_with(|| at.clone());
                    }
                }
                report.heard += 1;
            }
            Step::Typing(user, on) => {
                let said = self.typed.get(&(*user, *room)).is_some_and(|since| since <= when);
                assert!(*user != self.me && said, "who never said that they write: {noted:?}");
                report.typing += usize::from(*on);
            }
            Step::Beside | Step::Joined { .. } | Step::Ended | Step::Out => {}
        }
    }
}
