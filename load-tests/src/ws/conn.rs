//! One connection of the generator: open, say hello, join, then send when told and receive.

use std::{
    cell::{Cell, RefCell},
    net::{Ipv4Addr, SocketAddr},
    panic::resume_unwind,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use chatlab_kit::{
    ids::RoomId,
    message::{MessageKind, Position},
    wire::{AckLevel, ClientFrame, SUBPROTOCOL, ServerFrame, VERSION},
};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::{Semaphore, mpsc::UnboundedReceiver},
    task::spawn_local,
    time::timeout,
};
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{client::IntoClientRequest, http::HeaderValue, http::header},
};

use super::{
    line::{Ear, Line, Mouth},
    shared::{Due, Shared, add, take},
    state::{Heard, Member, State},
};
use crate::{client::socket_config, payload::Payload};

/// How long a closing connection waits for the server's close frame.
pub(super) const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// What a connection's life needs from its shard.
#[derive(Clone)]
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
    let (Line { ear, mut mouth }, member) = match opened {
        Ok(opened) => opened,
        Err(kind) => {
            state.borrow_mut().error(&kind);
            add(&shared.counters.failed, 1);
            return;
        }
    };
    add(&shared.counters.ready, 1);
    let unanswered = Rc::new(Cell::new(0));
    let home = member.home();
    // A task of its own: nine of ten deliveries find nothing to send, and to look whether there is costs them more than reading.
    let mut listening = spawn_local(listen(context.clone(), ear, member, unanswered.clone()));
    let kind = tokio::select! {
        said = talk(&context, &mut mouth, home, &mut queue, &unanswered) => match said {
            Ok(()) => {
                // The run is over; a server that does not answer is not waited for.
                let goodbye = async { mouth.close().await.is_ok() && (&mut listening).await.is_ok() };
                let _ = timeout(CLOSE_WAIT, goodbye).await;
                listening.abort();
                return;
            }
            Err(kind) => kind,
        },
        ended = &mut listening => ended.unwrap_or_else(|e| match e.try_into_panic() {
            // As if it were one task: a connection that is not accounted for is no result.
            Ok(panic) => resume_unwind(panic),
            Err(e) => format!("reading: {e}"),
        }),
    };
    listening.abort();
    let mut state = state.borrow_mut();
    state.disconnected(&kind);
    // What will never be answered must not hold the in-flight cap.
    queue.close();
    while queue.try_recv().is_ok() {
        state.unsent += 1;
        take(&shared.counters.in_flight, 1);
    }
    take(&shared.counters.in_flight, unanswered.get());
}

/// Takes in what comes until the connection is over; how it ended.
async fn listen(context: Context, mut ear: Ear, mut member: Member, unanswered: Rc<Cell<u64>>) -> String {
    let Context { shared, state, .. } = &context;
    loop {
        match ear.hear(|text| state.borrow_mut().receive(shared, &mut member, text)).await {
            Ok(None | Some(Heard::Nothing)) => {}
            Ok(Some(_)) => unanswered.set(unanswered.get().saturating_sub(1)),
            Err(kind) => return kind,
        }
    }
}

/// Sends what is due until the queue's other end is dropped.
async fn talk(
    context: &Context,
    mouth: &mut Mouth,
    home: Option<u16>,
    queue: &mut UnboundedReceiver<Due>,
    unanswered: &Cell<u64>,
) -> Result<(), String> {
    while let Some(due) = queue.recv().await {
        unanswered.set(unanswered.get() + 1);
        send_due(&context.shared, &context.state, mouth, home, due).await?;
    }
    Ok(())
}

