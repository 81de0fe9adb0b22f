//! A stream of server-sent events: a live connection that asks once, at its beginning.

use std::{collections::VecDeque, sync::Arc};

use axum::{
    Extension,
    body::Body,
    extract::{State, ws::Utf8Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chatlab_kit::{
    ids::RoomId,
    wire::{ClientFrame, ErrorCode, ServerFrame},
};
use futures_util::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    asked::{Ask, Me},
    places::{MAX_TOKEN_BYTES, Places, ROOMS_PATTERN, listed},
    route::{Route, get},
    stream::must_be_member_of,
};
use crate::{
    gateway::{
        Gateway,
        accept::Peer,
        fault::Fault,
        live::{
            self,
            fields::Refusal,
            reader,
            source::{Heard, Source},
        },
    },
    service::{
        ServiceError, ServiceResult,
        hub::{
            frame::Frame,
            outbox::{Batch, Closing, Outbox, Step},
        },
    },
};

/// Where a browser says what it has seen.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The route.
pub fn route() -> Route {
    get("/v1/events", events)
        .says("What happens in rooms, as server-sent events")
        .query::<Rooms>()
        .gives_as::<String>("text/event-stream")
        .codes(&[ErrorCode::NotFound])
}

/// Which rooms, and from where on.
#[derive(Deserialize, JsonSchema)]
pub struct Rooms {
    /// 1 to 8 ids of rooms that one is in, with commas in between.
    #[schemars(regex(pattern = ROOMS_PATTERN))]
    rooms: String,
    /// The `id` of the last event that was seen, for who can't send `Last-Event-ID`.
    #[schemars(length(max = MAX_TOKEN_BYTES))]
    after: Option<String>,
}

async fn events(
    State(gateway): State<Arc<Gateway>>,
    Extension(from): Extension<Peer>,
    me: Me,
    headers: HeaderMap,
    Ask(ask): Ask<Rooms>,
) -> Result<Response, Fault> {
    let last = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok());
    let (rooms, places) = (listed(&ask.rooms)?, Places::read(last.or(ask.after.as_deref()))?);
    must_be_member_of(&gateway, &me, &rooms).await?;
    let tracked = live::admit(&gateway, &headers)?;
    let outbox: Arc<Outbox> = Arc::default();
    live::comes_from(&outbox, Some(from));
    let (taken, gone) = (Arc::new(Notify::new()), CancellationToken::new());
    let mut source = Listener { joins: joins(rooms, &places)?, taken: taken.clone(), gone: gone.clone() };
    let body = Sent { outbox: outbox.clone(), places, taken, over: false, _gone: gone.drop_guard() };
    tokio::spawn(async move {
        let _tracked = tracked;
        let end = reader::serve(&mut source, &gateway, &outbox, me.0, |_| ()).await;
        reader::take_leave(&mut source, end, outbox.over()).await;
        outbox.end();
    });
    let head = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        // A proxy that collects an answer before it hands it on would have it wait for ever.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((head, Body::from_stream(stream::unfold(body, Sent::next))).into_response())
}

/// What a listener asks for, as it would on a WebSocket.
fn joins(rooms: Vec<RoomId>, places: &Places) -> ServiceResult<VecDeque<Utf8Bytes>> {
    let frames = (1..).zip(rooms).map(|(id, room)| ClientFrame::Join { id, room, after: places.of(&room) });
    let texts = frames.map(|join| serde_json::to_string(&join).map(Utf8Bytes::from));
    texts.collect::<Result<_, _>>().map_err(ServiceError::internal)
}

/// A client that said what it wants when it came, and says nothing more: that it takes what it is sent is its sign of life.
struct Listener {
    joins: VecDeque<Utf8Bytes>,
    taken: Arc<Notify>,
    gone: CancellationToken,
}

impl Source for Listener {
    async fn next(&mut self) -> Heard {
        if let Some(join) = self.joins.pop_front() {
            return Heard::Text(join);
        }
        tokio::select! {
            () = self.gone.cancelled() => Heard::Gone,
            () = self.taken.notified() => Heard::Sign,
        }
    }

    fn parse(&self, text: &str) -> Result<ClientFrame, Refusal> {
        let wrong = |error| Refusal { id: None, error: ServiceError::internal(error) };
        serde_json::from_str(text).map_err(wrong)
    }
}

/// The body of a stream.
struct Sent {
    outbox: Arc<Outbox>,
    places: Places,
    taken: Arc<Notify>,
    over: bool,
    _gone: DropGuard,
}

impl Sent {
    /// The next part. It is asked for when the part before is on its way.
    async fn next(mut self) -> Option<(ServiceResult<Bytes>, Self)> {
        if self.over {
            return None;
        }
        self.taken.notify_one();
        let mut batch = Batch::new();
        let mut text = Vec::new();
        loop {
            match self.outbox.next(&mut batch).await {
                Step::Write => {
                    for frame in batch.drain(..) {
                        if let Err(error) = self.add(&mut text, &frame) {
                            return Some((Err(error), self));
                        }
                    }
                    return Some((Ok(text.into()), self));
                }
                Step::Reply => {}
                Step::Ping => return Some((Ok(Bytes::from_static(b": ping\n\n")), self)),
                Step::Close(closing) => {
                    self.over = true;
                    let bye = self.goodbye(closing);
                    self.outbox.was_said();
                    return Some((bye, self));
                }
                Step::End => return None,
            }
        }
    }

    fn add(&mut self, text: &mut Vec<u8>, frame: &Frame) -> ServiceResult<()> {
        event(text, &frame.text);
        if self.places.pass(frame, &self.outbox) {
            text.extend_from_slice(b"id: ");
            text.extend_from_slice(self.places.token()?.as_bytes());
            text.push(b'\n');
        }
        text.push(b'\n');
        Ok(())
    }

    fn goodbye(&self, closing: Closing) -> ServiceResult<Bytes> {
        let Closing { code, message, .. } = closing;
        let frame = ServerFrame::Bye { code, message, resume: self.places.resume() };
        let mut text = Vec::new();
        event(&mut text, &serde_json::to_vec(&frame).map_err(ServiceError::internal)?);
        text.push(b'\n');
        Ok(text.into())
    }
}

/// The lines of an event but for its end. A frame is one line: what JSON escapes, a line break among it, stays escaped.
fn event(text: &mut Vec<u8>, frame: &[u8]) {
    let name = frame.strip_prefix(br#"{"t":""#).and_then(|rest| rest.split(|byte| *byte == b'"').next());
    text.extend_from_slice(b"event: ");
    text.extend_from_slice(name.unwrap_or(b"message"));
    text.extend_from_slice(b"\ndata: ");
    text.extend_from_slice(frame);
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_its_frame_in_a_line() {
        let mut text = Vec::new();
        event(&mut text, br#"{"t":"message","body":"a\nb"}"#);
        assert_eq!(text, b"event: message\ndata: {\"t\":\"message\",\"body\":\"a\\nb\"}\n");
    }
}
