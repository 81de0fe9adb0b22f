//! Accounts and sessions over HTTP.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{FromRequest, FromRequestParts, Path, Request, State, rejection::JsonRejection},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use chatlab_kit::{
    ids::{SessionId, UserId},
    wire::ErrorCode,
};
use chatlab_sessions::MAX_DEVICE_BYTES;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Gateway,
    accept::Peer,
    fault::{self, Fault, JsonResult},
    rest::route::{self, Route},
};
use crate::service::{
    ServiceError, ServiceResult,
    accounts::{Login, MAX_NAME, MAX_PASSWORD, MIN_NAME, MIN_PASSWORD},
    limits::{Caller, Quota},
    tokens::Bearer,
};

/// A text without control characters.
pub const NO_CONTROL: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";
const REFUSED: &[ErrorCode] = &[ErrorCode::Unauthorized, ErrorCode::TokenExpired, ErrorCode::SessionRevoked];

/// The routes.
pub fn routes() -> Vec<Route> {
    vec![
        route::post("/v1/register", register)
            .says("Makes an account, and logs in")
            .open()
            .body::<Credentials>()
            .gives::<LoggedIn>(StatusCode::CREATED)
            .codes(&[ErrorCode::Conflict]),
        route::post("/v1/login", log_in)
            .says("Logs in on a device")
            .open()
            .body::<Credentials>()
            .gives::<LoggedIn>(StatusCode::OK)
            .codes(REFUSED),
        route::post("/v1/refresh", refresh)
            .says("New tokens for a refresh token, which is good once")
            .open()
            .body::<RefreshToken>()
            .gives::<LoggedIn>(StatusCode::OK)
            .codes(REFUSED),
        route::post("/v1/logout", log_out).says("Ends the session of the token"),
        route::get("/v1/sessions", sessions)
            .says("On which devices one is logged in")
            .gives::<Vec<SessionView>>(StatusCode::OK),
        route::delete("/v1/sessions", end_sessions).says("Ends all one's sessions, this one too"),
        route::delete("/v1/sessions/{id}", end_session)
            .says("Ends one of one's sessions")
            .codes(&[ErrorCode::NotFound]),
    ]
}

/// The body of `register` and `login`.
#[derive(Deserialize, JsonSchema)]
pub struct Credentials {
    /// Of `A-Z a-z 0-9 _ . -`; case is kept, and makes no other name.
    #[schemars(length(min = MIN_NAME, max = MAX_NAME), regex(pattern = "^[A-Za-z0-9_.-]*$"))]
    name: String,
    /// In characters.
    #[schemars(length(min = MIN_PASSWORD, max = MAX_PASSWORD))]
    password: String,
    /// What the device is called in the list of sessions, in bytes of UTF-8; without control characters.
    #[serde(default)]
    #[schemars(length(max = MAX_DEVICE_BYTES), regex(pattern = NO_CONTROL), extend("x-max-bytes" = MAX_DEVICE_BYTES))]
    device: String,
}

/// The answer to `register`, `login` and `refresh`.
#[derive(Serialize, JsonSchema)]
pub struct LoggedIn {
    /// To be shown as `authorization: Bearer …`.
    token: String,
    /// How long it is good, in seconds.
    expires_in_s: u64,
    /// Gives new tokens, once.
    refresh_token: String,
    /// How long it is good, in seconds.
    refresh_expires_in_s: u64,
    /// Who one is.
    user: UserId,
    /// The session on this device.
    session: SessionId,
}

impl From<Login> for LoggedIn {
    fn from(login: Login) -> Self {
        let Login { token, expires_in_s, refresh_token, refresh_expires_in_s, user, session } = login;
        Self { token, expires_in_s, refresh_token, refresh_expires_in_s, user, session }
    }
}

/// The body of `refresh`.
#[derive(Deserialize, JsonSchema)]
pub struct RefreshToken {
    /// The newest of its session.
    refresh_token: String,
}

/// `POST /v1/register`
pub async fn register(
    State(gateway): State<Arc<Gateway>>,
    Extension(Peer(from)): Extension<Peer>,
    Body(body): Body<Credentials>,
) -> Response {
    let caller = Caller::new(from);
    let login = gateway.accounts.register(&body.name, body.password, &body.device, &caller).await;
    limited(&caller, StatusCode::CREATED, login)
}

/// `POST /v1/login`
pub async fn log_in(
    State(gateway): State<Arc<Gateway>>,
    Extension(Peer(from)): Extension<Peer>,
    Body(body): Body<Credentials>,
) -> Response {
    let caller = Caller::new(from);
    let login = gateway.accounts.log_in(&body.name, body.password, &body.device, &caller).await;
    limited(&caller, StatusCode::OK, login)
}

