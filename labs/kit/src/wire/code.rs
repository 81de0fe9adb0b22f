//! The stable error codes: what each means to a client, and how it shows in WebSocket closes and HTTP.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Stable error codes, the same in WebSocket frames and HTTP bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not JSON, or not an object with a known shape.
    BadFrame,
    /// The type in `t` is not known.
    UnknownType,
    /// A field is missing, of the wrong type, or out of its bounds.
    Invalid,
    /// A frame or body is over its bound.
    TooLarge,
    /// No `hello` yet, or a second one.
    BadState,
    /// `hello` named a version the server does not speak.
    BadVersion,
    /// The token is missing, forged or for nobody.
    Unauthorized,
    /// The token's time is over: log in again.
    TokenExpired,
    /// The login session was ended.
    SessionRevoked,
    /// Known, but not allowed.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// It exists already.
    Conflict,
    /// Too many requests; try again later.
    RateLimited,
    /// The client reads too slowly.
    SlowConsumer,
    /// Nothing was heard for two heartbeats.
    HeartbeatTimeout,
    /// No `hello` came in time.
    HelloTimeout,
    /// The server is stopping; connect again, to another one.
    GoingAway,
    /// Redis or the archive is out of reach.
    Unavailable,
    /// A fault of the server's own.
    Internal,
}

impl ErrorCode {
    /// All of them, as the documents list them.
    pub const ALL: [Self; 19] = [
        Self::BadFrame,
        Self::UnknownType,
        Self::Invalid,
        Self::TooLarge,
        Self::BadState,
        Self::BadVersion,
        Self::Unauthorized,
        Self::TokenExpired,
        Self::SessionRevoked,
        Self::Forbidden,
        Self::NotFound,
        Self::Conflict,
        Self::RateLimited,
        Self::SlowConsumer,
        Self::HeartbeatTimeout,
        Self::HelloTimeout,
        Self::GoingAway,
        Self::Unavailable,
        Self::Internal,
    ];

    /// Whether the same request may succeed when it is tried again.
    pub fn retryable(self) -> bool {
        matches!(
            self,
            Self::RateLimited
                | Self::SlowConsumer
                | Self::HeartbeatTimeout
                | Self::HelloTimeout
                | Self::GoingAway
                | Self::Unavailable
                | Self::Internal
        )
    }

    /// The WebSocket close code that goes with it (RFC 6455 §7.4; 4000 and up are ours).
    pub fn close_code(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::TooLarge => 1009,
            Self::Unavailable | Self::Internal => 1011,
            Self::BadFrame | Self::UnknownType | Self::Invalid => 4000,
            Self::Unauthorized => 4001,
            Self::TokenExpired => 4002,
            Self::SessionRevoked => 4003,
            Self::HelloTimeout => 4004,
            Self::BadState => 4005,
            Self::BadVersion => 4006,
            Self::HeartbeatTimeout => 4007,
            Self::SlowConsumer => 4008,
            Self::Forbidden | Self::NotFound | Self::Conflict => 4009,
            Self::RateLimited => 4029,
        }
    }

    /// The HTTP status that goes with it; none for what only a WebSocket connection meets.
    pub fn http_status(self) -> Option<u16> {
        match self {
            Self::BadFrame | Self::UnknownType | Self::Invalid | Self::BadState | Self::BadVersion => {
                Some(400)
            }
            Self::Unauthorized | Self::TokenExpired | Self::SessionRevoked => Some(401),
            Self::Forbidden => Some(403),
            Self::NotFound => Some(404),
            Self::Conflict => Some(409),
            Self::TooLarge => Some(413),
            Self::RateLimited => Some(429),
            Self::Internal => Some(500),
            Self::GoingAway | Self::Unavailable => Some(503),
            Self::SlowConsumer | Self::HeartbeatTimeout | Self::HelloTimeout => None,
        }
    }
}
