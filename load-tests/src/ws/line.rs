//! A connection after its upgrade, read for as little as a delivery can be read.
//!
//! The generator shares the machine with what it measures, and with ten thousand connections nearly all that reading a
//! delivery costs is waiting for memory: a buffer of its own for each connection, filled with zeros before each read, a library's
//! wakers between socket and task, a text for each frame. So all connections of a thread read into one buffer, a frame is handed
//! on where it lies, and the library makes and reads the heads only (RFC 6455, 5.2). Whole frames: a server of ours cuts none.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, Cursor, ErrorKind},
    mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tokio_tungstenite::tungstenite::{
    Utf8Bytes,
    protocol::frame::{
        Frame, FrameHeader,
        coding::{Control, Data, OpCode},
    },
};

/// As much is read at once: more than a connection is sent between two looks at it, nearly always.
const READ_BYTES: usize = 64 * 1024;
/// The largest frame that is taken; a page of history is the largest there is.
const MAX_FRAME_BYTES: u64 = 1 << 20;
/// The largest payload of a control frame (RFC 6455, 5.5).
const MAX_CONTROL_BYTES: u64 = 125;
/// A connection keeps room for as much of what it could not hand on at once, for the next time.
const KEEP_BYTES: usize = 4 * 1024;
/// With more than this unsent a ping is not answered: RFC 6455, 5.5.3, lets the newest do.
const MAX_UNSENT_BYTES: usize = 64 * 1024;

thread_local! {
    /// What was read last, by whichever connection.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Frames on their way to the socket, of both halves: the reading one answers pings.
type Unsent = Rc<RefCell<Vec<u8>>>;

/// Both halves of a connection.
pub(super) struct Line {
    pub ear: Ear,
    pub mouth: Mouth,
}

/// The reading half.
pub(super) struct Ear {
    half: OwnedReadHalf,
    /// What was read and not handed on at once: frames after the first of a read, and the beginning of one.
    held: Vec<u8>,
    /// So much of `held` is done with.
    done: usize,
    unsent: Unsent,
}

/// The writing half.
pub(super) struct Mouth {
    half: OwnedWriteHalf,
    unsent: Unsent,
}

impl Line {
    /// Of a stream on which nothing has come since the upgrade.
    pub fn new(stream: TcpStream) -> Self {
        let (read, write) = stream.into_split();
        let unsent = Unsent::default();
        let ear = Ear { half: read, held: Vec::new(), done: 0, unsent: unsent.clone() };
        Self { ear, mouth: Mouth { half: write, unsent } }
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        self.ear.half.as_ref()
    }

    /// The next frame's text; none of a ping. Nothing is lost when it is dropped before it is ready.
    pub async fn text(&mut self) -> Result<Option<Utf8Bytes>, String> {
        self.ear.hear(|text| Utf8Bytes::from(text)).await
    }

    /// The text of the next frame that has one.
    pub async fn next_text(&mut self) -> Result<Utf8Bytes, String> {
        loop {
            if let Some(text) = self.text().await? {
                return Ok(text);
            }
        }
    }

    /// Sends a text.
    pub async fn send(&mut self, text: String) -> Result<(), String> {
        self.mouth.say(text).await
    }
}

impl Ear {
    /// Hands the next frame's text on; none of a ping, which is answered. Nothing is lost when it is dropped before it is ready.
    ///
    /// Fails when the connection is over: by the server's close, by a broken socket, by what is no frame of ours.
    pub async fn hear<R>(&mut self, take: impl FnOnce(&str) -> R) -> Result<Option<R>, String> {
        let mut take = Some(take);
        poll_fn(|cx| self.poll_hear(cx, &mut take)).await
    }

    fn poll_hear<R, F: FnOnce(&str) -> R>(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut Option<F>,
    ) -> Poll<Result<Option<R>, String>> {
        loop {
            let mut held = mem::take(&mut self.held);
            if let Some((piece, used)) = first(&held[self.done..])? {
                let heard = self.take_in(piece, take);
                self.done += used;
                self.held = held;
                return Poll::Ready(heard);
            }
            // What is left is the beginning of a frame, or nothing.
            held.drain(..mem::take(&mut self.done));
            if held.is_empty() {
                held.shrink_to(KEEP_BYTES);
            }
            self.held = held;
            if let Some(heard) = ready!(self.poll_read(cx, take))? {
                return Poll::Ready(Ok(heard));
            }
        }
    }

    /// Reads. A frame that begins what was read, and is whole, is taken in where it lies; all else is held. Nothing when no frame was.
    fn poll_read<R, F: FnOnce(&str) -> R>(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut Option<F>,
    ) -> Poll<Result<Option<Option<R>>, String>> {
        READ.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.half).poll_read(cx, &mut buffer)).map_err(|e| broken(&e))?;
            let read = buffer.filled();
            if read.is_empty() {
                return Poll::Ready(Err("closed without a close frame".into()));
            }
            if self.held.is_empty()
                && let Some((piece, used)) = first(read)?
            {
                self.held.extend_from_slice(&read[used..]);
                return Poll::Ready(self.take_in(piece, take).map(Some));
            }
            self.held.extend_from_slice(read);
            Poll::Ready(Ok(None))
        })
    }

    fn take_in<R, F: FnOnce(&str) -> R>(
        &self,
        piece: Piece<'_>,
        take: &mut Option<F>,
    ) -> Result<Option<R>, String> {
        match piece {
            Piece::Text(text) => Ok(take.take().map(|take| take(text))),
            Piece::Ping(payload) => {
                self.answer(Frame::pong(payload.to_vec()));
                Ok(None)
            }
            Piece::Pong => Ok(None),
            Piece::Close(code) => {
                self.answer(Frame::close(None));
                Err(code.map_or("closed".into(), |code| format!("closed: {code}")))
            }
        }
    }

    /// Sends a control frame, if the socket takes it. What it does not take goes with the next frame.
    fn answer(&self, frame: Frame) {
        let mut unsent = self.unsent.borrow_mut();
        if unsent.len() <= MAX_UNSENT_BYTES && masked(frame, &mut unsent).is_ok() {
            // A socket that is broken is found so by the next read.
            let _ = flush(self.half.as_ref(), &mut unsent);
        }
    }
}

