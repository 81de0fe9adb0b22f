//! What users of one room see of each other, over several server processes.

use chatlab_kit::{message::Position, servers::Topology, wire::ServerFrame};
use chatlab_load::{client::WsClient, http::HttpClient};
use serde_json::{Value, json};

use crate::common::{SOON, next_event, own, party, shared};

async fn users_register_log_in_and_talk_across_processes(topology: Topology) {
    let stack = shared(topology).await;
    let mut clients = Vec::new();
    for (i, who) in ["ada", "bob"].into_iter().enumerate() {
        let name = format!("{who}-{}", uuid::Uuid::new_v4().simple()).chars().take(24).collect::<String>();
        let http = HttpClient::new(&stack.http_url(i));
        let account = json!({ "name": name, "password": "correct horse battery" });
        let _: Value = http.post("/v1/register", None, &account).await.unwrap();
        // Registered at one process, logged in at the other.
        let login: Value =
            HttpClient::new(&stack.http_url(1 - i)).post("/v1/login", None, &account).await.unwrap();
        let token = login["token"].as_str().unwrap();
        clients.push(WsClient::connect(&stack.ws_url(i), token).await.unwrap());
    }
    let [ada, bob] = &mut clients[..] else { unreachable!() };
    let room = ada.create("a room").await.unwrap();
    bob.join(room, None).await.unwrap();

    let hello = ada.send(room, "c1", "hello \u{1F600} \"bob\"").await.unwrap();
    let seen = bob.next_message(SOON).await.unwrap();
    assert_eq!(
        (seen.seq, seen.draft.id, seen.draft.body.as_str()),
        (1, hello.msg, "hello \u{1F600} \"bob\"")
    );
    assert_eq!(seen.draft.from, ada.welcome().unwrap().user);

    let answer = bob.send(room, "c1", "hello ada").await.unwrap();
    assert_eq!(answer.seq, 2);
    for expected in [1, 2] {
        assert_eq!(ada.next_message(SOON).await.unwrap().seq, expected, "the sender sees its own too");
    }
    let page = bob.history(room, None, Some(1)).await.unwrap();
    assert_eq!((page.messages[0].seq, page.next), (2, Some(2)));
    let older = bob.history(room, page.next, Some(10)).await.unwrap();
    assert_eq!((older.messages.len(), older.messages[0].seq, older.next), (1, 1, None));
}

async fn who_left_hears_and_says_nothing(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, tokens, room) = party(stack, 2).await;
    // The second user has two devices, one at each process.
    let mut device = WsClient::connect(&stack.ws_url(0), &tokens[1]).await.unwrap();
    for client in clients.iter_mut().chain([&mut device]) {
        client.join(room, None).await.unwrap();
    }
    clients[1].leave(room).await.unwrap();
    let user = clients[1].welcome().unwrap().user;
    assert_eq!(next_event(&mut device).await.unwrap(), ServerFrame::Left { room, user });
    assert!(device.send(room, "c1", "still here?").await.unwrap_err().to_string().contains("join"));

    clients[0].send(room, "c1", "alone now").await.unwrap();
    clients[0].next_message(SOON).await.unwrap();
    for client in [&mut clients[1], &mut device] {
        client.ping().await.unwrap();
        client.join(room, None).await.unwrap();
    }
    clients[0].send(room, "c2", "welcome back").await.unwrap();
    for client in [&mut clients[1], &mut device] {
        assert_eq!(client.next_message(SOON).await.unwrap().draft.body, "welcome back");
    }
}

