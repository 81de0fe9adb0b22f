//! What happens in rooms, for who has no WebSocket: a stream of server-sent events, or one poll after the other.
//!
//! Both are one-way connections to the same rooms. A place in them is a token, which stands in each event's `id` and in each poll's
//! answer: shown again, to whichever instance, it brings what came since, with the guarantees that a resume has.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::Body,
    extract::{State, ws::Utf8Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use chatlab_kit::{
    ids::RoomId,
    message::Position,
    wire::{ClientFrame, ErrorCode, ResumeRoom, ServerFrame},
};
use futures_util::stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    asked::{Ask, Me},
    route::{Route, get},
};
use crate::{
    gateway::{
        Gateway,
        accept::Peer,
        fault::{Fault, JsonResult},
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
            Connection, Hub,
            frame::{Frame, Mark},
            outbox::{Batch, Closing, Outbox, Step},
        },
        tokens::Bearer,
    },
};

/// Where a browser says what it has seen.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The most rooms of one stream: with their places they must fit into a header.
const MAX_ROOMS: usize = 8;
/// That many ids.
const ROOMS_PATTERN: &str =
    "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(,[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}){0,7}$";
/// The longest token, in bytes.
const MAX_TOKEN_BYTES: usize = 4096;
/// How long a poll waits when the client does not say.
const DEFAULT_WAIT_S: u32 = 20;
/// The longest that a poll may wait.
const MAX_WAIT_S: u32 = 60;
/// After its first event a poll takes what follows at once.
const LINGER: Duration = Duration::from_millis(10);
/// How long joining the rooms of a poll may take.
const JOINING: Duration = Duration::from_secs(10);
/// The most bytes of events in the answer to a poll; a single one may have more.
const POLL_BYTES: usize = 256 * 1024;

/// The routes.
pub fn routes() -> Vec<Route> {
    vec![
        get("/v1/events", events)
            .says("What happens in rooms, as server-sent events")
            .query::<Rooms>()
            .gives_as::<String>("text/event-stream")
            .codes(&[ErrorCode::NotFound]),
        get("/v1/events/poll", poll)
            .says("What happened in rooms since a place, or what happens next")
            .query::<Poll>()
            .gives::<News>(StatusCode::OK)
            .codes(&[ErrorCode::NotFound]),
    ]
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

/// Which rooms, from where on, and how long to wait.
#[derive(Deserialize, JsonSchema)]
pub struct Poll {
    /// 1 to 8 ids of rooms that one is in, with commas in between.
    #[schemars(regex(pattern = ROOMS_PATTERN))]
    rooms: String,
    /// `after` of the answer before; without it the answer is where the rooms are now.
    #[schemars(length(max = MAX_TOKEN_BYTES))]
    after: Option<String>,
    /// How many seconds to wait for something; 20 when missing.
    #[schemars(range(max = MAX_WAIT_S))]
    wait_s: Option<u32>,
}

/// What happened.
#[derive(Serialize, JsonSchema)]
pub struct News {
    /// Frames of the WebSocket protocol, in order.
    #[schemars(with = "Vec<ServerFrame>")]
    events: Vec<Box<RawValue>>,
    /// Where to go on.
    after: String,
}

/// Where in its rooms a listener is. A room that was not come to yet keeps the place that was asked for.
struct Places(Vec<ResumeRoom>);

impl Places {
    /// Those of a token.
    fn read(token: Option<&str>) -> ServiceResult<Self> {
        let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(Self(Vec::new())) };
        let places = Some(token)
            .filter(|token| token.len() <= MAX_TOKEN_BYTES)
            .and_then(|token| URL_SAFE_NO_PAD.decode(token).ok())
            .and_then(|json| serde_json::from_slice(&json).ok());
        let wrong = || ServiceError::invalid("after: is no place that this server has named");
        places.map(Self).ok_or_else(wrong)
    }

    /// As a token.
    fn token(&self) -> ServiceResult<String> {
        let places = serde_json::to_vec(&self.0).map_err(ServiceError::internal)?;
        Ok(URL_SAFE_NO_PAD.encode(places))
    }

    fn of(&self, room: &RoomId) -> Option<Position> {
        self.0.iter().find(|one| one.room == *room).map(|one| one.after.clone())
    }

    /// A frame goes out to the owner of `outbox`. Whether it moves a place.
    fn pass(&mut self, frame: &Frame, outbox: &Outbox) -> bool {
        let (room, after) = match &frame.mark {
            Mark::At(room, after) => (room, Some(after.clone())),
            Mark::Gone(room) => (room, None),
            Mark::Left(room, user) if outbox.owner.get() == Some(user) => (room, None),
            Mark::None | Mark::Left(..) | Mark::Presence(..) | Mark::Typing(..) | Mark::Receipt(..) => {
                return false;
            }
        };
        self.0.retain(|one| one.room != *room);
        self.0.extend(after.map(|after| ResumeRoom { room: *room, after }));
        true
    }
}

