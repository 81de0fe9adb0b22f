//! Socket.IO 4 for its official clients, over the same services as the native protocol (docs/PROTOCOL.md).
//!
//! Every connection is a [`live`] one like a native one, with an outbox of its own; here is how Socket.IO puts
//! things. Its events are the native requests and frames by other names.
//!
//! | module | for |
//! | --- | --- |
//! | `packet` | what the packets look like |
//! | `incoming` | from an event to a request |
//! | `outgoing` | from a frame to an event or an acknowledgement |
//! | `connection` | a connection from its open packet to its end, on a WebSocket |
//! | `polling` | the same on HTTP requests, and the change to a WebSocket |

mod connection;
mod incoming;
mod outgoing;
mod packet;
mod polling;

use std::sync::Arc;

use axum::{
    Extension, Router,
    body::Body,
    extract::{
        Query, State, WebSocketUpgrade, rejection::QueryRejection, ws::rejection::WebSocketUpgradeRejection,
    },
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};
use chatlab_kit::wire::ErrorCode;
use serde::Deserialize;
use serde_json::json;

use super::{Gateway, accept::Peer, fault::Fault, live, origin};
use crate::service::ServiceError;

pub use polling::Sessions;

/// What a Socket.IO client asks for in the query.
#[derive(Deserialize)]
struct Asked {
    #[serde(rename = "EIO")]
    engine: String,
    transport: String,
    sid: Option<String>,
}

/// `/socket.io/`. Without the bound on the time of a request: a poll waits until there is something.
pub fn routes() -> Router<Arc<Gateway>> {
    let methods = get(get_request).post(post_request);
    Router::new().route("/socket.io", methods.clone()).route("/socket.io/", methods)
}

async fn get_request(
    State(gateway): State<Arc<Gateway>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    asked: Result<Query<Asked>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let from = peer.map(|Extension(peer)| peer);
    let answer = match (check(asked, &["polling", "websocket"]), upgrade) {
        (Err(error), _) => Err(error),
        (Ok(asked), Ok(upgrade)) if asked.transport == "websocket" => {
            websocket(&gateway, &headers, (asked.sid, from), upgrade)
        }
        (Ok(asked), _) if asked.transport == "websocket" => {
            Err(ServiceError::invalid("this transport takes a WebSocket upgrade"))
        }
        (Ok(Asked { sid: Some(sid), .. }), _) => polling::poll(&gateway, &sid).await,
        (Ok(Asked { sid: None, .. }), _) => polling::open(&gateway, &headers, from),
    };
    shared(&gateway, &headers, answer.unwrap_or_else(|error| Fault(error).into_response()))
}

async fn post_request(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    asked: Result<Query<Asked>, QueryRejection>,
    body: Body,
) -> Response {
    let answer = match check(asked, &["polling"]) {
        Ok(Asked { sid: Some(sid), .. }) => polling::post(&gateway, &sid, body).await,
        Ok(Asked { sid: None, .. }) => Err(unknown_session()),
        Err(error) => Err(error),
    };
    shared(&gateway, &headers, answer.unwrap_or_else(|error| Fault(error).into_response()))
}

fn check(asked: Result<Query<Asked>, QueryRejection>, transports: &[&str]) -> Result<Asked, ServiceError> {
    let Ok(Query(asked)) = asked else {
        return Err(ServiceError::invalid(
            "this path is for clients of Socket.IO: EIO and transport are missing",
        ));
    };
    if asked.engine != packet::ENGINE {
        return Err(ServiceError::new(
            ErrorCode::BadVersion,
            "EIO: this server speaks 4 (Socket.IO 3 and 4)",
        ));
    }
    if !transports.contains(&asked.transport.as_str()) {
        return Err(ServiceError::invalid("transport: polling or websocket"));
    }
    Ok(asked)
}

fn websocket(
    gateway: &Arc<Gateway>,
    headers: &HeaderMap,
    (sid, from): (Option<String>, Option<Peer>),
    upgrade: WebSocketUpgrade,
) -> Result<Response, ServiceError> {
    let upgrade = live::bounded(upgrade);
    if let Some(sid) = sid {
        let session = gateway.polled.get(&sid).ok_or_else(unknown_session)?;
        return Ok(upgrade.on_upgrade(move |socket| polling::upgrade(session, socket)));
    }
    let tracked = live::admit(gateway, headers)?;
    let gateway = gateway.clone();
    Ok(upgrade.on_upgrade(move |socket| connection::websocket(socket, gateway, from, tracked)))
}

fn unknown_session() -> ServiceError {
    ServiceError::invalid("sid: there is no such session on this server process")
}

/// A page of an allowed origin may read the answer.
fn shared(gateway: &Gateway, headers: &HeaderMap, mut response: Response) -> Response {
    if let Some(page) = headers.get(header::ORIGIN)
        && origin::is_allowed(headers, &gateway.allow_origins)
    {
        let answer = response.headers_mut();
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, page.clone());
        answer.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    response
}

/// The first packet of a session: how it goes on.
fn open_packet(gateway: &Gateway, sid: &str, upgrades: &[&str]) -> String {
    let heartbeat_ms = u64::try_from(gateway.heartbeat.as_millis()).unwrap_or(u64::MAX);
    let open = json!({
        "sid": sid,
        "upgrades": upgrades,
        "pingInterval": heartbeat_ms,
        // A client from which nothing was heard for two heartbeats is closed; it takes us for gone after the same time.
        "pingTimeout": heartbeat_ms,
        "maxPayload": polling::MAX_POST_BYTES,
    });
    format!("0{open}")
}
