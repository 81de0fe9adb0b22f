//! What waits to be written to one connection: bounded in bytes, never dropped silently.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, OnceLock},
    task::{Context, Poll},
};

use chatlab_kit::{
    ids::{RoomId, UserId},
    wire::ErrorCode,
};
use tokio::sync::Notify;

pub use super::queue::Batch;
use super::{
    frame::{Frame, Mark},
    queue::State,
};
use crate::service::lock;

/// The most bytes that wait for one connection. One more frame and it is a slow consumer: it is
/// closed, and told where to go on from.
pub const MAX_QUEUED_BYTES: usize = 1 << 20;
/// A replay waits while more than this is queued, so that it does not make its own reader slow.
pub const REPLAY_QUEUED_BYTES: usize = MAX_QUEUED_BYTES / 4;

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

    /// Goes on where the socket took no more, whenever it takes more; ready when everything is written.
    fn poll_go_on(&self, outbox: &Arc<Outbox>, cx: &mut Context<'_>) -> Poll<()>;

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
    /// From where that is.
    pub from: OnceLock<IpAddr>,
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
        state.closing = Some(Box::new(Closing::new(ErrorCode::SlowConsumer, "frames were not read in time")));
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
            state.closing = Some(Box::new(closing));
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

    /// The same, and nothing behind it: the wire answers the client's close.
    pub fn reply_last(self: &Arc<Self>) {
        // In one step: whoever has something to say must not come in between.
        let mut state = lock(&self.state);
        (state.reply, state.ended) = (true, true);
        drop(state);
        self.reader.notify_one();
        self.space.notify_one();
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
    pub async fn next(&self, batch: &mut Batch) -> Step {
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
    pub fn take(&self, batch: &mut Batch) -> Option<Step> {
        let mut state = lock(&self.state);
        let step = self.step(&mut state, batch);
        state.writing = step.is_some();
        step
    }

    fn step(&self, state: &mut State, batch: &mut Batch) -> Option<Step> {
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
        state.closing.as_deref().cloned().map(Step::Close)
    }
}

#[cfg(test)]
mod tests;
