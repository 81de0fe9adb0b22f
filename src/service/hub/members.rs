//! Who listens to one room on this instance, and how far each has come.
//!
//! Members sit in slots, so that a frame can be offered slice by slice with the lock given up in
//! between, while others join and leave. Two rules keep that exact:
//!
//! - Every dispatch has a number. A member is offered only what was dispatched after it came
//!   (`since`): its `ok` already names a position that includes the rest.
//! - A member that is still reading what it missed buffers what is live, up to a bound; past the bound
//!   the buffer is thrown away and the history is asked once more.

use std::sync::Arc;

use chatlab_kit::{ids::UserId, message::Position};

use super::{
    Connection,
    frame::Frame,
    outbox::Outbox,
    place::{follows_or_before, same_run},
};

/// How many members are offered frames before the room's lock is given up and they are written.
pub(super) const SLICE: usize = 128;
/// The most bytes that one member buffers while it reads what it missed.
pub const MAX_REPLAY_BUFFER_BYTES: usize = 256 * 1024;

/// Names a member of a room: the slot, and a number that no other member of the room ever had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberKey {
    slot: usize,
    number: u64,
}

/// What came live while a member was reading what it missed.
#[derive(Default)]
struct Replay {
    frames: Vec<Arc<Frame>>,
    bytes: usize,
    /// The bound was reached: `frames` is not everything.
    lost: bool,
    /// A `resync` went to the whole room.
    resynced: bool,
}

struct Member {
    /// The connection's: a frame that is offered goes straight there.
    outbox: Arc<Outbox>,
    connection: Arc<Connection>,
    number: u64,
    since: u64,
    /// Messages of the current run up to here are known to it already.
    floor: u64,
    replay: Option<Box<Replay>>,
}

/// What is offered to all members.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A message, with its sequence.
    Message(u64),
    /// A `resync`: what was buffered before it has no meaning any more.
    Resync,
    /// Something beside the order of messages.
    Notice,
    /// That this user is writing, or no longer: for the others, and not worth keeping for who reads what they missed.
    Typing(UserId),
}

/// A frame for all members, and what it is.
pub type Offer = (Arc<Frame>, Kind);

impl Member {
    /// Whether the frame was queued and nobody is writing.
    fn offer(&mut self, frame: &Arc<Frame>, kind: Kind) -> bool {
        if let Kind::Typing(user) = kind
            && (self.connection.user == user || self.replay.is_some())
        {
            return false;
        }
        if let Some(replay) = &mut self.replay {
            if kind == Kind::Resync {
                **replay = Replay { resynced: true, ..Replay::default() };
            }
            replay.bytes += frame.text.len();
            if replay.bytes > MAX_REPLAY_BUFFER_BYTES {
                replay.lost = true;
                replay.frames = Vec::new();
            } else {
                replay.frames.push(frame.clone());
            }
            return false;
        }
        match kind {
            Kind::Message(seq) if seq <= self.floor => return false,
            Kind::Resync => self.floor = 0,
            _ => {}
        }
        self.outbox.queue(frame.clone()).wake
    }
}

/// How a member that was reading what it missed goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum GoLive {
    /// It is live.
    Live,
    /// Something between the replay and the live messages is missing: read on from the history.
    Again,
    /// It is no longer a member.
    Gone,
}

/// The members of one room, and the position that they have been brought to.
pub struct Members {
    /// Everything up to here was offered to whoever was there.
    pub position: Position,
    slots: Vec<Option<Member>>,
    free: Vec<usize>,
    numbers: u64,
    dispatches: u64,
}

impl Members {
    /// Nobody yet.
    pub fn new(position: Position) -> Self {
        Self { position, slots: Vec::new(), free: Vec::new(), numbers: 0, dispatches: 0 }
    }

