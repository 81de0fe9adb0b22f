//! What somebody tries who means harm, and that is not among bad input (`malformed.rs`, `fuzz.rs`) or wrong requests
//! (`authorization.rs`). See docs/SECURITY.md.

use std::time::{Duration, Instant};

use chatlab::harness::Stack;
use chatlab_kit::servers::Topology;
use chatlab_load::http::{HttpClient, Response};
use serde_json::{Value, json};

use crate::common::{options, party, shared};

/// Texts that do something in a page that takes them for HTML.
const SCRIPTS: [&str; 4] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "</textarea><svg/onload=alert(1)>",
];
/// Attempts of each kind whose times are compared.
const ATTEMPTS: usize = 24;

async fn post(http: &HttpClient, path: &str, token: Option<&str>, body: &Value) -> Response {
    let body = serde_json::to_vec(body).unwrap();
    http.request("POST".parse().unwrap(), path, token, Some(body)).await.unwrap()
}

fn json_of(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

/// What the server sends is never a page, whatever is in it.
fn is_data(response: &Response) {
    let kind = response.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("application/problem+json") || kind.starts_with("text/plain"), "{kind}");
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    assert!(response.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
}

async fn texts_that_are_code_for_a_browser_stay_texts(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, _, _) = party(stack, 1).await;
    let ada = &mut clients[0];
    let http = HttpClient::new(&stack.http_url(0));
    for (nth, script) in SCRIPTS.iter().enumerate() {
        let room = ada.create(script).await.unwrap();
        let sent = ada.send(room, &format!("c{nth}"), script).await.unwrap();
        ada.edit(room, &format!("e{nth}"), sent.msg, &format!("{script}{script}")).await.unwrap();
        let page = ada.history(room, None, None).await.unwrap().messages;
        assert_eq!(
            page[0].draft.body,
            format!("{script}{script}"),
            "nothing is taken out, nothing is put in"
        );
        let path = format!("/{}", script.replace(['<', '>', '"', ' '], "_"));
        is_data(&http.request("GET".parse().unwrap(), &path, Some(script), None).await.unwrap());
        let refused = post(&http, "/v1/register", None, &json!({ "name": script, "password": script })).await;
        assert_eq!(refused.status, 400);
        is_data(&refused);
    }
    is_data(&http.request("GET".parse().unwrap(), "/", None, None).await.unwrap());
}

/// A stack that lets somebody try often, and writes down everything.
async fn open_stack(topology: Topology, log: &std::path::Path) -> Stack {
    let mut options = options(topology, 1);
    (options.log, options.log_file) = ("debug".to_owned(), Some(log.to_owned()));
    options.serve_args =
        ["--logins-per-name", "100000", "--logins-per-address", "100000"].map(str::to_owned).to_vec();
    Stack::start(options).await.unwrap()
}

async fn no_secret_is_in_the_log_however_much_it_tells(topology: Topology) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("server.log");
    let stack = open_stack(topology, &log).await;
    let http = HttpClient::new(&stack.http_url(0));
    let account = json!({ "name": "ada", "password": "correct horse battery" });
    let first = json_of(&post(&http, "/v1/register", None, &account).await);
    let wrong = json!({ "name": "ada", "password": "a wrong one, so close" });
    assert_eq!(post(&http, "/v1/login", None, &wrong).await.status, 401);
    let second = json_of(&post(&http, "/v1/login", None, &account).await);
    let third = json_of(
        &post(&http, "/v1/refresh", None, &json!({ "refresh_token": second["refresh_token"] })).await,
    );
    let token = third["token"].as_str().unwrap();
    let mut client = chatlab_load::client::WsClient::connect(&stack.ws_url(0), token).await.unwrap();
    let room = client.create("Tea").await.unwrap();
    client.send(room, "c1", "what I say is nobody's business").await.unwrap();
    // A session's id is what ends it.
    let session = first["session"].as_str().unwrap();
    let path = format!("/v1/sessions/{session}");
    let ended = http.request("DELETE".parse().unwrap(), &path, Some(token), None).await.unwrap();
    assert_eq!(ended.status, 204);
    stack.stop().await.unwrap();
    let told = std::fs::read_to_string(&log).unwrap();
    assert!(told.lines().count() > 10 && told.contains("/v1/login"), "it tells too little to show anything");
    let mut secrets = vec!["correct horse battery", "a wrong one, so close", "nobody's business"];
    for answer in [&first, &second, &third] {
        let parts = ["token", "refresh_token"].map(|field| answer[field].as_str().unwrap());
        let (_, session) = answer["session"].as_str().unwrap().split_once('.').unwrap();
        secrets.extend(parts.into_iter().chain([session]));
    }
    for secret in secrets {
        let line = told.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} is in the log: {line:?}");
    }
}

