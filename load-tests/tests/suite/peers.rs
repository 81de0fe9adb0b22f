//! Servers that are not ours, loaded by a dialect: a plain one that misbehaves as planned, and a real Socket.IO one.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use chatlab_load::{
    dialect::Dialect,
    plan::{Churn, Plan},
    verdict::Kind,
    ws::generate,
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::Message as Ws;

use crate::{
    driver::{broken, patient, plan, run},
    scripted::Act,
};

const PLAIN: &str = include_str!("../../dialects/plain.toml");
const SOCKETIO: &str = include_str!("../../dialects/socketio.toml");

/// The nth message of a room, to its mth member.
type Fate = fn(u64, usize) -> Act;
type Rooms = Arc<Mutex<HashMap<String, Room>>>;

#[derive(Default)]
struct Room {
    said: u64,
    members: Vec<(UnboundedSender<String>, Option<Held>)>,
}

/// What a member gets behind the next message. Where several talk, a next one of the same sender has to wait for it: then it has
/// changed places with others' only, in whatever order messages arrive.
struct Held {
    text: String,
    of: UnboundedSender<String>,
}

/// A server with rooms that speaks JSON, as `dialects/plain.toml` says; for the test process' whole life.
fn start(fate: Fate) -> SocketAddr {
    start_with(fate, true)
}

fn start_with(fate: Fate, echo: bool) -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let rooms = Rooms::default();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                tokio::spawn(serve(rooms.clone(), stream, (fate, echo)));
            }
        });
    });
    told.recv().unwrap()
}

async fn serve(rooms: Rooms, stream: tokio::net::TcpStream, how: (Fate, bool)) {
    let Ok(socket) = tokio_tungstenite::accept_async(stream).await else { return };
    let (mut sink, mut source) = socket.split();
    let (out, mut queue) = unbounded_channel::<String>();
    tokio::spawn(async move {
        while let Some(text) = queue.recv().await {
            if sink.send(Ws::text(text)).await.is_err() {
                return;
            }
        }
    });
    while let Some(Ok(Ws::Text(text))) = source.next().await {
        let message: Value = serde_json::from_str(&text).unwrap();
        let mut rooms = rooms.lock().unwrap();
        let room = rooms.entry(message["room"].as_str().unwrap_or_default().to_owned()).or_default();
        match message["type"].as_str().unwrap() {
            "join" => {
                room.members.push((out.clone(), None));
                out.send(json!({ "type": "joined" }).to_string()).unwrap();
            }
            "say" => {
                say(room, (&message, &out), how);
                let _ = out.send(json!({ "type": "ok", "id": message["id"] }).to_string());
            }
            other => assert_eq!(other, "hello"),
        }
    }
}

fn say(room: &mut Room, (message, sender): (&Value, &UnboundedSender<String>), (fate, echo): (Fate, bool)) {
    room.said += 1;
    let text = json!({ "type": "said", "body": message["body"], "by": "somebody" }).to_string();
    let several = room.members.len() > 1;
    for (nth, (member, held)) in room.members.iter_mut().enumerate() {
        if !echo && member.same_channel(sender) {
            continue;
        }
        let mut texts = match fate(room.said, nth) {
            Act::Deliver | Act::OtherRoom => vec![text.clone()],
            Act::Drop => vec![],
            Act::Twice => vec![text.clone(); 2],
            Act::Hold => {
                *held = Some(Held { text: text.clone(), of: sender.clone() });
                continue;
            }
            Act::Corrupt => vec![text.replace("quick", "quack")],
        };
        if let Some(Held { text, of }) = held.take() {
            let own = several && of.same_channel(sender);
            texts.insert(if own { 0 } else { texts.len() }, text);
        }
        for text in texts {
            let _ = member.send(text);
        }
    }
}

fn foreign(server: SocketAddr, dialect: &str, conns: usize, rooms: usize) -> Plan {
    let mut plan = plan(server, conns, rooms, 300.0, 1_000);
    plan.ws_urls = vec![format!("ws://{server}/")];
    plan.limits = patient();
    plan.dialect = Some(Box::new(Dialect::parse("test", dialect).unwrap()));
    plan
}

#[test]
fn a_plain_server_is_followed_message_by_message() {
    let result = run(foreign(start(|_, _| Act::Deliver), PLAIN, 12, 3));
    assert_eq!(result.verdict.kind, Kind::Valid, "{:?} {:?}", broken(&result), result.counts.errors);
    let counts = &result.counts;
    assert_eq!((counts.sent, counts.acked, counts.delivered), (300, 300, 300 * 4));
    // 30 of the warm-up as well.
    assert_eq!((result.ledger.delivered, result.ledger.faults()), (330 * 4, 0));
    let latency = &result.latency;
    assert_eq!([&latency.first_subscriber, &latency.last_subscriber].map(|s| s.count), [300; 2]);
}

#[test]
fn without_acknowledgements_the_first_delivery_is_one() {
    let (before, after) = PLAIN.split_once("\n[ack]").unwrap();
    let dialect = format!("{before}\n[delivery]{}", after.split_once("[delivery]").unwrap().1);
    let result = run(foreign(start(|_, _| Act::Deliver), &dialect, 12, 3));
    assert_eq!(result.verdict.kind, Kind::Valid, "{:?} {:?}", broken(&result), result.counts.errors);
    assert_eq!((result.counts.acked, result.ledger.faults()), (300, 0));
}

