//! The reading half of an upgraded socket, as tungstenite wants one to be: what it writes, pongs and the like, goes to the wire.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use chatlab_kit::wire::{ClientFrame, MAX_FRAME_BYTES};
use futures_util::StreamExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::tcp::OwnedReadHalf,
    sync::OwnedSemaphorePermit,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{Role, WebSocketConfig},
    },
};

use super::{
    head::CLOSE,
    parse,
    wire::{Replies, WsWire},
};
use crate::{
    gateway::{
        accept::Socket as Accepted,
        live::{
            fields::Refusal,
            source::{self, Heard, Source},
        },
    },
    service::hub::outbox::Outbox,
};

/// The read buffer, in bytes. Reading zero-fills it each time, and there are many connections:
/// larger costs memory and time, smaller a system call more for a large frame.
const READ_BUFFER_BYTES: usize = 1024;
/// What tungstenite's own answers may take before they go to the wire: they go at once.
const WRITE_BUFFER_BYTES: usize = 4096;

/// Where a connection's frames come from.
pub(super) struct Socket(WebSocketStream<Incoming>);

impl Source for Socket {
    async fn next(&mut self) -> Heard {
        match self.0.next().await {
            // Two crates' types for the same.
            Some(Ok(Message::Text(text))) => match Utf8Bytes::try_from(Bytes::from(text)) {
                Ok(text) => Heard::Text(text),
                Err(_) => Heard::Odd("the text is not UTF-8"),
            },
            Some(Ok(Message::Binary(_))) => Heard::Odd("only text frames are understood"),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Heard::Sign,
            Some(Ok(Message::Close(_))) | None => Heard::Gone,
            Some(Err(error)) => source::refused(&error),
        }
    }

    fn parse(&self, text: &str) -> Result<ClientFrame, Refusal> {
        parse::parse(text)
    }
}

/// Takes an upgraded connection apart: what it reads from, and the outbox that writes to it. None when it is no socket of ours.
pub(super) async fn open(upgraded: Upgraded) -> Option<(Socket, Arc<Outbox>, OwnedSemaphorePermit)> {
    let parts = upgraded.downcast::<TokioIo<Accepted>>().ok()?;
    let (stream, permit) = parts.io.into_inner().into_parts();
    let (half, write) = stream.into_split();
    let replies = Replies::default();
    let outbox = Arc::new(Outbox::on(Box::new(WsWire::new(write, replies.clone()))));
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(Some(MAX_FRAME_BYTES))
        .max_frame_size(Some(MAX_FRAME_BYTES));
    let incoming = Incoming { half, replies, outbox: outbox.clone() };
    let early = parts.read_buf.to_vec();
    let source = WebSocketStream::from_partially_read(incoming, early, Role::Server, Some(config)).await;
    Some((Socket(source), outbox, permit))
}

/// Reads from the socket, and writes to the connection's own wire.
pub(super) struct Incoming {
    half: OwnedReadHalf,
    replies: Replies,
    outbox: Arc<Outbox>,
}

impl AsyncRead for Incoming {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.half).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Incoming {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // A frame at a time: tungstenite gathers none in a buffer of no bytes.
        self.replies.add(bytes);
        match bytes.first() {
            // Behind the answer to a close nothing may come, whoever still has something to say.
            Some(&CLOSE) => self.outbox.reply_last(),
            _ => self.outbox.reply(),
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
