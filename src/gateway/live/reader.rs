//! Hearing a client out: its first word, its requests one after the other, its heartbeat, and the end.

use std::{pin::Pin, sync::Arc, time::Duration};

use axum::extract::ws::Utf8Bytes;
use chatlab_kit::wire::{ErrorCode, HELLO_TIMEOUT_MS, MAX_FRAME_BYTES, RequestId, ServerFrame, VERSION};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tracing::Instrument;

use super::{
    pulse::{Beat, Pulse},
    push, requests,
    source::{Heard, Source},
};
use crate::{
    gateway::{
        Gateway,
        fault::{self, RequestId as Named},
    },
    service::{
        ServiceError,
        hub::{
            Connection,
            outbox::{Closing, Outbox},
        },
        tokens::Bearer,
    },
};

/// Frames that are no requests, more than good ones, before the connection is closed.
const MAX_BAD_FRAMES: u32 = 20;
/// How long the last frames may take on their way to a client that does not read.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the server waits for the client's half of the close.
const LINGER: Duration = Duration::from_secs(2);
/// The same where nothing more can be read: time for the client to see our close before the
/// kernel answers what is unread with a reset.
const LINGER_UNREAD: Duration = Duration::from_millis(500);
/// How long a request may go on after the end of its connection was decided.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// How the hearing ended.
#[derive(Debug)]
pub enum End {
    /// The client closed, or the socket failed.
    ByPeer,
    /// The outbox is closing; the client may still answer the close.
    ByUs,
    /// As `ByUs`, but what comes can't be read any more.
    Unreadable,
}

/// When a client must have said who it is.
pub fn hello_deadline() -> Instant {
    Instant::now() + Duration::from_millis(HELLO_TIMEOUT_MS)
}

/// The next text of a client that has not said yet who it is. Closes when none comes.
///
/// # Errors
/// How it ended.
pub async fn next_text(
    source: &mut impl Source,
    gateway: &Gateway,
    outbox: &Arc<Outbox>,
    deadline: Instant,
) -> Result<Utf8Bytes, End> {
    loop {
        let heard = tokio::select! {
            () = outbox.closing() => return Err(End::ByUs),
            () = gateway.stopping.cancelled() => return Err(close(outbox, ErrorCode::GoingAway, "the server is stopping")),
            heard = tokio::time::timeout_at(deadline, source.next()) => heard,
        };
        match heard {
            Ok(Heard::Text(text)) => return Ok(text),
            Ok(Heard::Sign) => {}
            Ok(Heard::Odd(why)) => return Err(close(outbox, ErrorCode::BadFrame, why)),
            Ok(Heard::Gone) => return Err(End::ByPeer),
            Ok(Heard::Broken(closing)) => return Err(broken(outbox, *closing)),
            Err(_) => return Err(close(outbox, ErrorCode::HelloTimeout, "no hello came in time")),
        }
    }
}

/// Whom a token is for. Closes when it is for nobody.
///
/// # Errors
/// How it ended.
pub async fn authenticate(gateway: &Gateway, outbox: &Arc<Outbox>, token: &str) -> Result<Bearer, End> {
    Box::pin(gateway.accounts.authenticate(token)).await.map_err(|error| refuse(outbox, &error))
}

fn refuse(outbox: &Arc<Outbox>, error: &ServiceError) -> End {
    if let ServerFrame::Error { code, message, .. } = fault::frame(error, None) {
        outbox.close(Closing::new(code, message));
    }
    End::ByUs
}

/// Closes for a reason, and counts it.
pub fn close(outbox: &Arc<Outbox>, code: ErrorCode, message: &str) -> End {
    metrics::counter!("chatlab_errors_total", "code" => fault::name(code)).increment(1);
    outbox.close(Closing::new(code, message));
    End::ByUs
}

fn broken(outbox: &Arc<Outbox>, closing: Closing) -> End {
    metrics::counter!("chatlab_errors_total", "code" => fault::name(closing.code)).increment(1);
    outbox.close(closing);
    End::Unreadable
}

