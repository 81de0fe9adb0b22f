//! How often somebody may try to get in.

use chatlab::harness::Stack;
use chatlab_kit::servers::Topology;
use chatlab_load::http::HttpClient;
use serde_json::{Value, json};

use crate::common::options;

/// A stack with narrow limits: of a name `per_name` in a minute, of an address `per_address`.
async fn stack(topology: Topology, per_name: u32, per_address: u32) -> Stack {
    let mut options = options(topology, 2);
    options.serve_args = vec![
        "--logins-per-name".into(),
        per_name.to_string(),
        "--logins-per-address".into(),
        per_address.to_string(),
    ];
    Stack::start(options).await.unwrap()
}

/// Status, seconds to wait, body; what is left is told whatever comes of it.
async fn try_log_in(http: &HttpClient, name: &str) -> (u16, Option<u64>, Value) {
    let body = serde_json::to_vec(&json!({ "name": name, "password": "a wrong password" })).unwrap();
    let response = http.request("POST".parse().unwrap(), "/v1/login", None, Some(body)).await.unwrap();
    let number = |name: &str| response.header(name).map(|value| value.parse::<u64>().unwrap());
    let retry_after = number("retry-after");
    let (limit, remaining) = (number("ratelimit-limit").unwrap(), number("ratelimit-remaining").unwrap());
    let reset = number("ratelimit-reset").unwrap();
    assert_eq!(response.header("ratelimit-policy").unwrap(), format!("{limit};w=60"));
    assert!(remaining < limit && reset <= 60, "{remaining} of {limit}, {reset} s");
    if let Some(wait) = retry_after {
        assert!(remaining == 0 && reset >= wait, "{remaining}, {reset} s, {wait} s");
    }
    (response.status, retry_after, serde_json::from_slice(&response.body).unwrap())
}

/// How many attempts are left at once after one more.
async fn left(http: &HttpClient, name: &str) -> u64 {
    let body = serde_json::to_vec(&json!({ "name": name, "password": "a wrong password" })).unwrap();
    let response = http.request("POST".parse().unwrap(), "/v1/login", None, Some(body)).await.unwrap();
    response.header("ratelimit-remaining").unwrap().parse().unwrap()
}

/// Tries until it is refused; how many came through.
async fn until_refused(clients: &[HttpClient], name: &str, bound: usize) -> (usize, u64) {
    for attempt in 0..=bound {
        match try_log_in(&clients[attempt % clients.len()], name).await {
            (401, None, _) => {}
            (429, Some(retry_after), body) => {
                assert_eq!(body["code"], "rate_limited");
                assert_eq!(body["retryable"], true);
                return (attempt, retry_after);
            }
            other => panic!("attempt {attempt}: {other:?}"),
        }
    }
    panic!("never refused");
}

async fn guessing_passwords_of_a_name_is_refused_by_all_processes_together(topology: Topology) {
    let stack = stack(topology, 8, 10_000).await;
    let clients: Vec<_> = (0..2).map(|i| HttpClient::new(&stack.http_url(i))).collect();
    assert_eq!(left(&clients[0], "eve").await, 3, "of four at once");
    assert_eq!(left(&clients[1], "eve").await, 2, "the processes count together");
    let (through, retry_after) = until_refused(&clients, "ada", 8).await;
    assert!((1..=8).contains(&through), "{through} of 8 in a minute");
    assert!((1..=60).contains(&retry_after), "{retry_after} s");
    // The case of a name makes no other name; another name has its own permits.
    assert_eq!(try_log_in(&clients[0], "ADA").await.0, 429);
    assert_eq!(try_log_in(&clients[0], "bob").await.0, 401);
    // Registering is limited by itself.
    let account = json!({ "name": "ada", "password": "correct horse battery" });
    let _: Value = clients[0].post("/v1/register", None, &account).await.unwrap();
    stack.stop().await.unwrap();
}

async fn guessing_names_from_one_address_is_refused(topology: Topology) {
    let stack = stack(topology, 10_000, 8).await;
    let http = HttpClient::new(&stack.http_url(0));
    let mut through = 0;
    for attempt in 0..=8 {
        // Also of what can be no name.
        let name = if attempt % 2 == 0 { format!("user-{attempt}") } else { "no name!".to_owned() };
        match try_log_in(&http, &name).await.0 {
            401 => through += 1,
            429 => break,
            other => panic!("attempt {attempt}: {other}"),
        }
    }
    assert!((1..=8).contains(&through), "{through} of 8 in a minute");
    stack.stop().await.unwrap();
}

crate::on_both!(
    guessing_passwords_of_a_name_is_refused_by_all_processes_together,
    guessing_names_from_one_address_is_refused,
);
