//! A small chat server of the native protocol that misbehaves as planned.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use chatlab_kit::{
    ids::{ClientMsgId, MessageId, RoomId, SessionId, UserId},
    message::{Draft, Envelope, Epoch, Message, Position},
    wire::{AckLevel, ClientFrame, ErrorCode, ServerFrame, VERSION},
};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedSender, unbounded_channel},
};
use tokio_tungstenite::tungstenite::Message as Ws;

/// What happens to one delivery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    Deliver,
    Drop,
    Twice,
    /// Comes after the next one to the same subscriber.
    Hold,
    /// A byte of the body is changed.
    Corrupt,
    /// Goes out under another room's id.
    OtherRoom,
}

/// How the server misbehaves.
pub struct Faults {
    /// For the nth subscriber of its room (from 0) and a sequence.
    pub delivery: fn(usize, u64) -> Act,
    /// Stands still this long, altogether, when a room's sequence gets there.
    pub stall: Option<(u64, Duration)>,
    /// The same at several sequences.
    pub stalls: Vec<(u64, Duration)>,
    /// Time that each message costs, one after another.
    pub cost: Duration,
    /// Stores, but never acknowledges, this sequence.
    pub swallow_ack: Option<u64>,
    /// Refuses instead of storing every nth message.
    pub refuse_every: Option<u64>,
    /// Closes the connection that sends this sequence.
    pub hang_up_at: Option<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            delivery: |_, _| Act::Deliver,
            stall: None,
            stalls: Vec::new(),
            cost: Duration::ZERO,
            swallow_ack: None,
            refuse_every: None,
            hang_up_at: None,
        }
    }
}

#[derive(Default)]
struct Room {
    seq: u64,
    log: Vec<Message>,
    /// Where a message of that name is: one that is sent again is stored once.
    sent: HashMap<ClientMsgId, usize>,
    members: Vec<(UnboundedSender<String>, Option<String>)>,
}

#[derive(Default)]
struct Hub {
    rooms: HashMap<RoomId, Room>,
    sends: u64,
}

struct Server {
    hub: Mutex<Hub>,
    faults: Faults,
}

/// Starts a server on a thread of its own, for the test process' whole life.
pub fn start(faults: Faults) -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let server = Arc::new(Server { hub: Mutex::default(), faults });
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                tokio::spawn(serve(Arc::clone(&server), stream));
            }
        });
    });
    told.recv().unwrap()
}

#[allow(clippy::result_large_err)]
async fn serve(server: Arc<Server>, stream: TcpStream) {
    use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
    let echo = |request: &Request, mut response: Response| {
        if let Some(protocol) = request.headers().get("sec-websocket-protocol") {
            response.headers_mut().insert("sec-websocket-protocol", protocol.clone());
        }
        Ok(response)
    };
    let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, echo).await else { return };
    let (mut sink, mut source) = socket.split();
    let (out, mut queue) = unbounded_channel::<String>();
    tokio::spawn(async move {
        while let Some(text) = queue.recv().await {
            let message = if text == "HANG UP" { Ws::Close(None) } else { Ws::text(text) };
            if sink.send(message).await.is_err() {
                return;
            }
        }
    });
    let user = UserId::new();
    while let Some(Ok(message)) = source.next().await {
        if let Ws::Text(text) = message {
            for reply in server.answer(&out, user, serde_json::from_str(&text).unwrap()) {
                let _ = out.send(serde_json::to_string(&reply).unwrap());
            }
        }
    }
}

fn epoch() -> Epoch {
    Epoch("ep1".into())
}

/// As the real one says it: a room without messages has no epoch yet.
fn head(room: &Room) -> Position {
    let epoch = Epoch(if room.seq == 0 { String::new() } else { epoch().0 });
    Position { epoch, seq: room.seq, id: room.log.last().map(|m| m.draft.id) }
}

