//! The description of the API, for programs and for people.

use std::sync::{Arc, LazyLock};

use axum::{
    Json, Router,
    http::{HeaderValue, header},
    response::Response,
    routing::get,
};
use serde_json::Value;
use utoipa_swagger_ui::SwaggerUi;

use super::document;
use crate::{
    gateway::{
        Gateway,
        fault::{Fault, JsonResult},
    },
    service::ServiceError,
};

/// Where the page is.
const PAGE: &str = "/v1/docs";
/// Where the document is.
const DOCUMENT: &str = "/v1/openapi.json";
/// What the page may load: itself. It sets styles on its own elements.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

static WRITTEN: LazyLock<Result<Value, String>> =
    LazyLock::new(|| document().map_err(|error| error.to_string()));

/// The routes.
pub fn routes() -> Router<Arc<Gateway>> {
    let page = Router::from(SwaggerUi::new(PAGE).config(utoipa_swagger_ui::Config::from(DOCUMENT)));
    let page = page.layer(axum::middleware::map_response(with_policy));
    Router::new().route(DOCUMENT, get(written)).merge(page)
}

async fn written() -> JsonResult<Value> {
    match &*WRITTEN {
        Ok(document) => Ok(Json(document.clone())),
        Err(error) => Err(Fault(ServiceError::internal(error.as_str()))),
    }
}

async fn with_policy(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, PAGE_POLICY);
    response
}
