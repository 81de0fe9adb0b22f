//! The native WebSocket protocol, version 1 (docs/PROTOCOL.md).
//!
//! A connection is two tasks: a reader, which handles its requests one after the other, and a writer,
//! which drains the connection's outbox. So a slow request does not hold up what arrives live.

mod parse;
mod pulse;
mod reader;
mod requests;
mod writer;

use std::sync::Arc;

use axum::{
    extract::{State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use chatlab_kit::wire::{ErrorCode, MAX_FRAME_BYTES, SUBPROTOCOL};

use super::{
    Gateway,
    fault::{self, Fault},
};
use crate::service::ServiceError;

/// The read buffer, in bytes. Reading zero-fills it each time, and there are many connections:
/// larger costs memory and time, smaller a system call more for a large frame.
const READ_BUFFER_BYTES: usize = 4096;
/// Frames are collected up to here before they are written, in bytes.
const WRITE_BUFFER_BYTES: usize = 4096;

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
    if !origin_allowed(&headers, &gateway.allow_origins) {
        return Fault(ServiceError::forbidden("the origin is not allowed")).into_response();
    }
    if gateway.stopping.is_cancelled() {
        return Fault(ServiceError::new(ErrorCode::GoingAway, "the server is stopping")).into_response();
    }
    if gateway.sockets.len() >= gateway.max_connections {
        return Fault(ServiceError::new(ErrorCode::RateLimited, "too many connections")).into_response();
    }
    // Before the upgrade, so that a shutdown in between waits for this one too.
    let tracked = gateway.sockets.token();
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(MAX_FRAME_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .protocols([SUBPROTOCOL])
        .on_upgrade(move |socket| reader::run(socket, gateway, tracked))
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
