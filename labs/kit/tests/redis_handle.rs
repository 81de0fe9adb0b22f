//! The Redis handle on real servers: the same commands, replies and errors whichever client and
//! topology are underneath.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chatlab_kit::prereq::find_server;
use chatlab_kit::redis::{ClientKind, CutAfter, Redis, RedisConfig, Stepper, Trace};
use chatlab_kit::servers::{Managed, ServerOptions, Topology};
use redis::{AsyncCommands, RedisError, RedisResult, Value};

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

fn config(topology: Topology, client: ClientKind) -> RedisConfig {
    RedisConfig::new(topology, shared(topology).addrs()).with_client(client)
}

/// Every client on every topology.
async fn handles() -> Vec<Redis> {
    let mut handles = Vec::new();
    for topology in Topology::ALL {
        for client in ClientKind::available() {
            handles.push(Redis::connect(&config(topology, *client)).await.unwrap());
        }
    }
    handles
}

/// A key that no other test uses, with a hash tag.
fn key(text: &str) -> String {
    format!("{{{}}}:{text}", uuid::Uuid::now_v7().simple())
}

fn what(redis: &Redis) -> String {
    format!("{} {}", redis.client(), redis.topology())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_and_replies_are_the_same_everywhere() {
    for mut redis in handles().await {
        let what = what(&redis);
        let (text, hash, set, stream) = (key("s"), key("h"), key("z"), key("x"));
        let () = redis.set(&text, b"\x00\xffbytes".as_slice()).await.unwrap();
        let bytes: Vec<u8> = redis.get(&text).await.unwrap();
        assert_eq!(bytes, b"\x00\xffbytes", "{what}");
        let none: Option<String> = redis.get(key("none")).await.unwrap();
        assert_eq!(none, None);
        let added: i64 = redis.hset_multiple(&hash, &[("a", "1"), ("b", "2")]).await.map(|(): ()| 2).unwrap();
        assert_eq!(added, 2);
        let all: HashMap<String, i64> = redis.hgetall(&hash).await.unwrap();
        assert_eq!(all["b"], 2, "{what}");
        let () = redis.zadd(&set, "m", 1.5).await.unwrap();
        let score: f64 = redis.zscore(&set, "m").await.unwrap();
        assert!((score - 1.5).abs() < f64::EPSILON, "{what}");
        let id: String = redis.xadd(&stream, "*", &[("f", "v")]).await.unwrap();
        let read: Value =
            redis::cmd("XREAD").arg("STREAMS").arg(&stream).arg("0").query_async(&mut redis).await.unwrap();
        assert!(format!("{read:?}").contains(&id), "{what}: {read:?}");
        let pong: String = redis::cmd("PING").query_async(&mut redis).await.unwrap();
        assert_eq!(pong, "PONG", "{what}");
        let raw: Value = redis::cmd("SET").arg(&text).arg("x").query_async(&mut redis).await.unwrap();
        assert_eq!(raw, Value::Okay, "{what}");
        let nested: Value = redis::cmd("EVAL")
            .arg("return {1, {'two', false}}")
            .arg(0)
            .query_async(&mut redis)
            .await
            .unwrap();
        let inner = Value::Array(vec![Value::BulkString(b"two".to_vec()), Value::Nil]);
        assert_eq!(nested, Value::Array(vec![Value::Int(1), inner]), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelines_and_transactions_are_the_same_everywhere() {
    for mut redis in handles().await {
        let what = what(&redis);
        let (list, other) = (key("l"), key("o"));
        let mut pipe = redis::pipe();
        pipe.rpush(&list, "a").rpush(&list, "b").ignore().lrange(&list, 0, -1);
        let (pushed, items): (i64, Vec<String>) = pipe.query_async(&mut redis).await.unwrap();
        assert_eq!((pushed, items), (1, vec!["a".into(), "b".into()]), "{what}");
        let mut atomic = redis::pipe();
        atomic.atomic().incr(&other, 5).incr(&other, 5).get(&other);
        let (five, ten, text): (i64, i64, String) = atomic.query_async(&mut redis).await.unwrap();
        assert_eq!((five, ten, text.as_str()), (5, 10, "10"), "{what}");
        let empty: RedisResult<()> = redis::pipe().query_async(&mut redis).await;
        assert!(empty.unwrap_err().to_string().contains("empty command"), "{what}");
    }
}

fn code(error: &RedisError) -> &str {
    error.code().unwrap_or("none")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_errors_keep_their_codes_and_do_not_poison_the_connection() {
    for mut redis in handles().await {
        let what = what(&redis);
        let text = key("s");
        let () = redis.set(&text, "x").await.unwrap();
        let wrong: RedisResult<i64> = redis.lpush(&text, "y").await;
        assert_eq!(code(&wrong.unwrap_err()), "WRONGTYPE", "{what}");
        let sha = "0".repeat(40);
        let noscript: RedisResult<i64> =
            redis::cmd("EVALSHA").arg(&sha).arg(1).arg(&text).query_async(&mut redis).await;
        assert_eq!(code(&noscript.unwrap_err()), "NOSCRIPT", "{what}");
        let own: RedisResult<i64> = redis::cmd("EVAL")
            .arg("return redis.error_reply('BANNED not now')")
            .arg(1)
            .arg(&text)
            .query_async(&mut redis)
            .await;
        assert_eq!(code(&own.unwrap_err()), "BANNED", "{what}");
        let mut pipe = redis::pipe();
        pipe.ignore_errors().get(&text).lpush(&text, "y").get(&text);
        let each: Vec<RedisResult<String>> = pipe.query_async(&mut redis).await.unwrap();
        assert!(each[0].is_ok() && each[2].is_ok(), "{what}: {each:?}");
        assert_eq!(code(each[1].as_ref().unwrap_err()), "WRONGTYPE", "{what}");
        let mut atomic = redis::pipe();
        atomic.atomic().set(&text, "z").lpush(&text, "y");
        assert!(atomic.query_async::<Value>(&mut redis).await.is_err(), "{what}");
        assert_eq!(redis.get::<_, String>(&text).await.unwrap(), "z", "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_loads_itself_where_its_key_is() {
    for mut redis in handles().await {
        let script = redis::Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
        for _ in 0..5 {
            let counter = key("c");
            let one: i64 = script.key(&counter).arg(3).invoke_async(&mut redis).await.unwrap();
            assert_eq!(one, 3, "{}", what(&redis));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_all_slots_are_reached() {
    for mut redis in handles().await {
        let keys: Vec<_> = (0..100).map(|_| key("slot")).collect();
        for (number, key) in keys.iter().enumerate() {
            let () = redis.set(key, number).await.unwrap();
        }
        for (number, key) in keys.iter().enumerate() {
            assert_eq!(redis.get::<_, usize>(key).await.unwrap(), number, "{}", what(&redis));
        }
        let size: i64 = redis::cmd("DBSIZE").query_async(&mut redis).await.unwrap();
        assert!(size >= 100, "{}: {size}", what(&redis));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_callers_get_their_own_replies() {
    for redis in handles().await {
        let mut tasks = tokio::task::JoinSet::new();
        for caller in 0..50 {
            let mut redis = redis.clone();
            tasks.spawn(async move {
                let key = key("own");
                for round in 0..50 {
                    let value = format!("{caller}:{round}");
                    let () = redis.set(&key, &value).await.unwrap();
                    assert_eq!(redis.get::<_, String>(&key).await.unwrap(), value);
                }
            });
        }
        tasks.join_all().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_known_and_each_can_be_asked() {
    for redis in handles().await {
        let masters = redis.topology().master_count();
        assert_eq!(redis.primaries().await.unwrap().len(), masters);
        let nodes = redis.each_node().await.unwrap();
        assert_eq!(nodes.len(), redis.topology().node_count());
        for (node, mut connection) in nodes {
            let time: (u64, u64) = redis::cmd("TIME").query_async(&mut connection).await.unwrap();
            assert!(time.0 > 0, "{node}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_shows_commands_replies_and_round_trips() {
    for redis in handles().await {
        let (mut traced, trace) = redis.traced();
        let (text, other) = (key("s"), key("o"));
        let () = traced.set(&text, "hello").await.unwrap();
        let _: RedisResult<i64> = traced.lpush(&text, "x").await;
        let mut pipe = redis::pipe();
        pipe.atomic().incr(&other, 1).ttl(&other);
        let (_, _): (i64, i64) = pipe.query_async(&mut traced).await.unwrap();
        let mut untraced = redis.clone();
        let () = untraced.set(&text, "unseen").await.unwrap();
        let entries = trace.entries();
        let verbs: Vec<_> = entries.iter().map(|entry| entry.command[0].as_str()).collect();
        assert_eq!(verbs, ["SET", "LPUSH", "MULTI", "INCRBY", "TTL", "EXEC"]);
        let trips: Vec<_> = entries.iter().map(|entry| entry.round_trip).collect();
        assert_eq!(trips, [0, 1, 2, 2, 2, 2]);
        assert_eq!(trace.round_trips(), 3);
        assert_eq!(entries[0].reply, "OK");
        assert!(entries[1].error && entries[1].reply.contains("WRONGTYPE"), "{}", entries[1]);
        assert_eq!((entries[3].reply.as_str(), entries[4].reply.as_str()), ("(integer) 1", "(integer) -1"));
        assert!(entries[0].to_string().contains(&format!("SET {text} hello  → OK")), "{}", entries[0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_client_sends_nothing_more() {
    for redis in handles().await {
        let counter = key("c");
        let mut cut = redis.hooked(Arc::new(CutAfter { n: 3 }));
        for _ in 0..3 {
            let _: i64 = cut.incr(&counter, 1).await.unwrap();
        }
        for _ in 0..2 {
            let gone: RedisError = cut.incr::<_, _, i64>(&counter, 1).await.unwrap_err();
            assert!(gone.is_io_error(), "{gone}");
        }
        assert_eq!(redis.clone().get::<_, i64>(&counter).await.unwrap(), 3);
    }
}

/// Reads, adds one, writes: loses an update when two do it at once.
async fn add_one(mut redis: Redis, key: String) {
    let value: Option<i64> = redis.get(&key).await.unwrap();
    let () = redis.set(&key, value.unwrap_or(0) + 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stepped_clients_run_into_the_lost_update_every_time() {
    for redis in handles().await {
        let counter = key("race");
        let trace = Trace::new();
        let (left, right) = (Stepper::new(), Stepper::new());
        let one =
            tokio::spawn(add_one(redis.traced_into(&trace, "left").hooked(left.clone()), counter.clone()));
        let two =
            tokio::spawn(add_one(redis.traced_into(&trace, "right").hooked(right.clone()), counter.clone()));
        let drive = async {
            assert_eq!(left.step().await[0], "GET");
            assert_eq!(right.step().await[0], "GET");
            assert_eq!(left.waiting().await, ["SET", counter.as_str(), "1"]);
            left.step().await;
            right.step().await;
        };
        tokio::time::timeout(BOUND, drive).await.expect("a step hangs");
        one.await.unwrap();
        two.await.unwrap();
        assert_eq!(redis.clone().get::<_, i64>(&counter).await.unwrap(), 1, "an update is lost");
        let order: Vec<_> = trace.entries().into_iter().map(|entry| entry.conn).collect();
        assert_eq!(order, ["left", "right", "left", "right"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stepped_client_can_crash_between_two_commands_or_run_free() {
    let redis = Redis::connect(&config(Topology::Single, ClientKind::RedisRs)).await.unwrap();
    let counter = key("crash");
    let stepper = Stepper::new();
    let mut held = redis.hooked(stepper.clone());
    let task = tokio::spawn({
        let (mut held, counter) = (held.clone(), counter.clone());
        async move {
            let _: i64 = held.incr(&counter, 1).await.unwrap();
            held.incr::<_, _, i64>(&counter, 1).await
        }
    });
    tokio::time::timeout(BOUND, stepper.step()).await.unwrap();
    tokio::time::timeout(BOUND, stepper.waiting()).await.unwrap();
    assert!(stepper.crash());
    assert!(task.await.unwrap().unwrap_err().is_io_error());
    assert!(!stepper.release());
    stepper.open();
    let value: i64 = held.incr(&counter, 1).await.unwrap();
    assert_eq!(value, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handle_works_again_after_its_server_restarted() {
    for client in ClientKind::available() {
        let binary = find_server(None).unwrap();
        let managed = Managed::start(Topology::Single, &binary, &ServerOptions::default()).unwrap();
        let config = RedisConfig::new(Topology::Single, managed.addrs()).with_client(*client);
        let mut redis = Redis::connect(&config).await.unwrap();
        let () = redis.set("k", 1).await.unwrap();
        managed.kill_node(0).unwrap();
        managed.restart_node(0).unwrap();
        let start = std::time::Instant::now();
        while redis.set::<_, _, ()>("k", 2).await.is_err() {
            assert!(start.elapsed() < BOUND, "{client}");
            // A poll, bounded by `BOUND`.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_on_after_a_failover_with_either_client() {
    for client in ClientKind::available() {
        let binary = find_server(None).unwrap();
        let managed = Managed::start(Topology::Cluster, &binary, &ServerOptions::default()).unwrap();
        let config = RedisConfig::new(Topology::Cluster, managed.addrs()).with_client(*client);
        let mut redis = Redis::connect(&config).await.unwrap();
        let keys: Vec<_> = (0..30).map(|_| key("k")).collect();
        managed.kill_node(0).unwrap();
        let start = std::time::Instant::now();
        for key in &keys {
            while redis.set::<_, _, ()>(key, 1).await.is_err() {
                assert!(start.elapsed() < BOUND, "{client}");
                // A poll, bounded by `BOUND`.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        println!("{client}: all {} keys written {:?} after kill -9", keys.len(), start.elapsed());
        assert_eq!(redis.primaries().await.unwrap().len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_work_says_why() {
    let nobody = RedisConfig::new(Topology::Single, vec!["127.0.0.1:1".into()]).with_connect_timeout_ms(200);
    for client in ClientKind::available() {
        let refused = Redis::connect(&nobody.clone().with_client(*client)).await;
        println!("{client}: {}", refused.unwrap_err());
    }
    let empty = RedisConfig::new(Topology::Single, vec![]);
    assert!(Redis::connect(&empty).await.unwrap_err().to_string().contains("no Redis address"));
}

/// Nanoseconds a command, one after the other.
async fn pace(connection: &mut impl redis::aio::ConnectionLike) -> f64 {
    const COMMANDS: u32 = 1_000;
    let mut command = redis::cmd("GET");
    command.arg("pace");
    let start = std::time::Instant::now();
    for _ in 0..COMMANDS {
        let _: Value = command.query_async(connection).await.unwrap();
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(COMMANDS)
}

/// Run it alone: `cargo test --release -p chatlab-kit --test redis_handle -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: the numbers mean something on a quiet machine only"]
async fn the_handle_costs_no_more_than_three_percent() {
    const ROUNDS: usize = 60;
    let config = config(Topology::Single, ClientKind::RedisRs);
    let mut handle = Redis::connect(&config).await.unwrap();
    let (host, port) = config.nodes[0].split_once(':').unwrap();
    let info = redis::IntoConnectionInfo::into_connection_info((host, port.parse::<u16>().unwrap()))
        .unwrap()
        .set_tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true));
    let client = redis::Client::open(info).unwrap();
    let mut bare = redis::aio::ConnectionManager::new(client.clone()).await.unwrap();
    let mut twin = redis::aio::ConnectionManager::new(client).await.unwrap();
    let (mut handles, mut bares, mut twins) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bares.push(pace(&mut bare).await);
        handles.push(pace(&mut handle).await);
        twins.push(pace(&mut twin).await);
    }
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (handle, bare, twin) = (median(handles), median(bares), median(twins));
    println!(
        "bare {bare:.0} ns, handle {handle:.0} ns ({:+.2} %), bare again {twin:.0} ns ({:+.2} %)",
        (handle / bare - 1.0) * 100.0,
        (twin / bare - 1.0) * 100.0
    );
    assert!(handle / bare.max(twin) < 1.03);
}
