//! What a broken or hostile client gets: a coded error or a close code, and the server stays up.

use chatlab_kit::{
    ids::{RoomId, SessionId, UserId},
    servers::Topology,
    wire::{ErrorCode, MAX_FRAME_BYTES, ServerFrame},
};
use chatlab_load::{
    client::{ClientError, Upgrade, WsClient},
    http::HttpClient,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{SOON, next_event, own};
use chatlab::harness::Stack;

/// Sends `request` as it stands; the status and the error code of the answer.
async fn raw_http(stack: &Stack, request: &[u8]) -> (u16, String) {
    let mut socket = tokio::net::TcpStream::connect(stack.addr(0)).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = socket.write_all(request).await;
    let mut answer = Vec::new();
    let mut chunk = [0u8; 4096];
    let text = loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if text.contains("\r\n\r\n") && text.trim_end().ends_with('}') {
            break text;
        }
        match tokio::time::timeout(SOON, socket.read(&mut chunk)).await.unwrap() {
            Ok(n) if n > 0 => answer.extend_from_slice(&chunk[..n]),
            _ => break text,
        }
    };
    let status = text.split_whitespace().nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    let start = body.find('{').unwrap_or(body.len());
    let code = serde_json::from_str::<Value>(body[start..].trim())
        .ok()
        .and_then(|v| v["code"].as_str().map(str::to_owned))
        .unwrap_or_default();
    (status, code)
}

