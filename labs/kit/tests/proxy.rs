//! The tracing proxy on real servers, with clients that know nothing of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use chatlab_kit::budget::round_trips;
use chatlab_kit::prereq::find_server;
use chatlab_kit::proxy::{CONNECTIONS_MAX, Cut, FRAME_BYTES_MAX, Proxy};
use chatlab_kit::redis::{ClientKind, Redis, RedisConfig, TraceEntry};
use chatlab_kit::servers::{Managed, ServerOptions, Topology};
use redis::{AsyncCommands, RedisResult, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a test waits for anything before it fails.
const BOUND: Duration = Duration::from_secs(20);

fn shared(topology: Topology) -> &'static Managed {
    static SINGLE: OnceLock<Managed> = OnceLock::new();
    static CLUSTER: OnceLock<Managed> = OnceLock::new();
    let cell = match topology {
        Topology::Single => &SINGLE,
        Topology::Cluster => &CLUSTER,
    };
    let start = || Managed::start(topology, &find_server(None).unwrap(), &ServerOptions::default()).unwrap();
    cell.get_or_init(start)
}

async fn proxy(topology: Topology) -> Proxy {
    Proxy::start(topology, &shared(topology).addrs()).await.unwrap()
}

/// A key that no other test uses.
fn key(text: &str) -> String {
    format!("{text}:{}", uuid::Uuid::now_v7().simple())
}

fn verbs(entries: &[TraceEntry]) -> Vec<String> {
    entries.iter().map(|entry| entry.command[0].to_ascii_uppercase()).collect()
}

/// A client that is nothing but a socket.
struct Raw(TcpStream);

