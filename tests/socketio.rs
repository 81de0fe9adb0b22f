//! The official Socket.IO clients, beside native ones, over several server processes.

mod fuzz;
mod misuse;
mod official;
pub mod raw;

use std::time::{Duration, Instant};

use chatlab::harness::Stack;
use chatlab_kit::{
    ids::{RoomId, SessionId, UserId},
    servers::Topology,
    wire::ServerFrame,
};
use chatlab_load::{client::WsClient, http::HttpClient};
use serde_json::{Value, json};

use crate::{
    common::{SOON, own, party, shared},
    malformed::token,
};
use official::{KINDS, Kind, Official};

const BOTH: &[&str] = &["polling", "websocket"];
const POLLING: &[&str] = &["polling"];
const WEBSOCKET: &[&str] = &["websocket"];
/// Longer than anything that is told takes, shorter than anybody would wait for it.
const A_WHILE: Duration = Duration::from_millis(400);

/// The sequence and the body of the next `n` messages of a native client.
async fn native_messages(client: &mut WsClient, n: usize) -> Vec<(u64, String)> {
    let mut seen = Vec::new();
    for _ in 0..n {
        let message = client.next_message(SOON).await.unwrap();
        seen.push((message.seq, message.draft.body));
    }
    seen
}

async fn official_and_native_clients_hold_one_conversation(topology: Topology) {
    const ROUNDS: usize = 5;
    let stack = shared(topology).await;
    let made = stack.provision(8, 0).await.unwrap();
    let mut officials = Vec::new();
    for (i, kind) in KINDS.into_iter().enumerate() {
        for (j, transports) in [BOTH, POLLING, WEBSOCKET].into_iter().enumerate() {
            let token = &made.tokens[3 * i + j];
            officials.push(Official::connect(kind, &stack.http_url((i + j) % 2), token, transports).await);
        }
    }
    let mut natives = Vec::new();
    for i in 0..2 {
        natives.push(WsClient::connect(&stack.ws_url(i), &made.tokens[6 + i]).await.unwrap());
    }
    let created = officials[0].emit("chat:create", json!({ "name": "Tea" })).await;
    let room: RoomId = serde_json::from_value(created["room"].clone()).unwrap();
    assert_eq!(created["head"]["seq"], 0, "{created}");
    for official in &mut officials {
        assert_eq!(official.join(room).await.seq, 0);
    }
    for native in &mut natives {
        native.join(room, None).await.unwrap();
    }

    let all = ROUNDS * (officials.len() + natives.len());
    for round in 0..ROUNDS {
        for (i, official) in officials.iter_mut().enumerate() {
            let ack = official.send(room, &format!("c{round}"), &format!("{i} \u{1F600} \"{round}\"]")).await;
            assert_eq!((&ack["dup"], &ack["cid"]), (&json!(false), &json!(format!("c{round}"))), "{ack}");
            assert!(ack["epoch"].is_string() && ack["msg"].is_string() && ack["ts"].is_u64(), "{ack}");
            let again = official.send(room, &format!("c{round}"), "another try").await;
            assert_eq!(
                (&again["dup"], &again["seq"], &again["msg"]),
                (&json!(true), &ack["seq"], &ack["msg"])
            );
        }
        for native in &mut natives {
            native.send(room, &format!("c{round}"), "native").await.unwrap();
        }
    }
    let told = native_messages(&mut natives[0], all).await;
    assert_eq!(told.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), (1..=all as u64).collect::<Vec<_>>());
    assert_eq!(native_messages(&mut natives[1], all).await, told);
    for official in &mut officials {
        assert_eq!(official.messages(all).await, told, "{:?}", official.kind);
    }
    let page = officials[1].emit("chat:history", json!({ "room": room, "limit": 2 })).await;
    assert_eq!((&page["messages"][1]["seq"], &page["next"]), (&json!(all), &json!(all - 1)), "{page}");
}

