//! The one error type of the labs.

/// What can go wrong behind a lab's port.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Redis answered with an error, or the connection failed.
    #[error("redis: {0}")]
    Redis(#[from] ::redis::RedisError),
    /// What is stored under `key` is not what this code wrote.
    #[error("corrupt data at {key}: {why}")]
    Corrupt {
        /// The key that was read.
        key: String,
        /// What is wrong with its value.
        why: String,
    },
    /// An argument or a structure is over its named bound.
    #[error("{what} exceeds its bound of {bound}")]
    Bound {
        /// What was measured.
        what: &'static str,
        /// The most that is allowed.
        bound: u64,
    },
    /// A learner's exercise, where it still waits to be written.
    #[error("not written yet: {0}")]
    Unfinished(&'static str),
    /// The server lacks a command that this variant needs.
    #[error("this server lacks {needs}")]
    Unsupported {
        /// The command and the first version that has it.
        needs: &'static str,
    },
    /// A client other than redis-rs, or the machine, failed.
    #[error("{0}")]
    Other(String),
}

/// Short for a result with [`LabError`].
pub type LabResult<T> = Result<T, LabError>;
