//! What waits to be written to one connection: bounded in bytes, never dropped silently.

use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use chatlab_kit::{
    ids::{RoomId, UserId},
    message::{Envelope, EnvelopeError, Message, Position},
    wire::{ErrorCode, ServerFrame},
};
use serde::Deserialize;
use tokio::sync::Notify;

use super::queue::State;
use crate::service::{ServiceError, ServiceResult, lock};

/// The most bytes that wait for one connection. One more frame and it is a slow consumer: it is
/// closed, and told where to go on from.
pub const MAX_QUEUED_BYTES: usize = 1 << 20;
/// A replay waits while more than this is queued, so that it does not make its own reader slow.
pub const REPLAY_QUEUED_BYTES: usize = MAX_QUEUED_BYTES / 4;
/// What a queued frame costs besides its text.
const FRAME_COST: usize = 64;

/// What a frame changes about the connection's resume token once it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// Nothing.
    None,
    /// The client has seen everything up to here.
    At(RoomId, Position),
    /// The client is no longer in the room.
    Gone(RoomId),
    /// This user is no longer in the room, which one connection of many may be theirs.
    Left(RoomId, UserId),
    /// Nothing; and a newer frame about the same user in the same room takes this one's place.
    Presence(RoomId, UserId),
    /// The same for whether the user is writing.
    Typing(RoomId, UserId),
}

/// A frame, serialised once and shared by all connections that it goes to.
#[derive(Debug)]
pub struct Frame {
    /// The text of the frame.
    pub text: Bytes,
    /// What it changes.
    pub mark: Mark,
    /// The same in another protocol's words, once somebody who speaks that has needed it.
    translated: OnceLock<Option<Bytes>>,
}

impl Frame {
    /// A frame of this text.
    pub fn of(text: impl Into<Bytes>, mark: Mark) -> Self {
        Self { text: text.into(), mark, translated: OnceLock::new() }
    }

    /// A frame of a protocol that has nothing like it in the native words.
    pub fn foreign(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        Self { translated: OnceLock::from(Some(text.clone())), text, mark: Mark::None }
    }

    /// A frame for one connection, or a notice for many.
    pub fn new(frame: &ServerFrame, mark: Mark) -> ServiceResult<Arc<Self>> {
        let text = serde_json::to_vec(frame).map_err(ServiceError::internal)?;
        Ok(Arc::new(Self::of(text, mark)))
    }

    /// A live message out of what was published: spliced, not serialised.
    pub fn live(room: RoomId, envelope: &Envelope<'_>) -> Result<Arc<Self>, EnvelopeError> {
        #[derive(Deserialize)]
        struct OnlyId {
            id: chatlab_kit::ids::MessageId,
        }
        let OnlyId { id } =
            serde_json::from_str(envelope.json).map_err(|_| EnvelopeError("the JSON has no message id"))?;
        let at = Position {
            epoch: chatlab_kit::message::Epoch(envelope.epoch.to_owned()),
            seq: envelope.seq,
            id: Some(id),
        };
        Ok(Arc::new(Self::of(envelope.frame(), Mark::At(room, at))))
    }

    /// A message out of the history.
    pub fn stored(message: Message) -> ServiceResult<Arc<Self>> {
        let (room, at) = (message.draft.room, position_of(&message));
        Self::new(&ServerFrame::Message(message), Mark::At(room, at))
    }

    /// The position that a message frame has.
    pub fn position(&self) -> Option<&Position> {
        match &self.mark {
            Mark::At(_, at) => Some(at),
            _ => None,
        }
    }

    /// The text in another protocol's words, or nothing where that has none. Made by the first connection that needs it and shared
    /// by all: there is one such protocol.
    pub fn translated(&self, translate: impl FnOnce(&[u8]) -> Option<Bytes>) -> Option<Bytes> {
        self.translated.get_or_init(|| translate(&self.text)).clone()
    }

    pub(super) fn cost(&self) -> usize {
        self.text.len() + FRAME_COST
    }
}

/// The place of a message.
pub fn position_of(message: &Message) -> Position {
    Position { epoch: message.epoch.clone(), seq: message.seq, id: Some(message.draft.id) }
}

/// Why and how a connection is closed by the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// The code of the `bye` frame.
    pub code: ErrorCode,
    /// The WebSocket close code; [`ErrorCode::close_code`] except for faults below the protocol.
    pub close_code: u16,
    /// For people.
    pub message: String,
}

