//! One connection of a person after the other, and in which order what came came.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use chatlab_kit::{
    ids::{MessageId, RoomId, UserId},
    message::{Message, MessageKind, Position},
    wire::{ErrorCode, ServerFrame},
};
use chatlab_load::client::{Ack, ClientError, WsClient};
use rand::{Rng, seq::IndexedRandom};

use super::person::{Said, What, tolerate};

/// How long something is waited for that ought to be there already.
const AT_ONCE: Duration = Duration::from_millis(1);

/// So many messages back people react.
const LATELY: usize = 20;

/// What a device saw of a room.
#[derive(Debug, Clone)]
pub enum Step {
    /// It listens: it asked to go on after a position, or from wherever the room is, and was told where it stands.
    Joined { after: Option<Position>, head: Position },
    /// A message came.
    Heard(Message),
    /// It was told to start over from here.
    Resync(Position),
    /// It was told that this user writes, or no longer.
    Typing(UserId, bool),
    /// Something else about the room came.
    Beside,
    /// It was told that its user is no member any more, or that its own leave is done: nothing may come.
    Out,
    /// Its connection ended: nothing may come before it joins again.
    Ended,
}

/// A step, and when it was read.
#[derive(Debug, Clone)]
pub struct Noted {
    pub room: RoomId,
    pub when: Instant,
    pub step: Step,
}

#[derive(Default)]
pub struct Device {
    client: Option<WsClient>,
    /// The number of the server that it is, or was, connected to.
    pub server: usize,
    /// The rooms that it listens to, or did until its connection ended, and how far it is.
    pub at: BTreeMap<RoomId, Position>,
    /// Those of them that were joined on this connection.
    joined: BTreeSet<RoomId>,
    /// So many deeds its person does not look at it.
    pub asleep: u32,
    pub log: Vec<Noted>,
    /// Why servers ended its connections.
    pub byes: Vec<ErrorCode>,
}

pub type Done<T = ()> = Result<T, ClientError>;

impl Device {
    /// Has a new connection.
    pub fn connected(&mut self, client: WsClient, server: usize) {
        (self.client, self.server) = (Some(client), server);
        self.joined.clear();
    }

    pub fn is_connected(&self) -> bool {
        self.client.is_some()
    }

    /// Who its person is; known while it is connected.
    pub fn user(&self) -> UserId {
        self.client.as_ref().and_then(WsClient::welcome).expect("connected").user
    }

    /// Does a request. What came before its answer is written down before it.
    pub async fn request<T>(&mut self, request: impl AsyncFnOnce(&mut WsClient) -> Done<T>) -> Done<T> {
        let Some(client) = &mut self.client else { return Err(ClientError::Closed(None)) };
        let answer = request(client).await;
        while let Some(frame) = self.client.as_mut().and_then(WsClient::queued) {
            self.note(frame);
        }
        answer
    }

    /// Writes down what has come so far, waiting for `more` if nothing has.
    pub async fn drain(&mut self, more: Duration) {
        let mut wait = more;
        while let Some(client) = &mut self.client {
            match client.next_event(wait).await {
                Ok(frame) => self.note(frame),
                Err(ClientError::Timeout(_)) => return,
                Err(ClientError::Closed(_)) => return self.ended(),
                Err(error) => panic!("{error}"),
            }
            wait = AT_ONCE;
        }
    }

    fn write(&mut self, room: RoomId, step: Step) {
        self.log.push(Noted { room, when: Instant::now(), step });
    }

    fn note(&mut self, frame: ServerFrame) {
        match frame {
            ServerFrame::Message(m) => {
                let room = m.draft.room;
                let at = Position { epoch: m.epoch.clone(), seq: m.seq, id: Some(m.draft.id) };
                self.moved(room, at);
                self.write(room, Step::Heard(m));
            }
            ServerFrame::Resync { room, head } => {
                self.moved(room, head.clone());
                self.write(room, Step::Resync(head));
            }
            ServerFrame::Typing { room, user, on } => self.write(room, Step::Typing(user, on)),
            ServerFrame::Left { room, user } if user == self.user() => self.out(room),
            ServerFrame::Left { room, .. } | ServerFrame::Presence { room, .. } => {
                self.write(room, Step::Beside);
            }
            ServerFrame::Bye { code, resume, .. } => {
                let told = resume.into_iter().map(|one| (one.room, one.after)).collect::<BTreeMap<_, _>>();
                let seen = self.at.iter().filter(|(room, _)| self.joined.contains(room));
                let seen = seen.map(|(room, at)| (*room, at.clone())).collect::<BTreeMap<_, _>>();
                assert_eq!(told, seen, "`bye` says where to go on, and that is what was written last");
                self.byes.push(code);
            }
            // An answer that came too late to be waited for.
            _ => {}
        }
    }

    /// Who does not listen has no position to go on from, whatever comes.
    fn moved(&mut self, room: RoomId, to: Position) {
        if let Some(at) = self.at.get_mut(&room) {
            *at = to;
        }
    }

    /// It is out of a room, and knows it.
    pub fn out(&mut self, room: RoomId) {
        self.at.remove(&room);
        self.joined.remove(&room);
        self.write(room, Step::Out);
    }

    /// The connection is gone, with whatever was not read; the positions stay, to go on from.
    pub fn ended(&mut self) {
        self.client = None;
        self.asleep = 0;
        for room in self.at.keys().copied().collect::<Vec<_>>() {
            self.write(room, Step::Ended);
        }
    }

    /// Joins a room, after what it has seen of it.
    pub async fn join(&mut self, room: RoomId) -> Done {
        let after = self.at.get(&room).cloned();
        let asked = after.clone();
        let head = self.request(async |client| client.join(room, asked).await).await?.head.expect("a head");
        self.at.insert(room, head.clone());
        self.joined.insert(room);
        self.write(room, Step::Joined { after, head });
        Ok(())
    }

    /// Goes on in all rooms where it was.
    pub async fn join_all(&mut self) -> Done {
        for room in self.at.keys().copied().collect::<Vec<_>>() {
            // Unless it was told meanwhile that it is out.
            if self.at.contains_key(&room) {
                tolerate(self.join(room).await, self, room)?;
            }
        }
        Ok(())
    }

    /// Ends the membership, and knows that it has ended: also when it had before.
    pub async fn leave(&mut self, room: RoomId) -> Done {
        match self.request(async |client| client.leave(room).await).await {
            Err(ClientError::Refused { code: ErrorCode::NotFound, .. }) => {
                assert!(!self.joined.contains(&room), "no member, and not told so by `left`");
            }
            answer => {
                answer?;
                self.out(room);
            }
        }
        Ok(())
    }

    pub async fn send(&mut self, said: &Said) -> Done<Ack> {
        let Said { what, room, cid, body, .. } = said;
        let say = async |client: &mut WsClient| match what {
            What::Text => client.send(*room, cid, body).await,
            What::Edit(about) => client.edit(*room, cid, *about, body).await,
            What::Delete(about) => client.delete(*room, cid, *about).await,
            What::React(about, on) => client.react(*room, cid, *about, (body, *on)).await,
        };
        self.request(say).await
    }

    /// A message of somebody that it heard lately in a room, by chance.
    pub fn heard_lately(&self, room: RoomId, rng: &mut impl Rng) -> Option<MessageId> {
        let texts = self.log.iter().rev().filter_map(|noted| match &noted.step {
            Step::Heard(message) if noted.room == room && message.draft.kind == MessageKind::Text => {
                Some(message.draft.id)
            }
            _ => None,
        });
        texts.take(LATELY).collect::<Vec<_>>().choose(rng).copied()
    }
}
