//! What one user does on two devices, and writes down.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use chatlab_kit::{
    ids::{MessageId, RoomId, UserId},
    message::{Epoch, Message},
    wire::ErrorCode,
};
use chatlab_load::client::{ClientError, Upgrade, WsClient};
use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use tokio_util::sync::CancellationToken;

use super::{
    World,
    device::{Device, Done},
};
use crate::common::SOON;

/// Devices a person.
pub const DEVICES: usize = 2;
/// How long a request may take while things break, before the person opens another connection.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest pause between two deeds, in milliseconds.
const PAUSE_MS: u64 = 8;
/// Between two tries of something that must work in the end.
const AGAIN: Duration = Duration::from_millis(50);

/// Where a message is stored, as the server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub epoch: Epoch,
    pub seq: u64,
    pub id: MessageId,
    /// By Redis' clock, in milliseconds since 1970.
    pub ts: u64,
}

/// What is said, and about which message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Text,
    Edit(MessageId),
    Delete(MessageId),
    /// With an emoji; or takes it back.
    React(MessageId, bool),
}

/// Something that was said, perhaps more than once.
#[derive(Debug, Clone)]
pub struct Said {
    pub what: What,
    pub room: RoomId,
    pub cid: String,
    /// Of a reaction the emoji.
    pub body: String,
    /// What it is about is not there to be said that of: it need not be said again.
    pub refused: bool,
    /// Every other place that was acknowledged; more than one only if Redis lost the one before.
    pub stored: Vec<Stored>,
    /// The server that was asked last.
    pub server: usize,
}

/// How often something was done, and how often it failed.
#[derive(Debug, Default, Clone, Copy)]
pub struct Count {
    pub done: u64,
    pub failed: u64,
}

/// What must become true in the end.
#[derive(Debug, Clone, Copy)]
pub enum Aim {
    /// The first device listens to a room, anew.
    In(RoomId),
    /// What has that number was said, on the first device, and acknowledged.
    Said(usize),
    /// A device has heard everything, and listens nowhere where its user is no member.
    AtTheEnd(usize),
}

pub struct Person {
    pub world: Arc<World>,
    token: String,
    pub rng: ChaCha8Rng,
    pub number: usize,
    pub devices: Vec<Device>,
    pub said: Vec<Said>,
    /// The messages that they have deleted, or may have.
    pub deleted: BTreeSet<MessageId>,
    /// The reactions that stand, as far as they know.
    pub reacted: BTreeSet<(MessageId, &'static str)>,
    /// Since when they have said, in which room, that they write.
    pub typed: BTreeMap<RoomId, Instant>,
    /// The rooms of which they are, or may be, a member.
    pub member: BTreeSet<RoomId>,
    /// Those of which that is not known for certain.
    pub unsure: BTreeSet<RoomId>,
    pub counts: BTreeMap<&'static str, Count>,
    /// Why an aim is not reached.
    pub why: String,
}

impl Person {
    pub fn new(world: Arc<World>, number: usize, token: String, rng: ChaCha8Rng) -> Self {
        let devices = (0..DEVICES).map(|_| Device::default()).collect();
        let (said, typed, counts) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let (deleted, reacted) = (BTreeSet::new(), BTreeSet::new());
        let (member, unsure) = (BTreeSet::new(), BTreeSet::new());
        let why = String::new();
        Self {
            world,
            token,
            rng,
            number,
            devices,
            said,
            deleted,
            reacted,
            typed,
            member,
            unsure,
            counts,
            why,
        }
    }

