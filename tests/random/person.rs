//! What one user does on one or two devices, and writes down.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use chatlab_kit::{
    ids::{MessageId, RoomId, UserId},
    message::{Epoch, Message, Position},
    wire::ServerFrame,
};
use chatlab_load::client::{ClientError, WsClient};
use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use super::World;
use crate::common::SOON;

/// Devices a person.
const DEVICES: usize = 2;
/// How long a request may take while things break, before the person opens another connection.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest pause between two deeds, in milliseconds.
const PAUSE_MS: u64 = 8;

/// What a device saw of a room.
#[derive(Debug, Clone)]
pub enum Step {
    /// It listens from here on.
    Joined(Position),
    /// A message came.
    Heard(Message),
    /// It was told to start over from here.
    Resync(Position),
    /// It left, or its connection ended: nothing may come.
    Silent,
}

/// Something that was said, perhaps more than once.
#[derive(Debug, Clone)]
pub struct Said {
    pub room: RoomId,
    pub cid: String,
    pub body: String,
    /// Where it is stored, as the server said; none while nobody answered.
    pub stored: Option<(Epoch, u64, MessageId)>,
}

#[derive(Default)]
pub struct Device {
    client: Option<WsClient>,
    /// The rooms that it listens to, or did until its connection ended, and how far it is.
    at: BTreeMap<RoomId, Position>,
    pub log: Vec<(RoomId, Step)>,
}

pub struct Person {
    world: Arc<World>,
    token: String,
    rng: ChaCha8Rng,
    pub number: usize,
    pub devices: Vec<Device>,
    pub said: Vec<Said>,
    pub member: BTreeSet<RoomId>,
    /// Requests that were answered.
    pub done: u64,
    /// Requests that failed, only while things break.
    pub failed: u64,
}

type Done = Result<(), ClientError>;

impl Device {
    /// Writes down what has come so far, waiting for `more` if nothing has.
    async fn drain(&mut self, more: Duration) {
        let Some(client) = &mut self.client else { return };
        let mut wait = more;
        loop {
            match client.next_event(wait).await {
                Ok(ServerFrame::Message(m)) => {
                    let room = m.draft.room;
                    let at = Position { epoch: m.epoch.clone(), seq: m.seq, id: Some(m.draft.id) };
                    self.at.insert(room, at);
                    self.log.push((room, Step::Heard(m)));
                }
                Ok(ServerFrame::Resync { room, head }) => {
                    self.at.insert(room, head.clone());
                    self.log.push((room, Step::Resync(head)));
                }
                Ok(_) => {}
                Err(ClientError::Timeout(_)) => return,
                Err(_) => return self.ended(),
            }
            wait = Duration::from_millis(1);
        }
    }

    /// The connection is gone; the positions stay, to go on from.
    fn ended(&mut self) {
        self.client = None;
        for room in self.at.keys() {
            self.log.push((*room, Step::Silent));
        }
    }

    async fn join(&mut self, room: RoomId) -> Done {
        // What came before belongs before.
        self.drain(Duration::from_millis(1)).await;
        let Some(client) = &mut self.client else { return Err(ClientError::Closed(None)) };
        let after = self.at.get(&room).cloned();
        let head = client.join(room, after.clone()).await?.head.expect("a head");
        self.at.insert(room, head.clone());
        self.log.push((room, Step::Joined(head)));
        Ok(())
    }

    fn client(&mut self) -> &mut WsClient {
        self.client.as_mut().expect("connected")
    }
}

impl Person {
    pub fn new(world: Arc<World>, number: usize, token: String, rng: ChaCha8Rng) -> Self {
        let devices = (0..DEVICES).map(|_| Device::default()).collect();
        let (said, member) = (Vec::new(), BTreeSet::new());
        Self { world, token, rng, number, devices, said, member, done: 0, failed: 0 }
    }

