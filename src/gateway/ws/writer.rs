//! The writing half of a connection.

use std::{collections::HashMap, sync::Arc};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use chatlab_kit::{
    ids::RoomId,
    wire::{ResumeRoom, ServerFrame},
};
use futures_util::{SinkExt, stream::SplitSink};

use crate::{
    gateway::fault,
    service::hub::outbox::{Closing, Frame, Mark, Outbox, Step},
};

type Sink = SplitSink<WebSocket, Message>;

/// For each room the last frame that moved its position: the resume token, without copying one
/// for each delivery.
type Written = HashMap<RoomId, Arc<Frame>>;

/// Writes what is queued, a batch and a flush at a time, until the outbox closes or the socket fails.
pub async fn run(mut sink: Sink, outbox: Arc<Outbox>) {
    if write_all(&mut sink, &outbox).await.is_err() {
        outbox.end();
    }
}

async fn write_all(sink: &mut Sink, outbox: &Outbox) -> Result<(), axum::Error> {
    let mut written = Written::new();
    let mut batch = Vec::new();
    loop {
        match outbox.next(&mut batch).await {
            Step::Write => {
                for frame in &batch {
                    sink.feed(Message::Text(text(&frame.text)?)).await?;
                }
                sink.flush().await?;
                for frame in batch.drain(..) {
                    remember(&mut written, frame, outbox);
                }
            }
            Step::Ping => sink.send(Message::Ping(Bytes::new())).await?,
            Step::Close(closing) => return say_bye(sink, closing, &written).await,
            Step::End => return Ok(()),
        }
    }
}

fn text(bytes: &Bytes) -> Result<Utf8Bytes, axum::Error> {
    Utf8Bytes::try_from(bytes.clone()).map_err(axum::Error::new)
}

fn remember(written: &mut Written, frame: Arc<Frame>, outbox: &Outbox) {
    match &frame.mark {
        Mark::At(room, _) => {
            written.insert(*room, frame);
        }
        Mark::Gone(room) => {
            written.remove(room);
        }
        Mark::Left(room, user) if outbox.owner.get() == Some(user) => {
            written.remove(room);
        }
        Mark::None | Mark::Left(..) | Mark::Presence(..) | Mark::Typing(..) => {}
    }
}

async fn say_bye(sink: &mut Sink, closing: Closing, written: &Written) -> Result<(), axum::Error> {
    let Closing { code, close_code, message } = closing;
    let resume = written
        .iter()
        .filter_map(|(room, frame)| Some(ResumeRoom { room: *room, after: frame.position()?.clone() }))
        .collect();
    let bye = serde_json::to_string(&ServerFrame::Bye { code, message, resume }).map_err(axum::Error::new)?;
    sink.feed(Message::Text(bye.into())).await?;
    let close = CloseFrame { code: close_code, reason: fault::name(code).into() };
    sink.send(Message::Close(Some(close))).await
}
