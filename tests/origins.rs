//! What pages of other origins may do, and what a browser is told about it.

use chatlab::harness::Stack;
use chatlab_kit::servers::Topology;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::common::{SOON, options};

const ALLOWED: &str = "https://chat.example";

/// The head of the answer to a request with these header lines, in lower case.
async fn head(stack: &Stack, request: &str, lines: &[&str], body: &str) -> String {
    let mut socket = TcpStream::connect(stack.addr(0)).await.unwrap();
    let lines = lines.join("\r\n");
    let length = body.len();
    let request = format!(
        "{request} HTTP/1.1\r\nHost: chat.test\r\n{lines}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(SOON, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase()
}

fn status(head: &str) -> &str {
    head.split_whitespace().nth(1).unwrap_or_default()
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

async fn pages_of_other_origins_are_refused_unless_allowed(topology: Topology) {
    let mut options = options(topology, 1);
    options.serve_args = vec!["--allow-origin".into(), ALLOWED.into()];
    let stack = Stack::start(options).await.unwrap();
    let json = "Content-Type: application/json";
    let body = r#"{"name":"nobody","password":"a wrong password"}"#;
    for (origin, expected) in [
        (ALLOWED, "401"),
        ("http://chat.test", "401"),
        ("https://evil.example", "403"),
        ("https://chat.example.evil.example", "403"),
        ("null", "403"),
    ] {
        let line = format!("Origin: {origin}");
        let answer = head(&stack, "POST /v1/login", &[json, &line], body).await;
        assert_eq!(status(&answer), expected, "{origin}: {answer}");
        let readable = field(&answer, "access-control-allow-origin");
        assert_eq!(readable, (expected == "401").then_some(origin), "{origin}");
        assert_eq!(field(&answer, "access-control-allow-credentials"), None, "there are no cookies");
        assert_eq!(field(&answer, "x-content-type-options"), Some("nosniff"), "{origin}");
        if expected == "401" {
            let exposed = field(&answer, "access-control-expose-headers").unwrap();
            assert!(exposed.contains("retry-after") && exposed.contains("ratelimit-remaining"), "{exposed}");
        }
    }
    // Who sends no origin is no page.
    let answer = head(&stack, "POST /v1/login", &[json], body).await;
    assert_eq!((status(&answer), field(&answer, "access-control-allow-origin")), ("401", None));
    stack.stop().await.unwrap();
}

async fn a_browser_that_asks_first_is_told(topology: Topology) {
    let mut options = options(topology, 1);
    options.serve_args = vec!["--allow-origin".into(), ALLOWED.into()];
    let stack = Stack::start(options).await.unwrap();
    let asks = ["Access-Control-Request-Method: DELETE", "Access-Control-Request-Headers: authorization"];
    let ask = async |origin: &str| {
        let line = format!("Origin: {origin}");
        head(&stack, "OPTIONS /v1/sessions", &[asks[0], asks[1], &line], "").await
    };
    let answer = ask(ALLOWED).await;
    assert_eq!((status(&answer), field(&answer, "access-control-allow-origin")), ("200", Some(ALLOWED)));
    assert!(field(&answer, "access-control-allow-methods").unwrap().contains("delete"), "{answer}");
    assert!(field(&answer, "access-control-allow-headers").unwrap().contains("authorization"), "{answer}");
    assert!(field(&answer, "vary").is_some_and(|vary| vary.contains("origin")), "{answer}");
    let answer = ask("https://evil.example").await;
    assert_eq!((status(&answer), field(&answer, "access-control-allow-origin")), ("403", None), "{answer}");
    stack.stop().await.unwrap();
}

crate::on_both!(pages_of_other_origins_are_refused_unless_allowed, a_browser_that_asks_first_is_told);
