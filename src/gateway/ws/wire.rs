//! The writing half of a connection: frames go to the socket from wherever they are queued.
//!
//! A fan-out that wakes a task a connection pays more for the waking than for the writing. So whoever queues a frame
//! writes it, unless somebody is at it already, who then takes it along. Only a socket that takes no more costs a task, until it has
//! taken what was left. A frame's text is shared by all its connections; its head is made at each write.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    net::Shutdown,
    sync::{Arc, LazyLock, Mutex},
    task::{Context, Poll, ready},
};

use chatlab_kit::wire::ServerFrame;
use metrics::Counter;
use socket2::SockRef;
use tokio::{
    net::{TcpStream, tcp::OwnedWriteHalf},
    runtime::Handle,
};

use super::head::{CLOSE, Head, PING, TEXT};
use crate::{
    gateway::{
        fault,
        live::written::{Goodbye, Written},
    },
    service::{
        hub::outbox::{Batch, Closing, Outbox, Step, Wire},
        lock,
    },
};

/// As many bytes go into one system call, and then what is left of the last frame.
const PIECE_BYTES: usize = 16 * 1024;
/// A thread keeps room for as many, for the next.
const KEEP_PIECE_BYTES: usize = 2 * PIECE_BYTES;
/// The most bytes of pongs and the like that wait for a socket that takes nothing.
const MAX_REPLY_BYTES: usize = 4096;

thread_local! {
    /// What goes into a system call, put together.
    static PIECE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct Counters {
    writes: Counter,
    bytes: Counter,
}

static COUNTERS: LazyLock<Counters> = LazyLock::new(|| Counters {
    writes: metrics::counter!("chatlab_socket_writes_total"),
    bytes: metrics::counter!("chatlab_socket_written_bytes_total"),
});

/// What the reading half has to answer by itself: pongs, and the client's close. Whole frames, bounded.
#[derive(Clone, Default)]
pub(super) struct Replies(Arc<Mutex<Vec<u8>>>);

impl Replies {
    /// Adds a frame. A client that asks for more pongs than it reads gets fewer: those that wait give way, because RFC 6455, 5.5.3,
    /// lets a server answer the newest ping only.
    pub(super) fn add(&self, frame: &[u8]) {
        let mut waiting = lock(&self.0);
        if waiting.len() + frame.len() > MAX_REPLY_BYTES {
            waiting.clear();
        }
        waiting.extend_from_slice(frame);
    }

    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut lock(&self.0))
    }
}

/// What the socket did.
enum Went {
    /// Everything is with the kernel.
    All,
    /// It takes no more now.
    Blocked,
    /// It is gone.
    Broken,
}

/// What is on its way to the socket. Touched by who writes only.
#[derive(Default)]
struct Out {
    batch: Batch,
    /// How many of the batch are written …
    done: usize,
    /// … and how many bytes of the next one, its head included, or of `raw`.
    offset: usize,
    /// Instead of a batch: bytes that have their head already.
    raw: Vec<u8>,
    /// `raw` is the goodbye.
    goodbye: bool,
    written: Written,
}

/// The socket, as an outbox writes to it.
pub(super) struct WsWire {
    half: OwnedWriteHalf,
    runtime: Handle,
    out: Mutex<Out>,
    replies: Replies,
}

impl WsWire {
    /// For a socket that is upgraded. To be called in the runtime.
    pub(super) fn new(half: OwnedWriteHalf, replies: Replies) -> Self {
        Self { half, runtime: Handle::current(), out: Mutex::default(), replies }
    }

