//! The native WebSocket protocol, version 1 (docs/PROTOCOL.md).
//!
//! A connection is two tasks: a reader, which handles its requests one after the other, and a writer,
//! which drains the connection's outbox. So a slow request does not hold up what arrives live. What both
//! do is in [`live`]; here is how this protocol puts things.

mod parse;

use std::sync::Arc;

use axum::{
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, WebSocket, rejection::WebSocketUpgradeRejection},
    },
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chatlab_kit::wire::{ClientFrame, ErrorCode, SUBPROTOCOL, ServerFrame, VERSION};
use futures_util::StreamExt;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{
    Gateway,
    fault::{self, Fault},
    live::{
        self,
        fields::Refusal,
        reader::{self, End},
        source::{self, Heard, Source, Stream},
        writer::{self, Dialect},
        written::{Goodbye, Written},
    },
};
use crate::service::{
    ServiceError,
    hub::outbox::{Frame, Outbox},
    tokens::Bearer,
};

/// `GET /ws`
pub async fn upgrade(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => {
            let status = match rejection.into_response().status() {
                StatusCode::METHOD_NOT_ALLOWED => StatusCode::METHOD_NOT_ALLOWED,
                _ => StatusCode::BAD_REQUEST,
            };
            return fault::with_status(status, ServiceError::invalid("this path takes a WebSocket upgrade"));
        }
    };
    // Before the upgrade, so that a shutdown in between waits for this one too.
    let tracked = match live::admit(&gateway, &headers) {
        Ok(tracked) => tracked,
        Err(error) => return Fault(error).into_response(),
    };
    live::bounded(upgrade)
        .protocols([SUBPROTOCOL])
        .on_upgrade(move |socket| connection(socket, gateway, tracked))
}

/// Serves one connection to its end, also the end of its goodbye; `_tracked` is what a shutdown waits for.
async fn connection(socket: WebSocket, gateway: Arc<Gateway>, _tracked: TaskTrackerToken) {
    let (sink, stream) = socket.split();
    let mut source = Socket(stream);
    let outbox = Arc::new(Outbox::default());
    let mut writer = tokio::spawn(writer::run::<Native>(sink, outbox.clone(), Written::default()));
    let end = match hello(&mut source, &gateway, &outbox).await {
        Ok(bearer) => reader::serve(&mut source, &gateway, &outbox, bearer, |_| ()).await,
        Err(end) => end,
    };
    let said = async {
        let _ = (&mut writer).await;
    };
    reader::take_leave(&mut source, end, said).await;
    outbox.end();
    writer.abort();
}

/// Waits for `hello`, and closes when it does not come or is refused.
async fn hello(source: &mut Socket, gateway: &Gateway, outbox: &Outbox) -> Result<Bearer, End> {
    let text = reader::next_text(source, gateway, outbox, reader::hello_deadline()).await?;
    let close = |code, message: &str| Err(reader::close(outbox, code, message));
    match source.parse(&text) {
        Ok(ClientFrame::Hello { v: VERSION, token }) => reader::authenticate(gateway, outbox, &token).await,
        Ok(ClientFrame::Hello { .. }) => close(ErrorCode::BadVersion, "this server speaks version 1"),
        Ok(_) => close(ErrorCode::BadState, "say hello first"),
        Err(refusal) => close(refusal.error.code, &refusal.error.message),
    }
}

struct Socket(Stream);

impl Source for Socket {
    async fn next(&mut self) -> Heard {
        source::heard(&mut self.0).await
    }

    fn parse(&self, text: &str) -> Result<ClientFrame, Refusal> {
        parse::parse(text)
    }
}

/// Frames as they are.
struct Native;

impl Dialect for Native {
    fn text(frame: &Frame) -> Option<Bytes> {
        Some(frame.text.clone())
    }

    fn ping() -> Message {
        Message::Ping(Bytes::new())
    }

    fn goodbye(goodbye: Goodbye) -> Result<Vec<String>, serde_json::Error> {
        let Goodbye { code, message, resume, .. } = goodbye;
        Ok(vec![serde_json::to_string(&ServerFrame::Bye { code, message, resume })?])
    }
}
