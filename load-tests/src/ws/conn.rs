//! One connection of the generator: open, say hello, join, then send when told and receive.

use std::{
    cell::RefCell,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use chatlab_kit::{
    ids::RoomId,
    message::{MessageKind, Position},
    wire::{AckLevel, ClientFrame, SUBPROTOCOL, ServerFrame, VERSION},
};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::{Semaphore, mpsc::UnboundedReceiver},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Message, client::IntoClientRequest, handshake::client::Request, http::HeaderValue, http::header,
    },
};

use super::{
    shared::{Due, Shared, add, take},
    state::{Heard, Member, State},
};
use crate::{client::socket_config, payload::Payload};

/// How long a closing connection waits for the server's close frame.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

pub(super) type Socket = WebSocketStream<TcpStream>;

/// What a connection's life needs from its shard.
pub(super) struct Context {
    pub shared: Arc<Shared>,
    pub state: Rc<RefCell<State>>,
    pub gate: Rc<Semaphore>,
    pub index: usize,
}

/// Lives until the queue's other end is dropped or the connection breaks.
pub(super) async fn live(context: Context, mut queue: UnboundedReceiver<Due>) {
    let Context { shared, state, gate, index } = &context;
    let opened = match gate.acquire().await {
        Ok(_permit) => {
            timeout(Duration::from_millis(shared.plan.connect_ms), Box::pin(open(shared, state, *index)))
                .await
                .unwrap_or_else(|_| Err("connect_timeout".into()))
        }
        Err(_) => return,
    };
    let (mut socket, mut member) = match opened {
        Ok(opened) => opened,
        Err(kind) => {
            state.borrow_mut().error(&kind);
            add(&shared.counters.failed, 1);
            return;
        }
    };
    add(&shared.counters.ready, 1);
    let mut unanswered = 0;
    match drive(shared, state, &mut socket, &mut member, &mut queue, &mut unanswered).await {
        Ok(()) => close(&mut socket).await,
        Err(kind) => {
            let mut state = state.borrow_mut();
            state.disconnected(&kind);
            // What will never be answered must not hold the in-flight cap.
            queue.close();
            while queue.try_recv().is_ok() {
                state.unsent += 1;
                take(&shared.counters.in_flight, 1);
            }
            take(&shared.counters.in_flight, unanswered);
        }
    }
}

pub(super) async fn open(
    shared: &Shared,
    state: &Rc<RefCell<State>>,
    index: usize,
) -> Result<(Socket, Member), String> {
    let mut socket = greet(shared, index, &shared.plan.tokens[index]).await?;
    let mut member = Member::default();
    for room in shared.plan.rooms_of(index) {
        let id = shared.plan.rooms[room];
        let head = join(&mut socket, id).await?;
        if let Some(audit) = &shared.audit {
            let ordinal = audit.ordinal(index, member.rooms.len());
            member.join(room as u16, &id.to_string(), 0, ordinal, head);
            continue;
        }
        if shared.plan.only_sends(index) {
            member.only_sends(room as u16, &id.to_string());
            continue;
        }
        let (epoch, base) = head.as_ref().map_or((None, 0), |head| (Some(head.epoch.0.as_str()), head.seq));
        let subscription = state.borrow_mut().ledger.subscribe(room as u32, epoch, base);
        member.add(room as u16, &id.to_string(), subscription);
    }
    Ok((socket, member))
}

/// Connects to the server of connection `index` and says hello.
pub(super) async fn greet(shared: &Shared, index: usize, token: &str) -> Result<Socket, String> {
    greet_at(shared, index, shared.plan.server_of(index), token).await
}

/// The same at any of the servers.
pub(super) async fn greet_at(
    shared: &Shared,
    index: usize,
    server: usize,
    token: &str,
) -> Result<Socket, String> {
    greet_by(shared, index, (server, None), token).await
}

/// The same with a receive buffer of that many bytes, if one is given.
pub(super) async fn greet_by(
    shared: &Shared,
    index: usize,
    (server, recv_buffer): (usize, Option<u32>),
    token: &str,
) -> Result<Socket, String> {
    let mut socket = dial(shared, index, (server, recv_buffer)).await?;
    send(&mut socket, &ClientFrame::Hello { v: VERSION, token: token.to_owned() }).await?;
    match reply(&mut socket).await? {
        ServerFrame::Welcome { .. } => Ok(socket),
        other => Err(refusal("hello", &other)),
    }
}

/// Joins a room; where it stands.
pub(super) async fn join(socket: &mut Socket, room: RoomId) -> Result<Option<Position>, String> {
    send(socket, &ClientFrame::Join { id: 0, room, after: None }).await?;
    loop {
        match reply(socket).await? {
            ServerFrame::Ok { head, .. } => return Ok(head),
            // Somebody comes or goes, or talks in a room that was joined before.
            ServerFrame::Message(_) | ServerFrame::Left { .. } | ServerFrame::Presence { .. } => {}
            other => return Err(refusal("join", &other)),
        }
    }
}

async fn dial(
    shared: &Shared,
    index: usize,
    (server, recv_buffer): (usize, Option<u32>),
) -> Result<Socket, String> {
    let stream = connect_by(shared, index, shared.targets[server], recv_buffer).await?;
    let mut request =
        shared.plan.ws_urls[server].as_str().into_client_request().map_err(|e| format!("upgrade: {e}"))?;
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    upgrade(request, stream).await
}

/// A TCP connection for connection `index`, from one of the source addresses.
pub(super) async fn connect(shared: &Shared, index: usize, target: SocketAddr) -> Result<TcpStream, String> {
    connect_by(shared, index, target, None).await
}