    fn write(&self, out: &mut Out) -> Went {
        loop {
            let written = if out.raw.is_empty() {
                if out.done == out.batch.len() {
                    return Went::All;
                }
                self.write_batch(out)
            } else {
                self.send(&out.raw[out.offset..])
            };
            match written {
                Ok(0) => return Went::Broken,
                Ok(bytes) => {
                    COUNTERS.writes.increment(1);
                    COUNTERS.bytes.increment(bytes as u64);
                    out.advance(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Went::Blocked,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Went::Broken,
            }
        }
    }

    /// Asks the kernel at once, and tokio only where that takes nothing: what tokio knows of a socket's readiness is one more place
    /// in memory, which of ten thousand idle connections is a wait for it.
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let stream: &TcpStream = self.half.as_ref();
        match SockRef::from(stream).send(bytes) {
            // Tried again so that tokio learns of it: `drain` waits for what it knows.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.half.try_write(bytes),
            sent => sent,
        }
    }

    /// Frames are copied together, heads and texts, and sent as one piece: a gathering write of a head and a few hundred bytes costs
    /// the kernel half a microsecond more.
    fn write_batch(&self, out: &Out) -> io::Result<usize> {
        PIECE.with_borrow_mut(|piece| {
            piece.clear();
            for frame in &out.batch[out.done..] {
                piece.extend_from_slice(Head::new(TEXT, frame.text.len()).bytes());
                piece.extend_from_slice(&frame.text);
                if piece.len() >= out.offset + PIECE_BYTES {
                    break;
                }
            }
            let written = self.send(&piece[out.offset..]);
            piece.shrink_to(KEEP_PIECE_BYTES);
            written
        })
    }

    /// Writes until there is nothing more, or the socket takes no more: then `true`.
    fn write_on(&self, outbox: &Arc<Outbox>) -> bool {
        let mut out = lock(&self.out);
        loop {
            match self.write(&mut out) {
                Went::All => {}
                Went::Blocked => return true,
                Went::Broken => {
                    outbox.end();
                    return false;
                }
            }
            out.remember(outbox);
            if out.goodbye {
                outbox.was_said();
                return false;
            }
            match outbox.take(&mut out.batch) {
                Some(Step::Write) => {}
                Some(Step::Ping) => out.raw = vec![PING, 0],
                Some(Step::Reply) => out.raw = self.replies.take(),
                Some(Step::Close(closing)) => out.say_goodbye(closing, outbox),
                Some(Step::End) | None => return false,
            }
        }
    }
}

impl Wire for WsWire {
    fn ready(&self, outbox: &Arc<Outbox>) {
        if outbox.begin() && self.write_on(outbox) {
            self.runtime.spawn(drain(outbox.clone()));
        }
    }

    fn poll_go_on(&self, outbox: &Arc<Outbox>, cx: &mut Context<'_>) -> Poll<()> {
        let stream: &TcpStream = self.half.as_ref();
        loop {
            if ready!(stream.poll_write_ready(cx)).is_err() {
                outbox.end();
                return Poll::Ready(());
            }
            if !self.write_on(outbox) {
                return Poll::Ready(());
            }
        }
    }

    fn ended(&self) {
        // Wakes a `drain` up, and tells a client that waits.
        let stream: &TcpStream = self.half.as_ref();
        let _ = SockRef::from(stream).shutdown(Shutdown::Both);
    }
}

/// Writes on whenever the socket takes more, until everything is written.
async fn drain(outbox: Arc<Outbox>) {
    if let Some(wire) = outbox.wire() {
        poll_fn(|cx| wire.poll_go_on(&outbox, cx)).await;
    }
}

impl Out {
    fn advance(&mut self, bytes: usize) {
        self.offset += bytes;
        if !self.raw.is_empty() {
            if self.offset == self.raw.len() {
                (self.raw, self.offset) = (Vec::new(), 0);
            }
            return;
        }
        while let Some(frame) = self.batch.get(self.done) {
            let size = Head::new(TEXT, frame.text.len()).bytes().len() + frame.text.len();
            if self.offset < size {
                return;
            }
            self.offset -= size;
            self.done += 1;
        }
    }
}

impl Out {
    /// Takes note of the batch that was written.
    fn remember(&mut self, outbox: &Outbox) {
        for frame in self.batch.drain(..) {
            self.written.remember(frame, outbox);
        }
        self.done = 0;
        if self.batch.spilled() {
            self.batch = Batch::new();
        }
    }

    /// `bye`, with where to go on from, and the close.
    fn say_goodbye(&mut self, closing: Closing, outbox: &Outbox) {
        let close_code = closing.close_code;
        let Goodbye { code, message, resume, .. } = self.written.goodbye(closing, outbox);
        let name = fault::name(code);
        match serde_json::to_vec(&ServerFrame::Bye { code, message, resume }) {
            Ok(bye) => {
                self.raw.extend_from_slice(Head::new(TEXT, bye.len()).bytes());
                self.raw.extend_from_slice(&bye);
            }
            Err(error) => tracing::error!(%error, "ws.bye"),
        }
        self.raw.extend_from_slice(Head::new(CLOSE, 2 + name.len()).bytes());
        self.raw.extend_from_slice(&close_code.to_be_bytes());
        self.raw.extend_from_slice(name.as_bytes());
        self.goodbye = true;
    }
}

#[cfg(test)]
mod tests;
