//! Sessions on HTTP requests: a `GET` that waits for packets, `POST`s that bring some, and the change to a WebSocket.
//!
//! A session is one task, as a connection is, that hears what the `POST`s bring and later the WebSocket. Who polls drains the
//! outbox itself; after the change a writer does.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::ws::{Message, Utf8Bytes, WebSocket},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chatlab_kit::wire::{ClientFrame, ErrorCode, MAX_FRAME_BYTES};
use dashmap::DashMap;
use futures_util::StreamExt;
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::task_tracker::TaskTrackerToken};

use super::{
    connection::{self, Socket},
    open_packet,
    outgoing::SocketIo,
    packet, unknown_session,
};
use crate::{
    gateway::{
        Gateway, REQUEST_TIMEOUT,
        accept::Peer,
        live::{
            self,
            fields::Refusal,
            reader::{self, End},
            source::{Heard, Source},
            writer::{self, Dialect},
            written::Written,
        },
    },
    service::{
        ServiceError,
        hub::outbox::{Batch, Closing, Outbox, Step},
    },
};

/// Sessions of clients that did not say yet who they are. Each lives for some seconds and holds no TCP connection, so without a
/// bound of their own they would cost nothing to open and take the places of all others.
const MAX_STRANGERS: usize = 1024;
/// The most bytes of one `POST`.
pub const MAX_POST_BYTES: usize = 64 * 1024;
/// The most packets of one `POST`.
const MAX_POST_PACKETS: usize = 64;
/// `POST`s whose packets wait; the next one waits itself.
const WAITING_POSTS: usize = 1;
/// How long a client may take to change to a WebSocket.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// A poll meanwhile ends after this, so that the client can stop polling.
const POLL_DURING_UPGRADE: Duration = Duration::from_millis(100);
/// Between the packets of a request or an answer.
const SEPARATOR: u8 = 0x1e;

type Answer = Result<Response, ServiceError>;

/// The sessions that began by polling and still live, also those that have changed to a WebSocket.
pub struct Sessions {
    by_sid: DashMap<String, Arc<Session>>,
    strangers: Arc<Semaphore>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { by_sid: DashMap::new(), strangers: Arc::new(Semaphore::new(MAX_STRANGERS)) }
    }
}

impl Sessions {
    /// A session that still lives.
    pub(super) fn get(&self, sid: &str) -> Option<Arc<Session>> {
        self.by_sid.get(sid).map(|entry| entry.value().clone())
    }
}

/// One session.
pub struct Session {
    outbox: Arc<Outbox>,
    brought: mpsc::Sender<Brought>,
    /// Held by the poll under way.
    drain: Mutex<Drain>,
    /// Held by the `POST` under way.
    posting: Mutex<()>,
    changing: watch::Sender<bool>,
    /// The last words were said, or can't be.
    said: CancellationToken,
    /// The session is over.
    over: CancellationToken,
}

#[derive(Default)]
struct Drain {
    written: Written,
    /// Nothing more is to be polled: a WebSocket has taken over, or it is the end.
    closed: bool,
}

/// What comes to a session's task.
enum Brought {
    Packets(VecDeque<Utf8Bytes>),
    Socket(Box<Socket>),
}

/// `GET` without a session: opens one.
pub fn open(gateway: &Arc<Gateway>, headers: &HeaderMap, from: Option<Peer>) -> Answer {
    let tracked = live::admit(gateway, headers)?;
    let stranger = gateway.polled.strangers.clone().try_acquire_owned();
    let stranger = stranger.map_err(|_| {
        ServiceError::new(ErrorCode::RateLimited, "too many that did not say yet who they are")
    })?;
    let (brought, bringing) = mpsc::channel(WAITING_POSTS);
    let session = Arc::new(Session {
        outbox: Arc::default(),
        brought,
        drain: Mutex::default(),
        posting: Mutex::default(),
        changing: watch::Sender::new(false),
        said: CancellationToken::new(),
        over: CancellationToken::new(),
    });
    live::comes_from(&session.outbox, from);
    let sid = connection::new_sid();
    gateway.polled.by_sid.insert(sid.clone(), session.clone());
    let open = open_packet(gateway, &sid, &["websocket"]);
    let listed = Listed { gateway: gateway.clone(), sid, session };
    tokio::spawn(run(listed, bringing, stranger, tracked));
    Ok(packets(open))
}

