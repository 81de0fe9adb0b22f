//! Polls: each joins, takes what comes, and leaves. Between two of them nothing is kept here.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use chatlab_kit::wire::{ErrorCode, ServerFrame};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};

use super::{
    asked::{Ask, Me},
    places::{MAX_TOKEN_BYTES, Places, ROOMS_PATTERN, listed},
    route::{Route, get},
    stream::must_be_member_of,
};
use crate::{
    gateway::{Gateway, accept::Peer, fault::JsonResult, live},
    service::{
        ServiceError, ServiceResult,
        hub::{
            Connection, Hub,
            outbox::{Batch, Outbox, Step},
        },
        tokens::Bearer,
    },
};

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

/// The route.
pub fn route() -> Route {
    get("/v1/events/poll", poll)
        .says("What happened in rooms since a place, or what happens next")
        .query::<Poll>()
        .gives::<News>(StatusCode::OK)
        .codes(&[ErrorCode::NotFound])
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