impl Mouth {
    /// Sends a text.
    pub async fn say(&mut self, text: String) -> Result<(), String> {
        self.put(Frame::message(text, OpCode::Data(Data::Text), true)).await
    }

    /// Says that no more will come.
    pub async fn close(&mut self) -> Result<(), String> {
        self.put(Frame::close(None)).await
    }

    async fn put(&mut self, frame: Frame) -> Result<(), String> {
        masked(frame, &mut self.unsent.borrow_mut())?;
        loop {
            if flush(self.half.as_ref(), &mut self.unsent.borrow_mut()).map_err(|e| send_failed(&e))? {
                return Ok(());
            }
            self.half.writable().await.map_err(|e| send_failed(&e))?;
        }
    }
}

/// A frame, where it lies in what was read.
#[derive(Clone, Copy)]
enum Piece<'a> {
    Text(&'a str),
    Ping(&'a [u8]),
    Pong,
    /// With its code, if it has one.
    Close(Option<u16>),
}

/// The first frame of `bytes` and how long it is; none as long as it is not whole.
fn first(bytes: &[u8]) -> Result<Option<(Piece<'_>, usize)>, String> {
    let mut cursor = Cursor::new(bytes);
    let Some((head, length)) = FrameHeader::parse(&mut cursor).map_err(|_| protocol("a bad head"))? else {
        return Ok(None);
    };
    if !head.is_final || head.rsv1 || head.rsv2 || head.rsv3 || head.mask.is_some() {
        return Err(protocol("a frame that is cut, extended or masked"));
    }
    let most = if matches!(head.opcode, OpCode::Control(_)) { MAX_CONTROL_BYTES } else { MAX_FRAME_BYTES };
    if length > most {
        return Err("socket: frame too large".into());
    }
    let at = cursor.position() as usize;
    let Some(payload) = bytes.get(at..at + length as usize) else { return Ok(None) };
    let piece = match head.opcode {
        OpCode::Data(Data::Text) => Piece::Text(str::from_utf8(payload).map_err(|_| protocol("no UTF-8"))?),
        OpCode::Control(Control::Ping) => Piece::Ping(payload),
        OpCode::Control(Control::Pong) => Piece::Pong,
        OpCode::Control(Control::Close) => {
            Piece::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code)))
        }
        _ => return Err(protocol("neither text nor control")),
    };
    Ok(Some((piece, at + payload.len())))
}

/// Adds a frame as a client must send it (RFC 6455, 5.3).
fn masked(mut frame: Frame, unsent: &mut Vec<u8>) -> Result<(), String> {
    frame.header_mut().mask = Some(rand::random());
    frame.format(unsent).map_err(|_| "send: websocket".into())
}

/// Writes what the socket takes; true when that was all.
fn flush(stream: &TcpStream, unsent: &mut Vec<u8>) -> io::Result<bool> {
    while !unsent.is_empty() {
        match stream.try_write(unsent) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => drop(unsent.drain(..written)),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    unsent.shrink_to(KEEP_BYTES);
    Ok(true)
}

fn protocol(what: &str) -> String {
    format!("socket: protocol: {what}")
}

fn broken(error: &io::Error) -> String {
    format!("socket: {}", error.kind())
}

fn send_failed(error: &io::Error) -> String {
    format!("send: {}", error.kind())
}

#[cfg(test)]
mod tests;