impl Closing {
    /// With the code's own close code.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, close_code: code.close_code(), message: message.into() }
    }
}

/// What the writer is to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Write the batch.
    Write,
    /// Send a WebSocket ping.
    Ping,
    /// Send what the transport itself has to say.
    Reply,
    /// Say `bye` and close.
    Close(Closing),
    /// The other side is gone; just end.
    End,
}

/// Writes to a client what waits in its outbox, from wherever it is queued: no task has to wake up for it.
pub trait Wire: Send + Sync {
    /// Writes what waits, as far as the socket takes it at once. What it does not take is written on by the wire itself.
    fn ready(&self, outbox: &Arc<Outbox>);

    /// Goes on where the socket took no more; whether it takes no more again.
    fn go_on(&self, outbox: &Arc<Outbox>) -> bool;

    /// Nothing is written any more.
    fn ended(&self);
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    /// It will be written; not when the connection is closing, also by this very frame.
    pub taken: bool,
    /// Nobody is writing: call [`Outbox::wake`], without a lock that others may want.
    pub wake: bool,
}

/// The queue between whoever has something for a connection and the connection's writer: a [`Wire`] or, where none is attached, a task
/// that calls [`Outbox::next`].
#[derive(Default)]
pub struct Outbox {
    /// Whose connection it is, once that is known.
    pub owner: OnceLock<UserId>,
    wire: OnceLock<Box<dyn Wire>>,
    state: Mutex<State>,
    writer: Notify,
    reader: Notify,
    space: Notify,
}

impl Outbox {
    /// With what writes it.
    pub fn on(wire: Box<dyn Wire>) -> Self {
        Self { wire: OnceLock::from(wire), ..Self::default() }
    }

    /// What writes it, if that is no task.
    pub fn wire(&self) -> Option<&dyn Wire> {
        self.wire.get().map(AsRef::as_ref)
    }

    /// Queues a frame and has it written; false when the connection is closing, also by this very frame.
    pub fn push(self: &Arc<Self>, frame: Arc<Frame>) -> bool {
        let Queued { taken, wake } = self.queue(frame);
        if wake {
            self.wake();
        }
        taken
    }

    /// Queues a frame. For callers that hold a lock: writing comes after it.
    pub fn queue(&self, frame: Arc<Frame>) -> Queued {
        let mut state = lock(&self.state);
        if state.closing.is_some() || state.ended {
            return Queued { taken: false, wake: false };
        }
        let idle = !state.writing && (self.wire.get().is_some() || state.is_empty());
        if let Some(room) = self.silences(&frame.mark) {
            state.forget_states(&room);
        }
        state.add(frame);
        if state.bytes <= MAX_QUEUED_BYTES {
            return Queued { taken: true, wake: idle };
        }
        state.clear();
        // Under the same lock: a frame that another room pushed after the queue was emptied would move
        // the resume token past what was thrown away.
        state.closing = Some(Closing::new(ErrorCode::SlowConsumer, "frames were not read in time"));
        drop(state);
        metrics::counter!("chatlab_slow_consumers_total").increment(1);
        self.reader.notify_one();
        self.space.notify_one();
        Queued { taken: false, wake: true }
    }

    /// Has written what was queued.
    pub fn wake(self: &Arc<Self>) {
        match self.wire.get() {
            Some(wire) => wire.ready(self),
            None => self.writer.notify_one(),
        }
    }

    /// The room that is silent after a frame.
    fn silences(&self, mark: &Mark) -> Option<RoomId> {
        match mark {
            Mark::Gone(room) => Some(*room),
            Mark::Left(room, user) if self.owner.get() == Some(user) => Some(*room),
            _ => None,
        }
    }

    /// Closes after what is queued has been written. The first reason stays.
    pub fn close(self: &Arc<Self>, closing: Closing) {
        let mut state = lock(&self.state);
        if state.closing.is_none() {
            state.closing = Some(closing);
        }
        drop(state);
        self.reader.notify_one();
        self.space.notify_one();
        self.wake();
    }

    /// The socket is gone, or everything was said: nothing more is queued or written.
    pub fn end(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        state.clear();
        drop(state);
        self.reader.notify_one();
        self.space.notify_one();
        match self.wire.get() {
            Some(wire) => wire.ended(),
            None => self.writer.notify_one(),
        }
    }

