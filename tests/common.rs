//! Stacks and users for the tests.

use std::{path::PathBuf, time::Duration};

use chatlab::harness::{Stack, StackOptions};
use chatlab_kit::{ids::RoomId, prereq, servers::Topology, wire::ServerFrame};
use chatlab_load::client::{ClientError, WsClient};
use tokio::sync::OnceCell;

/// Far more than anything here takes; reached only when something is broken.
pub const SOON: Duration = Duration::from_secs(20);

/// Runs an `async fn(Topology)` as two tests, one on a single node and one on the cluster.
#[macro_export]
macro_rules! on_both {
    ($($name:ident),* $(,)?) => { $(
        mod $name {
            use chatlab_kit::servers::Topology;
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn single() {
                Box::pin(super::$name(Topology::Single)).await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn cluster() {
                Box::pin(super::$name(Topology::Cluster)).await;
            }
        }
    )* };
}

pub fn chatlab() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_chatlab"))
}

pub fn redis_binary() -> prereq::ServerBinary {
    let setting = std::env::var_os(prereq::SERVER_SETTING).map(PathBuf::from);
    prereq::find_server(setting.as_deref()).expect("a Redis server; `cargo lab test` gets one")
}

pub fn options(topology: Topology, servers: usize) -> StackOptions {
    let mut options = StackOptions::new(topology, redis_binary()).unwrap();
    options.chatlab = chatlab();
    options.servers = servers;
    options
}

/// A stack of its own, for a test that breaks it.
pub async fn own(topology: Topology, servers: usize) -> Stack {
    Stack::start(options(topology, servers)).await.unwrap()
}

/// The stack of two server processes that all peaceful tests share.
pub async fn shared(topology: Topology) -> &'static Stack {
    static SINGLE: OnceCell<Stack> = OnceCell::const_new();
    static CLUSTER: OnceCell<Stack> = OnceCell::const_new();
    let cell = match topology {
        Topology::Single => &SINGLE,
        Topology::Cluster => &CLUSTER,
    };
    cell.get_or_init(|| own(topology, 2)).await
}

/// The next event that is not about who is online: that may be told at any moment, and is `presence.rs`' own.
pub async fn next_event(client: &mut WsClient) -> Result<ServerFrame, ClientError> {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        match client.next_event(left).await {
            Ok(ServerFrame::Presence { .. }) => {}
            other => return other,
        }
    }
}

/// `n` users with a connection each, spread over the server processes, and a fresh room.
pub async fn party(stack: &Stack, n: usize) -> (Vec<WsClient>, Vec<String>, RoomId) {
    let made = stack.provision(n, 1).await.unwrap();
    let mut clients = Vec::new();
    for (i, token) in made.tokens.iter().enumerate() {
        clients.push(WsClient::connect(&stack.ws_url(i % stack.servers()), token).await.unwrap());
    }
    (clients, made.tokens, made.rooms[0])
}
