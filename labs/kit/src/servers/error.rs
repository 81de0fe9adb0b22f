//! What can go wrong with managed servers.

use std::path::PathBuf;
use std::time::Duration;

/// A managed server could not be started, reached or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The process could not be started at all.
    #[error("cannot start {program}: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// The reason.
        source: std::io::Error,
    },
    /// A server ended before it was ready.
    #[error("the server on port {port} ended while starting; its log ends with:\n{log}")]
    Died {
        /// Its port.
        port: u16,
        /// The last lines of its log.
        log: String,
    },
    /// A state was not reached in time.
    #[error("after {waited:?}: {what}\n{log}")]
    Timeout {
        /// What was waited for, and what was seen instead.
        what: String,
        /// How long.
        waited: Duration,
        /// The last lines of the log of the node in question.
        log: String,
    },
    /// A server refused a command while the cluster was being put together.
    #[error("127.0.0.1:{port} answered `{command}` with: {answer}")]
    Refused {
        /// The node's port.
        port: u16,
        /// The command.
        command: String,
        /// Its answer.
        answer: String,
    },
    /// No free ports were found in the range that is safe for cluster nodes.
    #[error("no {count} free ports in a row in {first}..{end}")]
    NoPorts {
        /// How many are needed.
        count: usize,
        /// The first port that may be used.
        first: u16,
        /// The first port that may not be used any more.
        end: u16,
    },
    /// There is no node with this number.
    #[error("there is no node {index}: this topology has {count}")]
    NoNode {
        /// As given.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A file operation failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was worked on.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The operating system refused a signal or a thread.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// The reason.
        source: std::io::Error,
    },
}

impl ServerError {
    pub(super) fn io(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }

    pub(super) fn system(what: impl Into<String>, source: impl Into<std::io::Error>) -> Self {
        Self::System { what: what.into(), source: source.into() }
    }
}
