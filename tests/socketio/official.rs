//! The official clients, each a process of its own that is told what to do.

use std::{collections::VecDeque, process::Stdio, time::Duration};

use chatlab::clients::{self, OfficialClients};
use chatlab_kit::{ids::RoomId, message::Position};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{Instant, timeout_at},
};

use crate::common::SOON;

/// Which client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `socket.io-client`.
    Node,
    /// `python-socketio`.
    Python,
}

/// Both.
pub const KINDS: [Kind; 2] = [Kind::Node, Kind::Python];

/// One client.
pub struct Official {
    pub kind: Kind,
    _child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    events: VecDeque<Value>,
    next_id: u64,
}

impl Official {
    /// Starts one that is not connected yet.
    pub fn start(kind: Kind) -> Self {
        let OfficialClients { node, node_modules, python } = clients::find().unwrap();
        let mut command = match kind {
            Kind::Node => Command::new(node),
            Kind::Python => Command::new(python),
        };
        let script = if kind == Kind::Node { "client.js" } else { "client.py" };
        let mut child = command
            .arg(clients::scripts().join(script))
            .env("NODE_PATH", node_modules)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { kind, _child: child, stdin, lines, events: VecDeque::new(), next_id: 0 }
    }

    /// Starts one and connects it.
    pub async fn connect(kind: Kind, url: &str, token: &str, transports: &[&str]) -> Self {
        let mut client = Self::start(kind);
        let answer = client.open(url, token, transports).await;
        assert_eq!(answer["connected"], true, "{kind:?}: {answer}");
        client
    }

    /// Connects; whether it was let in, or what it was told.
    pub async fn open(&mut self, url: &str, token: &str, transports: &[&str]) -> Value {
        self.tell(json!({ "op": "open", "url": url, "token": token, "transports": transports })).await
    }

    /// Emits an event; its acknowledgement.
    pub async fn emit(&mut self, event: &str, data: Value) -> Value {
        self.tell(json!({ "op": "emit", "event": event, "data": data })).await
    }

    /// Sends a message; its acknowledgement, which is no error.
    pub async fn send(&mut self, room: RoomId, cid: &str, body: &str) -> Value {
        let ack = self.emit("message", json!({ "room": room, "cid": cid, "body": body })).await;
        assert!(ack["seq"].is_u64(), "{:?}: {ack}", self.kind);
        ack
    }

    /// Joins a room; where it stands.
    pub async fn join(&mut self, room: RoomId) -> Position {
        let ack = self.tell(json!({ "op": "join", "room": room })).await;
        serde_json::from_value(ack["head"].clone()).unwrap_or_else(|_| panic!("{:?}: {ack}", self.kind))
    }

    /// The name of the transport in use.
    pub async fn transport(&mut self) -> Value {
        self.tell(json!({ "op": "transport" })).await
    }

    /// Leaves the server.
    pub async fn close(&mut self) {
        self.tell(json!({ "op": "close" })).await;
    }

    async fn tell(&mut self, mut command: Value) -> Value {
        self.next_id += 1;
        command["id"] = self.next_id.into();
        self.stdin.write_all(format!("{command}\n").as_bytes()).await.unwrap();
        let deadline = Instant::now() + SOON + SOON;
        loop {
            let line = self.line(deadline).await.unwrap_or_else(|| panic!("{:?}: no answer", self.kind));
            if line["id"] == self.next_id {
                assert!(line["failed"].is_null(), "{:?}: {command}: {line}", self.kind);
                return line["answer"].clone();
            }
            self.events.push_back(line);
        }
    }

    async fn line(&mut self, deadline: Instant) -> Option<Value> {
        let line = timeout_at(deadline, self.lines.next_line()).await.ok()?.unwrap();
        let line = line.unwrap_or_else(|| panic!("{:?} ended", self.kind));
        Some(serde_json::from_str(&line).unwrap_or_else(|_| panic!("{:?} said {line}", self.kind)))
    }

    /// The data of the next event of that name; others are dropped.
    pub async fn next(&mut self, event: &str) -> Value {
        self.next_within(event, SOON).await.unwrap_or_else(|| panic!("{:?}: no {event}", self.kind))
    }

    /// The same, if one comes in time.
    pub async fn next_within(&mut self, event: &str, within: Duration) -> Option<Value> {
        let deadline = Instant::now() + within;
        loop {
            let line = match self.events.pop_front() {
                Some(line) => line,
                None => self.line(deadline).await?,
            };
            if line["event"] == event {
                return Some(line["data"].clone());
            }
        }
    }

    /// The sequence and the body of the next `n` messages.
    pub async fn messages(&mut self, n: usize) -> Vec<(u64, String)> {
        let mut seen = Vec::new();
        for _ in 0..n {
            let message = self.next("message").await;
            let body = message["body"].as_str().unwrap().to_owned();
            seen.push((message["seq"].as_u64().unwrap(), body));
        }
        seen
    }
}
