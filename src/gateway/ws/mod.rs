//! The native WebSocket protocol, version 1 (docs/PROTOCOL.md).
//!
//! A connection is one task, which reads and handles its requests one after the other. What is for the client is written by
//! whoever queues it ([`wire`]), so that a slow request does not hold up what arrives live.

mod head;
mod parse;
mod pulse;
mod reader;
mod requests;
mod socket;
mod wire;

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chatlab_kit::wire::{ErrorCode, SUBPROTOCOL};
use tokio_tungstenite::tungstenite::{
    Error as WsError, error::ProtocolError, handshake::server::create_response_with_body,
};

use super::{
    Gateway,
    fault::{self, Fault},
};
use crate::service::ServiceError;

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
    if !origin_allowed(request.headers(), &gateway.allow_origins) {
        return Fault(ServiceError::forbidden("the origin is not allowed")).into_response();
    }
    if gateway.stopping.is_cancelled() {
        return Fault(ServiceError::new(ErrorCode::GoingAway, "the server is stopping")).into_response();
    }
    if gateway.sockets.len() >= gateway.max_connections {
        return Fault(ServiceError::new(ErrorCode::RateLimited, "too many connections")).into_response();
    }
    if offers_subprotocol(request.headers()) {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    let upgraded = hyper::upgrade::on(&mut request);
    // Before the upgrade, so that a shutdown in between waits for this one too.
    let tracked = gateway.sockets.token();
    tokio::spawn(async move {
        let opened = match upgraded.await {
            Ok(upgraded) => socket::open(upgraded).await,
            Err(error) => return tracing::debug!(%error, "ws.upgrade"),
        };
        match opened {
            Some((source, outbox, permit)) => {
                // A task of its own, so that the upgrade's state is not kept for as long as the connection.
                tokio::spawn(reader::run(source, outbox, gateway, (tracked, permit)));
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

/// A browser says where its page is from; that must be our own host or one that was allowed. Others
/// (no browsers) send no origin: they have no cookies or pages to abuse.
fn origin_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let ours = origin
        .split_once("://")
        .zip(headers.get(header::HOST).and_then(|host| host.to_str().ok()))
        .is_some_and(|((_, authority), host)| authority.eq_ignore_ascii_case(host));
    ours || allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_come_from_our_host_or_from_an_allowed_origin() {
        let allowed = ["https://chat.example".to_owned()];
        let case = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "localhost:8080".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            origin_allowed(&headers, &allowed)
        };
        for good in [None, Some("http://localhost:8080"), Some("https://chat.example")] {
            assert!(case(good), "{good:?}");
        }
        for bad in ["null", "http://localhost:8081", "https://evil.example", "https://chat.example.evil"] {
            assert!(!case(Some(bad)), "{bad}");
        }
    }
}