#[test]
fn a_server_may_leave_out_the_sender() {
    let dialect = PLAIN.replace("echo = true ", "echo = false ");
    let result = run(foreign(start_with(|_, _| Act::Deliver, false), &dialect, 12, 3));
    assert_eq!(result.verdict.kind, Kind::Valid, "{:?} {:?}", broken(&result), result.counts.errors);
    assert_eq!((result.counts.acked, result.counts.delivered), (300, 300 * 3));
    assert_eq!((result.ledger.delivered, result.ledger.faults()), (330 * 3, 0));
    assert_eq!(result.latency.last_subscriber.count, 300);
}

#[test]
fn what_is_lost_repeated_reordered_or_damaged_is_found_without_sequences() {
    let of = |fate: Fate| run(foreign(start(fate), PLAIN, 2, 1)).ledger;
    let lost = of(|nth, member| if (nth, member) == (100, 1) { Act::Drop } else { Act::Deliver });
    assert_eq!((lost.lost, lost.faults()), (1, 1));
    let all_lost = of(|nth, _| if nth == 330 { Act::Drop } else { Act::Deliver });
    assert_eq!((all_lost.lost, all_lost.faults()), (2, 2), "the last one, to both: its ack tells");
    let twice = of(|nth, member| if (nth, member) == (100, 1) { Act::Twice } else { Act::Deliver });
    assert_eq!((twice.duplicated, twice.faults()), (1, 1));
    let corrupt = of(|nth, member| if (nth, member) == (100, 0) { Act::Corrupt } else { Act::Deliver });
    assert_eq!((corrupt.corrupt, corrupt.lost, corrupt.faults()), (1, 1, 2));
    // Nobody promised anything about the messages of two senders. With one sender every swap is one.
    let swapped =
        run(foreign(start(|nth, _| if nth == 100 { Act::Hold } else { Act::Deliver }), PLAIN, 1, 1));
    assert_eq!((swapped.ledger.reordered, swapped.ledger.faults()), (1, 1));
    let others = of(|nth, member| if (nth, member) == (100, 1) { Act::Hold } else { Act::Deliver });
    assert_eq!(others.faults(), 0, "of another sender");
}

#[test]
fn what_a_dialect_cannot_do_is_said() {
    let mut stormy = foreign(start(|_, _| Act::Deliver), PLAIN, 2, 1);
    stormy.churn = Churn { tokens: vec![String::new()], per_s: 1.0, storm: None };
    let error = generate(stormy, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("dialect"), "{error}");
}

const SERVER: &str = r#"
const { Server } = require("socket.io");
const http = require("http").createServer();
const io = new Server(http, { pingInterval: 200, pingTimeout: 2000 });
io.on("connection", (socket) => {
  socket.on("join", (room, done) => { socket.join(room); done(); });
  socket.on("say", (message, done) => {
    (process.env.ECHO === "no" ? socket : io).to(message.room).emit("said", message);
    done();
  });
});
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
process.stdin.on("end", () => process.exit(0)).resume();
"#;

struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A Socket.IO server from npm; none, and a word about it, where there is no Node.js or no registry.
fn socketio(folder: &Path, echo: &str) -> Option<(Node, SocketAddr)> {
    let npm = Command::new("npm")
        .args(["install", "--silent", "--no-audit", "--no-fund", "--prefer-offline", "socket.io@4"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output();
    match npm {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            println!("SKIPPED: npm install socket.io: {}", String::from_utf8_lossy(&output.stderr).trim());
            return None;
        }
        Err(error) => {
            println!("SKIPPED: Socket.IO needs Node.js and npm: {error}");
            return None;
        }
    }
    let mut child = Command::new("node")
        .args(["-e", SERVER])
        .current_dir(folder)
        .env("ECHO", echo)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut port = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut port)
        .unwrap();
    let address = format!("127.0.0.1:{}", port.trim()).parse().unwrap();
    Some((Node(child), address))
}

#[test]
fn a_real_socket_io_server_is_loaded_through_its_pings() {
    let folder = tempfile::tempdir().unwrap();
    for (echo, reached) in [("yes", 4), ("no", 3)] {
        let Some((node, address)) = socketio(folder.path(), echo) else { return };
        let dialect = SOCKETIO.replace("echo = true ", &format!("echo = {} ", echo == "yes"));
        let mut plan = foreign(address, &dialect, 12, 3);
        plan.server_pids = vec![node.0.id()];
        // Long enough for several pings, of which an unanswered one would end the connection.
        plan.schedule.duration_ns = Duration::from_secs(3).as_nanos() as u64;
        let result = run(plan);
        assert_eq!(result.verdict.kind, Kind::Valid, "{:?} {:?}", broken(&result), result.counts.errors);
        assert_eq!((result.counts.acked, result.counts.delivered), (900, 900 * reached));
        assert_eq!((result.counts.disconnects, result.ledger.faults()), (0, 0));
        assert!(result.resources.server.is_some());
    }
}