    /// Adds a connection, live or (`replaying`) still reading what it missed.
    pub fn add(&mut self, connection: Arc<Connection>, replaying: bool) -> MemberKey {
        self.numbers += 1;
        let number = self.numbers;
        let member = Member {
            outbox: connection.outbox.clone(),
            connection,
            number,
            since: self.dispatches,
            floor: 0,
            replay: replaying.then(Box::default),
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Some(member);
                slot
            }
            None => {
                self.slots.push(Some(member));
                self.slots.len() - 1
            }
        };
        MemberKey { slot, number }
    }

    /// Takes a member out; false when it was out already.
    pub fn remove(&mut self, key: MemberKey) -> bool {
        let there = self.get(key).is_some();
        if there {
            self.slots[key.slot] = None;
            self.free.push(key.slot);
        }
        there
    }

    fn get(&mut self, key: MemberKey) -> Option<&mut Member> {
        self.slots.get_mut(key.slot)?.as_mut().filter(|member| member.number == key.number)
    }

    /// The number for a new dispatch, which members that come from now on are not offered.
    pub fn begin(&mut self) -> u64 {
        self.dispatches += 1;
        self.dispatches
    }

    /// Offers frames to the members in `from..from + SLICE`, and says whom to have written to once the members are unlocked; the slot to
    /// go on from, or none at the end.
    pub fn offer(
        &mut self,
        dispatch: u64,
        offers: &[Offer],
        from: usize,
        wake: &mut Vec<Arc<Outbox>>,
    ) -> Option<usize> {
        let end = self.slots.len().min(from + SLICE);
        for member in self.slots[from.min(end)..end].iter_mut().flatten() {
            if member.since >= dispatch {
                continue;
            }
            let mut idle = false;
            for (frame, kind) in offers {
                idle |= member.offer(frame, *kind);
            }
            if idle {
                wake.push(member.outbox.clone());
            }
        }
        (end < self.slots.len()).then_some(end)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The users behind the connections, each once.
    pub fn users(&self) -> Vec<UserId> {
        let mut users: Vec<_> = self.slots.iter().flatten().map(|m| m.connection.user).collect();
        users.sort_unstable();
        users.dedup();
        users
    }

    fn take_user(&mut self, user: &UserId) -> Vec<(MemberKey, Arc<Connection>)> {
        let mut taken = Vec::new();
        for (slot, place) in self.slots.iter_mut().enumerate() {
            if let Some(member) = place.take_if(|member| member.connection.user == *user) {
                self.free.push(slot);
                taken.push((MemberKey { slot, number: member.number }, member.connection));
            }
        }
        taken
    }

    /// Hands a frame past the live ones to a member that reads what it missed. False when it is no member any more, and was told so by
    /// `left`: then nothing of the room may follow. False too when its connection is closing. To be written by the caller, as all that
    /// is queued here: no socket is written to while the members are locked.
    pub fn pass(&mut self, key: MemberKey, frame: Arc<Frame>) -> bool {
        self.get(key).is_some_and(|member| member.outbox.queue(frame).taken)
    }

    /// Takes all connections of a user out, with a last frame for them. In one step: nothing of the room comes behind it. With the
    /// number of the dispatch by which the others are told: who comes back meanwhile, also the user, is not told.
    pub fn dismiss_user(
        &mut self,
        user: &UserId,
        frame: &Arc<Frame>,
    ) -> (u64, Vec<(MemberKey, Arc<Connection>)>) {
        let taken = self.take_user(user);
        for (_, connection) in &taken {
            connection.outbox.queue(frame.clone());
        }
        (self.begin(), taken)
    }

    /// Ends a replay that has brought the member to `last`, if what was buffered joins on. What it leaves in the outbox is written at the
    /// next [`wake`](super::outbox::Outbox::wake).
    pub fn go_live(&mut self, key: MemberKey, last: &Position) -> GoLive {
        let position = self.position.clone();
        let Some(member) = self.get(key) else { return GoLive::Gone };
        let Some(replay) = &mut member.replay else { return GoLive::Live };
        if replay.resynced && !replay.lost {
            return member.release(None);
        }
        let first = replay.frames.iter().find_map(|frame| frame.position());
        let joins_on = match first {
            _ if replay.lost || replay.resynced => false,
            Some(first) => follows_or_before(last, first),
            // Nothing came meanwhile, so the room's position is the one to compare with.
            None => position.seq <= last.seq && same_run(last, &position),
        };
        if joins_on {
            return member.release(Some(last.seq));
        }
        **replay = Replay::default();
        GoLive::Again
    }

    /// Ends a replay whatever was missed, with `frames` that tell so made from the position that
    /// the live messages continue. They are written at the next wake.
    pub fn go_live_from_head(&mut self, key: MemberKey, frames: Vec<Arc<Frame>>) -> GoLive {
        let Some(member) = self.get(key) else { return GoLive::Gone };
        member.replay = None;
        member.floor = 0;
        for frame in frames {
            member.outbox.queue(frame);
        }
        GoLive::Live
    }
}

impl Member {
    /// Hands over what was buffered, without what is known up to `floor`.
    fn release(&mut self, floor: Option<u64>) -> GoLive {
        self.floor = floor.unwrap_or(0);
        for frame in self.replay.take().map(|replay| replay.frames).unwrap_or_default() {
            if floor.is_none() || frame.position().is_none_or(|at| at.seq > self.floor) {
                self.outbox.queue(frame);
            }
        }
        GoLive::Live
    }
}

#[cfg(test)]
mod tests;
