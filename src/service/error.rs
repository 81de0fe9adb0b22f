//! The services' one error: a stable code, a text for people, and the cause, which stays inside.

use chatlab_kit::{LabError, wire::ErrorCode};

use super::ports::ArchiveError;

/// Short for a result with [`ServiceError`].
pub type ServiceResult<T> = Result<T, ServiceError>;

/// Why a service refused or failed.
#[derive(Debug, thiserror::Error)]
#[error("{code:?}: {message}")]
pub struct ServiceError {
    /// The stable code that the client gets.
    pub code: ErrorCode,
    /// What the client gets to read. Never says anything about the inside.
    pub message: String,
    /// When the same request may be worth a try, in milliseconds from now, where that is known.
    pub retry_after_ms: Option<u64>,
    /// What really happened: for the log only.
    #[source]
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ServiceError {
    /// A refusal that is the client's own doing.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None, cause: None }
    }

    /// Too many requests; the next one is worth a try after so many milliseconds.
    pub fn rate_limited(message: impl Into<String>, retry_after_ms: u64) -> Self {
        Self { retry_after_ms: Some(retry_after_ms), ..Self::new(ErrorCode::RateLimited, message) }
    }

    /// A field that is missing or out of its bounds.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Invalid, message)
    }

    /// Known, but not allowed.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Forbidden, message)
    }

    /// Redis or the archive is out of reach.
    pub fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            code: ErrorCode::Unavailable,
            message: "a part of the service is out of reach, try again".to_owned(),
            retry_after_ms: None,
            cause: Some(cause.into()),
        }
    }

    /// A fault of the server's own.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            code: ErrorCode::Internal,
            message: "something went wrong here".to_owned(),
            retry_after_ms: None,
            cause: Some(cause.into()),
        }
    }

    /// Whether it belongs into the log as an error, with its cause.
    pub fn is_ours(&self) -> bool {
        matches!(self.code, ErrorCode::Internal | ErrorCode::Unavailable)
    }
}

impl From<LabError> for ServiceError {
    fn from(error: LabError) -> Self {
        match error {
            LabError::Redis(_) | LabError::Other(_) => Self::unavailable(error),
            _ => Self::internal(error),
        }
    }
}

impl From<ArchiveError> for ServiceError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Conflict => Self::new(ErrorCode::Conflict, "it exists already"),
            ArchiveError::Unknown => Self::new(ErrorCode::NotFound, "there is no such user"),
            ArchiveError::Unavailable(_) => Self::unavailable(error),
            ArchiveError::Corrupt(_) => Self::internal(error),
        }
    }
}
