//! A WebSocket client of the native protocol, for the demo, for tests and for probes.
//!
//! It does nothing in the background: frames are read while a method waits. A client that is not
//! polled therefore reads nothing, which is how a test plays the slow consumer, and it answers
//! no heartbeat either. Frames that a method was not waiting for are queued, in order of arrival.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use chatlab_kit::{
    ids::RoomId,
    message::{Message, Position},
    wire::{ClientFrame, RequestId, ServerFrame, VERSION},
};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout_at},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async_with_config, connect_async_with_config,
    tungstenite::{
        Bytes, Error as WsError, Message as WsMessage,
        client::IntoClientRequest,
        http::{HeaderValue, Uri, header},
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

mod answers;
mod people;
mod requests;
mod rooms;

pub use answers::{Ack, ClientError, Joined, Page, Result, Upgrade, Welcome, Who};
pub use people::NewProfile;
pub use rooms::NewSettings;

/// The most events that wait to be taken; one more is [`ClientError::QueueFull`].
pub const MAX_QUEUED_EVENTS: usize = 65_536;
/// How long a request waits for its answer, unless [`WsClient::set_timeout`] says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The read buffer of a connection, in bytes: small, because there are many.
pub const READ_BUFFER_BYTES: usize = 4096;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// One connection, and what its user has seen so far.
pub struct WsClient {
    socket: Socket,
    welcome: Option<Welcome>,
    next_id: RequestId,
    timeout: Duration,
    events: VecDeque<ServerFrame>,
    positions: BTreeMap<RoomId, Position>,
    joined: Vec<RoomId>,
    closed: Option<Option<(u16, String)>>,
}

impl std::fmt::Debug for WsClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WsClient")
            .field("welcome", &self.welcome)
            .field("queued", &self.events.len())
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// The WebSocket settings of every connection here: small buffers, frames to 1 MiB.
pub(crate) fn socket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(1 << 20))
        .max_frame_size(Some(1 << 20))
}

impl WsClient {
    /// Opens a connection, says `hello` and waits for `welcome`.
    ///
    /// # Errors
    /// [`ClientError::Connect`], [`ClientError::Refused`] or [`ClientError::Timeout`].
    pub async fn connect(ws_url: &str, token: &str) -> Result<Self> {
        let mut client = Self::open(ws_url, &Upgrade::default()).await?;
        client.hello(token).await?;
        Ok(client)
    }

    /// Opens a connection and says nothing.
    ///
    /// # Errors
    /// [`ClientError::Connect`], with the HTTP status when the upgrade was refused.
    pub async fn open(ws_url: &str, upgrade: &Upgrade) -> Result<Self> {
        let connect = |status, why: String| ClientError::Connect { url: ws_url.to_owned(), status, why };
        let mut request = ws_url.into_client_request().map_err(|e| connect(None, e.to_string()))?;
        let headers =
            [(header::ORIGIN, &upgrade.origin), (header::SEC_WEBSOCKET_PROTOCOL, &upgrade.subprotocol)];
        for (name, value) in headers {
            if let Some(value) = value {
                let value = HeaderValue::from_str(value).map_err(|e| connect(None, e.to_string()))?;
                request.headers_mut().insert(name, value);
            }
        }
        let opening = async {
            if upgrade.recv_buffer.is_none() && upgrade.from.is_none() {
                return connect_async_with_config(request, Some(socket_config()), true).await;
            }
            let stream = MaybeTlsStream::Plain(dial(request.uri(), upgrade).await?);
            client_async_with_config(request, stream, Some(socket_config())).await
        };
        let (socket, _) = tokio::time::timeout(DEFAULT_TIMEOUT, opening)
            .await
            .map_err(|_| ClientError::Timeout("the upgrade"))?
            .map_err(|e| match e {
                WsError::Http(response) => {
                    let body = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                    connect(Some(response.status().as_u16()), format!("{} {body}", response.status()))
                }
                other => connect(None, other.to_string()),
            })?;
        Ok(Self {
            socket,
            welcome: None,
            next_id: 1,
            timeout: DEFAULT_TIMEOUT,
            events: VecDeque::new(),
            positions: BTreeMap::new(),
            joined: Vec::new(),
            closed: None,
        })
    }

