//! Log-ins: refreshed, ended, and their connections with them, on every process.

use std::time::{Duration, Instant};

use chatlab::harness::Stack;
use chatlab_kit::{
    servers::{Topology, process::signal},
    wire::ErrorCode,
};
use chatlab_load::{
    client::{ClientError, WsClient},
    http::HttpClient,
};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::common::{ask, own, shared};

/// An ended log-in's connections are closed within this, wherever they are.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);
/// Long before a connection checks its session by itself, at the second heartbeat: 25 s at the earliest.
const ASKED_WITHIN: Duration = Duration::from_secs(10);

fn https(stack: &Stack) -> Vec<HttpClient> {
    (0..stack.servers()).map(|i| HttpClient::new(&stack.http_url(i))).collect()
}

/// The status and the body.
async fn call(http: &HttpClient, method: &str, path: &str, token: Option<&str>, body: Value) -> (u16, Value) {
    let body = (!body.is_null()).then(|| serde_json::to_vec(&body).unwrap());
    let response = http.request(method.parse().unwrap(), path, token, body).await.unwrap();
    (response.status, serde_json::from_slice(&response.body).unwrap_or(Value::Null))
}

async fn refresh(http: &HttpClient, token: &str) -> (u16, Value) {
    call(http, "POST", "/v1/refresh", None, json!({ "refresh_token": token })).await
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

/// A new account by a name of its own.
async fn register(http: &HttpClient) -> (String, Value) {
    let name = format!("s{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
    let account = json!({ "name": name, "password": "correct horse battery" });
    let (status, login) = call(http, "POST", "/v1/register", None, account).await;
    assert_eq!(status, 201, "{login}");
    (name, login)
}

/// A connection to each process.
async fn everywhere(stack: &Stack, token: &str) -> Vec<WsClient> {
    let mut clients = Vec::new();
    for i in 0..stack.servers() {
        clients.push(WsClient::connect(&stack.ws_url(i), token).await.unwrap());
    }
    clients
}

/// That each is closed for the end of its session, soon after `since`.
async fn all_closed(clients: Vec<WsClient>, since: Instant) {
    for mut client in clients {
        let revoked = (ErrorCode::SessionRevoked.close_code(), "session_revoked".to_owned());
        assert_eq!(client.next_close().await, Some(revoked));
        assert!(since.elapsed() < CLOSED_WITHIN, "after {:?}", since.elapsed());
    }
}

async fn a_refresh_token_is_good_once_on_whichever_process(topology: Topology) {
    let stack = shared(topology).await;
    let http = https(stack);
    let (_, login) = register(&http[0]).await;
    let mut newest = text(&login, "refresh_token").to_owned();
    for round in 0..4 {
        let (status, next) = refresh(&http[round % http.len()], &newest).await;
        assert_eq!(status, 200, "{next}");
        assert_eq!((&next["user"], &next["session"]), (&login["user"], &login["session"]));
        let (status, listed) =
            call(&http[0], "GET", "/v1/sessions", Some(text(&next, "token")), Value::Null).await;
        assert_eq!((status, listed.as_array().unwrap().len()), (200, 1), "no session is added: {listed}");
        assert_ne!(text(&next, "refresh_token"), newest);
        next["refresh_token"].as_str().unwrap().clone_into(&mut newest);
    }
}

async fn a_refresh_token_that_comes_again_ends_the_session_and_its_connections(topology: Topology) {
    let stack = shared(topology).await;
    let http = https(stack);
    let (name, login) = register(&http[0]).await;
    let old = text(&login, "refresh_token");
    let (_, stolen) = refresh(&http[0], old).await;
    let clients = everywhere(stack, text(&stolen, "token")).await;
    let other = json!({ "name": name, "password": "correct horse battery", "device": "another" });
    let (_, other) = call(&http[0], "POST", "/v1/login", None, other).await;

    let since = Instant::now();
    let (status, answer) = refresh(&http[1], old).await;
    assert_eq!((status, text(&answer, "code")), (401, "session_revoked"), "{answer}");
    all_closed(clients, since).await;
    // The thief's next token is worth nothing either, nor is an access token.
    let (status, answer) = refresh(&http[0], text(&stolen, "refresh_token")).await;
    assert_eq!((status, text(&answer, "code")), (401, "session_revoked"), "{answer}");
    for token in [&login, &stolen] {
        let (status, _) =
            call(&http[0], "GET", "/v1/sessions", Some(text(token, "token")), Value::Null).await;
        assert_eq!(status, 401);
    }
    // The user's other log-in is another matter.
    let (status, _) = refresh(&http[1], text(&other, "refresh_token")).await;
    assert_eq!(status, 200);
}

async fn tokens_are_good_for_what_they_are_for(topology: Topology) {
    let stack = shared(topology).await;
    let http = https(stack);
    let (_, login) = register(&http[0]).await;
    let (access, refreshing) = (text(&login, "token"), text(&login, "refresh_token"));
    let (status, answer) = refresh(&http[0], access).await;
    assert_eq!((status, text(&answer, "code")), (401, "unauthorized"), "{answer}");
    let (status, answer) = call(&http[0], "GET", "/v1/sessions", Some(refreshing), Value::Null).await;
    assert_eq!((status, text(&answer, "code")), (401, "unauthorized"), "{answer}");
    let refused = WsClient::connect(&stack.ws_url(0), refreshing).await.err().unwrap();
    assert!(matches!(&refused, ClientError::Refused { code: ErrorCode::Unauthorized, .. }), "{refused:?}");
    let (status, answer) = call(&http[0], "POST", "/v1/refresh", None, json!({})).await;
    assert_eq!((status, text(&answer, "code")), (400, "invalid"), "{answer}");
    // None of that was a use of it.
    assert_eq!(refresh(&http[0], refreshing).await.0, 200);
}

async fn ended_log_ins_close_on_every_process_within_a_second(topology: Topology) {
    let stack = shared(topology).await;
    let http = https(stack);
    let (name, phone) = register(&http[0]).await;
    let credentials = json!({ "name": name, "password": "correct horse battery", "device": "laptop" });
    let (_, laptop) = call(&http[1], "POST", "/v1/login", None, credentials.clone()).await;
    let on_phone = everywhere(stack, text(&phone, "token")).await;
    let mut on_laptop = everywhere(stack, text(&laptop, "token")).await;

    // One, from another device.
    let path = format!("/v1/sessions/{}", text(&phone, "session"));
    let since = Instant::now();
    let (status, _) = call(&http[0], "DELETE", &path, Some(text(&laptop, "token")), Value::Null).await;
    assert_eq!(status, 204);
    all_closed(on_phone, since).await;
    for client in &mut on_laptop {
        client.ping().await.unwrap();
    }

    // All.
    let (_, tablet) = call(&http[0], "POST", "/v1/login", None, credentials.clone()).await;
    on_laptop.extend(everywhere(stack, text(&tablet, "token")).await);
    let since = Instant::now();
    let (status, _) =
        call(&http[1], "DELETE", "/v1/sessions", Some(text(&tablet, "token")), Value::Null).await;
    assert_eq!(status, 204);
    all_closed(on_laptop, since).await;
    assert_eq!(refresh(&http[0], text(&laptop, "refresh_token")).await.0, 401);

    // Who logs in anew right after it is let in, and stays.
    let (_, again) = call(&http[0], "POST", "/v1/login", None, credentials).await;
    for mut client in everywhere(stack, text(&again, "token")).await {
        client.ping().await.unwrap();
    }
}

/// A process that was cut off from Redis when it was told asks by itself, long before the next heartbeat.
async fn what_a_cut_off_process_was_not_told_it_asks_for(topology: Topology) {
    let stack = own(topology, 2).await;
    let http = HttpClient::new(&stack.http_url(0));
    let (_, login) = register(&http).await;
    let (_, other) = register(&http).await;
    let mut ended = WsClient::connect(&stack.ws_url(1), text(&login, "token")).await.unwrap();
    let mut stays = WsClient::connect(&stack.ws_url(1), text(&other, "token")).await.unwrap();

    let pid = stack.server_pid(1);
    assert!(signal(pid, Signal::STOP));
    for node in 0..stack.managed().nodes().len() {
        let _: u64 = ask(&stack, node, redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub")).await;
    }
    let (status, _) = call(&http, "POST", "/v1/logout", Some(text(&login, "token")), Value::Null).await;
    assert_eq!(status, 204);
    assert!(signal(pid, Signal::CONT));

    let since = Instant::now();
    let revoked = (ErrorCode::SessionRevoked.close_code(), "session_revoked".to_owned());
    assert_eq!(ended.next_close().await, Some(revoked));
    assert!(since.elapsed() < ASKED_WITHIN, "after {:?}", since.elapsed());
    stays.ping().await.unwrap();
    stack.stop().await.unwrap();
}

crate::on_both!(
    a_refresh_token_is_good_once_on_whichever_process,
    a_refresh_token_that_comes_again_ends_the_session_and_its_connections,
    tokens_are_good_for_what_they_are_for,
    ended_log_ins_close_on_every_process_within_a_second,
    what_a_cut_off_process_was_not_told_it_asks_for,
);