async fn an_unverifiable_position_gets_resync_and_no_silent_gap(topology: Topology) {
    let stack = shared(topology).await;
    let (mut clients, _, room) = party(stack, 2).await;
    clients[0].join(room, None).await.unwrap();
    for i in 0..3 {
        clients[0].send(room, &format!("c{i}"), "x").await.unwrap();
    }
    let third = clients[0].history(room, None, None).await.unwrap().messages[2].clone();
    let head = Position { epoch: third.epoch.clone(), seq: 3, id: Some(third.draft.id) };
    let wrong = [
        Position { seq: 2, ..head.clone() },
        Position { seq: 9, ..head.clone() },
        Position { epoch: chatlab_kit::message::Epoch("another".into()), ..head.clone() },
    ];
    for after in wrong {
        clients[1].join(room, Some(after.clone())).await.unwrap();
        let event = next_event(&mut clients[1]).await.unwrap();
        assert_eq!(event, ServerFrame::Resync { room, head: head.clone() }, "{after:?}");
    }
    clients[1].join(room, Some(head)).await.unwrap();
    clients[0].send(room, "c9", "y").await.unwrap();
    assert_eq!(clients[1].next_message(SOON).await.unwrap().seq, 4);
}

async fn a_killed_process_costs_its_users_no_message_and_no_copy(topology: Topology) {
    const BEFORE: u64 = 20;
    const DURING: u64 = 30;
    let mut stack = own(topology, 2).await;
    let (mut clients, tokens, room) = party(&stack, 4).await;
    for client in &mut clients {
        client.join(room, None).await.unwrap();
    }
    for i in 0..BEFORE {
        clients[0].send(room, &format!("before{i}"), "x").await.unwrap();
    }
    // Clients 1 and 3 are at the process that dies; they have seen some of it.
    for client in [1, 3] {
        for expected in 1..=BEFORE / 2 {
            assert_eq!(clients[client].next_message(SOON).await.unwrap().seq, expected);
        }
    }
    stack.kill_server(1).await.unwrap();
    for i in 0..DURING {
        clients[0].send(room, &format!("during{i}"), "x").await.unwrap();
    }
    for client in [1, 3] {
        let mut expected = BEFORE / 2 + 1;
        let survivor = &mut clients[client];
        survivor.reconnect(&stack.ws_url(0), &tokens[client]).await.unwrap();
        while expected <= BEFORE + DURING {
            assert_eq!(survivor.next_message(SOON).await.unwrap().seq, expected);
            expected += 1;
        }
    }
    clients[3].send(room, "after", "live again").await.unwrap();
    assert_eq!(clients[1].next_message(SOON).await.unwrap().seq, BEFORE + DURING + 1);
    stack.stop_server(0).await.unwrap();
}

async fn a_stopping_server_says_where_to_go_on(topology: Topology) {
    let mut stack = own(topology, 1).await;
    let (mut clients, tokens, room) = party(&stack, 1).await;
    let client = &mut clients[0];
    client.join(room, None).await.unwrap();
    let sent = client.send(room, "c1", "x").await.unwrap();
    client.next_message(SOON).await.unwrap();

    assert_eq!(stack.stop_server(0).await.unwrap(), Some(0));
    let end = next_event(client).await.unwrap();
    let ServerFrame::Bye { code, resume, .. } = end else { panic!("no bye before the end: {end:?}") };
    assert_eq!(code, chatlab_kit::wire::ErrorCode::GoingAway);
    assert_eq!((resume[0].room, resume[0].after.seq, resume[0].after.id), (room, 1, Some(sent.msg)));
    assert_eq!(client.next_close().await.unwrap().0, 1001);

    stack.restart_server(0).await.unwrap();
    let mut again = WsClient::connect(&stack.ws_url(0), &tokens[0]).await.unwrap();
    again.join(room, Some(resume[0].after.clone())).await.unwrap();
    again.send(room, "c2", "y").await.unwrap();
    assert_eq!(again.next_message(SOON).await.unwrap().seq, 2);
}

crate::on_each!(
    users_register_log_in_and_talk_across_processes,
    who_left_hears_and_says_nothing,
    an_unverifiable_position_gets_resync_and_no_silent_gap,
    a_killed_process_costs_its_users_no_message_and_no_copy,
    a_stopping_server_says_where_to_go_on,
);