    /// The closing was written. The socket is left as it is, for the client to answer.
    pub fn was_said(&self) {
        lock(&self.state).ended = true;
        self.reader.notify_one();
    }

    /// Has the writer send a WebSocket ping.
    pub fn ping(self: &Arc<Self>) {
        lock(&self.state).ping = true;
        self.wake();
    }

    /// Has the wire send what it has to say itself.
    pub fn reply(self: &Arc<Self>) {
        lock(&self.state).reply = true;
        self.wake();
    }

    /// How many bytes wait, at most [`MAX_QUEUED_BYTES`].
    pub fn queued_bytes(&self) -> usize {
        lock(&self.state).bytes
    }

    /// Whether it is closing or gone.
    pub fn is_closing(&self) -> bool {
        let state = lock(&self.state);
        state.closing.is_some() || state.ended
    }

    /// Returns when it is closing or gone. For one waiter: the connection's reader.
    pub async fn closing(&self) {
        while !self.is_closing() {
            self.reader.notified().await;
        }
    }

    /// Returns when nothing more is written. For one waiter: the connection's reader.
    pub async fn over(&self) {
        while !lock(&self.state).ended {
            self.reader.notified().await;
        }
    }

    /// Returns when little enough is queued to go on with a replay, or when it is closing. For
    /// one waiter: the connection's reader.
    pub async fn space(&self) {
        loop {
            {
                let state = lock(&self.state);
                if state.bytes <= REPLAY_QUEUED_BYTES || state.closing.is_some() || state.ended {
                    return;
                }
            }
            self.space.notified().await;
        }
    }

    /// What to do next; frames are moved into `batch`, a bounded number of bytes (or one frame).
    pub async fn next(&self, batch: &mut Vec<Arc<Frame>>) -> Step {
        loop {
            if let Some(step) = self.step(&mut lock(&self.state), batch) {
                return step;
            }
            self.writer.notified().await;
        }
    }

    /// Whether there is something to write and nobody who does. Who gets `true` writes, until [`Outbox::take`] gives nothing.
    pub fn begin(&self) -> bool {
        let mut state = lock(&self.state);
        let begins = !state.writing && state.has_step();
        state.writing |= begins;
        begins
    }

    /// What to do next, for who writes; none when that is all, and then it is somebody else's to begin.
    pub fn take(&self, batch: &mut Vec<Arc<Frame>>) -> Option<Step> {
        let mut state = lock(&self.state);
        let step = self.step(&mut state, batch);
        state.writing = step.is_some();
        step
    }

    fn step(&self, state: &mut State, batch: &mut Vec<Arc<Frame>>) -> Option<Step> {
        if std::mem::take(&mut state.reply) {
            return Some(Step::Reply);
        }
        if state.ended {
            return Some(Step::End);
        }
        let before = state.bytes;
        if state.take_batch(batch) {
            if before > REPLAY_QUEUED_BYTES && state.bytes <= REPLAY_QUEUED_BYTES {
                self.space.notify_one();
            }
            return Some(Step::Write);
        }
        if std::mem::take(&mut state.ping) && state.closing.is_none() {
            return Some(Step::Ping);
        }
        state.closing.clone().map(Step::Close)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::queue::MAX_BATCH_BYTES, *};

    fn frame(bytes: usize) -> Arc<Frame> {
        Arc::new(Frame::of(vec![b'x'; bytes], Mark::None))
    }

    #[tokio::test]
    async fn frames_leave_in_order_and_in_bounded_batches() {
        let outbox = Arc::new(Outbox::default());
        for bytes in [40_000, 40_001, 40_002] {
            assert!(outbox.push(frame(bytes)));
        }
        let mut batch = Vec::new();
        assert_eq!(outbox.next(&mut batch).await, Step::Write);
        let sizes: Vec<_> = batch.iter().map(|f| f.text.len()).collect();
        assert_eq!(sizes, [40_000, 40_001]);
    }

    fn presence(room: RoomId, user: UserId, text: &str) -> Arc<Frame> {
        Arc::new(Frame::of(text.to_owned(), Mark::Presence(room, user)))
    }