async fn each_transport_is_used_as_it_was_asked_for(topology: Topology) {
    let stack = shared(topology).await;
    let made = stack.provision(1, 0).await.unwrap();
    for kind in KINDS {
        for (transports, ends_on) in [(POLLING, "polling"), (WEBSOCKET, "websocket"), (BOTH, "websocket")] {
            let mut client = Official::connect(kind, &stack.http_url(0), &made.tokens[0], transports).await;
            let deadline = Instant::now() + SOON;
            let created = client.emit("chat:create", json!({ "name": "Tea" })).await;
            let room: RoomId = serde_json::from_value(created["room"].clone()).unwrap();
            let mut sent = 0;
            // The change of transports goes on beside the conversation, and costs none of it.
            while sent < 3 || client.transport().await != ends_on {
                assert!(Instant::now() < deadline, "{kind:?} {transports:?}: still not on {ends_on}");
                sent += 1;
                client.send(room, &format!("c{sent}"), "x").await;
            }
            sent += 1;
            client.send(room, &format!("c{sent}"), "x").await;
            let seqs: Vec<_> = client.messages(sent).await.into_iter().map(|(seq, _)| seq).collect();
            assert_eq!(seqs, (1..=sent as u64).collect::<Vec<_>>(), "{kind:?} {transports:?}");
            client.close().await;
        }
    }
}

async fn who_is_refused_is_told_why(topology: Topology) {
    let stack = shared(topology).await;
    let nobody = token(stack.jwt_secret(), &SessionId::new(UserId::new()), 100);
    let late = token(stack.jwt_secret(), &SessionId::new(UserId::new()), -10);
    for kind in KINDS {
        for transports in [POLLING, WEBSOCKET] {
            let cases =
                [("no token", "unauthorized"), (&nobody, "session_revoked"), (&late, "token_expired")];
            for (token, code) in cases {
                let told = Official::start(kind).open(&stack.http_url(0), token, transports).await;
                assert_eq!(told["refused"]["code"], code, "{kind:?} {transports:?}: {told}");
                assert_eq!(told["refused"]["retryable"], false, "{told}");
                assert_eq!(told["message"], told["refused"]["message"], "{told}");
            }
        }
    }
}

async fn what_cannot_be_done_is_told_to_the_acknowledgement(topology: Topology) {
    let stack = shared(topology).await;
    // The first user is the room's maker and so its member.
    let made = stack.provision(3, 1).await.unwrap();
    let room = made.rooms[0];
    for (i, kind) in KINDS.into_iter().enumerate() {
        let mut client = Official::connect(kind, &stack.http_url(i), &made.tokens[i + 1], BOTH).await;
        let say = |room: RoomId, body: &str| json!({ "room": room, "cid": "c", "body": body });
        let outside = [
            ("message", say(room, "x"), "forbidden"),
            ("message:typing", json!({ "room": room, "on": true }), "forbidden"),
            ("chat:history", json!({ "room": room }), "forbidden"),
            ("user:get-online", json!({ "room": room }), "forbidden"),
            ("chat:leave", json!({ "room": room }), "not_found"),
            ("chat:join", json!({ "room": RoomId::new() }), "not_found"),
        ];
        for (event, data, code) in outside {
            refused(&mut client, event, data, code).await;
        }
        client.join(room).await;
        let inside = [
            ("message", say(room, ""), "invalid"),
            ("message", say(room, &"x".repeat(5000)), "too_large"),
            ("message", json!({ "room": room, "body": "without a cid" }), "invalid"),
            ("message", json!("text"), "invalid"),
            ("chat:join", json!({ "room": "nowhere" }), "invalid"),
            ("chat:join", json!({ "room": room, "after": 7 }), "invalid"),
            ("chat:create", json!({ "name": "n".repeat(81) }), "invalid"),
            ("chat:history", json!({ "room": room, "limit": 0 }), "invalid"),
            ("dance", json!({}), "unknown_type"),
        ];
        for (event, data, code) in inside {
            refused(&mut client, event, data, code).await;
        }
        client.send(room, "c1", "still here").await;
    }
}