/// Takes a session out of the list however its task ends.
struct Listed {
    gateway: Arc<Gateway>,
    sid: String,
    session: Arc<Session>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.gateway.polled.by_sid.remove(&self.sid);
        self.session.outbox.end();
        self.session.over.cancel();
    }
}

async fn run(
    listed: Listed,
    bringing: mpsc::Receiver<Brought>,
    stranger: OwnedSemaphorePermit,
    _tracked: TaskTrackerToken,
) {
    let session = &listed.session;
    let mut source =
        Posts { outbox: session.outbox.clone(), packets: VecDeque::new(), bringing, socket: None };
    let connected = connection::connect(&mut source, &listed.gateway, &session.outbox).await;
    drop(stranger);
    let end = match connected {
        Ok(bearer) => connection::serve(&mut source, &listed.gateway, &session.outbox, bearer).await,
        Err(end) => end,
    };
    // Who polls has no half of its own to close.
    let end = if source.socket.is_none() && !matches!(end, End::ByPeer) { End::Unreadable } else { end };
    reader::take_leave(&mut source, end, session.said.cancelled()).await;
}

/// What the `POST`s bring, and after the change a WebSocket.
struct Posts {
    outbox: Arc<Outbox>,
    packets: VecDeque<Utf8Bytes>,
    bringing: mpsc::Receiver<Brought>,
    socket: Option<Box<Socket>>,
}

impl Source for Posts {
    async fn next(&mut self) -> Heard {
        loop {
            if let Some(packet) = self.packets.pop_front() {
                return packet::heard(packet);
            }
            if let Some(socket) = &mut self.socket {
                return socket.next().await;
            }
            match self.bringing.recv().await {
                Some(Brought::Packets(packets)) => self.packets = packets,
                Some(Brought::Socket(socket)) => {
                    self.socket = Some(socket);
                    // Later `POST`s are refused.
                    self.bringing.close();
                }
                None => return Heard::Gone,
            }
        }
    }

    fn parse(&self, text: &str) -> Result<ClientFrame, Refusal> {
        connection::parse(&self.outbox, text)
    }
}

/// `GET` with a session: waits for packets.
pub async fn poll(gateway: &Gateway, sid: &str) -> Answer {
    let session = gateway.polled.get(sid).ok_or_else(unknown_session)?;
    let Ok(mut drain) = session.drain.try_lock() else {
        return Err(session.refuse(ErrorCode::BadState, "there is another poll of this session under way"));
    };
    if drain.closed {
        return Err(unknown_session());
    }
    let mut changing = session.changing.subscribe();
    let changed = async {
        // The session, and so the sender, outlives this.
        let _ = changing.wait_for(|changing| *changing).await;
        // For a client that polls on while it changes; the other arm ends it sooner.
        tokio::time::sleep(POLL_DURING_UPGRADE).await;
    };
    tokio::select! {
        biased;
        answer = next_packets(&session, &mut drain) => answer,
        () = changed => Ok(packets(packet::NOOP.to_owned())),
    }
}

/// May be dropped until it has something.
async fn next_packets(session: &Session, drain: &mut Drain) -> Answer {
    let outbox = &session.outbox;
    let (mut batch, mut payload) = (Batch::new(), Vec::new());
    loop {
        match outbox.next(&mut batch).await {
            Step::Write => {
                for frame in batch.drain(..) {
                    add(&mut payload, SocketIo::text(&frame).as_deref());
                    drain.written.remember(frame, outbox);
                }
                if !payload.is_empty() {
                    return Ok(packets(payload));
                }
            }
            Step::Reply => {}
            Step::Ping => return Ok(packets(packet::PING.to_owned())),
            Step::Close(closing) => {
                let words = SocketIo::goodbye(drain.written.goodbye(closing, outbox));
                for words in words.map_err(ServiceError::internal)? {
                    add(&mut payload, Some(words.as_bytes()));
                }
                // Nothing after them: a close packet would have official clients drop what they did not look at yet, or stay
                // away. The next poll finds nobody, which they take for a lost connection.
                drain.closed = true;
                session.said.cancel();
                return Ok(packets(payload));
            }
            Step::End => {
                drain.closed = true;
                return Ok(packets(packet::CLOSE.to_owned()));
            }
        }
    }
}

