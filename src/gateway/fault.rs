//! The one place where a service's error becomes an HTTP status and body, or a WebSocket frame.
//!
//! The cause of a fault of our own goes to the log, with a request id that the client gets as well. While all requests fail, as
//! without Redis, the log has some of them and how many it left out.

use std::{
    any::Any,
    sync::{Arc, LazyLock},
    time::Instant,
};

use axum::{
    Json,
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chatlab_kit::{
    ids::ConnectionId,
    wire::{self, ErrorCode, ServerFrame},
};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::service::{ServiceError, sparse::Sparse};

/// The longest request id that is taken over from a client or proxy, in bytes.
const MAX_REQUEST_ID: usize = 64;

/// The log's lines about an outage.
static PASSING: LazyLock<Sparse> = LazyLock::new(Sparse::default);

/// Names one request in the log and towards the client.
#[derive(Debug, Clone)]
pub struct RequestId(String);

impl RequestId {
    /// A new one.
    pub fn new() -> Self {
        Self(Uuid::new_v4().as_simple().to_string())
    }

    /// The `n`th of a WebSocket connection.
    pub fn nth(connection: &ConnectionId, n: u64) -> Self {
        Self(format!("{}-{n}", connection.0.as_simple()))
    }

    /// The one that the request came with, if it is plain; else a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        headers
            .get("x-request-id")
            .and_then(|value| value.to_str().ok())
            .filter(|text| (1..=MAX_REQUEST_ID).contains(&text.len()) && text.bytes().all(plain))
            .map_or_else(Self::new, |text| Self(text.to_owned()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

/// A service's error on its way out of a handler. [`render`] gives it its body.
#[derive(Debug)]
pub struct Fault(pub ServiceError);

impl From<ServiceError> for Fault {
    fn from(error: ServiceError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        with_status(status(self.0.code), self.0)
    }
}

/// A fault with a status of its own (405, 415).
pub fn with_status(status: StatusCode, error: ServiceError) -> Response {
    let mut response = status.into_response();
    response.extensions_mut().insert(Arc::new(error));
    response
}

/// The HTTP status of a code. One that no HTTP request should meet is a bad request.
pub fn status(code: ErrorCode) -> StatusCode {
    let status = code.http_status().and_then(|status| StatusCode::from_u16(status).ok());
    status.unwrap_or(StatusCode::BAD_REQUEST)
}

/// The code of an error status that a layer or the router answered by itself.
fn code_of(status: StatusCode) -> (ErrorCode, &'static str) {
    match status {
        StatusCode::NOT_FOUND => (ErrorCode::NotFound, "there is no such path"),
        StatusCode::METHOD_NOT_ALLOWED => (ErrorCode::Invalid, "the path does not take this method"),
        StatusCode::PAYLOAD_TOO_LARGE => (ErrorCode::TooLarge, "the body is too large"),
        StatusCode::SERVICE_UNAVAILABLE => (ErrorCode::Unavailable, "it took too long, try again"),
        other if other.is_server_error() => (ErrorCode::Internal, "something went wrong here"),
        _ => (ErrorCode::Invalid, "the request is not valid"),
    }
}

/// Gives an error response its JSON body; leaves the others, and those that have one, alone.
pub fn render(response: Response, id: &RequestId) -> Response {
    let status = response.status();
    let made_by_us = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|t| t.as_bytes().starts_with(b"application/json"));
    let error = response.extensions().get::<Arc<ServiceError>>().cloned();
    if error.is_none() && (made_by_us || !(status.is_client_error() || status.is_server_error())) {
        return response;
    }
    let error = error.unwrap_or_else(|| {
        let (code, message) = code_of(status);
        Arc::new(ServiceError::new(code, message))
    });
    let problem = Problem {
        kind: "about:blank",
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail: expose(&error, id),
        code: error.code,
        retryable: error.code.retryable(),
        request_id: id.as_str().to_owned(),
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    if let Some(ms) = error.retry_after_ms {
        // Whole seconds, rounded up: who comes then is not refused for having come early.
        parts.headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000).max(1)));
    }
    if status == StatusCode::UNAUTHORIZED {
        parts.headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    Response::from_parts(parts, Body::from(body))
}

/// The text for the client; logs and counts.
fn expose(error: &ServiceError, id: &RequestId) -> String {
    metrics::counter!("chatlab_errors_total", "code" => name(error.code)).increment(1);
    if !error.is_ours() {
        return error.message.clone();
    }
    // What passes by itself concerns every request as long as it lasts; anything else is one of a kind.
    let admitted = if error.code.retryable() { PASSING.admit(Instant::now()) } else { Some(0) };
    if let Some(left_out) = admitted {
        let cause = error.cause.as_ref().map(ToString::to_string).unwrap_or_default();
        tracing::error!(request_id = id.as_str(), code = name(error.code), cause, left_out, "request.failed");
    }
    format!("{} (request {})", error.message, id.as_str())
}

/// The `error` frame for what came on a WebSocket and has no name.
pub fn frame(error: &ServiceError, id: Option<wire::RequestId>) -> ServerFrame {
    frame_of(error, id, &RequestId::new())
}

/// The `error` frame for a request on a WebSocket.
pub fn frame_of(error: &ServiceError, id: Option<wire::RequestId>, request: &RequestId) -> ServerFrame {
    ServerFrame::Error {
        id,
        code: error.code,
        message: expose(error, request),
        retryable: error.code.retryable(),
    }
}

/// The code as it is written in JSON.
pub fn name(code: ErrorCode) -> String {
    serde_json::to_value(code).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The response to a request whose handler panicked.
#[expect(clippy::needless_pass_by_value, reason = "the signature that the layer asks for")]
pub fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned());
    Fault(ServiceError::internal(text)).into_response()
}

/// The content type of [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was refused or failed: problem details as in RFC 9457.
#[derive(Serialize, JsonSchema)]
pub struct Problem {
    /// Always `about:blank`: `code` says which problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong, for people.
    detail: String,
    /// The same, stable, for programs.
    code: ErrorCode,
    /// Whether the same request may succeed later.
    retryable: bool,
    /// Names the request in the log.
    request_id: String,
}

/// A JSON answer.
pub type JsonResult<T> = Result<Json<T>, Fault>;
