//! Redis by TLS, as a user with a password: every kind of connection that a server opens.

use std::path::{Path, PathBuf};

use chatlab::harness::Stack;
use chatlab_kit::{redis::ClientKind, servers::Topology};
use chatlab_load::http::HttpClient;
use serde_json::Value;

use crate::common::{SOON, chatlab, options, party};

/// Far more than a cluster has masters.
const ROOMS: usize = 16;

/// The certificates, see `tests/tls/README.md`.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls")
}

async fn two_servers_converse(topology: Topology, client: ClientKind) {
    let mut options = options(topology, 2);
    options.client = client;
    options.redis_options.tls = Some(folder());
    let stack = Stack::start(options).await.unwrap();
    let (mut clients, ..) = party(&stack, 2).await;
    // Rooms in all parts of a cluster.
    for room in stack.provision(2, ROOMS).await.unwrap().rooms {
        for client in &mut clients {
            client.join(room, None).await.unwrap();
        }
        let sent = clients[0].send(room, "c-1", "by TLS").await.unwrap();
        assert_eq!(clients[1].next_message(SOON).await.unwrap().draft.id, sent.msg, "at the other process");
    }
    let health: Value = HttpClient::new(&stack.http_url(0)).get("/health", None).await.unwrap();
    assert_eq!(health["status"], "ok", "{health}");
    stack.stop().await.unwrap();
}

async fn two_servers_converse_by_redis_rs(topology: Topology) {
    two_servers_converse(topology, ClientKind::RedisRs).await;
}

async fn two_servers_converse_by_fred(topology: Topology) {
    two_servers_converse(topology, ClientKind::Fred).await;
}

crate::on_both!(two_servers_converse_by_redis_rs, two_servers_converse_by_fred);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_another_authority_is_not_talked_to() {
    let mut options = options(Topology::Single, 0);
    options.redis_options.tls = Some(folder());
    let stack = Stack::start(options).await.unwrap();
    let serve = async |url: &str, ca: Option<&Path>| {
        let mut command = tokio::process::Command::new(chatlab());
        command.args(["serve", "--listen", "127.0.0.1:0", "--redis-url", url]).arg("--db").arg(stack.db());
        if let Some(ca) = ca {
            command.arg("--redis-ca").arg(ca);
        }
        let output = tokio::time::timeout(SOON, command.kill_on_drop(true).output()).await.unwrap().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let node = stack.managed().tls_addrs().remove(0);
    let (encrypted, plain) = (format!("rediss://{node}"), format!("redis://{node}"));
    let (right, wrong) = (folder().join("ca.crt"), folder().join("other.crt"));
    for (url, ca, why) in [
        (&encrypted, Some(&wrong), "certificate"),
        (&encrypted, None, "certificate"),
        (&plain, Some(&right), "--redis-ca is for encrypted connections"),
        (&encrypted, Some(&folder().join("redis.key")), "holds no certificate"),
        (&encrypted, Some(&folder().join("none")), "--redis-ca"),
    ] {
        let (code, said) = serve(url, ca.map(AsRef::as_ref)).await;
        assert!(code == Some(2) && said.contains(why), "{url} {ca:?}: {code:?} {said}");
    }
}
