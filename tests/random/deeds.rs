//! The deeds beside talking, and those of the end, when all is well again.

use std::time::{Duration, Instant};

use chatlab_kit::{
    ids::{MessageId, RoomId},
    message::Position,
    wire::ErrorCode,
};
use rand::{Rng, seq::IndexedRandom};
use tokio_util::sync::CancellationToken;

use super::{
    device::Done,
    person::{Aim, DEVICES, Person, What, tolerate},
};
use crate::common::SOON;

/// Messages of the loud room: with [`LOUD_BYTES`] each more than what the sockets' buffers and the server's queue hold for
/// a connection that does not read.
const LOUD: usize = 1_300;
/// The length of such a message.
const LOUD_BYTES: usize = 4_000;
/// What people react with.
const EMOJIS: [&str; 3] = ["👍", "🎉", "👨‍👩‍👧‍👦"];

impl Person {
    /// Says something again that was said before, answered or not: on this device and so, mostly, over another server.
    pub async fn say_again(&mut self, device: usize) -> Done {
        let here = &self.devices[device].at;
        let before: Vec<usize> =
            (0..self.said.len()).filter(|nth| here.contains_key(&self.said[*nth].room)).collect();
        let Some(nth) = before.choose(&mut self.rng).copied() else { return Ok(()) };
        if self.said[nth].server != self.devices[device].server {
            self.counts.entry("of these over another server").or_default().done += 1;
        }
        self.send(device, nth).await
    }

    /// Gives something of their own another text, or takes it out.
    pub async fn change_own(&mut self, device: usize, room: RoomId, delete: bool) -> Done {
        let texts = self.said.iter().filter(|said| said.what == What::Text && said.room == room);
        let own: Vec<MessageId> = texts.filter_map(|said| Some(said.stored.last()?.id)).collect();
        let Some(about) = own.choose(&mut self.rng).copied() else { return Ok(()) };
        let nth = if delete {
            self.deleted.insert(about);
            self.note(What::Delete(about), room, String::new())
        } else {
            let body = format!("{} once more", self.said.len());
            self.note(What::Edit(about), room, body)
        };
        self.send(device, nth).await
    }

    /// Reacts to something that was said lately, or takes that back.
    pub async fn react(&mut self, device: usize, room: RoomId) -> Done {
        let Some(about) = self.devices[device].heard_lately(room, &mut self.rng) else { return Ok(()) };
        let emoji = EMOJIS[self.rng.random_range(0..EMOJIS.len())];
        let on = self.reacted.insert((about, emoji));
        if !on {
            self.reacted.remove(&(about, emoji));
        }
        let nth = self.note(What::React(about, on), room, emoji.to_owned());
        self.send(device, nth).await
    }

    pub async fn leave(&mut self, device: usize, room: RoomId) -> Done {
        self.unsure.insert(room);
        self.devices[device].leave(room).await?;
        self.member.remove(&room);
        self.unsure.remove(&room);
        Ok(())
    }

    /// One device leaves while the other one joins: whoever comes last decides, and nobody is left in between.
    pub async fn leave_and_join_at_once(&mut self, device: usize, room: RoomId) -> Done {
        let other = (device + 1) % DEVICES;
        if self.devices[other].asleep > 0 {
            return Ok(());
        }
        self.connect(other).await?;
        self.member.insert(room);
        self.unsure.insert(room);
        let [first, second] = &mut self.devices[..] else { unreachable!("two devices") };
        let (leaves, joins) = if device == 0 { (first, second) } else { (second, first) };
        let (left, joined) = tokio::join!(leaves.leave(room), joins.join(room));
        let joined = tolerate(joined, joins, room);
        self.account("cross join", other, joined);
        left
    }

    /// A page is in order and without holes, wherever it begins. A run of numbers that a failover began may begin with a hole.
    pub async fn look_back(&mut self, device: usize, room: RoomId) -> Done {
        let at = self.devices[device].at[&room].seq;
        if at < 2 {
            return self.devices[device].request(async |client| client.ping().await).await;
        }
        let before = self.rng.random_range(2..=at);
        let device = &mut self.devices[device];
        let page =
            match device.request(async |client| client.history(room, Some(before), Some(20)).await).await {
                Ok(page) => page,
                Err(error) => return tolerate(Err(error), device, room),
            };
        let seqs: Vec<u64> = page.messages.iter().map(|m| m.seq).collect();
        if self.world.may_lose {
            assert!(seqs.is_sorted_by(|a, b| a < b), "page before {before}: {seqs:?}");
        } else {
            let first = before.saturating_sub(20).max(1);
            assert_eq!(seqs, (first..before).collect::<Vec<_>>(), "page before {before}");
        }
        Ok(())
    }