    /// At least so many deeds, and until `stop`.
    pub async fn live(mut self, deeds: usize, stop: tokio_util::sync::CancellationToken) -> Self {
        let mut n = 0;
        while n < deeds || !stop.is_cancelled() {
            n += 1;
            let device = self.rng.random_range(0..DEVICES);
            match Box::pin(self.deed(device)).await {
                Ok(()) => self.done += 1,
                Err(error) => self.excuse(device, &error),
            }
            let pause = self.rng.random_range(0..PAUSE_MS);
            // The pace of a person; nothing depends on it.
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        self
    }

    /// Only while things break may a request fail, and then only so that trying again is right.
    fn excuse(&mut self, device: usize, error: &ClientError) {
        let passing = match error {
            ClientError::Refused { retryable, .. } => *retryable,
            ClientError::Connect { .. } | ClientError::Timeout(_) | ClientError::Closed(_) => true,
            _ => false,
        };
        assert!(self.world.faults && passing, "person {}: {error}", self.number);
        self.failed += 1;
        if !matches!(error, ClientError::Refused { .. }) {
            self.devices[device].ended();
        }
    }

    /// Opens a connection to any server, and goes on in the rooms where it was.
    async fn connect(&mut self, device: usize) -> Done {
        if self.devices[device].client.is_some() {
            return Ok(());
        }
        let server = self.world.servers.choose(&mut self.rng).expect("a server").clone();
        let mut client = WsClient::connect(&server, &self.token).await?;
        if self.world.faults {
            client.set_timeout(PATIENCE);
        }
        let device = &mut self.devices[device];
        device.client = Some(client);
        for room in device.at.keys().copied().collect::<Vec<_>>() {
            device.join(room).await?;
        }
        Ok(())
    }

    async fn deed(&mut self, device: usize) -> Done {
        self.connect(device).await?;
        let listens: Vec<RoomId> = self.devices[device].at.keys().copied().collect();
        let room = listens.choose(&mut self.rng).copied();
        match (self.rng.random_range(0..100), room) {
            (0..=49, Some(room)) => self.say(device, room).await,
            (50..=59, Some(_)) => self.say_again(device).await,
            (60..=63, Some(room)) => self.leave(device, room).await,
            (64..=71, Some(_)) => {
                // Without a goodbye, and with whatever has not been read.
                self.devices[device].ended();
                Ok(())
            }
            (72..=85, Some(_)) => {
                self.devices[device].drain(Duration::from_millis(2)).await;
                Ok(())
            }
            (86..=89, Some(room)) => self.look_back(device, room).await,
            _ => {
                let rooms: Vec<RoomId> =
                    self.world.rooms.iter().filter(|room| !listens.contains(room)).copied().collect();
                let Some(room) = rooms.choose(&mut self.rng).copied() else {
                    return self.devices[device].client().ping().await;
                };
                // Whether or not an answer comes, the server may have done it.
                self.member.insert(room);
                self.devices[device].join(room).await
            }
        }
    }

    async fn say(&mut self, device: usize, room: RoomId) -> Done {
        let cid = format!("p{}-{}", self.number, self.said.len());
        let body = format!("{cid} {}", "x".repeat(self.rng.random_range(0..300)));
        self.said.push(Said { room, cid, body, stored: None });
        self.send(device, self.said.len() - 1).await
    }

    async fn send(&mut self, device: usize, nth: usize) -> Done {
        let said = &mut self.said[nth];
        let ack = self.devices[device].client().send(said.room, &said.cid, &said.body).await?;
        let stored = (ack.epoch, ack.seq, ack.msg);
        match &said.stored {
            Some(before) => assert!(ack.dup && *before == stored, "said twice: {said:?} {stored:?}"),
            None => assert!(!ack.dup || self.world.faults, "a first copy is no second: {said:?}"),
        }
        said.stored = Some(stored);
        Ok(())
    }

    /// Says something again that was said before, answered or not.
    async fn say_again(&mut self, device: usize) -> Done {
        let here = &self.devices[device].at;
        let before: Vec<usize> =
            (0..self.said.len()).filter(|nth| here.contains_key(&self.said[*nth].room)).collect();
        match before.choose(&mut self.rng).copied() {
            Some(nth) => self.send(device, nth).await,
            None => Ok(()),
        }
    }

    /// With no other device listening: what that one hears until it is told is for another test.
    async fn leave(&mut self, device: usize, room: RoomId) -> Done {
        let others = self.devices.iter().enumerate().any(|(i, d)| i != device && d.client.is_some());
        if others {
            return Ok(());
        }
        self.devices[device].drain(Duration::from_millis(1)).await;
        let Some(client) = &mut self.devices[device].client else { return Ok(()) };
        let left = client.leave(room).await;
        if matches!(&left, Err(ClientError::Refused { retryable: false, .. })) && self.world.faults {
            // An earlier try had ended the membership, and its answer was lost.
        } else {
            left?;
        }
        // What came before the answer belongs to the time before.
        self.devices[device].drain(Duration::from_millis(1)).await;
        for device in &mut self.devices {
            if device.at.remove(&room).is_some() {
                device.log.push((room, Step::Silent));
            }
        }
        self.member.remove(&room);
        Ok(())
    }

    /// A page is in order and without holes, wherever it begins.
    async fn look_back(&mut self, device: usize, room: RoomId) -> Done {
        let at = self.devices[device].at[&room].seq;
        if at < 2 {
            return self.devices[device].client().ping().await;
        }
        let before = self.rng.random_range(2..=at);
        let page = self.devices[device].client().history(room, Some(before), Some(20)).await?;
        let seqs: Vec<u64> = page.messages.iter().map(|m| m.seq).collect();
        let first = before.saturating_sub(20).max(1);
        assert_eq!(seqs, (first..before).collect::<Vec<_>>(), "page before {before}");
        Ok(())
    }

    /// Until it works: things may still be on the mend.
    async fn insist(&mut self, device: usize) {
        let deadline = tokio::time::Instant::now() + SOON;
        while let Err(error) = self.connect(device).await {
            assert!(tokio::time::Instant::now() < deadline, "person {}: {error}", self.number);
            self.excuse(device, &error);
            // A poll, bounded by the deadline.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// When all is well again: says again what nobody answered.
    pub async fn say_what_is_open(&mut self) {
        let deadline = tokio::time::Instant::now() + SOON;
        for nth in 0..self.said.len() {
            while self.said[nth].stored.is_none() {
                let room = self.said[nth].room;
                let done = match self.connect(0).await {
                    Ok(()) if self.devices[0].at.contains_key(&room) => self.send(0, nth).await,
                    Ok(()) => {
                        self.member.insert(room);
                        self.devices[0].join(room).await
                    }
                    Err(error) => Err(error),
                };
                if let Err(error) = done {
                    assert!(tokio::time::Instant::now() < deadline, "person {}: {error}", self.number);
                    self.excuse(0, &error);
                    // A poll, bounded by the deadline.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// When nobody says anything any more: every device hears all that there is.
    pub async fn catch_up(&mut self) {
        let deadline = tokio::time::Instant::now() + SOON;
        for device in 0..DEVICES {
            loop {
                self.insist(device).await;
                let mut behind = Vec::new();
                self.devices[device].drain(Duration::from_millis(5)).await;
                for room in self.devices[device].at.keys().copied().collect::<Vec<_>>() {
                    let Some(client) = &mut self.devices[device].client else { break };
                    let newest = client.history(room, None, Some(1)).await.map(|page| page.messages);
                    let head = newest.ok().and_then(|m| m.last().map(|m| m.seq)).unwrap_or(u64::MAX);
                    let at = self.devices[device].at[&room].seq;
                    if at < head {
                        behind.push((room, at, head));
                    }
                }
                if behind.is_empty() && self.devices[device].client.is_some() {
                    break;
                }
                let now = tokio::time::Instant::now();
                assert!(
                    now < deadline,
                    "person {}, device {device} does not hear all: {behind:?}",
                    self.number
                );
            }
        }
    }

    /// Closes all devices but, perhaps, the first.
    pub fn part(&mut self, but_the_first: bool) {
        for device in self.devices.iter_mut().skip(usize::from(but_the_first)) {
            device.ended();
        }
    }

    /// Who that is; known as long as the first device is connected.
    pub fn user(&mut self) -> UserId {
        self.devices[0].client().welcome().expect("welcome").user
    }

    /// The first device's connection.
    pub fn first(&mut self) -> &mut WsClient {
        self.devices[0].client()
    }

    /// A room's whole history; only a member may read it.
    pub async fn history(&mut self, room: RoomId) -> Vec<Message> {
        if self.member.insert(room) {
            self.first().join(room, None).await.unwrap();
        }
        let (mut all, mut before) = (Vec::new(), None);
        loop {
            let page = self.first().history(room, before, Some(200)).await.unwrap();
            all.splice(0..0, page.messages);
            before = page.next;
            if before.is_none() {
                return all;
            }
        }
    }
}
