//! The native WebSocket protocol, version 1 (docs/PROTOCOL.md).
//!
//! A connection is one task, which reads and handles its requests one after the other. What is for the client is written by
//! whoever queues it (`wire`), so that a slow request does not hold up what arrives live. What other protocols do
//! alike is in [`live`].

mod head;
mod parse;
mod socket;
mod wire;

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chatlab_kit::wire::{ClientFrame, ErrorCode, SUBPROTOCOL, VERSION};
use tokio::sync::OwnedSemaphorePermit;
use tokio_tungstenite::tungstenite::{
    Error as WsError, error::ProtocolError, handshake::server::create_response_with_body,
};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{
    Gateway,
    accept::Peer,
    fault::{self, Fault},
    live::{
        self,
        reader::{self, End},
        source::Source,
    },
};
use crate::service::{ServiceError, hub::outbox::Outbox, tokens::Bearer};
use socket::Socket;

/// `GET /ws`
pub async fn upgrade(State(gateway): State<Arc<Gateway>>, mut request: Request) -> Response {
    let mut response = match create_response_with_body(&request, Body::empty) {
        Ok(response) => response,
        Err(error) => {
            let status = match error {
                WsError::Protocol(ProtocolError::WrongHttpMethod) => StatusCode::METHOD_NOT_ALLOWED,
                _ => StatusCode::BAD_REQUEST,
            };
            return fault::with_status(status, ServiceError::invalid("this path takes a WebSocket upgrade"));
        }
    };
    let from = request.extensions().get::<Peer>().copied();
    // Before the upgrade, so that a shutdown in between waits for this one too.
    let tracked = match live::admit(&gateway, request.headers()) {
        Ok(tracked) => tracked,
        Err(error) => return Fault(error).into_response(),
    };
    if offers_subprotocol(request.headers()) {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let opened = match upgraded.await {
            Ok(upgraded) => socket::open(upgraded).await,
            Err(error) => return tracing::debug!(%error, "ws.upgrade"),
        };
        match opened {
            Some((source, outbox, permit)) => {
                live::comes_from(&outbox, from);
                // A task of its own, so that the upgrade's state is not kept for as long as the connection.
                tokio::spawn(connection(source, outbox, gateway, (tracked, permit)));
            }
            None => tracing::error!("ws.not_a_socket"),
        }
    });
    response
}

fn offers_subprotocol(headers: &HeaderMap) -> bool {
    let offered =
        headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|line| line.to_str().ok());
    offered.flat_map(|line| line.split(',')).any(|name| name.trim() == SUBPROTOCOL)
}

/// Serves one connection to its end, also the end of its goodbye. `_kept` is what a shutdown waits for, and the connection's place.
async fn connection(
    mut source: Socket,
    outbox: Arc<Outbox>,
    gateway: Arc<Gateway>,
    _kept: (TaskTrackerToken, OwnedSemaphorePermit),
) {
    let end = match Box::pin(hello(&mut source, &gateway, &outbox)).await {
        Ok(bearer) => reader::serve(&mut source, &gateway, &outbox, bearer, |_| ()).await,
        Err(end) => end,
    };
    reader::take_leave(&mut source, end, outbox.over()).await;
    outbox.end();
}

/// Waits for `hello`, and closes when it does not come or is refused.
async fn hello(source: &mut Socket, gateway: &Gateway, outbox: &Arc<Outbox>) -> Result<Bearer, End> {
    let text = reader::next_text(source, gateway, outbox, reader::hello_deadline()).await?;
    let close = |code, message: &str| Err(reader::close(outbox, code, message));
    match source.parse(&text) {
        Ok(ClientFrame::Hello { v: VERSION, token }) => reader::authenticate(gateway, outbox, &token).await,
        Ok(ClientFrame::Hello { .. }) => close(ErrorCode::BadVersion, "this server speaks version 1"),
        Ok(_) => close(ErrorCode::BadState, "say hello first"),
        Err(refusal) => close(refusal.error.code, &refusal.error.message),
    }
}
