//! What a request says: who asks, about what, and by which key. What is wrong with it is told by our codes.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Path, Query, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Uri, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use chatlab_kit::ids::{ClientMsgId, UserId};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::{
    gateway::{
        Gateway,
        fault::Fault,
        http::{Authenticated, put_quota, shorten},
    },
    service::{ServiceError, chat::By, tokens::Bearer},
};

/// Names a request that may be sent again without being done twice.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Middleware: lets through who shows a token and does not ask too often, and says what is left of that limit.
pub async fn known(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let bearer = match Authenticated::from_request_parts(&mut parts, &gateway).await {
        Ok(Authenticated(bearer)) => bearer,
        Err(refusal) => return refusal.into_response(),
    };
    let (quota, admitted) = match gateway.requests.take(&bearer.session.user).await {
        Ok(taken) => taken,
        Err(error) => return Fault(error).into_response(),
    };
    let mut response = match admitted {
        Err(refusal) => Fault(refusal).into_response(),
        Ok(()) => {
            parts.extensions.insert(bearer);
            next.run(Request::from_parts(parts, body)).await
        }
    };
    put_quota(response.headers_mut(), quota);
    response
}

/// Who asks, behind [`known`].
pub struct Me(pub Bearer);

impl Me {
    /// Their id.
    pub fn user(&self) -> UserId {
        self.0.session.user
    }

    /// As the services want it.
    pub fn by(&self) -> By<'static> {
        By::Once(self.user())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Me {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        let bearer = parts.extensions.get::<Bearer>().cloned();
        bearer.map(Self).ok_or_else(|| ServiceError::internal("a route without `known`").into())
    }
}

/// What the path names.
pub struct At<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let Path(at) = Path::from_request_parts(parts, state)
            .await
            .map_err(|error| ServiceError::invalid(format!("path: {}", shorten(&error.body_text()))))?;
        Ok(Self(at))
    }
}

/// What the query says.
pub struct Ask<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Ask<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let Query(ask) = Query::from_request_parts(parts, state)
            .await
            .map_err(|error| ServiceError::invalid(format!("query: {}", shorten(&error.body_text()))))?;
        Ok(Self(ask))
    }
}

/// The key of a request, if it has one.
pub struct Key(Option<ClientMsgId>);

impl Key {
    /// As it was given.
    pub fn given(&self) -> Option<&ClientMsgId> {
        self.0.as_ref()
    }

    /// It, or one that nobody used.
    ///
    /// # Errors
    /// `internal`.
    pub fn or_new(self) -> Result<ClientMsgId, Fault> {
        let new = || Uuid::new_v4().as_simple().to_string().parse();
        self.0.map_or_else(new, Ok).map_err(|error| Fault(ServiceError::internal(error)))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        let Some(value) = parts.headers.get(IDEMPOTENCY_KEY) else { return Ok(Self(None)) };
        let text = value.to_str().unwrap_or_default().trim();
        // A structured field has its text in quotes; many clients send it bare.
        let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let key = bare.parse().map_err(|error| ServiceError::invalid(format!("idempotency-key: {error}")))?;
        Ok(Self(Some(key)))
    }
}

/// Where the next page is: the same question from another place on.
pub fn next_link(asked: &Uri, cursor: &str, next: Option<String>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some(next) = next else { return headers };
    let others = asked.query().unwrap_or_default().split('&');
    let mut pairs: Vec<String> = others
        .filter(|pair| !pair.is_empty() && pair.split('=').next() != Some(cursor))
        .map(str::to_owned)
        .collect();
    pairs.push(format!("{cursor}={next}"));
    let link = format!("<{}?{}>; rel=\"next\"", asked.path(), pairs.join("&"));
    if let Ok(link) = HeaderValue::from_str(&link) {
        headers.insert(header::LINK, link);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_asks_the_same_from_another_place_on() {
        let link = |uri: &str, next: Option<&str>| {
            let headers = next_link(&uri.parse().unwrap(), "before", next.map(str::to_owned));
            headers.get(header::LINK).map(|link| link.to_str().unwrap().to_owned())
        };
        assert_eq!(link("/v1/x", None), None);
        assert_eq!(link("/v1/x", Some("7")).unwrap(), "</v1/x?before=7>; rel=\"next\"");
        let after = link("/v1/x?limit=2&before=9&query=a%20b", Some("7")).unwrap();
        assert_eq!(after, "</v1/x?limit=2&query=a%20b&before=7>; rel=\"next\"");
    }
}
