//! Speaks as much of the native protocol as the generator does, numbers each room's messages, and hands them on at once.

use std::{cell::RefCell, collections::HashMap, io, rc::Rc};

use chatlab_kit::{
    ids::{MessageId, RoomId, SessionId, UserId},
    message::{Draft, Envelope, Epoch, Position},
    wire::{ClientFrame, ErrorCode, ServerFrame, VERSION},
};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    task::{LocalSet, spawn_local},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message as Ws, Utf8Bytes,
        handshake::server::{Request, Response},
    },
};

/// The most frames that wait for one connection; whoever is slower than that is closed.
const QUEUE: usize = 16_384;
/// The most frames that are written at once.
const AT_ONCE: usize = 64;
/// A message's time: nobody looks at it.
const TS: u64 = 1_700_000_000_000;

#[derive(Default)]
struct Room {
    seq: u64,
    members: Vec<Sender<Utf8Bytes>>,
}

type Rooms = Rc<RefCell<HashMap<RoomId, Room>>>;

/// Serves until the process ends.
pub(super) async fn serve(listener: TcpListener) -> io::Result<()> {
    let rooms = Rooms::default();
    LocalSet::new()
        .run_until(async {
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                spawn_local(connection(rooms.clone(), stream));
            }
        })
        .await
}

#[expect(clippy::result_large_err, reason = "the library's signature")]
async fn connection(rooms: Rooms, stream: TcpStream) {
    let accept = |request: &Request, mut response: Response| {
        if let Some(protocol) = request.headers().get("sec-websocket-protocol") {
            response.headers_mut().insert("sec-websocket-protocol", protocol.clone());
        }
        Ok(response)
    };
    let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, accept).await else { return };
    let (sink, mut source) = socket.split();
    let (out, queue) = channel(QUEUE);
    spawn_local(write(sink, queue));
    let user = UserId::new();
    while let Some(Ok(message)) = source.next().await {
        let Ws::Text(text) = message else { continue };
        let Ok(frame) = serde_json::from_str(&text) else { return };
        let Some(text) =
            answer(&rooms, &out, user, frame).and_then(|reply| serde_json::to_string(&reply).ok())
        else {
            return;
        };
        if out.try_send(text.into()).is_err() {
            return;
        }
    }
}

async fn write(
    mut sink: futures_util::stream::SplitSink<WebSocketStream<TcpStream>, Ws>,
    mut queue: Receiver<Utf8Bytes>,
) {
    let mut texts = Vec::with_capacity(AT_ONCE);
    while queue.recv_many(&mut texts, AT_ONCE).await > 0 {
        for text in texts.drain(..) {
            if sink.feed(Ws::Text(text)).await.is_err() {
                return;
            }
        }
        if sink.flush().await.is_err() {
            return;
        }
    }
}

fn epoch() -> Epoch {
    Epoch("null".into())
}

/// None when the frame could not be served: the connection ends.
fn answer(rooms: &Rooms, out: &Sender<Utf8Bytes>, user: UserId, frame: ClientFrame) -> Option<ServerFrame> {
    let mut rooms = rooms.borrow_mut();
    Some(match frame {
        ClientFrame::Hello { .. } => ServerFrame::Welcome {
            v: VERSION,
            user,
            session: SessionId::new(user),
            heartbeat_ms: 30_000,
            max_frame: 16_384,
        },
        ClientFrame::Ping { id } => ServerFrame::Pong { id },
        ClientFrame::Join { id, room, .. } => {
            let entry = rooms.entry(room).or_default();
            entry.members.push(out.clone());
            let epoch = if entry.seq == 0 { Epoch(String::new()) } else { epoch() };
            ServerFrame::Ok { id, room, head: Some(Position { epoch, seq: entry.seq, id: None }) }
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
            let entry = rooms.entry(room).or_default();
            entry.seq += 1;
            let envelope = format!("null {} {TS} {}", entry.seq, serde_json::to_string(&draft).ok()?);
            let text = Utf8Bytes::from(Envelope::parse(envelope.as_bytes()).ok()?.frame());
            entry.members.retain(|member| member.try_send(text.clone()).is_ok());
            let Draft { room, id: msg, cid, .. } = draft;
            ServerFrame::Ack {
                id,
                room,
                cid,
                epoch: epoch(),
                seq: entry.seq,
                msg,
                ts: TS,
                dup: false,
                level,
                wanted: None,
            }
        }
        _ => ServerFrame::Error {
            id: None,
            code: ErrorCode::BadFrame,
            message: "the null responder only takes hello, ping, join and send".into(),
            retryable: false,
        },
    })
}