/// A log-in or its refusal, and what is left of the limits on it.
fn limited(caller: &Caller, status: StatusCode, login: ServiceResult<Login>) -> Response {
    let login = login.map(|login| (status, Json(LoggedIn::from(login)))).map_err(Fault);
    let mut response = login.into_response();
    if let Some(quota) = caller.quota() {
        put_quota(response.headers_mut(), quota);
    }
    response
}

/// Says what is left of a limit.
pub fn put_quota(headers: &mut HeaderMap, quota: Quota) {
    let Quota { limit, window_s, remaining, reset_s } = quota;
    let fields = [
        ("ratelimit-limit", limit.to_string()),
        ("ratelimit-remaining", remaining.to_string()),
        ("ratelimit-reset", reset_s.to_string()),
        ("ratelimit-policy", format!("{limit};w={window_s}")),
    ];
    for (name, value) in fields {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// `POST /v1/logout`: ends the session of the token that is shown.
pub async fn log_out(
    State(gateway): State<Arc<Gateway>>,
    Authenticated(bearer): Authenticated,
) -> Result<StatusCode, Fault> {
    gateway.accounts.log_out(&bearer.session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/refresh`: new tokens for one that is good once.
pub async fn refresh(
    State(gateway): State<Arc<Gateway>>,
    Extension(Peer(from)): Extension<Peer>,
    Body(body): Body<RefreshToken>,
) -> Response {
    let caller = Caller::new(from);
    let login = gateway.accounts.refresh(&body.refresh_token, &caller).await;
    limited(&caller, StatusCode::OK, login)
}

/// One of a user's sessions.
#[derive(Serialize, JsonSchema)]
pub struct SessionView {
    /// Its id.
    id: SessionId,
    /// What the device was called at the log-in.
    device: String,
    /// When it began, in milliseconds since 1970.
    created_ms: u64,
    /// When it ends unless it is used, in milliseconds since 1970.
    expires_ms: u64,
    /// Whether it is the one of the token that was shown.
    current: bool,
}

/// `GET /v1/sessions`
pub async fn sessions(
    State(gateway): State<Arc<Gateway>>,
    Authenticated(bearer): Authenticated,
) -> JsonResult<Vec<SessionView>> {
    let sessions = gateway.accounts.sessions(&bearer.session.user).await?;
    let views = sessions.into_iter().map(|session| SessionView {
        current: session.id == bearer.session,
        id: session.id,
        device: session.device,
        created_ms: session.created_ms,
        expires_ms: session.expires_ms,
    });
    Ok(Json(views.collect()))
}

/// `DELETE /v1/sessions/{id}`: ends one of the user's own sessions.
pub async fn end_session(
    State(gateway): State<Arc<Gateway>>,
    Authenticated(bearer): Authenticated,
    Path(id): Path<String>,
) -> Result<StatusCode, Fault> {
    let own = id.parse::<SessionId>().ok().filter(|id| id.user == bearer.session.user);
    let none = || ServiceError::new(ErrorCode::NotFound, "there is no such session of yours");
    let session = own.ok_or_else(none)?;
    if !gateway.accounts.log_out(&session).await? {
        return Err(none().into());
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /v1/sessions`: ends all sessions of the user, this one too.
pub async fn end_sessions(
    State(gateway): State<Arc<Gateway>>,
    Authenticated(bearer): Authenticated,
) -> Result<StatusCode, Fault> {
    gateway.accounts.log_out_everywhere(bearer.session.user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A JSON body; what is wrong with one is told by our codes.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(refuse(&rejection)),
        }
    }
}

fn refuse(rejection: &JsonRejection) -> Response {
    let error = |code, message: String| Fault(ServiceError::new(code, message)).into_response();
    match rejection {
        JsonRejection::JsonDataError(data) => error(ErrorCode::Invalid, shorten(&data.body_text())),
        JsonRejection::JsonSyntaxError(_) => error(ErrorCode::BadFrame, "the body is not JSON".into()),
        JsonRejection::MissingJsonContentType(_) => fault::with_status(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ServiceError::invalid("the content type must be application/json"),
        ),
        other if other.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            error(ErrorCode::TooLarge, format!("the body is larger than {} bytes", super::MAX_BODY_BYTES))
        }
        _ => error(ErrorCode::BadFrame, "the body can't be read".into()),
    }
}

/// The text of a parser's complaint, which may quote what the client sent, in bounds.
pub fn shorten(text: &str) -> String {
    const MAX: usize = 200;
    text.chars().take(MAX).collect()
}

/// Whoever shows a valid token of a live session.
pub struct Authenticated(pub Bearer);

impl FromRequestParts<Arc<Gateway>> for Authenticated {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Fault> {
        let token = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| {
                ServiceError::new(ErrorCode::Unauthorized, "show a token: `authorization: Bearer …`")
            })?;
        Ok(Self(gateway.accounts.authenticate(token).await?))
    }
}