async fn connect_by(
    shared: &Shared,
    index: usize,
    target: SocketAddr,
    recv_buffer: Option<u32>,
) -> Result<TcpStream, String> {
    let io = |what: &str| {
        let what = what.to_owned();
        move |e: std::io::Error| format!("{what}: {}", e.kind())
    };
    let tcp =
        if target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(io("socket"))?;
    if let Some(bytes) = recv_buffer {
        // Before connecting: it decides what is offered as a window.
        tcp.set_recv_buffer_size(bytes).map_err(io("receive buffer"))?;
    }
    if shared.source_addresses > 1 && target.ip().is_loopback() && target.is_ipv4() {
        let host = 2 + (index % shared.source_addresses) as u8;
        tcp.bind((Ipv4Addr::new(127, 0, 0, host), 0).into()).map_err(io("bind"))?;
    }
    let stream = tcp.connect(target).await.map_err(io("connect"))?;
    stream.set_nodelay(true).map_err(io("nodelay"))?;
    Ok(stream)
}

/// Makes a WebSocket of it.
pub(super) async fn upgrade(request: Request, stream: TcpStream) -> Result<Socket, String> {
    let (socket, _) = client_async_with_config(request, stream, Some(socket_config()))
        .await
        .map_err(|e| format!("upgrade: {e}"))?;
    Ok(socket)
}

async fn drive(
    shared: &Shared,
    state: &RefCell<State>,
    socket: &mut Socket,
    member: &mut Member,
    queue: &mut UnboundedReceiver<Due>,
    unanswered: &mut u64,
) -> Result<(), String> {
    loop {
        tokio::select! {
            biased;
            due = queue.recv() => match due {
                Some(due) => {
                    *unanswered += 1;
                    send_due(shared, state, socket, member, due).await?;
                }
                None => return Ok(()),
            },
            frame = socket.next() => match frame {
                Some(Ok(Message::Text(text))) => {
                    let heard = state.borrow_mut().receive(shared, member, &text);
                    if heard != Heard::Nothing {
                        *unanswered = unanswered.saturating_sub(1);
                    }
                }
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map_or("closed".into(), |f| format!("closed: {}", u16::from(f.code))));
                }
                Some(Ok(Message::Binary(_))) => state.borrow_mut().error("binary_frame"),
                Some(Ok(_)) => {}
                Some(Err(e)) => return Err(format!("socket: {}", kind_of(&e))),
                None => return Err("closed without a close frame".into()),
            },
        }
    }
}

async fn send_due(
    shared: &Shared,
    state: &RefCell<State>,
    socket: &mut Socket,
    member: &Member,
    due: Due,
) -> Result<(), String> {
    let Due { number, intended_ns } = due;
    let (Some(room), Some(slot)) = (member.home(), shared.slots.get(number as usize)) else {
        return Err("no room to send to".into());
    };
    let text = text_of(shared, room, due)?;
    let now_ns = shared.now_ns();
    slot.mark_sent(intended_ns, now_ns);
    state.borrow_mut().note_sent(shared, number, intended_ns, now_ns);
    add(&shared.counters.sent, 1);
    socket.send(Message::text(text)).await.map_err(|e| format!("send: {}", kind_of(&e)))
}

/// The frame of an arrival: the same, with the same id, however often it is sent.
pub(super) fn text_of(shared: &Shared, room: u16, due: Due) -> Result<String, String> {
    let Due { number, intended_ns } = due;
    let body = Payload { run: shared.run, room, number, intended_ns }.body(shared.plan.body_bytes);
    let cid = format!("r{:08x}-{number}", shared.run);
    let frame = ClientFrame::Send {
        id: u64::from(number) + 1,
        room: shared.plan.rooms[usize::from(room)],
        cid: cid.parse().map_err(|e| format!("cid: {e}"))?,
        kind: MessageKind::Text,
        body,
        level: AckLevel::Memory,
    };
    serde_json::to_string(&frame).map_err(|e| format!("json: {e}"))
}

pub(super) async fn send(socket: &mut Socket, frame: &ClientFrame) -> Result<(), String> {
    let text = serde_json::to_string(frame).map_err(|e| format!("json: {e}"))?;
    socket.send(Message::text(text)).await.map_err(|e| format!("send: {}", kind_of(&e)))
}

pub(super) async fn reply(socket: &mut Socket) -> Result<ServerFrame, String> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                return serde_json::from_str(&text).map_err(|_| "frame not understood".into());
            }
            Some(Ok(Message::Close(frame))) => {
                return Err(frame.map_or("closed".into(), |f| format!("closed: {}", u16::from(f.code))));
            }
            Some(Ok(_)) => {}
            Some(Err(e)) => return Err(format!("socket: {}", kind_of(&e))),
            None => return Err("closed without a close frame".into()),
        }
    }
}

pub(super) async fn close(socket: &mut Socket) {
    let goodbye = async {
        if socket.close(None).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    // The run is over; a server that does not answer is not waited for.
    let _ = timeout(CLOSE_WAIT, goodbye).await;
}

pub(super) fn refusal(what: &str, frame: &ServerFrame) -> String {
    match frame {
        ServerFrame::Error { code, .. } | ServerFrame::Bye { code, .. } => {
            format!("{what} refused: {code:?}")
        }
        _ => format!("{what}: unexpected frame"),
    }
}

/// A short, stable name: errors are counted by it.
pub(super) fn kind_of(error: &tokio_tungstenite::tungstenite::Error) -> String {
    use tokio_tungstenite::tungstenite::Error;
    match error {
        Error::Io(e) => e.kind().to_string(),
        Error::ConnectionClosed | Error::AlreadyClosed => "closed".into(),
        Error::Protocol(e) => format!("protocol: {e}"),
        Error::Capacity(_) => "frame too large".into(),
        _ => "websocket".into(),
    }
}