async fn an_unknown_name_takes_as_long_as_a_wrong_password(topology: Topology) {
    let folder = tempfile::tempdir().unwrap();
    let stack = open_stack(topology, &folder.path().join("server.log")).await;
    let http = HttpClient::new(&stack.http_url(0));
    let account = json!({ "name": "ada", "password": "correct horse battery" });
    assert_eq!(post(&http, "/v1/register", None, &account).await.status, 201);
    let mut times = [const { Vec::new() }; 2];
    let mut answers = [Value::Null, Value::Null];
    // In turns, so that the machine's pace is the same for both.
    for nth in 0..2 * ATTEMPTS {
        let name = ["ada", "nobody"][nth % 2];
        let began = Instant::now();
        let refused =
            post(&http, "/v1/login", None, &json!({ "name": name, "password": "a wrong password" })).await;
        times[nth % 2].push(began.elapsed());
        assert_eq!(refused.status, 401);
        answers[nth % 2] = json_of(&refused);
        answers[nth % 2]["request_id"] = Value::Null;
    }
    assert_eq!(answers[0], answers[1], "the same words");
    let [known, unknown] = times.map(|mut times: Vec<Duration>| {
        times.sort_unstable();
        times[ATTEMPTS / 2]
    });
    let ratio = known.as_secs_f64() / unknown.as_secs_f64();
    assert!((0.5..2.0).contains(&ratio), "a wrong password {known:?}, an unknown name {unknown:?}");
    stack.stop().await.unwrap();
}

/// What a process holds, in KiB.
fn rss_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Ten thousand attempts of one address: all but a few are refused before anything is hashed, and cost no memory.
async fn ten_thousand_failed_log_ins_cost_little(topology: Topology) {
    let stack = Stack::start(options(topology, 1)).await.unwrap();
    let http = HttpClient::new(&stack.http_url(0));
    let pid = stack.server_pid(0);
    let mut refused = 0;
    let (mut before, began) = (0, Instant::now());
    for nth in 0..10_000 {
        let name = format!("user-{}", nth % 500);
        match post(&http, "/v1/login", None, &json!({ "name": name, "password": "guess" })).await.status {
            401 => {}
            429 => refused += 1,
            other => panic!("{other}"),
        }
        if nth == 2_000 {
            before = rss_kib(pid);
        }
    }
    let (grown, took) = (rss_kib(pid).saturating_sub(before), began.elapsed());
    assert!(refused > 8_000, "{refused} of 10,000 refused");
    assert!(grown < 4_096, "{grown} KiB more after 8,000 attempts");
    println!("{topology}: {refused} of 10,000 refused, {grown} KiB more, {:.1} s", took.as_secs_f64());
    stack.stop().await.unwrap();
}

crate::on_both!(
    texts_that_are_code_for_a_browser_stay_texts,
    no_secret_is_in_the_log_however_much_it_tells,
    an_unknown_name_takes_as_long_as_a_wrong_password,
    ten_thousand_failed_log_ins_cost_little,
);
