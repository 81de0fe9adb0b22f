//! Stacks and users for the tests.

use std::{path::PathBuf, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chatlab::harness::{Stack, StackOptions, postgres::fresh_database};
use chatlab_kit::{
    ids::{MessageId, RoomId, UserId},
    keys::RoomKeys,
    message::Message,
    prereq,
    redis::Redis,
    servers::{Role, Topology, inspect, reshard::owners},
    slots::Partition,
    wire::{ErrorCode, ServerFrame},
};
use chatlab_load::client::{ClientError, WsClient};
use tokio::sync::OnceCell;

/// Far more than anything here takes; reached only when something is broken.
pub const SOON: Duration = Duration::from_secs(20);
/// Longer than a cluster takes to put a replica in a dead master's place.
pub const PROMOTED: Duration = Duration::from_secs(40);

/// How long nothing must come for it to be believed that nothing does.
pub const SILENCE: Duration = Duration::from_millis(300);

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

/// The same, and as a third one on a single node with the archive in PostgreSQL.
#[macro_export]
macro_rules! on_each {
    ($($name:ident),* $(,)?) => {
        $crate::on_both!($($name),*);
        mod postgres {
            use chatlab_kit::servers::Topology;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let test = super::$name(Topology::Single);
                    $crate::common::ON_POSTGRES.scope((), Box::pin(test)).await;
                }
            )*
        }
    };
}

tokio::task_local! {
    /// Set in a test whose stacks have their archive in PostgreSQL.
    pub static ON_POSTGRES: ();
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
    let mut options = options(topology, servers);
    if ON_POSTGRES.try_with(|()| ()).is_ok() {
        options.postgres = Some(fresh_database().await.unwrap());
    }
    Stack::start(options).await.unwrap()
}

/// The stack of two server processes that all peaceful tests share.
pub async fn shared(topology: Topology) -> &'static Stack {
    static SINGLE: OnceCell<Stack> = OnceCell::const_new();
    static CLUSTER: OnceCell<Stack> = OnceCell::const_new();
    static POSTGRES: OnceCell<Stack> = OnceCell::const_new();
    let cell = match topology {
        _ if ON_POSTGRES.try_with(|()| ()).is_ok() => &POSTGRES,
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

/// Takes events until one is as wanted.
pub async fn until_event(client: &mut WsClient, wanted: impl Fn(&ServerFrame) -> bool) -> ServerFrame {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        let event =
            client.next_event(deadline.saturating_duration_since(tokio::time::Instant::now())).await.unwrap();
        if wanted(&event) {
            return event;
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

/// A connection to one node.
pub async fn node(stack: &Stack, node: usize) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(format!("redis://{}", stack.managed().nodes()[node].addr())).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// One command to one node.
pub async fn ask<T: redis::FromRedisValue>(stack: &Stack, at: usize, command: &redis::Cmd) -> T {
    command.query_async(&mut node(stack, at).await).await.unwrap()
}

/// The numbers of the master that has a room, and of its replica.
pub async fn nodes_of(stack: &Stack, room: RoomId) -> (usize, usize) {
    let (addrs, slot) = (stack.managed().addrs(), Partition::of(&room).slot());
    let owners = owners(&addrs).await.unwrap();
    let owner = owners.iter().find(|owner| owner.owns(slot)).unwrap();
    let master = addrs.iter().position(|addr| *addr == owner.address).unwrap();
    for node in 0..addrs.len() {
        let info: String = ask(stack, node, redis::cmd("INFO").arg("replication")).await;
        let port = format!("master_port:{}\r\n", stack.managed().nodes()[master].port);
        if info.contains(&port) {
            return (master, node);
        }
    }
    panic!("node {master} has no replica");
}

/// Waits until a room's replica has all that its master has by now, which was at the returned time by the master's clock, in
/// milliseconds. `WAIT` looks at what its own connection wrote; so this one writes.
pub async fn replicated(stack: &Stack, room: RoomId, master: usize) -> u64 {
    let mut master = node(stack, master).await;
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(&mut master).await.unwrap();
    let key = format!("{{{}}}:replicated", Partition::of(&room).tag());
    let (_, replicas): (String, u64) = redis::pipe()
        .cmd("SET")
        .arg(key)
        .arg("x")
        .arg("PX")
        .arg(1)
        .cmd("WAIT")
        .arg(1)
        .arg(SOON.as_millis() as u64)
        .query_async(&mut master)
        .await
        .unwrap();
    assert!(replicas >= 1, "the replica does not follow");
    seconds * 1_000 + micros / 1_000
}

/// Polls until a node has a role.
pub async fn until_role(stack: &Stack, node: usize, role: Role) {
    let deadline = tokio::time::Instant::now() + PROMOTED;
    while inspect(stack.managed().nodes()[node].port).map(|seen| seen.role) != Ok(role) {
        assert!(tokio::time::Instant::now() < deadline, "node {node} is no {role:?}");
        // A poll, bounded by the deadline.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The code of a refusal.
pub fn code<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> ErrorCode {
    match answer.unwrap_err() {
        ClientError::Refused { code, .. } => code,
        other => panic!("{other}"),
    }
}

/// Whose an access token is.
pub fn user_of(token: &str) -> UserId {
    let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    claims["sub"].as_str().unwrap().parse().unwrap()
}

/// Who a client is.
pub fn user(client: &WsClient) -> UserId {
    client.welcome().unwrap().user
}

/// Takes messages out of Redis, as the trimming of a long room does.
pub async fn trim(redis: &mut Redis, room: RoomId, ids: &[MessageId]) {
    let keys = RoomKeys::new(&room);
    for id in ids.iter().map(ToString::to_string) {
        redis::cmd("ZREM").arg(keys.log()).arg(&id).query_async::<()>(redis).await.unwrap();
        redis::cmd("HDEL").arg(keys.msg()).arg(&id).query_async::<()>(redis).await.unwrap();
    }
}

/// Reads a room's history until it `holds` of that.
pub async fn until_history(
    client: &mut WsClient,
    room: RoomId,
    holds: impl Fn(&[Message]) -> bool,
) -> Vec<Message> {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        let page = client.history(room, None, None).await.unwrap().messages;
        if holds(&page) {
            return page;
        }
        assert!(tokio::time::Instant::now() < deadline, "{page:#?}");
        // A poll, bounded by the deadline: the archive hears of it in its own time.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