    pub async fn typing(&mut self, device: usize, room: RoomId) -> Done {
        let on = self.rng.random_bool(0.7);
        if on {
            self.typed.entry(room).or_insert_with(Instant::now);
        }
        let device = &mut self.devices[device];
        let done = device.request(async |client| client.typing(room, on).await).await;
        tolerate(done, device, room)
    }

    /// Who asks is a member and online, unless the other device has just left.
    pub async fn who(&mut self, device: usize, room: RoomId) -> Done {
        let sure = self.member.contains(&room) && !self.unsure.contains(&room);
        let (me, device) = (self.devices[device].user(), &mut self.devices[device]);
        match device.request(async |client| client.who(room, None, None).await).await {
            Ok(who) => {
                assert!(!sure || self.world.faults || who.online.contains(&me), "asks, and is not online");
                Ok(())
            }
            Err(error) => tolerate(Err(error), device, room),
        }
    }

    /// Fills a room with more than a connection that does not read is kept, and says when that is done.
    pub async fn pour(mut self, asleep: CancellationToken, poured: CancellationToken) -> Self {
        asleep.cancelled().await;
        for _ in 0..LOUD {
            let nth = self.note_down(self.world.loud, LOUD_BYTES);
            self.insist(Aim::Said(nth)).await;
        }
        poured.cancel();
        self
    }

    /// Listens to the loud room and reads nothing until all of it was said.
    pub async fn sleep_through(mut self, asleep: CancellationToken, poured: CancellationToken) -> Self {
        self.insist(Aim::In(self.world.loud)).await;
        asleep.cancel();
        poured.cancelled().await;
        self.devices[0].drain(SOON).await;
        self
    }

    /// Whether it was closed because it did not read.
    pub fn was_slow(&self) -> bool {
        self.devices.iter().any(|device| device.byes.contains(&ErrorCode::SlowConsumer))
    }

    /// One try; whether it is so.
    pub async fn aim(&mut self, aim: Aim) -> Done<bool> {
        match aim {
            Aim::In(room) => {
                self.connect(0).await?;
                self.join(0, room).await?;
                Ok(self.devices[0].at.contains_key(&room))
            }
            Aim::Said(nth) => {
                let room = self.said[nth].room;
                self.connect(0).await?;
                if !self.devices[0].at.contains_key(&room) {
                    self.join(0, room).await?;
                }
                self.send(0, nth).await?;
                let said = &self.said[nth];
                Ok(said.refused || !said.stored.is_empty())
            }
            Aim::AtTheEnd(device) => {
                self.connect(device).await?;
                self.hears_all(device).await
            }
        }
    }

    async fn hears_all(&mut self, device: usize) -> Done<bool> {
        let device = &mut self.devices[device];
        self.why = "not connected".to_owned();
        device.drain(Duration::from_millis(5)).await;
        for (room, at) in device.at.clone() {
            let newest = device.request(async |client| client.history(room, None, Some(1)).await);
            let newest = newest.await?.messages.pop();
            let end = newest.map(|m| Position { epoch: m.epoch, seq: m.seq, id: Some(m.draft.id) });
            let member = self.member.contains(&room);
            if end.as_ref().is_some_and(|end| *end != at) || !member {
                self.why = format!("in {room}, member {member}, at {at:?} of {end:?}");
                return Ok(false);
            }
        }
        Ok(device.is_connected())
    }

    /// When all is well again: is a member for certain wherever it may be one, and says again what nobody answered.
    pub async fn settle(&mut self) {
        for room in self.member.clone() {
            self.insist(Aim::In(room)).await;
        }
        for nth in 0..self.said.len() {
            if self.said[nth].stored.is_empty() && !self.said[nth].refused {
                self.insist(Aim::Said(nth)).await;
            }
        }
    }

    /// The last word in a room.
    pub async fn close_with_a_word(&mut self, room: RoomId) {
        self.insist(Aim::In(room)).await;
        let nth = self.note_down(room, 0);
        self.insist(Aim::Said(nth)).await;
    }

    /// When nobody says anything any more.
    pub async fn catch_up(&mut self) {
        for device in 0..DEVICES {
            self.insist(Aim::AtTheEnd(device)).await;
        }
    }
}
