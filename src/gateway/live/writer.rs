//! The writing half of a connection that has a WebSocket.

use std::sync::Arc;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures_util::{SinkExt, stream::SplitSink};

use super::written::{Goodbye, Written};
use crate::{
    gateway::fault,
    service::hub::{
        frame::Frame,
        outbox::{Batch, Closing, Outbox, Step},
    },
};

/// The writing half of a WebSocket.
pub type Sink = SplitSink<WebSocket, Message>;

/// How a protocol puts things.
pub trait Dialect: Send + 'static {
    /// What is written for a frame; nothing for one that this client has no use for.
    fn text(frame: &Frame) -> Option<Bytes>;
    /// What asks for a sign of life.
    fn ping() -> Message;
    /// What is written before a close.
    ///
    /// # Errors
    /// When it can't be serialised.
    fn goodbye(goodbye: Goodbye) -> Result<Vec<String>, serde_json::Error>;
}

/// Writes what is queued, a batch and a flush at a time, until the outbox closes or the socket fails. `written` is what was written
/// before this socket came.
pub async fn run<D: Dialect>(mut sink: Sink, outbox: Arc<Outbox>, written: Written) {
    if write_all::<D>(&mut sink, &outbox, written).await.is_err() {
        outbox.end();
    }
}

async fn write_all<D: Dialect>(
    sink: &mut Sink,
    outbox: &Outbox,
    mut written: Written,
) -> Result<(), axum::Error> {
    let mut batch = Batch::new();
    loop {
        match outbox.next(&mut batch).await {
            Step::Write => {
                for frame in &batch {
                    if let Some(text) = D::text(frame) {
                        sink.feed(Message::Text(utf8(text)?)).await?;
                    }
                }
                sink.flush().await?;
                for frame in batch.drain(..) {
                    written.remember(frame, outbox);
                }
            }
            // The library behind the sink answers pings itself.
            Step::Reply => {}
            Step::Ping => sink.send(D::ping()).await?,
            Step::Close(closing) => return say_bye::<D>(sink, outbox, closing, &written).await,
            Step::End => return Ok(()),
        }
    }
}

fn utf8(bytes: Bytes) -> Result<Utf8Bytes, axum::Error> {
    Utf8Bytes::try_from(bytes).map_err(axum::Error::new)
}

async fn say_bye<D: Dialect>(
    sink: &mut Sink,
    outbox: &Outbox,
    closing: Closing,
    written: &Written,
) -> Result<(), axum::Error> {
    let close = CloseFrame { code: closing.close_code, reason: fault::name(closing.code).into() };
    for words in D::goodbye(written.goodbye(closing, outbox)).map_err(axum::Error::new)? {
        sink.feed(Message::Text(words.into())).await?;
    }
    sink.send(Message::Close(Some(close))).await
}