/// Takes the connection out of the hub however its task ends, also by a panic.
struct Registered<'a> {
    gateway: &'a Gateway,
    connection: Arc<Connection>,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let Self { gateway, connection } = self;
        gateway.hub.disconnect(connection);
        gateway.attendance.depart(connection.user, connection.name);
    }
}

/// Serves a client that said who it is: `greet`s it, then hears it to its end.
pub async fn serve(
    source: &mut impl Source,
    gateway: &Gateway,
    outbox: &Arc<Outbox>,
    bearer: Bearer,
    greet: impl FnOnce(&Connection) + Send,
) -> End {
    let _ = outbox.owner.set(bearer.session.user);
    let connection = gateway.hub.connect(bearer.session.clone(), outbox.clone());
    let registered = Registered { gateway, connection };
    if gateway.stopping.is_cancelled() {
        return close(outbox, ErrorCode::GoingAway, "the server is stopping");
    }
    // Whoever was registered before the ranges changed was closed then.
    if let Some(Err(error)) = outbox.from.get().map(|from| gateway.addresses.admit(*from)) {
        return refuse(outbox, &error);
    }
    if let Err(error) = Box::pin(gateway.accounts.still_live(&bearer.session)).await {
        return refuse(outbox, &error);
    }
    // Before `welcome`: who has it is online for everybody who asks.
    gateway.attendance.arrive(registered.connection.user, registered.connection.name).await;
    greet(&registered.connection);
    let welcome = ServerFrame::Welcome {
        v: VERSION,
        user: bearer.session.user,
        session: bearer.session.clone(),
        heartbeat_ms: u64::try_from(gateway.heartbeat.as_millis()).unwrap_or(u64::MAX),
        max_frame: MAX_FRAME_BYTES,
    };
    push(outbox, &welcome);
    let pulse = Pulse::new(gateway.heartbeat, bearer.expires_s);
    let connection = registered.connection.clone();
    let mut reader = Reader { gateway, connection, pulse, bad_frames: 0, frames: 0 };
    // Out of the rooms right after that; the goodbye may take its time.
    reader.run(source).await
}

/// Waits, in bounds, until the last words are `said` and the client has closed its half.
pub async fn take_leave(source: &mut impl Source, end: End, said: impl Future<Output = ()> + Send) {
    if matches!(end, End::ByPeer) {
        // A WebSocket answers the client's close when it is read once more.
        let _ = timeout(LINGER, source.next()).await;
        return;
    }
    if timeout(CLOSE_TIMEOUT, said).await.is_err() {
        return;
    }
    if matches!(end, End::Unreadable) {
        return tokio::time::sleep(LINGER_UNREAD).await;
    }
    let rest = async { while !matches!(source.next().await, Heard::Gone | Heard::Broken(_)) {} };
    let _ = timeout(LINGER, rest).await;
}

struct Reader<'a> {
    gateway: &'a Gateway,
    connection: Arc<Connection>,
    pulse: Pulse,
    bad_frames: u32,
    /// Text frames so far: they name the requests.
    frames: u64,
}

