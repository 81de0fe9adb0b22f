//! What no official client would do: broken requests and packets, no heartbeat, two polls at once, reading nothing.

use chatlab::harness::Stack;
use chatlab_kit::{
    servers::Topology,
    wire::{ErrorCode, MAX_FRAME_BYTES},
};
use chatlab_load::client::WsClient;
use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message};

use super::raw::{PING, Polled, Raw, http, refusal};
use crate::common::{options, own, shared};

async fn requests_that_are_none_are_refused(topology: Topology) {
    let stack = shared(topology).await;
    let made = stack.provision(1, 0).await.unwrap();
    let cases = [
        ("", None, refusal(400, "invalid")),
        ("EIO=3&transport=polling", None, refusal(400, "bad_version")),
        ("EIO=4&transport=carrier-pigeon", None, refusal(400, "invalid")),
        ("EIO=4&transport=websocket", None, refusal(400, "invalid")),
        ("EIO=4&transport=polling&sid=unknown", None, refusal(400, "invalid")),
        ("EIO=4&transport=polling", Some(b"40".to_vec()), refusal(400, "invalid")),
        ("EIO=4&transport=polling&sid=unknown", Some(b"40".to_vec()), refusal(400, "invalid")),
        ("EIO=4&transport=websocket&sid=unknown", Some(b"40".to_vec()), refusal(400, "invalid")),
    ];
    for (query, body, expected) in cases {
        assert_eq!(http(stack, query, body).await, expected, "{query}");
    }
    let foreign = Raw::dial(stack, "EIO=4&transport=websocket", Some("https://evil.example")).await;
    let Err(tungstenite::Error::Http(answer)) = foreign else { panic!("a foreign origin was let in") };
    assert_eq!(answer.status(), 403);

    // Each of these ends its session.
    let session = Polled::connect(stack, &made.tokens[0]).await;
    let (one, other) = tokio::join!(async { while session.poll().await.is_ok() {} }, async {
        loop {
            // Until the first one is under way.
            if let Err(error) = session.poll().await {
                break error;
            }
        }
    });
    let ((), (status, code)) = (one, other);
    assert_eq!(status, 400, "{code}");
    let cases: [(Vec<u8>, (u16, &str)); 4] = [
        (vec![b'x'; 70_000], (413, "too_large")),
        (vec![b'x'; MAX_FRAME_BYTES + 1], (413, "too_large")),
        (b"3\x1e".repeat(100), (413, "too_large")),
        (b"42[\"\xff\xfe\"]".to_vec(), (400, "bad_frame")),
    ];
    for (body, (status, code)) in cases {
        let session = Polled::connect(stack, &made.tokens[0]).await;
        assert_eq!(http(stack, &session.query, Some(body)).await, refusal(status, code));
        let bye = session.until("42[\"bye\",").await;
        assert!(bye.contains(code), "{bye}");
    }
}