    /// Says `hello` and waits for `welcome`.
    ///
    /// # Errors
    /// [`ClientError::Refused`], [`ClientError::Closed`] or [`ClientError::Timeout`].
    pub async fn hello(&mut self, token: &str) -> Result<Welcome> {
        self.send_frame(&ClientFrame::Hello { v: VERSION, token: token.to_owned() }).await?;
        let deadline = Instant::now() + self.timeout;
        match self.read(deadline, "welcome").await? {
            ServerFrame::Welcome { user, session, heartbeat_ms, max_frame, .. } => {
                let welcome = Welcome { user, session, heartbeat_ms, max_frame };
                self.welcome = Some(welcome.clone());
                Ok(welcome)
            }
            ServerFrame::Error { code, message, retryable, .. } => {
                Err(ClientError::Refused { code, message, retryable })
            }
            ServerFrame::Bye { code, message, .. } => {
                Err(ClientError::Refused { code, message, retryable: code.retryable() })
            }
            other => Err(unexpected("welcome", &other)),
        }
    }

    /// Replaces a lost connection, on the same or another server: joins each room again after the
    /// last position seen, so that what was missed follows. Queued events are kept.
    ///
    /// # Errors
    /// As [`WsClient::connect`] and [`WsClient::join`].
    pub async fn reconnect(&mut self, ws_url: &str, token: &str) -> Result<()> {
        let fresh = Self::connect(ws_url, token).await?;
        self.socket = fresh.socket;
        self.welcome = fresh.welcome;
        self.closed = None;
        for room in self.joined.clone() {
            let after = self.positions.get(&room).cloned();
            self.join(room, after).await?;
        }
        Ok(())
    }

    /// The next frame that answers no request: a message, `resync`, `left`, `bye` or an error
    /// without a request number.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] when none came in time, [`ClientError::Closed`] after the last.
    pub async fn next_event(&mut self, within: Duration) -> Result<ServerFrame> {
        if let Some(event) = self.events.pop_front() {
            return Ok(event);
        }
        self.read(Instant::now() + within, "an event").await
    }

    /// An event that came before the latest answer, if one waits; nothing is read for it.
    pub fn queued(&mut self) -> Option<ServerFrame> {
        self.events.pop_front()
    }