    #[tokio::test]
    async fn of_a_users_presence_only_the_newest_waits() {
        let outbox = Arc::new(Outbox::default());
        let (room, ada, bob) = (RoomId::new(), UserId::new(), UserId::new());
        for text in ["on", "off", "on again"] {
            assert!(outbox.push(presence(room, ada, text)));
            assert!(outbox.push(frame(5)));
        }
        outbox.push(presence(room, bob, "on"));
        assert_eq!(lock(&outbox.state).bytes, 5 * FRAME_COST + 3 * 5 + "on againon".len());
        let mut batch = Vec::new();
        assert_eq!(outbox.next(&mut batch).await, Step::Write);
        let texts: Vec<_> = batch.iter().map(|f| String::from_utf8_lossy(&f.text).into_owned()).collect();
        assert_eq!(texts, ["xxxxx", "xxxxx", "xxxxx", "on again", "on"]);
        assert_eq!(lock(&outbox.state).bytes, 0);
    }

    #[tokio::test]
    async fn typing_waits_beside_presence_newest_only() {
        let outbox = Arc::new(Outbox::default());
        let (room, ada) = (RoomId::new(), UserId::new());
        outbox.push(presence(room, ada, "online"));
        for text in ["on", "off", "on again"] {
            let mark = Mark::Typing(room, ada);
            outbox.push(Arc::new(Frame::of(text.to_owned(), mark)));
        }
        let mut batch = Vec::new();
        assert_eq!(outbox.next(&mut batch).await, Step::Write);
        let texts: Vec<_> = batch.iter().map(|f| String::from_utf8_lossy(&f.text).into_owned()).collect();
        assert_eq!(texts, ["online", "on again"]);
        assert_eq!(lock(&outbox.state).bytes, 0);
    }

    #[tokio::test]
    async fn presence_neither_starves_nor_outlives_its_room() {
        let outbox = Arc::new(Outbox::default());
        let (room, other, ada) = (RoomId::new(), RoomId::new(), UserId::new());
        outbox.push(presence(room, ada, "gone"));
        outbox.push(presence(other, ada, "on"));
        outbox.push(Arc::new(Frame::of("ok", Mark::Gone(room))));
        outbox.push(frame(MAX_BATCH_BYTES));
        outbox.push(frame(7));
        let mut batch = Vec::new();
        assert_eq!(outbox.next(&mut batch).await, Step::Write);
        let sizes: Vec<_> = batch.iter().map(|f| f.text.len()).collect();
        assert_eq!(sizes, [2, MAX_BATCH_BYTES, 2], "with the first batch, though messages are left");
    }

    #[tokio::test]
    async fn a_full_queue_closes_and_is_freed() {
        let outbox = Arc::new(Outbox::default());
        let mut pushed = 0;
        while outbox.push(frame(1000)) {
            pushed += 1;
        }
        assert_eq!(pushed, MAX_QUEUED_BYTES / (1000 + FRAME_COST));
        assert!(!outbox.push(frame(1)));
        let Step::Close(closing) = outbox.next(&mut Vec::new()).await else { panic!("not closed") };
        assert_eq!((closing.code, closing.close_code), (ErrorCode::SlowConsumer, 4008));
    }

    #[test]
    fn after_an_overflow_nothing_is_queued_by_anybody() {
        const PUSHERS: usize = 4;
        for _ in 0..200 {
            let outbox = Arc::new(Outbox::default());
            while lock(&outbox.state).bytes + 2 * 50_000 < MAX_QUEUED_BYTES {
                outbox.push(frame(50_000));
            }
            std::thread::scope(|scope| {
                for _ in 0..PUSHERS {
                    scope.spawn(|| {
                        for _ in 0..8 {
                            outbox.push(frame(50_000));
                        }
                    });
                }
            });
            let state = lock(&outbox.state);
            assert!(state.closing.is_some() && state.queue.is_empty(), "{} frames", state.queue.len());
        }
    }

    #[tokio::test]
    async fn closing_waits_for_what_is_queued() {
        let outbox = Arc::new(Outbox::default());
        assert!(outbox.push(frame(10)));
        outbox.close(Closing::new(ErrorCode::GoingAway, "stop"));
        assert!(!outbox.push(frame(10)));
        assert_eq!(outbox.next(&mut Vec::new()).await, Step::Write);
        assert!(matches!(outbox.next(&mut Vec::new()).await, Step::Close(_)));
    }
}
