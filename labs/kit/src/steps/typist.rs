//! Types lines as redis-cli does and shows the replies as it does.

use std::time::Duration;

use crate::servers::Topology;

/// What a typed line gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    /// As redis-cli shows it; without a line end.
    pub text: String,
    /// Whether it is an error.
    pub error: bool,
}

/// Types redis-cli lines into numbered connections: `GET k` into the first, `@2 GET k` into the second.
#[derive(Debug)]
pub struct Typist {
    _topology: Topology,
    _addrs: Vec<String>,
}

impl Typist {
    /// A typist that connects when it first types. On a cluster it follows redirects as `redis-cli -c` does.
    pub fn new(topology: Topology, addrs: Vec<String>) -> Self {
        Self { _topology: topology, _addrs: addrs }
    }

    /// Types one line and waits for its reply. Commands separated by the word `;;` are sent at once, as a pipeline.
    ///
    /// A blocking command that is not answered within a second is left waiting; its reply comes with [`Typist::arrived`].
    pub async fn line(&mut self, _line: &str) -> Typed {
        Typed { text: "(error) not there yet".to_owned(), error: true }
    }

    /// What came without being asked for (messages of subscriptions, late replies of blocking commands), waiting up to
    /// `wait` for the first; with the number of the connection.
    pub async fn arrived(&mut self, _wait: Duration) -> Vec<(usize, String)> {
        Vec::new()
    }
}