/// The rooms that are asked for.
fn listed(rooms: &str) -> ServiceResult<Vec<RoomId>> {
    let parsed: Result<Vec<RoomId>, _> = rooms.split(',').map(|id| id.trim().parse()).collect();
    let mut rooms = parsed.map_err(|error| ServiceError::invalid(format!("rooms: {error}")))?;
    rooms.sort_unstable();
    rooms.dedup();
    if rooms.len() > MAX_ROOMS {
        return Err(ServiceError::invalid(format!("rooms: at most {MAX_ROOMS}")));
    }
    Ok(rooms)
}

/// Asking changes nothing, so nobody becomes a member by it.
async fn must_be_member_of(gateway: &Gateway, me: &Me, rooms: &[RoomId]) -> ServiceResult<()> {
    for room in rooms {
        gateway.chat.must_be_member(me.by(), *room).await?;
    }
    Ok(())
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
        let frame = ServerFrame::Bye { code, message, resume: self.places.0.clone() };
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

/// Takes a poll's connection out of the rooms however it ends.
struct Polled<'a> {
    hub: &'a Hub,
    connection: Arc<Connection>,
}

impl<'a> Polled<'a> {
    fn new(hub: &'a Hub, bearer: &Bearer, outbox: &Arc<Outbox>) -> Self {
        let _ = outbox.owner.set(bearer.session.user);
        Self { hub, connection: hub.connect(bearer.session.clone(), outbox.clone()) }
    }
}

impl Drop for Polled<'_> {
    fn drop(&mut self) {
        self.connection.outbox.end();
        self.hub.disconnect(&self.connection);
    }
}

/// What a poll has heard.
struct Gathered {
    places: Places,
    events: Vec<Box<RawValue>>,
    bytes: usize,
}

impl Gathered {
    /// Takes what came. The answers to the joins are no news, but say where the rooms are.
    fn take(&mut self, step: Step, batch: &mut Batch, outbox: &Outbox) -> ServiceResult<()> {
        match step {
            Step::Write => {
                for frame in batch.drain(..) {
                    self.places.pass(&frame, outbox);
                    if frame.text.starts_with(br#"{"t":"ok","#) {
                        continue;
                    }
                    self.bytes += frame.text.len();
                    let text = String::from_utf8(frame.text.to_vec()).map_err(ServiceError::internal)?;
                    self.events.push(RawValue::from_string(text).map_err(ServiceError::internal)?);
                }
                Ok(())
            }
            Step::Ping | Step::Reply => Ok(()),
            // What was heard before is worth an answer; the next poll is told why.
            Step::Close(_) if !self.events.is_empty() => Ok(()),
            Step::Close(closing) => Err(ServiceError::new(closing.code, closing.message)),
            Step::End => Err(ServiceError::new(ErrorCode::GoingAway, "the connection has ended")),
        }
    }

    /// Takes what comes until `until`, or within a moment after the first of it.
    async fn gather(&mut self, outbox: &Outbox, until: Instant) -> ServiceResult<()> {
        let (mut batch, mut until) = (Batch::new(), until);
        // What waits already is taken whatever the time.
        while let Ok(step) = timeout_at(until, outbox.next(&mut batch)).await {
            let last = matches!(step, Step::Close(_) | Step::End);
            self.take(step, &mut batch, outbox)?;
            if last || self.bytes >= POLL_BYTES {
                break;
            }
            if !self.events.is_empty() {
                until = until.min(Instant::now() + LINGER);
            }
        }
        Ok(())
    }
}