impl Reader<'_> {
    async fn run(&mut self, source: &mut impl Source) -> End {
        let outbox = self.connection.outbox.clone();
        let mut alarm = std::pin::pin!(sleep_until(self.pulse.alarm()));
        let mut ahead: Option<Heard> = None;
        loop {
            let heard = tokio::select! {
                biased;
                () = outbox.closing() => return End::ByUs,
                () = alarm.as_mut() => {
                    if let Some(end) = self.beat(alarm.as_mut()).await {
                        return end;
                    }
                    continue;
                }
                heard = next(source, &mut ahead) => heard,
            };
            self.pulse.last_heard = Instant::now();
            match heard {
                Heard::Text(text) => {
                    // On the heap while it lasts: the idle connection's task stays small.
                    let request = Box::pin(self.request(&text, source, alarm.as_mut(), &mut ahead));
                    if let Some(end) = request.await {
                        return end;
                    }
                    self.pulse.last_heard = Instant::now();
                }
                Heard::Odd(why) => self.bad_frame(None, &ServiceError::new(ErrorCode::BadFrame, why)),
                Heard::Sign => {}
                Heard::Gone => return End::ByPeer,
                Heard::Broken(closing) => return broken(&outbox, *closing),
            }
        }
    }

    async fn beat(&mut self, alarm: Pin<&mut Sleep>) -> Option<End> {
        let outbox = &self.connection.outbox;
        match self.pulse.ring(Instant::now()) {
            Beat::End(code, message) => return Some(close(outbox, code, message)),
            Beat::Early => {}
            Beat::Ping => outbox.ping(),
            Beat::CheckSession => {
                outbox.ping();
                let check = self.gateway.accounts.check_session(&self.connection.session);
                match Box::pin(check).await {
                    Err(error) if error.code == ErrorCode::SessionRevoked => {
                        return Some(close(outbox, error.code, &error.message));
                    }
                    // An outage of Redis does not throw everybody out.
                    Err(error) => tracing::debug!(%error, "ws.session_not_checked"),
                    Ok(()) => {}
                }
                self.pulse.beats = 0;
            }
        }
        alarm.reset(self.pulse.alarm());
        None
    }

    /// Handles a request, unless the connection must end before that is done.
    async fn request(
        &mut self,
        text: &str,
        source: &mut impl Source,
        alarm: Pin<&mut Sleep>,
        ahead: &mut Option<Heard>,
    ) -> Option<End> {
        self.frames += 1;
        let frame = match source.parse(text) {
            Ok(frame) => frame,
            Err(refusal) => {
                self.bad_frame(refusal.id, &refusal.error);
                return None;
            }
        };
        self.bad_frames = self.bad_frames.saturating_sub(1);
        let id = requests::id_of(&frame);
        let (gateway, connection) = (self.gateway, self.connection.clone());
        let named = Named::nth(&connection.name, self.frames);
        let span = tracing::info_span!(
            "ws", request_id = named.as_str(), t = requests::name_of(&frame), user = %connection.user
        );
        let handling = requests::handle(gateway, &connection, frame, &named).instrument(span);
        let mut handling = std::pin::pin!(handling);
        let done = tokio::select! {
            biased;
            done = handling.as_mut() => done,
            end = self.keep_watch(source, alarm, ahead) => {
                // The outbox is closing, which ends a replay. Others may complete what they began.
                let _ = timeout(LAST_REQUEST, handling).await;
                return Some(end);
            }
        };
        if let Err(error) = done {
            push(&self.connection.outbox, &fault::frame_of(&error, id, &named));
        }
        None
    }

    /// What goes on beside a request: the alarms, and the reading of pongs up to the next frame,
    /// which is put `ahead`. Returns when the connection must end; may be dropped at any time.
    async fn keep_watch(
        &mut self,
        source: &mut impl Source,
        mut alarm: Pin<&mut Sleep>,
        ahead: &mut Option<Heard>,
    ) -> End {
        loop {
            tokio::select! {
                biased;
                () = alarm.as_mut() => {
                    if ahead.is_some() {
                        // The pongs wait behind it.
                        self.pulse.last_heard = Instant::now();
                    }
                    if let Some(end) = self.beat(alarm.as_mut()).await {
                        return end;
                    }
                }
                heard = source.next(), if ahead.is_none() => {
                    self.pulse.last_heard = Instant::now();
                    if !matches!(heard, Heard::Sign) {
                        *ahead = Some(heard);
                    }
                }
            }
        }
    }

    fn bad_frame(&mut self, id: Option<RequestId>, error: &ServiceError) {
        self.bad_frames += 1;
        push(&self.connection.outbox, &fault::frame(error, id));
        if self.bad_frames > MAX_BAD_FRAMES {
            close(&self.connection.outbox, error.code, "too many frames that are no requests");
        }
    }
}

/// What was heard ahead, or the next.
async fn next(source: &mut impl Source, ahead: &mut Option<Heard>) -> Heard {
    match ahead.take() {
        Some(heard) => heard,
        None => source.next().await,
    }
}