impl Raw {
    async fn connect(proxy: &Proxy) -> Self {
        Self(TcpStream::connect(&proxy.addrs()[0]).await.unwrap())
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    async fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let mut read = vec![0; bytes.len()];
        timeout(BOUND, self.0.read_exact(&mut read)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&read), String::from_utf8_lossy(bytes));
    }

    async fn ask(&mut self, request: &str, reply: &str) {
        self.send(request).await;
        self.expect(reply).await;
    }

    /// Waits until the other side has closed.
    async fn closed(&mut self) {
        let read = timeout(BOUND, self.0.read(&mut [0; 100])).await.unwrap();
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_replies_and_pipelines_are_recorded() {
    let proxy = proxy(Topology::Single).await;
    for client in ClientKind::available() {
        let config = RedisConfig::new(Topology::Single, proxy.addrs()).with_client(*client);
        let mut redis = Redis::connect(&config).await.unwrap();
        proxy.trace().clear();
        let k = key("k");
        let () = redis.set(&k, "a b").await.unwrap();
        let _: RedisResult<Value> = redis.lpush(&k, 1).await;
        let mut pipe = redis::pipe();
        for n in 0..2_000 {
            pipe.set(format!("{k}:{n}"), n).ignore();
        }
        let () = pipe.query_async(&mut redis).await.unwrap();
        let (a, b): (i64, i64) = redis::pipe()
            .atomic()
            .incr(format!("{k}:1"), 1)
            .incr(format!("{k}:2"), 1)
            .query_async(&mut redis)
            .await
            .unwrap();
        assert_eq!((a, b), (2, 3));
        let entries = proxy.trace().entries();
        assert_eq!(entries[0].command, ["SET", &k, "a b"]);
        assert_eq!((entries[0].reply.as_str(), entries[0].bytes_in), ("OK", 5));
        assert_eq!(entries[0].bytes_out, 29 + k.len() as u64);
        assert!(entries[1].error && entries[1].reply.starts_with("(error) WRONGTYPE"), "{}", entries[1]);
        assert_eq!(verbs(&entries[2_002..]), ["MULTI", "INCRBY", "INCRBY", "EXEC"]);
        assert_eq!(entries[2_003].reply, "QUEUED");
        assert_eq!(entries[2_005].reply, "[(integer) 2, (integer) 3]");
        if *client == ClientKind::RedisRs {
            assert_eq!(round_trips(&entries), 4, "two commands, one pipeline, one transaction");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_client_that_speaks_the_protocol_gets_through() {
    let proxy = proxy(Topology::Single).await;
    let mut raw = Raw::connect(&proxy).await;
    let k = key("k");
    raw.ask(&format!("SET {k} 'in line'\r\nGET {k}\r\n"), "+OK\r\n$7\r\nin line\r\n").await;
    // Byte by byte, and no round trip in between.
    for byte in format!("*2\r\n$3\r\nGET\r\n${}\r\n{k}\r\n", k.len()).as_bytes() {
        raw.send([*byte]).await;
    }
    raw.expect("$7\r\nin line\r\n").await;
    raw.ask("CLIENT REPLY OFF\r\nPING\r\nCLIENT REPLY ON\r\n", "+OK\r\n").await;
    raw.ask("CLIENT REPLY SKIP\r\nPING\r\nPING\r\n", "+PONG\r\n").await;
    raw.ask("*1\r\n$4\r\nQUIT\r\n", "+OK\r\n").await;
    raw.closed().await;
    let entries = proxy.trace().entries();
    assert_eq!(entries[0].command, ["SET", &k, "in line"]);
    let unanswered = entries.iter().filter(|entry| entry.reply == "(no reply wanted)").count();
    assert_eq!(unanswered, 4);
    let trips: Vec<_> = entries.iter().map(|entry| entry.round_trip).collect();
    assert_eq!((trips[0], trips[1], trips[2]), (0, 0, 1));
    // What is no RESP: the server says so and closes, as without the proxy.
    let mut raw = Raw::connect(&proxy).await;
    raw.send("*x\r\n").await;
    raw.expect("-ERR Protocol error: invalid multibulk length\r\n").await;
    raw.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resp3_and_large_values_pass_unchanged() {
    let proxy = proxy(Topology::Single).await;
    let mut raw = Raw::connect(&proxy).await;
    raw.send("HELLO 3\r\n").await;
    raw.expect("%7\r\n$6\r\nserver\r\n").await;
    let k = key("k");
    raw.send(format!("DEL {k}\r\n")).await;
    let mut head = vec![0; 1_000];
    // The rest of the greeting, whatever it says, ends with DEL's answer.
    let mut seen = Vec::new();
    while !seen.ends_with(b":0\r\n") || !seen.windows(7).any(|w| w == b"modules") {
        let read = timeout(BOUND, raw.0.read(&mut head)).await.unwrap().unwrap();
        seen.extend_from_slice(&head[..read]);
    }
    raw.ask(&format!("HSET {k} f v\r\nHGETALL {k}\r\n"), ":1\r\n%1\r\n$1\r\nf\r\n$1\r\nv\r\n").await;
    raw.ask(
        &format!("SUBSCRIBE {k}\r\n"),
        &format!(">3\r\n$9\r\nsubscribe\r\n${}\r\n{k}\r\n:1\r\n", k.len()),
    )
    .await;
    let push = format!(">3\r\n$7\r\nmessage\r\n${}\r\n{k}\r\n$2\r\nhi\r\n", k.len());
    // Published by the subscriber itself: the message comes before the reply.
    raw.ask(&format!("PUBLISH {k} hi\r\n"), &format!("{push}:1\r\n")).await;
    let value = "x".repeat(3 * FRAME_BYTES_MAX);
    raw.ask(&format!("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n${}\r\n{value}\r\n", value.len()), "+OK\r\n").await;
    raw.ask("GET big\r\n", &format!("${}\r\n{value}\r\n", value.len())).await;
    let entries = proxy.trace().entries();
    let hash = entries.iter().find(|entry| entry.command[0] == "HGETALL").unwrap();
    assert_eq!(hash.reply, "{\"f\" => \"v\"}");
    let message = entries.iter().find(|entry| entry.push).unwrap();
    assert_eq!((message.command[2].as_str(), message.reply.as_str()), (k.as_str(), "\"hi\""));
    let big = entries.last().unwrap();
    assert!(big.reply.ends_with("x…\"") && big.bytes_in > value.len() as u64, "{big}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_are_answered_channel_by_channel_and_messages_stand_apart() {
    let proxy = proxy(Topology::Single).await;
    let (mut reader, mut writer) = (Raw::connect(&proxy).await, Raw::connect(&proxy).await);
    reader
        .ask(
            "SUBSCRIBE a b\r\n",
            "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n",
        )
        .await;
    reader.ask("PSUBSCRIBE a*\r\n", "*3\r\n$10\r\npsubscribe\r\n$2\r\na*\r\n:3\r\n").await;
    writer.ask("PUBLISH a one\r\n", ":2\r\n").await;
    reader.expect("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$3\r\none\r\n*4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$1\r\na\r\n$3\r\none\r\n").await;
    reader.ask("PING\r\n", "*2\r\n$4\r\npong\r\n$0\r\n\r\n").await;
    reader.send("UNSUBSCRIBE\r\nPUNSUBSCRIBE\r\nGET none\r\n").await;
    let mut rest = vec![0; 400];
    let mut seen = Vec::new();
    while !seen.ends_with(b"$-1\r\n") {
        let read = timeout(BOUND, reader.0.read(&mut rest)).await.unwrap().unwrap();
        seen.extend_from_slice(&rest[..read]);
    }
    let entries: Vec<_> = proxy.trace().entries().into_iter().filter(|entry| entry.conn == "c1").collect();
    assert_eq!(
        verbs(&entries),
        ["SUBSCRIBE", "PSUBSCRIBE", "(PUSH)", "(PUSH)", "PING", "UNSUBSCRIBE", "PUNSUBSCRIBE", "GET"]
    );
    assert_eq!(entries[3].command, ["(push)", "pmessage", "a*", "a"]);
    assert_eq!(entries[5].reply.matches("unsubscribe").count(), 2);
    assert_eq!(entries[7].reply, "(nil)");
    assert_eq!(round_trips(&entries), 4, "messages are no round trips");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_command_is_seen_before_its_reply() {
    let proxy = proxy(Topology::Single).await;
    let (mut worker, mut producer) = (Raw::connect(&proxy).await, Raw::connect(&proxy).await);
    let q = key("q");
    worker.send(format!("BLPOP {q} 0\r\n")).await;
    let mut changes = proxy.changes();
    while proxy.trace().waiting().is_empty() {
        timeout(BOUND, changes.changed()).await.unwrap().unwrap();
    }
    assert_eq!(
        proxy.trace().waiting(),
        [("c1".to_owned(), vec!["BLPOP".to_owned(), q.clone(), "0".to_owned()])]
    );
    producer.ask(&format!("RPUSH {q} job\r\n"), ":1\r\n").await;
    worker.expect(format!("*2\r\n${}\r\n{q}\r\n$3\r\njob\r\n", q.len())).await;
    assert!(proxy.trace().waiting().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn added_latency_is_paid_once_a_round_trip_and_can_change() {
    let proxy = proxy(Topology::Single).await;
    let mut raw = Raw::connect(&proxy).await;
    let added = Duration::from_millis(100);
    proxy.set_latency(added);
    let began = Instant::now();
    raw.ask(&"PING\r\n".repeat(50), &"+PONG\r\n".repeat(50)).await;
    let pipelined = began.elapsed();
    assert!(pipelined >= added);
    assert!(pipelined < added * 50, "each command paid on its own: {pipelined:?}");
    let began = Instant::now();
    for _ in 0..3 {
        raw.ask("PING\r\n", "+PONG\r\n").await;
    }
    assert!(began.elapsed() >= added * 3);
    assert!(proxy.trace().entries().iter().all(|entry| entry.took_us >= 100_000));
    proxy.set_latency(Duration::ZERO);
    proxy.trace().clear();
    raw.ask("SET order 1\r\nGET order\r\n", "+OK\r\n$1\r\n1\r\n").await;
    assert_eq!(verbs(&proxy.trace().entries()), ["SET", "GET"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_close_subscribers_or_everyone() {
    let proxy = proxy(Topology::Single).await;
    let (mut reader, mut other) = (Raw::connect(&proxy).await, Raw::connect(&proxy).await);
    reader.ask("SUBSCRIBE a\r\n", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n").await;
    other.ask("PING\r\n", "+PONG\r\n").await;
    assert_eq!(proxy.cut(Cut::Subscribers), 1);
    reader.closed().await;
    other.ask("PING\r\n", "+PONG\r\n").await;
    other.send("BLPOP none 0\r\n").await;
    let mut changes = proxy.changes();
    while proxy.trace().waiting().is_empty() {
        timeout(BOUND, changes.changed()).await.unwrap().unwrap();
    }
    assert_eq!(proxy.cut(Cut::All), 1);
    other.closed().await;
    while !proxy.trace().waiting().is_empty() {
        timeout(BOUND, changes.changed()).await.unwrap().unwrap();
    }
    let last = proxy.trace().entries().pop().unwrap();
    assert!(last.error && last.reply.contains("closed"), "{last}");
    assert_eq!(proxy.cut(Cut::All), 0);
    // A client that comes back gets on; the proxy's end closes it.
    let mut again = Raw::connect(&proxy).await;
    again.ask("PING\r\n", "+PONG\r\n").await;
    let addr = proxy.addrs()[0].clone();
    drop(proxy);
    again.closed().await;
    let gone = async {
        while TcpStream::connect(&addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, gone).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_drives_two_clients_into_the_race() {
    let proxy = proxy(Topology::Single).await;
    let (mut one, mut two) = (Raw::connect(&proxy).await, Raw::connect(&proxy).await);
    let k = key("counter");
    one.ask(&format!("SET {k} 0\r\n"), "+OK\r\n").await;
    two.ask("PING\r\n", "+PONG\r\n").await;
    let gate = proxy.hold();
    one.send(format!("GET {k}\r\nSET {k} 1\r\n")).await;
    two.send(format!("GET {k}\r\nSET {k} 1\r\n")).await;
    let mut steps = Vec::new();
    for conn in ["c1", "c2", "c1", "c2"] {
        let command = timeout(BOUND, gate.step(conn)).await.unwrap();
        steps.push(format!("{conn} {}", command[0]));
    }
    assert_eq!(steps, ["c1 GET", "c2 GET", "c1 SET", "c2 SET"]);
    for raw in [&mut one, &mut two] {
        raw.expect("$1\r\n0\r\n+OK\r\n").await;
    }
    // Both counted, and one of them is lost; the gate open, all goes by itself.
    one.send(format!("GET {k}\r\n")).await;
    let mut changes = proxy.changes();
    while gate.waiting().is_empty() {
        timeout(BOUND, changes.changed()).await.unwrap().unwrap();
    }
    assert!(!gate.release("c2") && gate.release("c1"));
    one.expect("$1\r\n1\r\n").await;
    one.send("PING\r\n").await;
    gate.open();
    one.expect("+PONG\r\n").await;
    two.ask("PING\r\n", "+PONG\r\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_clients_are_led_back_into_the_proxy() {
    let topology = Topology::Cluster;
    // One node is enough to find the others.
    let proxy = Proxy::start(topology, &shared(topology).addrs()[..1]).await.unwrap();
    assert_eq!(proxy.addrs().len(), 6);
    for client in ClientKind::available() {
        let config = RedisConfig::new(topology, proxy.addrs()[..1].to_vec()).with_client(*client);
        let mut redis = Redis::connect(&config).await.unwrap();
        for addr in redis.slot_owners().await.unwrap().nodes() {
            assert!(proxy.addrs().contains(&addr), "{addr} is past the proxy");
        }
        proxy.trace().clear();
        let keys: Vec<_> = (0..30).map(|_| key("k")).collect();
        for key in &keys {
            let () = redis.set(key, 1).await.unwrap();
        }
        let entries = proxy.trace().entries();
        let sets: Vec<_> =
            entries.iter().filter(|entry| entry.command[0].eq_ignore_ascii_case("SET")).collect();
        assert_eq!(sets.len(), keys.len(), "{client}: every command, none redirected");
        let nodes: std::collections::HashSet<_> = sets.iter().map(|entry| &entry.node).collect();
        assert_eq!(nodes.len(), 3);
        assert!(nodes.iter().all(|node| proxy.addrs().contains(node)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_and_lists_of_nodes_name_the_proxy() {
    let topology = Topology::Cluster;
    let proxy = proxy(topology).await;
    let real = shared(topology).addrs();
    let mut raw = Raw::connect(&proxy).await;
    for proto in ["2", "3"] {
        raw.send(format!(
            "HELLO {proto}\r\nCLUSTER SLOTS\r\nCLUSTER SHARDS\r\nCLUSTER NODES\r\nCLUSTER REPLICAS {}\r\nGET foo\r\nGET bar\r\nGET hello\r\nECHO done\r\n",
            node_id(&real[0]).await
        ))
        .await;
        let mut seen = Vec::new();
        let mut part = vec![0; 10_000];
        while !seen.ends_with(b"$4\r\ndone\r\n") {
            let read = timeout(BOUND, raw.0.read(&mut part)).await.unwrap().unwrap();
            seen.extend_from_slice(&part[..read]);
        }
        let text = String::from_utf8_lossy(&seen);
        assert!(text.contains("MOVED"), "three keys on three nodes");
        for addr in &real {
            let port = addr.rsplit_once(':').unwrap().1;
            assert!(
                !text.contains(&format!(":{port}\r\n")) && !text.contains(&format!("{addr}@")),
                "{port} in {text}"
            );
        }
        // CLUSTER SLOTS leaves out replicas whose master has not written yet.
        for addr in proxy.addrs() {
            let port = addr.rsplit_once(':').unwrap().1.to_owned();
            assert!(text.matches(&format!(":{port}")).count() >= 2, "{port} in {text}");
        }
    }
}

async fn node_id(addr: &str) -> String {
    let client = redis::Client::open(format!("redis://{addr}")).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("CLUSTER").arg("MYID").query_async(&mut connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sharded_messages_and_the_end_of_a_slot_pass() {
    let proxy = proxy(Topology::Cluster).await;
    let mut raws = Vec::new();
    for addr in &proxy.addrs()[..3] {
        raws.push(Raw(TcpStream::connect(addr).await.unwrap()));
    }
    let mut subscribed = 0;
    for raw in &mut raws {
        raw.send("SSUBSCRIBE room\r\n").await;
        let mut sigil = [0; 1];
        timeout(BOUND, raw.0.read_exact(&mut sigil)).await.unwrap().unwrap();
        if &sigil == b"*" {
            subscribed += 1;
            raw.expect("3\r\n$10\r\nssubscribe\r\n$4\r\nroom\r\n:1\r\n").await;
            raw.ask("SUNSUBSCRIBE\r\n", "*3\r\n$12\r\nsunsubscribe\r\n$4\r\nroom\r\n:0\r\n").await;
        }
    }
    assert_eq!(subscribed, 1, "the others answered MOVED");
    let entries = proxy.trace().entries();
    assert_eq!(entries.iter().filter(|entry| entry.reply.contains("MOVED")).count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_and_too_many_clients_are_refused() {
    let binary = find_server(None).unwrap();
    let managed = Managed::start_async(Topology::Single, &binary, &ServerOptions::default()).await.unwrap();
    let proxy = Proxy::start(Topology::Single, &managed.addrs()).await.unwrap();
    let mut raws = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        raws.push(Raw::connect(&proxy).await);
    }
    for raw in &mut raws {
        raw.ask("PING\r\n", "+PONG\r\n").await;
    }
    Raw::connect(&proxy).await.closed().await;
    managed.kill_node(0).unwrap();
    for raw in &mut raws {
        raw.closed().await;
    }
    Raw::connect(&proxy).await.closed().await;
    assert!(Proxy::start(Topology::Single, &managed.addrs()).await.is_err());
}
