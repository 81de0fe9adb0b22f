//! HTTP, WebSocket and Socket.IO: translate, authenticate, bound. No rules live here.
//!
//! | module | for |
//! | --- | --- |
//! | [`accept`] | TCP connections, and the bounds on them |
//! | [`http`] | accounts and sessions under `/v1` |
//! | [`rest`] | rooms and messages there, streams of events, and the description of it all |
//! | [`health`] | `/health*` and `/metrics` |
//! | [`live`] | what every live connection has, whichever protocol it speaks |
//! | [`ws`] | the native WebSocket protocol at `/ws` |
//! | [`socketio`] | Socket.IO 4 at `/socket.io/` |
//! | `origin` | pages of other origins |
//! | [`fault`] | the one place where a service's error becomes a status, a body or a frame |

pub mod accept;
pub mod fault;
pub mod health;
pub mod http;
pub mod live;
mod origin;
pub mod rest;
pub mod socketio;
pub mod ws;

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use chatlab_kit::wire::ErrorCode;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::{catch_panic::CatchPanicLayer, timeout::TimeoutLayer};
use tracing::Instrument;

use crate::service::{
    ServiceError, accounts::Accounts, addresses::Addresses, attendance::Attendance, chat::Chat, hub::Hub,
    levels::Levels, limits::Requests, mail::Mail, people::People, receipts::Receipts, typing::Typing,
};
use accept::Peer;
use fault::{Fault, RequestId};
use health::Probes;

/// The largest HTTP body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;
/// How long an HTTP request may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// What every handler works with.
pub struct Gateway {
    /// Register, log in, authenticate.
    pub accounts: Accounts,
    /// From where nobody may come in.
    pub addresses: Arc<Addresses>,
    /// Whose e-mail addresses are whose.
    pub mail: Mail,
    /// Rooms and messages.
    pub chat: Chat,
    /// Profiles and friends.
    pub people: People,
    /// How much a user may ask for over HTTP.
    pub requests: Requests,
    /// How safe what was sent is.
    pub levels: Arc<Levels>,
    /// The live connections.
    pub hub: Arc<Hub>,
    /// Who is online.
    pub attendance: Arc<Attendance>,
    /// Who is writing.
    pub typing: Arc<Typing>,
    /// Who has read how far.
    pub receipts: Arc<Receipts>,
    /// What readiness asks.
    pub probes: Probes,
    /// Origins that browsers may connect from besides our own.
    pub allow_origins: Vec<String>,
    /// How often connections are pinged.
    pub heartbeat: Duration,
    /// The most connections.
    pub max_connections: usize,
    /// Every live connection, from its upgrade or its first poll to the end of its goodbye.
    pub sockets: TaskTracker,
    /// The Socket.IO sessions that poll.
    pub polled: socketio::Sessions,
    /// Cancelled when the server is to stop.
    pub stopping: CancellationToken,
}

/// All routes.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/", get(about))
        .merge(rest::routes(&gateway))
        .route("/ws", get(ws::upgrade))
        .route("/health", get(health::summary))
        .route("/health/liveness", get(health::liveness))
        .route("/health/readiness", get(health::readiness))
        .route("/metrics", get(health::metrics))
        .fallback(|| async { Fault(ServiceError::new(ErrorCode::NotFound, "there is no such path")) })
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT))
        .merge(rest::streams(&gateway))
        .layer(origin::cors(gateway.allow_origins.clone()))
        .layer(middleware::from_fn_with_state(gateway.clone(), origin::refuse_foreign))
        .merge(socketio::routes())
        .layer(middleware::from_fn_with_state(gateway.clone(), refuse_denied))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(CatchPanicLayer::custom(fault::panicked))
        .layer(middleware::from_fn(frame_response))
        .with_state(gateway)
}

/// Middleware: nothing is done for who comes from a denied address.
async fn refuse_denied(
    State(gateway): State<Arc<Gateway>>,
    Extension(Peer(from)): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    match gateway.addresses.admit(from) {
        Ok(()) => next.run(request).await,
        Err(refusal) => Fault(refusal).into_response(),
    }
}

async fn about() -> &'static str {
    concat!(
        "chatlab ",
        env!("CARGO_PKG_VERSION"),
        ": a chat server on Redis. WebSocket at /ws, Socket.IO at /socket.io/, see docs/PROTOCOL.md\n"
    )
}

/// Outermost: gives every response its request id and headers and, when it is an error, its body. What is logged meanwhile
/// stands in the request's span.
async fn frame_response(request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    let (method, route) = (request.method(), route(request.uri().path()));
    let span = tracing::info_span!("http", request_id = id.as_str(), %method, route);
    let mut response = fault::render(next.run(request).instrument(span).await, &id);
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(HeaderName::from_static("x-request-id"), value);
    }
    response
}

/// The first two words of a path, in bounds: a third one may be a session's secret, which is nothing for a log.
fn route(path: &str) -> &str {
    const MAX_BYTES: usize = 64;
    let end = path.match_indices('/').nth(2).map_or(path.len(), |(at, _)| at);
    path.get(..end.min(MAX_BYTES)).unwrap_or_default()
}

const SECURITY_HEADERS: [(&str, &str); 4] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_of_a_path_is_logged() {
        assert_eq!(route("/v1/sessions/0192.80ca"), "/v1/sessions");
        assert_eq!(route("/health/readiness"), "/health/readiness");
        assert_eq!((route("/"), route("")), ("/", ""));
        assert_eq!(route(&"x".repeat(99)).len(), 64);
    }
}