    /// The next message, other events being dropped.
    ///
    /// # Errors
    /// As [`WsClient::next_event`].
    pub async fn next_message(&mut self, within: Duration) -> Result<Message> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if let ServerFrame::Message(message) = self.next_event(left).await? {
                return Ok(message);
            }
        }
    }

    /// Reads until the connection is closed: the close code and reason, none when the socket just
    /// ended or the client's timeout passed. Events on the way are queued.
    pub async fn next_close(&mut self) -> Option<(u16, String)> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match self.read(deadline, "close").await {
                Ok(frame) => self.queue(frame).ok()?,
                Err(ClientError::Closed(how)) => return how,
                Err(ClientError::Protocol(_)) => {}
                Err(_) => return None,
            }
        }
    }

    /// Closes the connection in good order: sends a close frame and reads to the end.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] when the server does not answer the close.
    pub async fn close(mut self) -> Result<()> {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let deadline = Instant::now() + self.timeout;
        // A socket that is gone already is closed as well.
        if self.socket.close(Some(frame)).await.is_err() {
            return Ok(());
        }
        loop {
            match self.read(deadline, "close").await {
                Err(ClientError::Closed(_)) => return Ok(()),
                Err(e @ ClientError::Timeout(_)) => return Err(e),
                _ => {}
            }
        }
    }

    /// Sends a text frame as it is, well-formed or not.
    ///
    /// # Errors
    /// [`ClientError::Closed`].
    pub async fn send_raw_text(&mut self, text: &str) -> Result<()> {
        self.send_ws(WsMessage::text(text)).await
    }

    /// Sends a binary frame.
    ///
    /// # Errors
    /// [`ClientError::Closed`].
    pub async fn send_raw_binary(&mut self, bytes: &[u8]) -> Result<()> {
        self.send_ws(WsMessage::Binary(Bytes::copy_from_slice(bytes))).await
    }

    /// The connection's raw TCP stream, to write what no WebSocket library would.
    pub fn raw_stream(&mut self) -> Option<&mut TcpStream> {
        match self.socket.get_mut() {
            MaybeTlsStream::Plain(stream) => Some(stream),
            _ => None,
        }
    }

    /// The last position seen in a room.
    pub fn position(&self, room: RoomId) -> Option<Position> {
        self.positions.get(&room).cloned()
    }

    /// What the server said in `welcome`; none before it did.
    pub fn welcome(&self) -> Option<&Welcome> {
        self.welcome.as_ref()
    }

    /// How long requests wait from now on.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Sends a frame without waiting for its answer, which then comes as an event.
    ///
    /// # Errors
    /// [`ClientError::Closed`].
    pub async fn send_frame(&mut self, frame: &ClientFrame) -> Result<()> {
        let text = serde_json::to_string(frame).map_err(|e| ClientError::Protocol(e.to_string()))?;
        self.send_ws(WsMessage::text(text)).await
    }

    /// A request number that was not used before on this connection.
    pub fn next_request(&mut self) -> RequestId {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    async fn send_ws(&mut self, message: WsMessage) -> Result<()> {
        if let Some(how) = &self.closed {
            return Err(ClientError::Closed(how.clone()));
        }
        match tokio::time::timeout(self.timeout, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(ClientError::Closed(None)),
            Err(_) => Err(ClientError::Timeout("the socket to take a frame")),
        }
    }

    async fn request(
        &mut self,
        id: RequestId,
        frame: &ClientFrame,
        what: &'static str,
    ) -> Result<ServerFrame> {
        self.send_frame(frame).await?;
        let deadline = Instant::now() + self.timeout;
        loop {
            let frame = self.read(deadline, what).await?;
            match reply_id(&frame) {
                Some(reply) if reply == id => {
                    return match frame {
                        ServerFrame::Error { code, message, retryable, .. } => {
                            Err(ClientError::Refused { code, message, retryable })
                        }
                        frame => Ok(frame),
                    };
                }
                _ => self.queue(frame)?,
            }
        }
    }

    fn queue(&mut self, frame: ServerFrame) -> Result<()> {
        if self.events.len() >= MAX_QUEUED_EVENTS {
            return Err(ClientError::QueueFull);
        }
        self.events.push_back(frame);
        Ok(())
    }

    fn note_joined(&mut self, room: RoomId, at: Option<Position>) {
        if !self.joined.contains(&room) {
            self.joined.push(room);
        }
        if let Some(at) = at {
            // A message may overtake the answer to the join that it follows; and the head of a
            // room without messages has an empty epoch, which is no other run.
            let newer =
                |seen: &Position| seen.seq < at.seq || (seen.epoch != at.epoch && !at.epoch.0.is_empty());
            if self.positions.get(&room).is_none_or(newer) {
                self.positions.insert(room, at);
            }
        }
    }

    async fn read(&mut self, deadline: Instant, what: &'static str) -> Result<ServerFrame> {
        loop {
            if let Some(how) = &self.closed {
                return Err(ClientError::Closed(how.clone()));
            }
            let next = timeout_at(deadline, self.socket.next());
            match next.await.map_err(|_| ClientError::Timeout(what))? {
                Some(Ok(WsMessage::Text(text))) => {
                    let frame = serde_json::from_str(&text)
                        .map_err(|e| ClientError::Protocol(format!("{e} in {text}")))?;
                    self.track(&frame);
                    return Ok(frame);
                }
                Some(Ok(WsMessage::Close(frame))) => {
                    self.closed = Some(frame.map(|f| (f.code.into(), f.reason.to_string())));
                }
                Some(Ok(WsMessage::Binary(_))) => {
                    return Err(ClientError::Protocol("a binary frame".into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => self.closed = Some(None),
            }
        }
    }

    fn track(&mut self, frame: &ServerFrame) {
        match frame {
            ServerFrame::Message(m) => {
                let at = Position { epoch: m.epoch.clone(), seq: m.seq, id: Some(m.draft.id) };
                self.positions.insert(m.draft.room, at);
            }
            ServerFrame::Resync { room, head } => {
                self.positions.insert(*room, head.clone());
            }
            _ => {}
        }
    }
}

/// A TCP connection as it was asked for. Its receive buffer is set before it is opened: it decides what is offered as a window.
async fn dial(uri: &Uri, upgrade: &Upgrade) -> std::io::Result<TcpStream> {
    let host = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(80));
    let mut found = tokio::net::lookup_host(host).await?;
    let address = found.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(bytes) = upgrade.recv_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(from) = upgrade.from {
        socket.bind((from, 0).into())?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn reply_id(frame: &ServerFrame) -> Option<RequestId> {
    match frame {
        ServerFrame::Pong { id }
        | ServerFrame::Ok { id, .. }
        | ServerFrame::Ack { id, .. }
        | ServerFrame::Page { id, .. }
        | ServerFrame::Pins { id, .. }
        | ServerFrame::Marks { id, .. }
        | ServerFrame::Found { id, .. }
        | ServerFrame::Rooms { id, .. }
        | ServerFrame::Blocks { id, .. }
        | ServerFrame::Profile { id, .. }
        | ServerFrame::Friends { id, .. }
        | ServerFrame::Leaders { id, .. }
        | ServerFrame::Members { id, .. }
        | ServerFrame::Who { id, .. } => Some(*id),
        ServerFrame::Error { id, .. } => *id,
        _ => None,
    }
}

fn unexpected(wanted: &str, got: &ServerFrame) -> ClientError {
    ClientError::Protocol(format!("wanted {wanted}, got {got:?}"))
}