async fn broken_packets_get_a_code(topology: Topology) {
    let stack = shared(topology).await;
    let made = stack.provision(1, 0).await.unwrap();
    let mut raw = Raw::connect(stack, &made.tokens[0]).await;
    let deep = format!(r#"42["message",{{"room":{}1{}}}]"#, "[".repeat(2000), "]".repeat(2000));
    let cases = [
        ("nonsense", ErrorCode::BadFrame),
        ("4", ErrorCode::BadFrame),
        ("49", ErrorCode::BadFrame),
        ("42", ErrorCode::BadFrame),
        ("42{}", ErrorCode::BadFrame),
        ("42[]", ErrorCode::BadFrame),
        ("430[]", ErrorCode::BadFrame),
        ("40{}", ErrorCode::BadState),
        (r#"42["dance",{}]"#, ErrorCode::UnknownType),
        (r#"42["message",{}]"#, ErrorCode::Invalid),
        (r#"451-["message",{"_placeholder":true,"num":0}]"#, ErrorCode::BadFrame),
        (deep.as_str(), ErrorCode::Invalid),
    ];
    for (packet, code) in cases {
        raw.send(packet).await;
        let error = raw.event("error").await;
        assert_eq!((&error["code"], &error["retryable"]), (&json!(code), &json!(false)), "{packet}: {error}");
    }
    raw.0.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(raw.event("error").await["code"], "bad_frame");
    raw.send("40/admin,{}").await;
    assert_eq!(raw.next().await.unwrap(), r#"44/admin,{"message":"Invalid namespace"}"#);
    assert_eq!(raw.event("error").await["code"], "not_found");
    // Asked without an acknowledgement, it is done and not answered.
    raw.send(r#"42["chat:create",{"name":"quiet"}]"#).await;
    raw.send(r#"420["chat:create",{"name":"told"}]"#).await;
    let answer = raw.next_but_status().await;
    assert!(answer.starts_with(r#"430[{"room":""#), "{answer}");

    raw.send(&format!("42[\"message\",{:?}]", "x".repeat(MAX_FRAME_BYTES))).await;
    let bye = raw.event("bye").await;
    assert_eq!(bye["code"], "too_large");
    assert_eq!(raw.next().await, Ok("41".to_owned()), "so that it does not come back by itself");
    assert_eq!(raw.next().await, Err(Some((1009, "too_large".to_owned()))));
}

async fn a_flood_of_errors_ends_the_connection(topology: Topology) {
    let stack = shared(topology).await;
    let made = stack.provision(1, 0).await.unwrap();
    let mut raw = Raw::connect(stack, &made.tokens[0]).await;
    for _ in 0..1000 {
        if raw.0.send(Message::text("nonsense")).await.is_err() {
            break;
        }
    }
    assert_eq!(raw.event("bye").await["code"], "bad_frame");
}

async fn who_says_nothing_first_is_refused(topology: Topology) {
    let stack = shared(topology).await;
    for (first, code) in [(r#"42["message",{}]"#, "bad_state"), ("what", "bad_frame"), ("40", "unauthorized")]
    {
        let mut raw = Raw::open(stack).await;
        raw.send("40/elsewhere,").await;
        assert_eq!(raw.next().await.unwrap(), r#"44/elsewhere,{"message":"Invalid namespace"}"#);
        raw.send(first).await;
        let refused = raw.next().await.unwrap();
        let refused: Value = serde_json::from_str(refused.strip_prefix("44").unwrap()).unwrap();
        assert_eq!((&refused["data"]["code"], &refused["data"]["retryable"]), (&json!(code), &json!(false)));
        raw.next().await.unwrap_err();
    }
    let mut silent = Raw::open(stack).await;
    let refused = silent.next().await.unwrap();
    assert!(refused.starts_with("44") && refused.contains("hello_timeout"), "{refused}");
}

async fn who_does_not_answer_pings_is_let_go(topology: Topology) {
    const HEARTBEAT_MS: &str = "300";
    let mut options = options(topology, 1);
    options.serve_args = vec!["--heartbeat-ms".into(), HEARTBEAT_MS.into()];
    let stack = Stack::start(options).await.unwrap();
    let made = stack.provision(2, 0).await.unwrap();
    let polled = Polled::connect(&stack, &made.tokens[0]).await;
    let mut raw = Raw::open(&stack).await;
    raw.send(&format!("40{}", json!({ "token": made.tokens[1] }))).await;
    for answered in 0..4 {
        while raw.next_or_ping().await.unwrap() != PING {}
        if answered < 3 {
            raw.send("3").await;
        }
    }
    assert_eq!(raw.event("bye").await["code"], "heartbeat_timeout");
    assert_eq!(
        raw.next().await,
        Err(Some((ErrorCode::HeartbeatTimeout.close_code(), "heartbeat_timeout".into())))
    );
    // Who polls gets pings, and the goodbye, in the same way.
    let bye = loop {
        match polled.poll().await {
            Ok(packets) if packets.iter().any(|packet| packet.starts_with("42[\"bye\"")) => break packets,
            Ok(packets) => {
                assert!(
                    packets.iter().all(|packet| packet == PING || packet.starts_with("42")),
                    "{packets:?}"
                );
            }
            Err(error) => panic!("{error:?}"),
        }
    };
    assert!(bye.last().unwrap().contains("heartbeat_timeout"), "{bye:?}");
    assert_eq!(polled.poll().await, refusal(400, "invalid"));
    stack.stop().await.unwrap();
}

async fn who_polls_too_slowly_is_closed_with_a_token_and_misses_nothing(topology: Topology) {
    const BODY: usize = 4000;
    const READ: u64 = 3;
    // More than waits for one connection.
    const ALL: u64 = (1 << 20) / BODY as u64 + 40;
    let stack = shared(topology).await;
    let made = stack.provision(2, 1).await.unwrap();
    let room = made.rooms[0];
    let mut native = WsClient::connect(&stack.ws_url(1), &made.tokens[1]).await.unwrap();
    let slow = Polled::connect(stack, &made.tokens[0]).await;
    slow.post(&[&format!("420{}", json!(["chat:join", { "room": room }]))]).await.unwrap();
    slow.until("430").await;
    let body = "x".repeat(BODY);
    native.join(room, None).await.unwrap();
    for i in 1..=READ {
        native.send(room, &format!("c{i}"), "read").await.unwrap();
    }
    let last = slow.messages(READ).await.pop().unwrap();
    assert_eq!(last["seq"], READ);
    for i in READ + 1..=ALL {
        native.send(room, &format!("c{i}"), &body).await.unwrap();
    }
    let bye = slow.until("42[\"bye\",").await;
    let bye: Value = serde_json::from_str(bye.strip_suffix(']').unwrap()).unwrap();
    assert_eq!(bye["code"], "slow_consumer");
    let after = json!({ "epoch": last["epoch"], "seq": READ, "id": last["id"] });
    assert_eq!(bye["resume"], json!([{ "room": room, "after": after }]));

    let again = Polled::connect(stack, &made.tokens[0]).await;
    again.post(&[&format!("427{}", json!(["chat:join", { "room": room, "after": after }]))]).await.unwrap();
    let missed = again.messages(ALL - READ).await;
    let seqs: Vec<_> = missed.iter().map(|message| message["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (READ + 1..=ALL).collect::<Vec<_>>());
}

async fn a_change_of_transports_that_fails_costs_nothing(topology: Topology) {
    let stack = shared(topology).await;
    let made = stack.provision(1, 0).await.unwrap();
    let session = Polled::connect(stack, &made.tokens[0]).await;
    let sid = session.query.split("sid=").nth(1).unwrap();
    let query = format!("EIO=4&transport=websocket&sid={sid}");
    for wrong in ["2", "2probe5", "40{}"] {
        let mut raw = Raw::dial(stack, &query, None).await.unwrap();
        raw.send(wrong).await;
        raw.next().await.unwrap_err();
    }
    let mut raw = Raw::dial(stack, &query, None).await.unwrap();
    raw.send("2probe").await;
    assert_eq!(raw.next().await.unwrap(), "3probe");
    session.until("6").await;
    let mut second = Raw::dial(stack, &query, None).await.unwrap();
    second.next().await.unwrap_err();
    session.post(&[r#"420["chat:create",{"name":"Tea"}]"#]).await.unwrap();
    raw.send("5").await;
    let answer = raw.next().await.unwrap();
    assert!(answer.starts_with("430[{"), "{answer}");
    assert_eq!(session.poll().await, refusal(400, "invalid"));
    assert_eq!(session.post(&["3"]).await, refusal(400, "invalid"));
    raw.send(r#"421["chat:create",{"name":"Tea"}]"#).await;
    assert!(raw.next().await.unwrap().starts_with("431[{"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_who_poll_do_not_take_the_places_of_others() {
    let stack = own(Topology::Single, 1).await;
    let made = stack.provision(2, 0).await.unwrap();
    let known = Polled::connect(&stack, &made.tokens[0]).await;
    let mut opened = 0;
    let refused = loop {
        match http(&stack, "EIO=4&transport=polling", None).await {
            Ok(_) => opened += 1,
            Err(refused) => break refused,
        }
        assert!(opened < 100_000, "no bound");
    };
    assert_eq!(refused, (429, "rate_limited".to_owned()), "after {opened}");
    Raw::connect(&stack, &made.tokens[1]).await;
    WsClient::connect(&stack.ws_url(0), &made.tokens[1]).await.unwrap();
    known.post(&[r#"420["chat:create",{"name":"Tea"}]"#]).await.unwrap();
    known.until("430").await;
    stack.stop().await.unwrap();
}

crate::on_both!(
    requests_that_are_none_are_refused,
    broken_packets_get_a_code,
    a_flood_of_errors_ends_the_connection,
    who_says_nothing_first_is_refused,
    who_does_not_answer_pings_is_let_go,
    who_polls_too_slowly_is_closed_with_a_token_and_misses_nothing,
    a_change_of_transports_that_fails_costs_nothing,
);
