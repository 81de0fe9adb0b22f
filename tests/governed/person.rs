//! One user's connection, and what came on it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use chatlab_kit::{
    ids::RoomId,
    message::{Message, Position},
    wire::{RoomInfo, ServerFrame},
};
use chatlab_load::client::{ClientError, WsClient};

use crate::common::{SOON, user};

/// How long something is waited for that ought to be there already.
const AT_ONCE: Duration = Duration::from_millis(1);

pub struct Person {
    pub client: WsClient,
    /// The rooms that it listens to, and how far it is in each.
    pub at: BTreeMap<RoomId, u64>,
    /// Where it was in those that it does not listen to any more.
    pub was: BTreeMap<RoomId, Position>,
    /// The settings of the room that it was told last.
    pub told: Option<RoomInfo>,
    pub heard: u64,
}

impl Person {
    pub async fn connect(url: &str, token: &str) -> Self {
        let client = WsClient::connect(url, token).await.unwrap();
        Self { client, at: BTreeMap::new(), was: BTreeMap::new(), told: None, heard: 0 }
    }

    /// Listens to a room, after where it was if that is meant.
    pub async fn join(&mut self, room: RoomId, resume: bool) -> Result<(), ClientError> {
        let after = self.was.get(&room).filter(|_| resume).cloned();
        let head = self.client.join(room, after).await?.head.unwrap();
        self.listens(room, head.seq);
        Ok(())
    }

    /// What was queued before the answer came before it.
    pub fn listens(&mut self, room: RoomId, seq: u64) {
        self.queued();
        self.at.insert(room, seq);
    }

    /// Takes what has come so far.
    fn queued(&mut self) {
        // What follows a join is queued behind its answer, so before it nothing of the room can be there that is not to be heard.
        while let Some(frame) = self.client.queued() {
            self.note(frame);
        }
    }

    /// Takes what comes, until it is so.
    pub async fn until(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + SOON;
        while !so(self) {
            let frame = self.client.next_event(deadline.saturating_duration_since(Instant::now())).await;
            let frame = frame.unwrap_or_else(|error| panic!("{}: not {what}: {error}", user(&self.client)));
            self.note(frame);
        }
    }

    /// Takes what has come.
    pub async fn drain(&mut self) {
        loop {
            match self.client.next_event(AT_ONCE).await {
                Ok(frame) => self.note(frame),
                Err(ClientError::Timeout(_)) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn note(&mut self, frame: ServerFrame) {
        match frame {
            ServerFrame::Message(message) => self.hears(&message),
            ServerFrame::Left { room, user: who } if who == user(&self.client) => self.out(room),
            ServerFrame::Settings(info) => self.told = Some(info),
            ServerFrame::Resync { .. } | ServerFrame::Bye { .. } | ServerFrame::Error { .. } => {
                panic!("{frame:?}")
            }
            _ => {}
        }
    }

    fn hears(&mut self, message: &Message) {
        let room = message.draft.room;
        let at =
            self.at.get_mut(&room).unwrap_or_else(|| panic!("past the end of what it may hear: {message:?}"));
        assert_eq!(message.seq, *at + 1, "a hole or a copy: {message:?}");
        *at = message.seq;
        self.heard += 1;
        let at = Position { epoch: message.epoch.clone(), seq: message.seq, id: Some(message.draft.id) };
        self.was.insert(room, at);
    }

    /// It listens no more, and knows it.
    pub fn out(&mut self, room: RoomId) {
        self.at.remove(&room);
    }
}