pub(super) async fn open(
    shared: &Shared,
    state: &Rc<RefCell<State>>,
    index: usize,
) -> Result<(Line, Member), String> {
    let mut line = greet(shared, index, &shared.plan.tokens[index]).await?;
    let mut member = Member::default();
    for room in shared.plan.rooms_of(index) {
        let id = shared.plan.rooms[room];
        let head = join(&mut line, id).await?;
        if let Some(audit) = &shared.audit {
            let ordinal = audit.ordinal(index, member.rooms.len());
            member.join(room as u16, 0, ordinal, head);
            continue;
        }
        if shared.plan.only_sends(index) {
            member.only_sends(room as u16);
            continue;
        }
        let (epoch, base) = head.as_ref().map_or((None, 0), |head| (Some(head.epoch.0.as_str()), head.seq));
        let subscription = state.borrow_mut().ledger.subscribe(room as u32, epoch, base);
        member.add(room as u16, subscription);
    }
    Ok((line, member))
}

/// Connects to the server of connection `index` and says hello.
pub(super) async fn greet(shared: &Shared, index: usize, token: &str) -> Result<Line, String> {
    greet_at(shared, index, shared.plan.server_of(index), token).await
}

/// The same at any of the servers.
pub(super) async fn greet_at(
    shared: &Shared,
    index: usize,
    server: usize,
    token: &str,
) -> Result<Line, String> {
    greet_by(shared, index, (server, None), token).await
}

/// The same with a receive buffer of that many bytes, if one is given.
pub(super) async fn greet_by(
    shared: &Shared,
    index: usize,
    (server, recv_buffer): (usize, Option<u32>),
    token: &str,
) -> Result<Line, String> {
    let mut line = dial(shared, index, (server, recv_buffer)).await?;
    send(&mut line, &ClientFrame::Hello { v: VERSION, token: token.to_owned() }).await?;
    match reply(&mut line).await? {
        ServerFrame::Welcome { .. } => Ok(line),
        other => Err(refusal("hello", &other)),
    }
}

/// Joins a room; where it stands.
pub(super) async fn join(line: &mut Line, room: RoomId) -> Result<Option<Position>, String> {
    send(line, &ClientFrame::Join { id: 0, room, after: None }).await?;
    loop {
        match reply(line).await? {
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
) -> Result<Line, String> {
    let stream = connect_by(shared, index, shared.targets[server], recv_buffer).await?;
    let mut request =
        shared.plan.ws_urls[server].as_str().into_client_request().map_err(|e| format!("upgrade: {e}"))?;
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let (socket, _) = client_async_with_config(request, stream, Some(socket_config()))
        .await
        .map_err(|e| format!("upgrade: {e}"))?;
    // Nothing is lost with the library's buffer: a server of ours is silent until it is greeted.
    Ok(Line::new(socket.into_inner()))
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

async fn send_due(
    shared: &Shared,
    state: &RefCell<State>,
    mouth: &mut Mouth,
    home: Option<u16>,
    due: Due,
) -> Result<(), String> {
    let Due { number, intended_ns } = due;
    let (Some(room), Some(slot)) = (home, shared.slots.get(number as usize)) else {
        return Err("no room to send to".into());
    };
    let text = text_of(shared, room, due)?;
    let now_ns = shared.now_ns();
    slot.mark_sent(intended_ns, now_ns);
    state.borrow_mut().note_sent(shared, number, intended_ns, now_ns);
    add(&shared.counters.sent, 1);
    mouth.say(text).await
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
        reply_to: None,
        level: AckLevel::Memory,
    };
    serde_json::to_string(&frame).map_err(|e| format!("json: {e}"))
}

pub(super) async fn send(line: &mut Line, frame: &ClientFrame) -> Result<(), String> {
    line.send(serde_json::to_string(frame).map_err(|e| format!("json: {e}"))?).await
}

pub(super) async fn reply(line: &mut Line) -> Result<ServerFrame, String> {
    let text = line.next_text().await?;
    serde_json::from_str(&text).map_err(|_| "frame not understood".into())
}

pub(super) async fn close(line: &mut Line) {
    let goodbye = async {
        if line.mouth.close().await.is_ok() {
            while line.text().await.is_ok() {}
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
