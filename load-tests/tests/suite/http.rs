//! The driver `http` against a server that counts: what was planned must be what arrived.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use chatlab_load::{
    http_load::{HttpPlan, HttpTarget, generate},
    report,
    result::RunResult,
    scenario::Scenario,
    verdict::Kind,
    ws::LoadError,
};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;

use crate::driver::{ONE_AT_A_TIME, patient};

const SCENARIO: &str = r#"
title = "t"
about = "t"
driver = "http"
conns = 4
rate = 400.0
secs = 1
body_bytes = 20
schedule = "constant"
seed = 3
warm_up_ms = 100
settle_ms = 0
drain_ms = 5000
in_flight_cap = 1000
threads = 1
[http]
users = 2
[[http.requests]]
name = "list"
weight = 2
path = "/list/${user}?n=${n}"
headers = { authorization = "Bearer ${token}" }
[[http.requests]]
name = "post"
weight = 1
method = "POST"
path = "/post"
body = '{"text":"${body}"}'
[[http.requests]]
name = "stranger"
weight = 1
path = "/list/0"
expect = [401]
"#;

#[derive(Default)]
struct Seen {
    connections: u64,
    by_what: BTreeMap<String, u64>,
}

type Log = Arc<Mutex<Seen>>;

async fn answer(log: Log, request: Request<Incoming>, close_every: u64) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let token = head.headers.get("authorization").map(|v| v.to_str().unwrap().to_owned());
    let what = match (head.uri.path(), token.as_deref()) {
        ("/list/0", Some("Bearer a")) | ("/list/1", Some("Bearer b")) => "list".to_owned(),
        ("/list/0", None) => "stranger".to_owned(),
        ("/post", None) => format!("{} {body}", head.method),
        other => format!("unexpected {other:?}"),
    };
    let mut seen = log.lock().unwrap();
    *seen.by_what.entry(what.clone()).or_default() += 1;
    let all: u64 = seen.by_what.values().sum();
    let mut response = Response::builder().status(if what == "stranger" { 401 } else { 200 });
    if close_every > 0 && all.is_multiple_of(close_every) {
        response = response.header("connection", "close");
    }
    response.body(Full::new(Bytes::from_static(b"{}"))).unwrap()
}

fn start(close_every: u64) -> (SocketAddr, Log) {
    let (log, listener) = (Log::default(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    listener.set_nonblocking(true).unwrap();
    let (address, seen) = (listener.local_addr().unwrap(), log.clone());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                seen.lock().unwrap().connections += 1;
                let seen = seen.clone();
                let service = service_fn(move |request| {
                    let seen = seen.clone();
                    async move { Ok::<_, std::convert::Infallible>(answer(seen, request, close_every).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
    });
    (address, log)
}

fn run(server: SocketAddr, text: &str) -> Result<RunResult, LoadError> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let target = HttpTarget {
        urls: vec![format!("http://{server}")],
        tokens: vec!["a".into(), "b".into()],
        server_pids: vec![std::process::id()],
        ..HttpTarget::default()
    };
    let mut plan = HttpPlan::new(&Scenario::parse("t", text).unwrap(), target).unwrap();
    plan.run.limits = patient();
    generate(plan, &mut |_| {})
}

#[test]
fn what_was_sent_arrives_over_connections_that_stay_open() {
    let (server, log) = start(0);
    let result = run(server, SCENARIO).unwrap();
    let text = report::terminal(&result);
    println!("{text}");
    let broken: Vec<_> = result.verdict.broken().map(|e| &e.rule).collect();
    assert_eq!(result.verdict.kind, Kind::Valid, "{broken:?} {:?}", result.counts.errors);
    let seen = log.lock().unwrap();
    assert_eq!(seen.connections, 4, "opened once, and kept");
    let post = "POST {\"text\":\"the quick brown fox \"}".to_owned();
    let expected = [("list".to_owned(), 220), (post, 110), ("stranger".to_owned(), 110)];
    assert_eq!(seen.by_what, BTreeMap::from(expected), "400, and 40 before them");
    let statuses: Vec<_> = result.operations.iter().map(|o| o.statuses.clone()).collect();
    let of = |class: &str, n| BTreeMap::from([(class.to_owned(), n)]);
    assert_eq!(statuses, [of("2xx", 220), of("2xx", 110), of("4xx", 110)]);
    assert_eq!(result.config.http.as_ref().unwrap().opened, 4);
    assert!(text.contains("110 × 4xx") && text.contains("server"), "{text}");
}

#[test]
fn closed_connections_are_opened_again_and_wrong_answers_are_counted_by_status() {
    let (server, _) = start(20);
    let result = run(server, &SCENARIO.replace("expect = [401]", "")).unwrap();
    assert_eq!(result.verdict.kind, Kind::Unstable);
    assert_eq!(result.counts.errors, BTreeMap::from([("stranger: status 401".to_owned(), 110)]));
    assert!(result.config.http.unwrap().opened >= 20);
}

#[test]
fn no_server_and_impossible_requests_are_named() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = run(nobody, SCENARIO).unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
    for (from, to, named) in [
        ("path = \"/post\"", "path = \"post\"", "begin with /"),
        ("${token}", "${tokn}", "tokn"),
        ("users = 2", "users = 0", "http.users"),
        ("name = \"post\"", "name = \"list\"", "two of the name list"),
        ("method = \"POST\"", "method = \"P OST\"", "method"),
        ("authorization", "\"a b\"", "a b"),
        ("[http]\nusers = 2", "rooms = 2\n[http]\nusers = 2", "rooms belongs"),
    ] {
        let error = Scenario::parse("t", &SCENARIO.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(named), "{named}: {error}");
    }
}