fn add(payload: &mut Vec<u8>, packet: Option<&[u8]>) {
    let Some(packet) = packet else { return };
    if !payload.is_empty() {
        payload.push(SEPARATOR);
    }
    payload.extend_from_slice(packet);
}

fn packets(payload: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=UTF-8")], payload.into()).into_response()
}

/// `POST` with a session: brings packets.
pub async fn post(gateway: &Gateway, sid: &str, body: Body) -> Answer {
    let session = gateway.polled.get(sid).ok_or_else(unknown_session)?;
    let Ok(_posting) = session.posting.try_lock() else {
        return Err(session.refuse(ErrorCode::BadState, "there is another POST of this session under way"));
    };
    let body = timeout(REQUEST_TIMEOUT, to_bytes(body, MAX_POST_BYTES)).await;
    let Ok(Ok(body)) = body else {
        let why = format!("a POST has more than {MAX_POST_BYTES} bytes, or did not come in time");
        return Err(session.refuse(ErrorCode::TooLarge, &why));
    };
    let brought = match take_apart(&body) {
        Ok(brought) => brought,
        Err((code, why)) => return Err(session.refuse(code, why)),
    };
    tokio::select! {
        sent = session.brought.send(Brought::Packets(brought)) => sent.map_err(|_| unknown_session())?,
        () = session.over.cancelled() => return Err(unknown_session()),
    }
    Ok(packets("ok"))
}

/// The packets of a `POST`, none copied.
fn take_apart(body: &Bytes) -> Result<VecDeque<Utf8Bytes>, (ErrorCode, &'static str)> {
    let parts: Vec<&[u8]> = body.split(|byte| *byte == SEPARATOR).take(MAX_POST_PACKETS + 1).collect();
    if parts.len() > MAX_POST_PACKETS {
        return Err((ErrorCode::TooLarge, "a POST has too many packets"));
    }
    if parts.iter().any(|part| part.len() > MAX_FRAME_BYTES) {
        return Err((ErrorCode::TooLarge, "a packet is too large"));
    }
    let text = |part: &&[u8]| Utf8Bytes::try_from(body.slice_ref(part));
    let packets: Result<_, _> = parts.iter().map(text).collect();
    packets.map_err(|_| (ErrorCode::BadFrame, "the text is not UTF-8"))
}

impl Session {
    /// Closes the session for what a request did; the answer to that request.
    fn refuse(&self, code: ErrorCode, why: &str) -> ServiceError {
        self.outbox.close(Closing::new(code, why));
        ServiceError::new(code, why)
    }
}

/// A WebSocket that wants to take over a session.
pub async fn upgrade(session: Arc<Session>, mut socket: WebSocket) {
    // One at a time.
    let begun = session.changing.send_if_modified(|changing| !std::mem::replace(changing, true));
    if !begun {
        return;
    }
    let taken_over = tokio::select! {
        taken_over = timeout(UPGRADE_TIMEOUT, take_over(&session, &mut socket)) => taken_over.ok().flatten(),
        () = session.over.cancelled() => None,
    };
    let Some(written) = taken_over else {
        session.changing.send_replace(false);
        return;
    };
    let (sink, stream) = socket.split();
    let source = Box::new(Socket { stream, outbox: session.outbox.clone() });
    let writing = async {
        if session.brought.send(Brought::Socket(source)).await.is_ok() {
            writer::run::<SocketIo>(sink, session.outbox.clone(), written).await;
        }
    };
    tokio::select! {
        () = writing => {}
        () = session.over.cancelled() => {}
    }
    session.said.cancel();
}

/// The client's probe, the end of its polling, and its word that it goes on here. What was written until then.
async fn take_over(session: &Session, socket: &mut WebSocket) -> Option<Written> {
    expect(socket, packet::PROBE).await?;
    socket.send(Message::Text(packet::PROBED.into())).await.ok()?;
    expect(socket, packet::UPGRADE).await?;
    // Waits for a poll under way, which ends by itself.
    let mut drain = session.drain.lock().await;
    if std::mem::replace(&mut drain.closed, true) {
        return None;
    }
    Some(std::mem::take(&mut drain.written))
}

async fn expect(socket: &mut WebSocket, word: &str) -> Option<()> {
    loop {
        match socket.recv().await?.ok()? {
            Message::Text(text) if text.as_str() == word => return Some(()),
            Message::Ping(_) | Message::Pong(_) => {}
            _ => return None,
        }
    }
}