    /// At least so many deeds, and until `stop`.
    pub async fn live(mut self, deeds: usize, stop: CancellationToken) -> Self {
        let mut n = 0;
        while n < deeds || !stop.is_cancelled() {
            n += 1;
            let device = self.rng.random_range(0..DEVICES);
            // Who sleeps does not read; the other device is used meanwhile.
            let device = if self.devices[device].asleep > 0 { (device + 1) % DEVICES } else { device };
            for device in &mut self.devices {
                device.asleep = device.asleep.saturating_sub(1);
            }
            let (what, done) = Box::pin(self.deed(device)).await;
            self.account(what, device, done);
            let pause = self.rng.random_range(0..PAUSE_MS);
            // The pace of a person; nothing depends on it.
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        self
    }

    /// Counts a deed; what went wrong must be allowed to.
    pub fn account(&mut self, what: &'static str, device: usize, done: Done) {
        let count = self.counts.entry(what).or_default();
        match done {
            Ok(()) => count.done += 1,
            Err(error) => {
                count.failed += 1;
                self.excuse(device, &error);
            }
        }
    }

    /// Only while things break may a request fail, and then only so that trying again is right.
    fn excuse(&mut self, device: usize, error: &ClientError) {
        let passing = match error {
            ClientError::Refused { retryable, .. } => *retryable,
            ClientError::Connect { .. } | ClientError::Timeout(_) | ClientError::Closed(_) => true,
            _ => false,
        };
        // A connection that reads too slowly is closed in quiet times too.
        let slow = matches!(error, ClientError::Closed(_))
            && self.devices[device].byes.last() == Some(&ErrorCode::SlowConsumer);
        assert!(slow || self.world.faults && passing, "person {}: {error}", self.number);
        if !matches!(error, ClientError::Refused { .. }) {
            self.devices[device].ended();
        }
    }

    /// Opens a connection to any server, and goes on in the rooms where it was.
    pub async fn connect(&mut self, device: usize) -> Done {
        if self.devices[device].is_connected() {
            return Ok(());
        }
        let server = self.rng.random_range(0..self.world.servers.len());
        let mut client = WsClient::open(&self.world.servers[server], &Upgrade::default()).await?;
        if self.world.faults {
            client.set_timeout(PATIENCE);
        }
        client.hello(&self.token).await?;
        let device = &mut self.devices[device];
        device.connected(client, server);
        // Also where another device has left, if this one was not told yet.
        let rooms: Vec<RoomId> = device.at.keys().copied().collect();
        self.member.extend(rooms.iter().copied());
        self.unsure.extend(rooms.iter().copied());
        let done = device.join_all().await;
        match done {
            Ok(()) => device.at.keys().for_each(|room| {
                self.unsure.remove(room);
            }),
            // What was not joined would be taken for joined.
            Err(_) => device.ended(),
        }
        done
    }

    async fn deed(&mut self, device: usize) -> (&'static str, Done) {
        if let Err(error) = self.connect(device).await {
            return ("connect", Err(error));
        }
        let listens: Vec<RoomId> = self.devices[device].at.keys().copied().collect();
        let room = listens.choose(&mut self.rng).copied();
        let Some(room) = room else { return ("join", self.join_another(device).await) };
        match self.rng.random_range(0..100) {
            0..=30 => ("say", self.say(device, room).await),
            31..=33 => ("edit", self.change_own(device, room, false).await),
            34..=35 => ("delete", self.change_own(device, room, true).await),
            36..=41 => ("react", self.react(device, room).await),
            42..=53 => ("retry", self.say_again(device).await),
            54..=57 => ("leave", self.leave(device, room).await),
            58..=60 => ("cross", self.leave_and_join_at_once(device, room).await),
            61..=67 => {
                // Without a goodbye, and with whatever has not been read.
                self.devices[device].ended();
                ("disconnect", Ok(()))
            }
            68..=77 => {
                self.devices[device].drain(Duration::from_millis(2)).await;
                ("read", Ok(()))
            }
            78..=80 => ("history", self.look_back(device, room).await),
            81..=85 => ("typing", self.typing(device, room).await),
            86..=88 => ("who", self.who(device, room).await),
            89..=90 => {
                self.devices[device].asleep = self.rng.random_range(20..80);
                ("sleep", Ok(()))
            }
            _ => ("join", self.join_another(device).await),
        }
    }

    async fn join_another(&mut self, device: usize) -> Done {
        let listens = &self.devices[device].at;
        let rooms: Vec<RoomId> =
            self.world.rooms.iter().filter(|room| !listens.contains_key(room)).copied().collect();
        let Some(room) = rooms.choose(&mut self.rng).copied() else {
            return self.devices[device].request(async |client| client.ping().await).await;
        };
        self.join(device, room).await
    }

    pub async fn join(&mut self, device: usize, room: RoomId) -> Done {
        // Whether or not an answer comes, the server may have done it.
        self.member.insert(room);
        self.unsure.insert(room);
        let device = &mut self.devices[device];
        let done = tolerate(device.join(room).await, device, room);
        if done.is_ok() && device.at.contains_key(&room) {
            self.unsure.remove(&room);
        }
        done
    }

    pub async fn say(&mut self, device: usize, room: RoomId) -> Done {
        let length = self.rng.random_range(0..300);
        let nth = self.note_down(room, length);
        self.send(device, nth).await
    }

    /// Something to say, and its number.
    pub fn note_down(&mut self, room: RoomId, length: usize) -> usize {
        let body = format!("p{}-{} {}", self.number, self.said.len(), "x".repeat(length));
        self.note(What::Text, room, body)
    }

    /// Something to say about a message, or by itself, and its number.
    pub fn note(&mut self, what: What, room: RoomId, body: String) -> usize {
        let nth = self.said.len();
        let cid = format!("p{}-{nth}", self.number);
        self.said.push(Said { what, room, cid, body, refused: false, stored: Vec::new(), server: 0 });
        nth
    }

    pub async fn send(&mut self, device: usize, nth: usize) -> Done {
        let (said, device) = (&mut self.said[nth], &mut self.devices[device]);
        let began = Instant::now();
        let answer = device.send(said).await;
        said.server = device.server;
        let ack = match answer {
            Ok(ack) => ack,
            Err(ClientError::Refused {
                code: code @ (ErrorCode::NotFound | ErrorCode::Conflict), ..
            }) if said.what != What::Text => {
                // Only where something breaks is it not known what the message bears.
                let deleted = code == ErrorCode::NotFound && may_be_gone(&said.what, &self.deleted);
                assert!(deleted || self.world.faults, "{code:?}: {said:?}");
                said.refused = true;
                return Ok(());
            }
            Err(error) => return tolerate(Err(error), device, said.room),
        };
        self.world.acknowledged(said.room, began);
        let stored = Stored { epoch: ack.epoch, seq: ack.seq, id: ack.msg, ts: ack.ts };
        match said.stored.last() {
            Some(before) if *before == stored => assert!(ack.dup, "a second copy: {said:?}"),
            Some(_) => {
                // Whether the first one was really lost, the verdict finds out.
                assert!(!ack.dup && self.world.faults, "said twice: {said:?} {stored:?}");
                said.stored.push(stored);
            }
            None => {
                assert!(!ack.dup || self.world.faults, "a first copy is no second: {said:?}");
                said.stored.push(stored);
            }
        }
        Ok(())
    }

    /// Until it is so: things may still be on the mend.
    pub async fn insist(&mut self, aim: Aim) {
        let deadline = Instant::now() + SOON;
        loop {
            let late = Instant::now() > deadline;
            match self.aim(aim).await {
                Ok(true) => return,
                Ok(false) => assert!(!late, "person {}: not {aim:?}: {}", self.number, self.why),
                Err(error) => {
                    assert!(!late, "person {}: not {aim:?}: {error}", self.number);
                    let device = if let Aim::AtTheEnd(device) = aim { device } else { 0 };
                    self.excuse(device, &error);
                }
            }
            // A poll, bounded by the deadline.
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Who that is; known as long as the first device is connected.
    pub fn user(&self) -> UserId {
        self.devices[0].user()
    }

    /// A room's whole history; only a member may read it.
    pub async fn history(&mut self, room: RoomId) -> Vec<Message> {
        if !self.member.contains(&room) {
            self.join(0, room).await.unwrap();
        }
        let (mut all, mut before) = (Vec::new(), None);
        loop {
            let page = self.devices[0].request(async |client| client.history(room, before, Some(200)).await);
            let page = page.await.unwrap();
            all.splice(0..0, page.messages);
            before = page.next;
            if before.is_none() {
                return all;
            }
        }
    }
}

/// Who deletes knows it; what somebody else wrote may be gone whenever.
fn may_be_gone(what: &What, deleted: &BTreeSet<MessageId>) -> bool {
    match what {
        What::Text => false,
        What::Edit(about) | What::Delete(about) => deleted.contains(about),
        What::React(..) => true,
    }
}

/// A refusal is right if the device was told before that its user is no member any more: what the two devices of one user do
/// crosses.
pub fn tolerate(done: Done, device: &Device, room: RoomId) -> Done {
    match done {
        Err(ClientError::Refused { code: ErrorCode::Forbidden, .. }) if !device.at.contains_key(&room) => {
            Ok(())
        }
        other => other,
    }
}
