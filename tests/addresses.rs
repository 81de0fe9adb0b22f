//! Addresses that are denied: at every door, and live connections from there.

use std::{net::IpAddr, process::Command, time::Instant};

use chatlab::harness::Stack;
use chatlab_kit::{
    servers::Topology,
    wire::{ErrorCode, ServerFrame},
};
use chatlab_load::client::{ClientError, Upgrade, WsClient};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
};

use crate::common::{SOON, chatlab, own};

/// Loopback addresses of ours that are not the usual one.
const DENIED: &str = "127.0.9.9";
const NEXT_TO_IT: &str = "127.0.9.8";

fn admin(stack: &Stack, args: &[&str]) -> std::process::Output {
    let db = stack.db();
    Command::new(chatlab()).args(["admin", "addresses"]).args(args).arg("--db").arg(db).output().unwrap()
}

fn done(stack: &Stack, args: &[&str]) -> String {
    let output = admin(stack, args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn connect(stack: &Stack, from: &str, token: &str) -> Result<WsClient, ClientError> {
    let from: IpAddr = from.parse().unwrap();
    let upgrade = Upgrade { from: Some(from), ..Upgrade::default() };
    let mut client = WsClient::open(&stack.ws_url(0), &upgrade).await?;
    client.hello(token).await?;
    Ok(client)
}

/// The status line of an answer.
async fn status(stack: &Stack, from: &str, request: &str) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let mut stream = socket.connect(stack.addr(0).parse().unwrap()).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", stack.addr(0));
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.lines().next().unwrap().to_owned()
}

/// Until it is so, soon.
async fn soon(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !so().await {
        assert!(Instant::now() < deadline, "not {what}");
        // A poll, bounded by the deadline.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn who_comes_from_a_denied_range_is_refused_everywhere_and_closed(topology: Topology) {
    let stack = own(topology, 1).await;
    let token = &stack.provision(1, 0).await.unwrap().tokens[0];
    let mut denied = connect(&stack, DENIED, token).await.unwrap();
    let mut other = connect(&stack, NEXT_TO_IT, token).await.unwrap();
    done(&stack, &["deny", "127.0.9.0/24", "--note", "floods"]);
    done(&stack, &["allow", NEXT_TO_IT]);
    // Live ones first: nobody has to ask for anything.
    let bye = loop {
        match denied.next_event(SOON).await.unwrap() {
            bye @ ServerFrame::Bye { .. } => break bye,
            _ => continue,
        }
    };
    assert!(matches!(bye, ServerFrame::Bye { code: ErrorCode::Forbidden, .. }), "{bye:?}");
    let doors =
        ["GET /", "GET /health", "POST /v1/login", "GET /socket.io/?EIO=4&transport=polling", "GET /nowhere"];
    for door in doors {
        assert_eq!(status(&stack, DENIED, door).await, "HTTP/1.1 403 Forbidden", "{door}");
        assert_ne!(status(&stack, "127.0.0.1", door).await, "HTTP/1.1 403 Forbidden", "{door}");
    }
    assert!(connect(&stack, DENIED, token).await.is_err());
    // The exception of the range: between the two edits it may have been closed, and it comes in again.
    soon("let in again", async || connect(&stack, NEXT_TO_IT, token).await.is_ok()).await;
    connect(&stack, "127.0.0.1", token).await.unwrap();
    let listed = done(&stack, &["list"]);
    assert!(
        listed.contains("127.0.9.0/24") && listed.contains("floods") && listed.contains("allow"),
        "{listed}"
    );
    done(&stack, &["drop", "127.0.9.0/24"]);
    soon("let in", async || connect(&stack, DENIED, token).await.is_ok()).await;
    drop(other.ping().await);
}

async fn a_range_that_is_none_and_a_database_that_is_not_there_are_told(topology: Topology) {
    let stack = own(topology, 1).await;
    let refused = |output: std::process::Output, why: &str| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(why), "{said}");
    };
    refused(admin(&stack, &["deny", "127.0.0.1/8"]), "127.0.0.0/8 is meant?");
    refused(admin(&stack, &["deny", "nowhere"]), "such as 203.0.113.0/24");
    refused(admin(&stack, &["drop", "127.0.0.0/8"]), "is not in the list");
    let list = ["admin", "addresses", "list", "--db", "/nonexistent/chatlab.db"];
    refused(Command::new(chatlab()).args(list).output().unwrap(), "there is no database");
    assert!(done(&stack, &["list"]).contains("every address comes in"));
}

crate::on_both!(
    who_comes_from_a_denied_range_is_refused_everywhere_and_closed,
    a_range_that_is_none_and_a_database_that_is_not_there_are_told,
);
