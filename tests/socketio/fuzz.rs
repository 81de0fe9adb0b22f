//! Random and mutated packets, on both transports.
//!
//! `CHATLAB_FUZZ_ROUNDS` and `CHATLAB_FUZZ_SEED` make it longer, or the same again.

use std::time::Duration;

use chatlab::harness::Stack;
use chatlab_kit::{ids::RoomId, servers::Topology};
use chatlab_load::{client::WsClient, http::HttpClient};
use futures_util::SinkExt;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::raw::{Polled, Raw, http};
use crate::common::own;

/// Packets of every kind, to be mutated.
fn samples(token: &str, room: RoomId) -> Vec<String> {
    vec![
        format!("40{}", json!({ "token": token })),
        "40/admin,{}".into(),
        "41".into(),
        "2".into(),
        "3".into(),
        "6".into(),
        "2probe".into(),
        format!("420{}", json!(["chat:join", { "room": room }])),
        format!("42{}", json!(["message", { "room": room, "cid": "c", "body": "hi \u{1F600}" }])),
        format!("4213{}", json!(["message", { "room": room, "cid": "d", "kind": "text", "body": "x" }])),
        format!("42/,5{}", json!(["chat:history", { "room": room, "before": 7, "limit": 9 }])),
        format!("429{}", json!(["user:get-online", { "room": room, "limit": 3 }])),
        format!("42{}", json!(["message:typing", { "room": room, "on": true }])),
        format!("4299{}", json!(["chat:join", { "room": room, "after": { "epoch": "e", "seq": 3 } }])),
        r#"451-2["message",{"_placeholder":true,"num":0}]"#.into(),
        r#"461-2[{"_placeholder":true,"num":0}]"#.into(),
        "431[]".into(),
        "bAAEC".into(),
    ]
}

/// A packet, or what was one.
fn mutated(random: &mut StdRng, samples: &[String]) -> Vec<u8> {
    let pick = |random: &mut StdRng| samples[random.random_range(0..samples.len())].clone().into_bytes();
    let mut packet = pick(random);
    for _ in 0..random.random_range(0..4) {
        let at = random.random_range(0..=packet.len());
        match random.random_range(0..7) {
            0 => packet.truncate(at),
            1 => packet.insert(at, random.random()),
            2 if at < packet.len() => packet[at] = random.random(),
            3 if at < packet.len() => packet[at] = b"0123456789-,/[]{}\":\\"[random.random_range(0..20)],
            4 => packet.extend(pick(random)),
            5 => packet.extend(std::iter::repeat_n(
                b"[{9-"[random.random_range(0..4)],
                random.random_range(0..3000),
            )),
            _ => packet.splice(at..at, pick(random)).for_each(drop),
        }
    }
    packet
}

/// A count out of the server's metrics.
async fn counted(stack: &Stack, name: &str) -> u64 {
    let http = HttpClient::new(&stack.http_url(0));
    let metrics = http.request("GET".parse().unwrap(), "/metrics", None, None).await.unwrap().text();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
}

async fn random_packets_harm_nobody(topology: Topology) {
    const PACKETS: usize = 12;
    let setting = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let rounds = setting("CHATLAB_FUZZ_ROUNDS").unwrap_or(150);
    let seed = setting("CHATLAB_FUZZ_SEED").unwrap_or_else(|| rand::rng().random());
    println!("CHATLAB_FUZZ_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let stack = own(topology, 1).await;
    let made = stack.provision(2, 1).await.unwrap();
    let (token, room) = (&made.tokens[0], made.rooms[0]);
    let mut bystander = WsClient::connect(&stack.ws_url(0), &made.tokens[1]).await.unwrap();
    bystander.join(room, None).await.unwrap();
    let samples = samples(token, room);
    for _ in 0..rounds {
        let mut raw = Raw::open(&stack).await;
        if random.random_bool(0.8) {
            raw.send(&samples[0]).await;
        }
        for _ in 0..PACKETS {
            let packet = mutated(&mut random, &samples);
            let message = match String::from_utf8(packet) {
                Ok(text) => Message::text(text),
                Err(bytes) => Message::binary(bytes.into_bytes()),
            };
            if raw.0.send(message).await.is_err() {
                break;
            }
        }
        let polled = Polled::open(&stack).await;
        let body = (0..PACKETS / 2).map(|_| mutated(&mut random, &samples)).collect::<Vec<_>>().join(&0x1e);
        let _ = polled.post(&[&samples[0]]).await;
        let _ = http(&stack, &polled.query, Some(body)).await;
        drop(raw);
    }
    assert_eq!(counted(&stack, "chatlab_panics_total").await, 0, "CHATLAB_FUZZ_SEED={seed}");
    let live: Value = HttpClient::new(&stack.http_url(0)).get("/health/readiness", None).await.unwrap();
    assert_eq!(live["status"], "ok", "{live}");
    let mut fresh = Raw::connect(&stack, token).await;
    fresh.send(&format!("420{}", json!(["chat:join", { "room": room }]))).await;
    while !fresh.next().await.unwrap().starts_with("430") {}
    let sent = bystander.send(room, "afterwards", "still here").await.unwrap();
    while fresh.event("message").await["seq"] != sent.seq {}
    timeout(Duration::from_secs(15), stack.stop()).await.expect("still stops in good order").unwrap();
}

crate::on_both!(random_packets_harm_nobody);