impl Server {
    fn answer(&self, out: &UnboundedSender<String>, user: UserId, frame: ClientFrame) -> Vec<ServerFrame> {
        let mut hub = self.hub.lock().unwrap();
        match frame {
            ClientFrame::Hello { token, .. } if token == "bad" => vec![error(None, ErrorCode::Unauthorized)],
            ClientFrame::Hello { .. } => vec![ServerFrame::Welcome {
                v: VERSION,
                user,
                session: SessionId::new(user),
                heartbeat_ms: 30_000,
                max_frame: 16_384,
            }],
            ClientFrame::Ping { id } => vec![ServerFrame::Pong { id }],
            ClientFrame::Create { id, .. } => {
                let room = RoomId::new();
                hub.rooms.entry(room).or_default().members.push((out.clone(), None));
                vec![ServerFrame::Ok { id, room, head: Some(head(&Room::default())) }]
            }
            ClientFrame::Join { id, room, after } => {
                let entry = hub.rooms.entry(room).or_default();
                entry.members.push((out.clone(), None));
                let mut frames = vec![ServerFrame::Ok { id, room, head: Some(head(entry)) }];
                if let Some(after) = after {
                    let missed = entry.log.iter().filter(|m| m.seq > after.seq);
                    frames.extend(missed.cloned().map(ServerFrame::Message));
                }
                frames
            }
            ClientFrame::Leave { id, room } | ClientFrame::Typing { id, room, .. } => {
                vec![ServerFrame::Ok { id, room, head: None }]
            }
            ClientFrame::Who { id, room, .. } => {
                vec![ServerFrame::Who { id, room, online: vec![], statuses: vec![], next: None }]
            }
            ClientFrame::Send { id, room, cid, kind, body, reply_to, level } => {
                let draft = Draft {
                    room,
                    id: MessageId::new(),
                    from: user,
                    cid,
                    kind,
                    about: None,
                    reply_to,
                    forwarded_from: None,
                    body,
                };
                self.send(&mut hub, out, (id, level), draft)
            }
            ClientFrame::History { id, room, before, limit } => {
                let log = hub.rooms.get(&room).map_or(&[][..], |r| r.log.as_slice());
                let older: Vec<_> =
                    log.iter().filter(|m| before.is_none_or(|b| m.seq < b)).cloned().collect();
                let from = older.len().saturating_sub(limit.unwrap_or(50) as usize);
                let next = (from > 0).then(|| older[from].seq);
                vec![ServerFrame::Page { id, room, messages: older[from..].to_vec(), next }]
            }
            other => panic!("no generator asks for that: {other:?}"),
        }
    }

    fn send(
        &self,
        hub: &mut Hub,
        out: &UnboundedSender<String>,
        (id, level): (u64, AckLevel),
        draft: Draft,
    ) -> Vec<ServerFrame> {
        hub.sends += 1;
        if self.faults.refuse_every.is_some_and(|n| hub.sends.is_multiple_of(n)) {
            return vec![error(Some(id), ErrorCode::RateLimited)];
        }
        let room = hub.rooms.entry(draft.room).or_default();
        if let Some(Message { seq, ts, draft, .. }) = room.sent.get(&draft.cid).map(|at| &room.log[*at]) {
            let Draft { room, id: msg, cid, .. } = draft.clone();
            let (epoch, seq, ts) = (epoch(), *seq, *ts);
            let (dup, wanted) = (true, None);
            return vec![ServerFrame::Ack { id, room, cid, epoch, seq, msg, ts, dup, level, wanted }];
        }
        room.sent.insert(draft.cid.clone(), room.log.len());
        room.seq += 1;
        let (seq, ts) = (room.seq, 1_700_000_000_000);
        // The lock is held and the runtime has one thread: everything waits.
        std::thread::sleep(self.faults.cost);
        for (_, long) in self.faults.stalls.iter().chain(&self.faults.stall).filter(|(at, _)| *at == seq) {
            std::thread::sleep(*long);
        }
        if self.faults.hang_up_at == Some(seq) {
            let _ = out.send("HANG UP".into());
        }
        room.log.push(Message {
            epoch: epoch(),
            seq,
            ts,
            changed: None,
            reactions: Vec::new(),
            draft: draft.clone(),
        });
        let envelope = format!("ep1 {seq} {ts} {}", serde_json::to_string(&draft).unwrap());
        let text = Envelope::parse(envelope.as_bytes()).unwrap().frame();
        for (nth, (member, held)) in room.members.iter_mut().enumerate() {
            let mut texts = match (self.faults.delivery)(nth, seq) {
                Act::Deliver => vec![text.clone()],
                Act::Drop => vec![],
                Act::Twice => vec![text.clone(); 2],
                Act::Hold => {
                    *held = Some(text.clone());
                    continue;
                }
                Act::Corrupt => vec![text.replace("quick", "quack")],
                Act::OtherRoom => {
                    vec![text.replace(&draft.room.to_string(), &RoomId::new().to_string())]
                }
            };
            texts.extend(held.take());
            for text in texts {
                let _ = member.send(text);
            }
        }
        if self.faults.swallow_ack == Some(seq) {
            return vec![];
        }
        let Draft { room, id: msg, cid, .. } = draft;
        let (epoch, dup, wanted) = (epoch(), false, None);
        vec![ServerFrame::Ack { id, room, cid, epoch, seq, msg, ts, dup, level, wanted }]
    }
}

fn error(id: Option<u64>, code: ErrorCode) -> ServerFrame {
    ServerFrame::Error { id, code, message: "as planned".into(), retryable: code.retryable() }
}
