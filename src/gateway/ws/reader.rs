//! The reading half of a connection: hello, requests, heartbeat, and the end.

use std::{pin::Pin, sync::Arc, time::Duration};

use chatlab_kit::wire::{
    ClientFrame, ErrorCode, HELLO_TIMEOUT_MS, MAX_FRAME_BYTES, RequestId, ServerFrame, VERSION,
};
use futures_util::StreamExt;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep_until, timeout},
};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{
    parse,
    pulse::{Beat, Pulse},
    requests,
    socket::Source,
};
use crate::{
    gateway::{Gateway, fault},
    service::{
        ServiceError,
        hub::{
            Connection,
            outbox::{Closing, Frame, Mark, Outbox},
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

/// What a read gave.
type Read = Option<Result<Message, tungstenite::Error>>;

/// How the reading ended.
enum End {
    /// The client closed, or the socket failed.
    ByPeer,
    /// The outbox is closing; the client may still answer the close.
    ByUs,
    /// As `ByUs`, but what comes can't be read any more.
    Unreadable,
}

/// Serves one connection to its end, also the end of its goodbye. `_kept` is what a shutdown waits for, and the connection's place.
pub async fn run(
    mut source: Source,
    outbox: Arc<Outbox>,
    gateway: Arc<Gateway>,
    _kept: (TaskTrackerToken, OwnedSemaphorePermit),
) {
    let end = match Box::pin(hello(&mut source, &gateway, &outbox)).await {
        Ok(bearer) => serve(&mut source, &gateway, &outbox, bearer).await,
        Err(end) => end,
    };
    match end {
        // The next read answers the client's close.
        End::ByPeer => {
            let _ = timeout(LINGER, source.next()).await;
        }
        End::ByUs | End::Unreadable if timeout(CLOSE_TIMEOUT, outbox.over()).await.is_err() => {}
        End::Unreadable => tokio::time::sleep(LINGER_UNREAD).await,
        End::ByUs => {
            let rest = async { while let Some(Ok(_)) = source.next().await {} };
            let _ = timeout(LINGER, rest).await;
        }
    }
    outbox.end();
}

/// Waits for `hello`, and closes when it does not come or is refused.
async fn hello(source: &mut Source, gateway: &Gateway, outbox: &Arc<Outbox>) -> Result<Bearer, End> {
    let deadline = Instant::now() + Duration::from_millis(HELLO_TIMEOUT_MS);
    loop {
        let frame = tokio::select! {
            () = outbox.closing() => return Err(End::ByUs),
            () = gateway.stopping.cancelled() => return Err(close(outbox, ErrorCode::GoingAway, "the server is stopping")),
            frame = tokio::time::timeout_at(deadline, source.next()) => frame,
        };
        let Ok(frame) = frame else {
            return Err(close(outbox, ErrorCode::HelloTimeout, "no hello came in time"));
        };
        let text = match frame {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            Some(Ok(Message::Binary(_))) => {
                return Err(close(outbox, ErrorCode::BadFrame, "only text frames are understood"));
            }
            Some(Ok(Message::Close(_))) | None => return Err(End::ByPeer),
            Some(Err(error)) => return Err(read_failed(outbox, &error)),
        };
        let token = match parse::parse(&text) {
            Ok(ClientFrame::Hello { v: VERSION, token }) => token,
            Ok(ClientFrame::Hello { .. }) => {
                return Err(close(outbox, ErrorCode::BadVersion, "this server speaks version 1"));
            }
            Ok(_) => return Err(close(outbox, ErrorCode::BadState, "say hello first")),
            Err(refusal) => return Err(close(outbox, refusal.error.code, &refusal.error.message)),
        };
        return match Box::pin(gateway.accounts.authenticate(&token)).await {
            Ok(bearer) => Ok(bearer),
            Err(error) => {
                if let ServerFrame::Error { code, message, .. } = fault::frame(&error, None) {
                    outbox.close(Closing::new(code, message));
                }
                Err(End::ByUs)
            }
        };
    }
}

fn close(outbox: &Arc<Outbox>, code: ErrorCode, message: &str) -> End {
    metrics::counter!("chatlab_errors_total", "code" => fault::name(code)).increment(1);
    outbox.close(Closing::new(code, message));
    End::ByUs
}

/// A frame that tungstenite refused, or a socket that is gone.
fn read_failed(outbox: &Arc<Outbox>, error: &tungstenite::Error) -> End {
    let (code, close_code, message) = match error {
        tungstenite::Error::Capacity(_) => {
            (ErrorCode::TooLarge, 1009, format!("a frame has more than {MAX_FRAME_BYTES} bytes"))
        }
        tungstenite::Error::Utf8(_) => (ErrorCode::BadFrame, 1007, "the text is not UTF-8".to_owned()),
        tungstenite::Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
            return End::ByPeer;
        }
        tungstenite::Error::Protocol(error) => (ErrorCode::BadFrame, 1002, error.to_string()),
        _ => return End::ByPeer,
    };
    metrics::counter!("chatlab_errors_total", "code" => fault::name(code)).increment(1);
    outbox.close(Closing { code, close_code, message });
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

async fn serve(source: &mut Source, gateway: &Gateway, outbox: &Arc<Outbox>, bearer: Bearer) -> End {
    let _ = outbox.owner.set(bearer.session.user);
    let connection = gateway.hub.connect(bearer.session.clone(), outbox.clone());
    let registered = Registered { gateway, connection };
    if gateway.stopping.is_cancelled() {
        return close(outbox, ErrorCode::GoingAway, "the server is stopping");
    }
    // Before `welcome`: who has it is online for everybody who asks.
    gateway.attendance.arrive(registered.connection.user, registered.connection.name).await;
    let welcome = ServerFrame::Welcome {
        v: VERSION,
        user: bearer.session.user,
        session: bearer.session.clone(),
        heartbeat_ms: u64::try_from(gateway.heartbeat.as_millis()).unwrap_or(u64::MAX),
        max_frame: MAX_FRAME_BYTES,
    };
    push(outbox, &welcome);
    let pulse = Pulse::new(gateway.heartbeat, bearer.expires_s);
    let mut reader = Reader { gateway, connection: registered.connection.clone(), pulse, bad_frames: 0 };
    // Out of the rooms right after that; the goodbye may take its time.
    reader.run(source).await
}

fn push(outbox: &Arc<Outbox>, frame: &ServerFrame) {
    match Frame::new(frame, Mark::None) {
        Ok(frame) => {
            outbox.push(frame);
        }
        Err(error) => tracing::error!(%error, "ws.frame"),
    }
}

struct Reader<'a> {
    gateway: &'a Gateway,
    connection: Arc<Connection>,
    pulse: Pulse,
    bad_frames: u32,
}

impl Reader<'_> {
    async fn run(&mut self, source: &mut Source) -> End {
        let outbox = self.connection.outbox.clone();
        let mut alarm = std::pin::pin!(sleep_until(self.pulse.alarm()));
        let mut ahead: Option<Read> = None;
        loop {
            let frame = tokio::select! {
                biased;
                () = outbox.closing() => return End::ByUs,
                () = alarm.as_mut() => {
                    if let Some(end) = self.beat(alarm.as_mut()).await {
                        return end;
                    }
                    continue;
                }
                frame = next(source, &mut ahead) => frame,
            };
            self.pulse.last_heard = Instant::now();
            match frame {
                Some(Ok(Message::Text(text))) => {
                    // On the heap while it lasts: the idle connection's task stays small.
                    let request = Box::pin(self.request(&text, source, alarm.as_mut(), &mut ahead));
                    if let Some(end) = request.await {
                        return end;
                    }
                    self.pulse.last_heard = Instant::now();
                }
                Some(Ok(Message::Binary(_))) => {
                    let error = ServiceError::new(ErrorCode::BadFrame, "only text frames are understood");
                    self.bad_frame(None, &error);
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) | None => return End::ByPeer,
                Some(Err(error)) => return read_failed(&outbox, &error),
            }
        }
    }

    async fn beat(&mut self, alarm: Pin<&mut Sleep>) -> Option<End> {
        let outbox = &self.connection.outbox;
        match self.pulse.ring(Instant::now()) {
            Beat::End(code, message) => return Some(close(outbox, code, message)),
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
        source: &mut Source,
        alarm: Pin<&mut Sleep>,
        ahead: &mut Option<Read>,
    ) -> Option<End> {
        let frame = match parse::parse(text) {
            Ok(frame) => frame,
            Err(refusal) => {
                self.bad_frame(refusal.id, &refusal.error);
                return None;
            }
        };
        self.bad_frames = self.bad_frames.saturating_sub(1);
        let id = requests::id_of(&frame);
        let (gateway, connection) = (self.gateway, self.connection.clone());
        let mut handling = std::pin::pin!(requests::handle(gateway, &connection, frame));
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
            self.refuse(id, &error);
        }
        None
    }

    /// What goes on beside a request: the alarms, and the reading of pongs up to the next frame,
    /// which is put `ahead`. Returns when the connection must end; may be dropped at any time.
    async fn keep_watch(
        &mut self,
        source: &mut Source,
        mut alarm: Pin<&mut Sleep>,
        ahead: &mut Option<Read>,
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
                read = source.next(), if ahead.is_none() => {
                    self.pulse.last_heard = Instant::now();
                    if !matches!(read, Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) {
                        *ahead = Some(read);
                    }
                }
            }
        }
    }

    fn bad_frame(&mut self, id: Option<RequestId>, error: &ServiceError) {
        self.bad_frames += 1;
        self.refuse(id, error);
        if self.bad_frames > MAX_BAD_FRAMES {
            close(&self.connection.outbox, error.code, "too many frames that are no requests");
        }
    }

    fn refuse(&self, id: Option<RequestId>, error: &ServiceError) {
        push(&self.connection.outbox, &fault::frame(error, id));
    }
}

/// The frame that was read ahead, or the next one.
async fn next(source: &mut Source, ahead: &mut Option<Read>) -> Read {
    match ahead.take() {
        Some(read) => read,
        None => source.next().await,
    }
}