async fn poll(
    State(gateway): State<Arc<Gateway>>,
    Extension(from): Extension<Peer>,
    me: Me,
    headers: HeaderMap,
    Ask(ask): Ask<Poll>,
) -> JsonResult<News> {
    let wait_s = ask.wait_s.unwrap_or(DEFAULT_WAIT_S);
    if wait_s > MAX_WAIT_S {
        return Err(ServiceError::invalid(format!("wait_s: at most {MAX_WAIT_S}")).into());
    }
    let (rooms, places) = (listed(&ask.rooms)?, Places::read(ask.after.as_deref())?);
    must_be_member_of(&gateway, &me, &rooms).await?;
    let _tracked = live::admit(&gateway, &headers)?;
    let outbox: Arc<Outbox> = Arc::default();
    live::comes_from(&outbox, Some(from));
    let polled = Polled::new(&gateway.hub, &me.0, &outbox);
    // Who does not know yet where a room is, is told that at once.
    let known = rooms.iter().all(|room| places.of(room).is_some());
    let wait = Duration::from_secs(if known { wait_s.into() } else { 0 });
    let asked: Vec<_> = rooms.into_iter().map(|room| (room, places.of(&room))).collect();
    let mut heard = Gathered { places, events: Vec::new(), bytes: 0 };
    let joining = async {
        for (room, after) in asked {
            gateway.chat.join(&polled.connection, 0, room, after).await?;
        }
        Ok::<_, ServiceError>(())
    };
    // What was missed is read beside: more of it than fits into the outbox waits until it is taken.
    let beside = heard.gather(&outbox, Instant::now() + JOINING);
    let all = tokio::select! {
        biased;
        joined = Box::pin(joining) => { joined?; false }
        gathered = beside => { gathered?; true }
    };
    if !all {
        tokio::select! {
            gathered = heard.gather(&outbox, Instant::now() + wait) => gathered?,
            () = gateway.stopping.cancelled() => {}
        }
    }
    let after = heard.places.token()?;
    Ok(Json(News { events: heard.events, after }))
}

#[cfg(test)]
mod tests {
    use chatlab_kit::{
        ids::MessageId,
        message::{Epoch, MAX_EPOCH_BYTES},
    };

    use super::*;

    #[test]
    fn an_event_is_its_frame_in_a_line() {
        let mut text = Vec::new();
        event(&mut text, br#"{"t":"message","body":"a\nb"}"#);
        assert_eq!(text, b"event: message\ndata: {\"t\":\"message\",\"body\":\"a\\nb\"}\n");
    }

    #[test]
    fn places_come_back_as_they_were_and_nothing_else_is_one() {
        let room = RoomId::new();
        let after = Position { epoch: Epoch("e".into()), seq: 7, id: None };
        let places = Places(vec![ResumeRoom { room, after: after.clone() }]);
        let again = Places::read(Some(&places.token().unwrap())).unwrap();
        assert_eq!((again.of(&room), again.of(&RoomId::new())), (Some(after), None));
        assert!(Places::read(None).unwrap().0.is_empty());
        for wrong in ["x", "e30", "////", &"A".repeat(MAX_TOKEN_BYTES + 1)] {
            assert!(Places::read(Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_places_of_as_many_rooms_as_may_be_fit_into_a_token() {
        let epoch = Epoch("e".repeat(MAX_EPOCH_BYTES));
        let one = || ResumeRoom {
            room: RoomId::new(),
            after: Position { epoch: epoch.clone(), seq: u64::MAX, id: Some(MessageId::new()) },
        };
        let places = Places((0..MAX_ROOMS).map(|_| one()).collect());
        assert!(places.token().unwrap().len() <= MAX_TOKEN_BYTES);
    }

    #[test]
    fn rooms_are_a_few_ids() {
        let (one, other) = (RoomId::new(), RoomId::new());
        assert_eq!(listed(&format!("{other}, {one},{other}")).unwrap(), [one, other]);
        let many: Vec<_> = (0..=MAX_ROOMS).map(|_| RoomId::new().to_string()).collect();
        for wrong in ["", "x", ",", &many.join(",")] {
            assert!(listed(wrong).is_err(), "{wrong}");
        }
    }
}
