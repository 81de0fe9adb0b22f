//! Pages of other origins in a browser: which may call us, and what they may read of the answers.
//!
//! Whoever asks shows a token, which a browser sends by itself to nobody: there is no cookie that a foreign page could use. A page
//! of an origin that is not allowed is refused all the same, before anything is done for it.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::{
    Gateway,
    fault::Fault,
    rest::{IDEMPOTENCY_KEY, LAST_EVENT_ID},
};
use crate::service::ServiceError;

/// How long a browser may go by one answer to its question what it may do.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(600);
/// What a page may read of an answer's head, beyond what all may.
const EXPOSED: [HeaderName; 8] = [
    header::RETRY_AFTER,
    header::LINK,
    header::LOCATION,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
    HeaderName::from_static("ratelimit-policy"),
];
/// What a page may send.
const ALLOWED: [HeaderName; 5] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    IDEMPOTENCY_KEY,
    LAST_EVENT_ID,
    HeaderName::from_static("x-request-id"),
];

/// A browser says where its page is from; that must be our own host or one that was allowed. Others (no browsers) send no origin:
/// they have no cookies or pages to abuse.
pub(super) fn is_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let ours = origin
        .split_once("://")
        .zip(headers.get(header::HOST).and_then(|host| host.to_str().ok()))
        .is_some_and(|((_, authority), host)| authority.eq_ignore_ascii_case(host));
    ours || allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
}

/// The refusal of a page that is not allowed.
pub(super) fn refusal() -> ServiceError {
    ServiceError::forbidden("the origin is not allowed")
}

/// Middleware: refuses pages that are not allowed.
pub(super) async fn refuse_foreign(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
    next: Next,
) -> Response {
    if is_allowed(request.headers(), &gateway.allow_origins) {
        next.run(request).await
    } else {
        Fault(refusal()).into_response()
    }
}

/// Tells browsers what pages of allowed origins may do.
pub(super) fn cors(allowed: Vec<String>) -> CorsLayer {
    let of_page = move |_: &HeaderValue, request: &Parts| is_allowed(&request.headers, &allowed);
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(of_page))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(ALLOWED)
        .expose_headers(EXPOSED)
        .max_age(PREFLIGHT_MAX_AGE)
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
            is_allowed(&headers, &allowed)
        };
        for good in [None, Some("http://localhost:8080"), Some("https://chat.example")] {
            assert!(case(good), "{good:?}");
        }
        for bad in ["null", "http://localhost:8081", "https://evil.example", "https://chat.example.evil"] {
            assert!(!case(Some(bad)), "{bad}");
        }
    }
}