async fn refused(client: &mut Official, event: &str, data: Value, code: &str) {
    let answer = client.emit(event, data).await;
    assert_eq!(answer["error"]["code"], code, "{:?}: {event}: {answer}", client.kind);
    assert_eq!(answer["error"]["retryable"], false, "{answer}");
    assert!(answer["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
}

async fn typing_and_who_is_online_are_told_both_ways(topology: Topology) {
    let stack = shared(topology).await;
    for kind in KINDS {
        let (mut natives, tokens, room) = party(stack, 2).await;
        let mut official = Official::connect(kind, &stack.http_url(0), &tokens[0], BOTH).await;
        let mine = official.next("welcome").await["user"].clone();
        official.join(room).await;
        for native in &mut natives {
            native.join(room, None).await.unwrap();
        }
        let mut bob = natives.pop().unwrap();
        let bob_id = bob.welcome().unwrap().user;

        bob.typing(room, true).await.unwrap();
        let told = official.next("message:typing").await;
        assert_eq!(told, json!({ "room": room, "user": bob_id, "on": true }));
        assert_eq!(
            official.emit("message:typing", json!({ "room": room, "on": true })).await["room"],
            json!(room)
        );
        let told = loop {
            if let ServerFrame::Typing { room, user, on } = bob.next_event(SOON).await.unwrap() {
                break json!({ "room": room, "user": user, "on": on });
            }
        };
        assert_eq!(told, json!({ "room": room, "user": mine, "on": true }));

        let online = official.emit("user:get-online", json!({ "room": room })).await;
        let mut both = vec![mine.as_str().unwrap().to_owned(), bob_id.to_string()];
        both.sort_unstable();
        assert_eq!(online["online"], json!(both), "{online}");
        bob.close().await.unwrap();
        let status = loop {
            let status = official.next("user:status").await;
            if status["online"] == false {
                break status;
            }
        };
        assert_eq!(status, json!({ "room": room, "user": bob_id, "online": false }));
        let online = official.emit("user:get-online", json!({ "room": room })).await;
        assert_eq!(online["online"], json!([mine]));
    }
}

async fn who_left_hears_nothing_more(topology: Topology) {
    let stack = shared(topology).await;
    for kind in KINDS {
        let (mut natives, tokens, room) = party(stack, 1).await;
        natives[0].join(room, None).await.unwrap();
        let made = stack.provision(1, 0).await.unwrap();
        let mut official = Official::connect(kind, &stack.http_url(1), &made.tokens[0], BOTH).await;
        official.join(room).await;
        assert_eq!(official.emit("chat:leave", json!({ "room": room })).await, json!({ "room": room }));
        natives[0].send(room, "c1", "alone").await.unwrap();
        assert_eq!(official.next_within("message", A_WHILE).await, None);
        refused(&mut official, "message", json!({ "room": room, "cid": "c", "body": "x" }), "forbidden")
            .await;
        // Of somebody else it is told.
        let mut ada = Official::connect(kind, &stack.http_url(0), &tokens[0], BOTH).await;
        official.join(room).await;
        ada.join(room).await;
        let user = natives[0].welcome().unwrap().user;
        natives[0].leave(room).await.unwrap();
        assert_eq!(official.next("left").await, json!({ "room": room, "user": user }));
    }
}

async fn a_killed_process_costs_official_clients_no_message_and_no_copy(topology: Topology) {
    const BEFORE: u64 = 10;
    const DURING: u64 = 20;
    let mut stack = own(topology, 2).await;
    let (mut natives, _, room) = party(&stack, 1).await;
    let native = &mut natives[0];
    native.join(room, None).await.unwrap();
    let made = stack.provision(4, 0).await.unwrap();
    let mut officials = Vec::new();
    for (i, (kind, transports)) in
        [(Kind::Node, BOTH), (Kind::Python, BOTH), (Kind::Node, POLLING), (Kind::Python, WEBSOCKET)]
            .into_iter()
            .enumerate()
    {
        let mut official = Official::connect(kind, &stack.http_url(1), &made.tokens[i], transports).await;
        official.join(room).await;
        officials.push(official);
    }
    for i in 1..=BEFORE {
        native.send(room, &format!("before{i}"), "x").await.unwrap();
    }
    let seqs = |seen: Vec<(u64, String)>| seen.into_iter().map(|(seq, _)| seq).collect::<Vec<_>>();
    for official in &mut officials {
        let seen = seqs(official.messages(BEFORE as usize).await);
        assert_eq!(seen, (1..=BEFORE).collect::<Vec<_>>(), "{:?}", official.kind);
    }
    stack.kill_server(1).await.unwrap();
    for i in 1..=DURING {
        native.send(room, &format!("during{i}"), "x").await.unwrap();
    }
    stack.restart_server(1).await.unwrap();
    for official in &mut officials {
        official.next("disconnect").await;
        official.next("connect").await;
        let seen = seqs(official.messages(DURING as usize).await);
        assert_eq!(seen, (BEFORE + 1..=BEFORE + DURING).collect::<Vec<_>>(), "{:?}", official.kind);
    }
    for (i, official) in (1..).zip(&mut officials) {
        assert_eq!(official.send(room, "after", "live again").await["seq"], BEFORE + DURING + i);
    }
    for official in &mut officials {
        let seen = seqs(official.messages(4).await);
        assert_eq!(seen, (BEFORE + DURING + 1..=BEFORE + DURING + 4).collect::<Vec<_>>());
        assert_eq!(official.next_within("message", A_WHILE).await, None, "{:?}: no copy", official.kind);
    }
    stack.stop().await.unwrap();
}

async fn a_stopping_server_says_bye_and_its_clients_come_back(topology: Topology) {
    let mut stack = own(topology, 1).await;
    let made = stack.provision(4, 1).await.unwrap();
    let room = made.rooms[0];
    let mut officials = Vec::new();
    for (i, kind) in KINDS.into_iter().enumerate() {
        for (j, transports) in [POLLING, WEBSOCKET].into_iter().enumerate() {
            let token = &made.tokens[2 * i + j];
            let mut official = Official::connect(kind, &stack.http_url(0), token, transports).await;
            official.join(room).await;
            officials.push(official);
        }
    }
    let sent = officials[0].send(room, "c1", "x").await;
    for official in &mut officials {
        official.messages(1).await;
    }
    assert_eq!(stack.stop_server(0).await.unwrap(), Some(0));
    // A client between two polls learns of the end by its next one, which finds nobody.
    for official in officials.iter_mut().skip(1).step_by(2) {
        let bye = official.next("bye").await;
        assert_eq!(bye["code"], "going_away", "{:?}: {bye}", official.kind);
        let after = json!({ "epoch": sent["epoch"], "seq": 1, "id": sent["msg"] });
        assert_eq!(bye["resume"], json!([{ "room": room, "after": after }]), "{:?}", official.kind);
    }
    stack.restart_server(0).await.unwrap();
    for official in &mut officials {
        official.next("rejoined").await;
    }
    officials[0].send(room, "c2", "y").await;
    for official in &mut officials {
        assert_eq!(official.messages(1).await, [(2, "y".to_owned())], "{:?}", official.kind);
    }
    stack.stop().await.unwrap();
}

async fn a_session_that_was_ended_elsewhere_does_not_come_back(topology: Topology) {
    let stack = shared(topology).await;
    for kind in KINDS {
        for transports in [POLLING, WEBSOCKET] {
            let made = stack.provision(1, 0).await.unwrap();
            let mut official = Official::connect(kind, &stack.http_url(0), &made.tokens[0], transports).await;
            log_out(stack, &made.tokens[0]).await;
            let bye = official.next("bye").await;
            assert_eq!(bye["code"], "session_revoked", "{kind:?} {transports:?}: {bye}");
            official.next("disconnect").await;
            assert_eq!(official.next_within("connect", A_WHILE).await, None, "{kind:?} {transports:?}");
        }
    }
}

async fn log_out(stack: &Stack, token: &str) {
    let http = HttpClient::new(&stack.http_url(0));
    let answer = http.request("POST".parse().unwrap(), "/v1/logout", Some(token), None).await.unwrap();
    assert_eq!(answer.status, 204, "{}", answer.text());
}

crate::on_both!(
    official_and_native_clients_hold_one_conversation,
    each_transport_is_used_as_it_was_asked_for,
    who_is_refused_is_told_why,
    what_cannot_be_done_is_told_to_the_acknowledgement,
    typing_and_who_is_online_are_told_both_ways,
    who_left_hears_nothing_more,
    a_killed_process_costs_official_clients_no_message_and_no_copy,
    a_stopping_server_says_bye_and_its_clients_come_back,
    a_session_that_was_ended_elsewhere_does_not_come_back,
);