fn post(path: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Twelve broken HTTP requests: status and code of each.
async fn http_inputs(stack: &Stack) {
    const JSON: &str = "application/json";
    let deep = format!("{{\"name\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("oversized body", post("/v1/register", JSON, &vec![b'x'; 1 << 20]), 413, "too_large"),
        ("bad UTF-8", post("/v1/register", JSON, b"{\"name\":\"\xff\xfe\"}"), 400, "bad_frame"),
        ("not JSON", post("/v1/login", JSON, b"{name"), 400, "bad_frame"),
        ("deep nesting", post("/v1/register", JSON, deep.as_bytes()), 400, "invalid"),
        ("wrong types", post("/v1/register", JSON, br#"{"name":7,"password":[]}"#), 400, "invalid"),
        ("missing field", post("/v1/login", JSON, br#"{"name":"someone"}"#), 400, "invalid"),
        ("wrong content type", post("/v1/login", "text/plain", b"{}"), 415, "invalid"),
        (
            "short password",
            post("/v1/register", JSON, br#"{"name":"someone","password":"x"}"#),
            400,
            "invalid",
        ),
        (
            "name with markup",
            post("/v1/register", JSON, br#"{"name":"<script>","password":"long enough 1"}"#),
            400,
            "invalid",
        ),
        (
            "unknown user",
            post("/v1/login", JSON, br#"{"name":"nobody","password":"long enough 1"}"#),
            401,
            "unauthorized",
        ),
        (
            "no such path",
            b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
            404,
            "not_found",
        ),
        (
            "wrong method",
            b"GET /v1/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
            405,
            "invalid",
        ),
    ];
    for (what, request, status, code) in cases {
        assert_eq!(raw_http(stack, &request).await, (status, code.to_owned()), "{what}");
    }
}

/// A token for a session, signed with `secret`.
pub fn token(secret: &str, session: &SessionId, exp_in_s: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let claims = json!({
        "sub": session.user.to_string(), "sid": session.secret(), "aud": "access", "iat": now - 100,
        "exp": now + exp_in_s,
    });
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

/// Every token that must not open a connection, and the close code it gets.
async fn tokens(stack: &Stack) {
    let session = SessionId::new(UserId::new());
    let good = token(stack.jwt_secret(), &session, 100);
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", good.split('.').nth(1).unwrap());
    let cases = [
        ("empty", String::new(), ErrorCode::Unauthorized),
        ("not a token", "x.y.z".to_owned(), ErrorCode::Unauthorized),
        (
            "forged signature",
            token("another secret of the right length", &session, 100),
            ErrorCode::Unauthorized,
        ),
        ("alg none", unsigned, ErrorCode::Unauthorized),
        ("expired", token(stack.jwt_secret(), &session, -10), ErrorCode::TokenExpired),
        ("no such session", good, ErrorCode::SessionRevoked),
    ];
    for (what, token, code) in cases {
        let mut client = WsClient::open(&stack.ws_url(0), &Upgrade::default()).await.unwrap();
        assert!(client.hello(&token).await.is_err(), "{what}");
        let close = client.next_close().await.map(|(code, _)| code);
        assert_eq!(close, Some(code.close_code()), "{what}");
    }
}

/// Frames that are answered by an error, the connection staying open.
async fn frames(client: &mut WsClient) {
    let room = RoomId::new();
    let long = "x".repeat(5000);
    let deep = format!("{}1{}", "[".repeat(2000), "]".repeat(2000));
    let cases: Vec<(&str, String, ErrorCode)> = vec![
        ("not JSON", "hello".into(), ErrorCode::BadFrame),
        ("an array", "[1]".into(), ErrorCode::BadFrame),
        ("deep nesting", deep, ErrorCode::BadFrame),
        ("no type", r#"{"id":1}"#.into(), ErrorCode::BadFrame),
        ("unknown type", r#"{"t":"explode","id":2}"#.into(), ErrorCode::UnknownType),
        ("missing field", r#"{"t":"join","id":3}"#.into(), ErrorCode::Invalid),
        ("wrong type", r#"{"t":"join","id":4,"room":17}"#.into(), ErrorCode::Invalid),
        ("number too large", r#"{"t":"ping","id":99999999999999999999999}"#.into(), ErrorCode::Invalid),
        ("second hello", r#"{"t":"hello","v":1,"token":"x"}"#.into(), ErrorCode::BadState),
        ("no such room", format!(r#"{{"t":"join","id":5,"room":"{room}"}}"#), ErrorCode::NotFound),
        (
            "not joined",
            format!(r#"{{"t":"send","id":6,"room":"{room}","cid":"c","body":"x"}}"#),
            ErrorCode::Forbidden,
        ),
        (
            "bad client id",
            format!(r#"{{"t":"send","id":7,"room":"{room}","cid":"{{p1}}","body":"x"}}"#),
            ErrorCode::Invalid,
        ),
        ("empty room name", r#"{"t":"create","id":8,"name":""}"#.into(), ErrorCode::Invalid),
        (
            "long room name",
            format!(r#"{{"t":"create","id":9,"name":"{}"}}"#, "n".repeat(81)),
            ErrorCode::Invalid,
        ),
    ];
    for (what, frame, code) in cases {
        client.send_raw_text(&frame).await.unwrap();
        expect_error(client, code, what).await;
    }
    let room = client.create("bounds").await.unwrap();
    let bounds: [(&str, String, ErrorCode); 4] = [
        (
            "empty body",
            format!(r#"{{"t":"send","id":1,"room":"{room}","cid":"c","body":""}}"#),
            ErrorCode::Invalid,
        ),
        (
            "long body",
            format!(r#"{{"t":"send","id":2,"room":"{room}","cid":"c","body":"{long}"}}"#),
            ErrorCode::TooLarge,
        ),
        (
            "page of none",
            format!(r#"{{"t":"history","id":3,"room":"{room}","limit":0}}"#),
            ErrorCode::Invalid,
        ),
        (
            "page too long",
            format!(r#"{{"t":"history","id":4,"room":"{room}","limit":100000}}"#),
            ErrorCode::Invalid,
        ),
    ];
    for (what, frame, code) in bounds {
        client.send_raw_text(&frame).await.unwrap();
        expect_error(client, code, what).await;
    }
    client.send_raw_binary(&[0, 1, 2]).await.unwrap();
    expect_error(client, ErrorCode::BadFrame, "binary").await;
    client.ping().await.unwrap();
}

async fn expect_error(client: &mut WsClient, expected: ErrorCode, what: &str) {
    match next_event(client).await {
        Ok(ServerFrame::Error { code, message, .. }) => {
            assert_eq!(code, expected, "{what}: {message}");
            assert!(!message.is_empty(), "{what}");
        }
        other => panic!("{what}: {other:?}"),
    }
}

/// Frames that end the connection, and the close code.
async fn fatal_frames(stack: &Stack, token: &str) {
    let mut client = WsClient::connect(&stack.ws_url(0), token).await.unwrap();
    client.send_raw_text(&"x".repeat(MAX_FRAME_BYTES + 1)).await.unwrap();
    assert_eq!(client.next_close().await.map(|(code, _)| code), Some(1009), "oversized frame");

    let mut client = WsClient::connect(&stack.ws_url(0), token).await.unwrap();
    // A masked text frame of two bytes that are not UTF-8 (mask 0).
    client.raw_stream().unwrap().write_all(&[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe]).await.unwrap();
    assert_eq!(client.next_close().await.map(|(code, _)| code), Some(1007), "bad UTF-8");

    let mut client = WsClient::open(&stack.ws_url(0), &Upgrade::default()).await.unwrap();
    client.send_raw_text(r#"{"t":"ping","id":1}"#).await.unwrap();
    assert_eq!(
        client.next_close().await.map(|(code, _)| code),
        Some(ErrorCode::BadState.close_code()),
        "no hello"
    );

    let mut client = WsClient::open(&stack.ws_url(0), &Upgrade::default()).await.unwrap();
    client.send_raw_text(r#"{"t":"hello","v":99,"token":"x"}"#).await.unwrap();
    assert_eq!(
        client.next_close().await.map(|(code, _)| code),
        Some(ErrorCode::BadVersion.close_code()),
        "version"
    );

    let foreign = Upgrade { origin: Some("https://evil.example".into()), ..Upgrade::default() };
    match WsClient::open(&stack.ws_url(0), &foreign).await {
        Err(ClientError::Connect { status, .. }) => assert_eq!(status, Some(403), "foreign origin"),
        other => panic!("foreign origin: {other:?}"),
    }
}

/// Resident memory of a process in KiB, where the system tells.
fn rss_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
}

async fn broken_input_gets_a_code_and_costs_no_memory(topology: Topology) {
    const ROUNDS: usize = 12;
    const WARM: usize = 4;
    const GROWTH_KIB: u64 = 8 * 1024;
    let mut stack = own(topology, 1).await;
    let made = stack.provision(1, 0).await.unwrap();
    let mut warm = None;
    // At once, so that each of the hashing threads has its memory before anything is measured.
    let login = post("/v1/login", "application/json", br#"{"name":"nobody","password":"long enough 1"}"#);
    let logins = futures_util::future::join_all((0..16).map(|_| raw_http(&stack, &login))).await;
    assert!(logins.iter().all(|(status, _)| *status == 401));
    for round in 0..ROUNDS {
        http_inputs(&stack).await;
        tokens(&stack).await;
        // A connection a round: too many errors on one would end it.
        frames(&mut WsClient::connect(&stack.ws_url(0), &made.tokens[0]).await.unwrap()).await;
        fatal_frames(&stack, &made.tokens[0]).await;
        if round + 1 == WARM {
            warm = rss_kib(stack.server_pid(0));
        }
    }
    if let (Some(before), Some(after)) = (warm, rss_kib(stack.server_pid(0))) {
        assert!(after <= before + GROWTH_KIB, "memory grew from {before} to {after} KiB");
    }
    let live: Value = HttpClient::new(&stack.http_url(0)).get("/health/readiness", None).await.unwrap();
    assert_eq!(live["status"], "ok", "{live}");
    assert_eq!(stack.stop_server(0).await.unwrap(), Some(0), "still stops in good order");
}

/// Without the answer, a client's library reports a connection that broke.
async fn a_close_is_answered_by_a_close(topology: Topology) {
    let stack = crate::common::shared(topology).await;
    let made = stack.provision(1, 0).await.unwrap();
    // Masked close frames (mask 0): with a code, without one, and with one that may not be sent.
    let cases: [(&[u8], &[u8]); 3] = [
        (&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8], &[0x88, 0x02, 0x03, 0xe8]),
        (&[0x88, 0x80, 0, 0, 0, 0], &[0x88, 0x00]),
        (&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xed], b"\x88\x14\x03\xeaProtocol violation"),
    ];
    for (close, answer) in cases {
        for greeted in [true, false] {
            let mut client = WsClient::open(&stack.ws_url(0), &Upgrade::default()).await.unwrap();
            if greeted {
                client.hello(&made.tokens[0]).await.unwrap();
            }
            let (stream, mut rest) = (client.raw_stream().unwrap(), Vec::new());
            stream.write_all(close).await.unwrap();
            tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await.expect("still open").unwrap();
            assert_eq!(rest, answer, "{close:?}, greeted: {greeted}");
        }
    }
}

/// Pings are answered past the queue of frames: their answers must be bounded by themselves.
async fn pings_whose_answers_are_not_read_cost_no_memory(topology: Topology) {
    const BYTES: usize = 48 << 20;
    const GROWTH_KIB: u64 = 8 * 1024;
    let stack = own(topology, 1).await;
    let made = stack.provision(1, 0).await.unwrap();
    let mut client = WsClient::connect(&stack.ws_url(0), &made.tokens[0]).await.unwrap();
    client.ping().await.unwrap();
    let before = rss_kib(stack.server_pid(0));
    // A masked ping with 125 bytes (mask 0).
    let ping = [&[0x89, 0xfd, 0, 0, 0, 0][..], &[b'x'; 125]].concat();
    let many = ping.repeat(500);
    let stream = client.raw_stream().unwrap();
    for _ in 0..BYTES / many.len() {
        tokio::time::timeout(SOON, stream.write_all(&many)).await.expect("no longer read").unwrap();
    }
    if let (Some(before), Some(after)) = (before, rss_kib(stack.server_pid(0))) {
        assert!(after <= before + GROWTH_KIB, "memory grew from {before} to {after} KiB");
    }
    // Reading on, it is as good as before.
    client.ping().await.unwrap();
}

async fn a_flood_of_errors_ends_the_connection(topology: Topology) {
    const FLOOD: usize = 1000;
    let stack = crate::common::shared(topology).await;
    let made = stack.provision(1, 0).await.unwrap();
    let mut client = WsClient::connect(&stack.ws_url(0), &made.tokens[0]).await.unwrap();
    for _ in 0..FLOOD {
        if client.send_raw_text("nonsense").await.is_err() {
            break;
        }
    }
    assert_eq!(client.next_close().await.map(|(code, _)| code), Some(ErrorCode::BadFrame.close_code()));
}

crate::on_both!(
    broken_input_gets_a_code_and_costs_no_memory,
    a_close_is_answered_by_a_close,
    pings_whose_answers_are_not_read_cost_no_memory,
    a_flood_of_errors_ends_the_connection,
);
