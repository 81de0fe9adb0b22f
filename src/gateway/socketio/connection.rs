//! A connection from its open packet to its end.

use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket};
use chatlab_kit::wire::{ClientFrame, ErrorCode};
use futures_util::{SinkExt, StreamExt};
use tokio_util::task::task_tracker::TaskTrackerToken;
use uuid::Uuid;

use super::{
    incoming::{self, Incoming},
    open_packet,
    outgoing::SocketIo,
    packet::{self, Packet},
};
use crate::{
    gateway::{
        Gateway,
        accept::Peer,
        live::{
            self,
            fields::Refusal,
            reader::{self, End},
            source::{self, Heard, Source, Stream},
            writer,
            written::Written,
        },
    },
    service::{
        ServiceError,
        hub::{Connection, frame::Frame, outbox::Outbox},
        tokens::Bearer,
    },
};

/// The most namespaces that there are not which a client may want into before it says who it is.
const MAX_FOREIGN: usize = 8;

/// A new id for a session: nobody guesses it, because whoever has it may poll.
pub fn new_sid() -> String {
    Uuid::new_v4().as_simple().to_string()
}

/// Serves a connection that begins on a WebSocket; `_tracked` is what a shutdown waits for.
pub async fn websocket(
    socket: WebSocket,
    gateway: Arc<Gateway>,
    from: Option<Peer>,
    _tracked: TaskTrackerToken,
) {
    let (mut sink, stream) = socket.split();
    let open = open_packet(&gateway, &new_sid(), &[]);
    if sink.send(Message::Text(open.into())).await.is_err() {
        return;
    }
    let outbox = Arc::new(Outbox::default());
    live::comes_from(&outbox, from);
    let mut source = Socket { stream, outbox: outbox.clone() };
    let mut writer = tokio::spawn(writer::run::<SocketIo>(sink, outbox.clone(), Written::default()));
    let end = match connect(&mut source, &gateway, &outbox).await {
        Ok(bearer) => serve(&mut source, &gateway, &outbox, bearer).await,
        Err(end) => end,
    };
    let said = async {
        let _ = (&mut writer).await;
    };
    reader::take_leave(&mut source, end, said).await;
    outbox.end();
    writer.abort();
}

/// Lets a client in and hears it to its end.
pub async fn serve(source: &mut impl Source, gateway: &Gateway, outbox: &Arc<Outbox>, bearer: Bearer) -> End {
    reader::serve(source, gateway, outbox, bearer, greet).await
}

/// Waits for the client to connect with a token. Closes, which is a `connect_error` there, when it does not or is refused.
///
/// # Errors
/// How it ended.
pub async fn connect(
    source: &mut impl Source,
    gateway: &Gateway,
    outbox: &Arc<Outbox>,
) -> Result<Bearer, End> {
    let deadline = reader::hello_deadline();
    let close = |error: ServiceError| reader::close(outbox, error.code, &error.message);
    for _ in 0..=MAX_FOREIGN {
        let text = reader::next_text(source, gateway, outbox, deadline).await?;
        match incoming::connect(&text).map_err(close)? {
            Packet::Foreign(namespace) => refuse_namespace(outbox, namespace),
            Packet::Connect(auth) => {
                let token = incoming::token(auth).map_err(close)?;
                return reader::authenticate(gateway, outbox, &token).await;
            }
            Packet::Event(..) | Packet::Binary(_) => break,
        }
    }
    Err(reader::close(outbox, ErrorCode::BadState, "connect to the namespace / first"))
}

fn greet(connection: &Connection) {
    let connected = packet::connected(&connection.name.to_string());
    connection.outbox.push(Arc::new(Frame::foreign(connected)));
}

fn refuse_namespace(outbox: &Arc<Outbox>, namespace: &str) {
    outbox.push(Arc::new(Frame::foreign(packet::no_namespace(namespace))));
}

/// What comes on a WebSocket.
pub struct Socket {
    /// Where it comes from.
    pub stream: Stream,
    /// Where it is answered.
    pub outbox: Arc<Outbox>,
}

impl Source for Socket {
    async fn next(&mut self) -> Heard {
        told_apart(source::heard(&mut self.stream).await)
    }

    fn parse(&self, text: &str) -> Result<ClientFrame, Refusal> {
        parse(&self.outbox, text)
    }
}

/// Pongs and the like are no requests.
pub fn told_apart(heard: Heard) -> Heard {
    match heard {
        Heard::Text(text) => packet::heard(text),
        other => other,
    }
}

/// A packet as a request.
///
/// # Errors
/// What is wrong with it.
pub fn parse(outbox: &Arc<Outbox>, text: &str) -> Result<ClientFrame, Refusal> {
    match incoming::incoming(text) {
        Incoming::Request(request) => request.map(|frame| *frame),
        Incoming::Foreign(namespace) => {
            refuse_namespace(outbox, &namespace);
            let error = ServiceError::new(ErrorCode::NotFound, "there is no such namespace");
            Err(Refusal { id: None, error })
        }
    }
}
